// SPDX-License-Identifier: Apache-2.0
//
// The plan of a VM: the CXL topology that shows a box's DRAM channels in a form, checked against
// every rule of the specification, Linux and QEMU before anything starts, and what the guest is
// expected to see. Nothing is looked up or touched, but for a device that the box's configuration
// names as a file. Thread-safety: plain values and pure functions. Ownership: values. Units: bytes,
// nanoseconds, bytes per second. Errors: config_invalid, those of modelled_rates(); for an illegal
// topology its detail has a line per violation, each with the rule's name, whose rule it is, what
// breaks it, and the legal neighbour.
#pragma once

#include <godbox/cxl/topology.h>
#include <godbox/emulator/vm/cdat.h>
#include <godbox/emulator/vm/vm_config.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator::vm {

// Linux adds a flit's time on each link (drivers/cxl/core/pci.c, cxl_pci_get_latency()): 68 B at
// the 64 GB/s of QEMU's 32 GT/s x16, rounded up to whole nanoseconds. As seen with 6.12.117; with
// 6.12.95 it was 17000.
inline constexpr Duration kLinuxLinkTerm = std::chrono::nanoseconds(2);

// What Linux is told of latencies and bandwidths (access0/ of a region and its NUMA node).
// Configured, not measured: the sum over host side, switch and device of the latencies; of the
// bandwidths the minimum along each way, and the sum over the ways.
struct AccessFigures {
  Duration read_latency{};
  Duration write_latency{};
  Rate read_bandwidth;
  Rate write_bandwidth;
  unsigned links = 1;  // on the way to one device

  // What access0/read_latency and write_latency say in a Linux 6.12 guest.
  [[nodiscard]] Duration linux_read_latency() const {
    return read_latency + kLinuxLinkTerm * links;
  }
  [[nodiscard]] Duration linux_write_latency() const {
    return write_latency + kLinuxLinkTerm * links;
  }
};

struct PlannedMember {
  unsigned position = 0;
  cxl::Type3DeviceId device;
  DramChannelId dram_channel;
  cxl::Dpa dpa_start;  // the first DPA that the device gives to the region
};

struct PlannedRegion {
  std::string name;
  cxl::FixedMemoryWindowId window;
  unsigned numa_node = 0;
  unsigned ways = 1;
  SizeBytes granularity;
  SizeBytes size;
  std::vector<PlannedMember> members;  // by position
  AccessFigures access;
};

struct PlannedWindow {
  std::string name;
  cxl::HpaRange expected_hpa;  // QEMU chooses by itself; the order and the sizes hold
  unsigned numa_node = 0;      // window i is node i + 1, as node 0 is the guest's own DRAM
  std::vector<cxl::CxlRegionId> regions;
};

// Where `vm attach` may put a DRAM channel, and `pool bind` a logical device, while the guest runs.
struct HotPlugSlot {
  cxl::CxlPort port;
  cxl::FixedMemoryWindowId window;
  SizeBytes size;  // of the window
};

struct VmPlan {
  VmConfig config;
  ChannelTiming channel;  // what each device says of itself
  std::string origin;     // of the topology: the form's name, or the file's
  cxl::Topology topology;
  cxl::Placement placement;
  std::vector<DramChannelId> channel_of_device;  // by Type3DeviceId
  std::vector<PlannedWindow> windows;            // by FixedMemoryWindowId
  std::vector<PlannedRegion> regions;            // by CxlRegionId, in the order of their creation
  std::vector<HotPlugSlot> hot_plug_slots;
  unsigned address_bits = 46;  // QEMU's phys-bits

  // The CDAT of a host bridge's generic port hangs on a node of its own without memory. They come
  // after the windows' nodes, so that Linux numbers the windows 1, 2, ... as without them.
  [[nodiscard]] unsigned generic_port_node(cxl::HostBridgeId bridge) const {
    return static_cast<unsigned>(windows.size()) + 1 + bridge.value();
  }
};

// A topology that somebody wrote himself (docs/vm.md).
struct WrittenTopology {
  std::string origin;
  cxl::Topology topology;
  std::vector<DramChannelId> channel_of_device;
};

// The legal ways to show this many channels as few regions: "16, 2" for 18. Decided by the
// fewest regions, then the fewest host bridges, of at most host_bridges_max.
struct RegionShape {
  unsigned ways = 1;          // channels
  unsigned host_bridges = 1;  // that the window interleaves
  [[nodiscard]] unsigned ports_per_bridge() const { return ways / host_bridges; }
  bool operator==(const RegionShape&) const = default;
};
[[nodiscard]] std::vector<RegionShape> widest_shapes(unsigned dram_channels,
                                                     unsigned host_bridges_max);

// Errors: config_invalid for a value beyond its limits, or for what is not legal.
[[nodiscard]] Result<VmPlan> make_plan(const VmConfig& config);
// The plan of a written topology; form, granularity, behind_switches and hot_plug_slots of the
// configuration mean nothing. Errors: as make_plan.
[[nodiscard]] Result<VmPlan> plan_of(const VmConfig& config, const WrittenTopology& written);
// Reads a topology in TOML. `where` names it in errors. Devices that say no serial number get the
// box's for their channel; windows that say no size get room for their regions.
// Errors: config_invalid, with the line, the key, the value and what is allowed.
[[nodiscard]] Result<WrittenTopology> read_topology(const VmConfig& config, std::string_view text,
                                                    std::string_view where);

}  // namespace godbox::emulator::vm
