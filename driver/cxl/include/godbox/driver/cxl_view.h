// SPDX-License-Identifier: Apache-2.0
//
// The CXL topology as the kernel shows it in sysfs, read once: memory devices, the windows (root
// decoders) that reach them, regions, dax devices. What the plan of regions is made from.
// Source: Linux 6.12 Documentation/ABI/testing/sysfs-bus-cxl; a host bridge is a "port" below
// root0, and an endpoint's `uport` is its memdev. Words: CXL r3.1 9.18.1.3 (CFMWS: a window).
// Thread-safety: plain values; read_cxl_view as its tree. Ownership: none. Units: bytes.
// Errors: device_missing (no CXL bus), io_error (garbage in a file), invalid_argument (a
// granularity on the command line that is none). What vanishes while it is read
// is left out: devices may go at any time.
#pragma once

#include <godbox/driver/cxl_tree.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace godbox::driver {

struct CxlEndpointDecoder {
  std::string name;  // "decoder5.0"
  SizeBytes dpa_size;
  std::string region;  // that it is a target of; empty: none
};

struct CxlMemdev {
  std::string name;  // "mem0"
  std::uint64_t serial = 0;
  SizeBytes ram_size;
  SizeBytes pmem_size;
  std::optional<int> numa_node;
  std::string pci_address;
  std::string firmware_version;
  // Empty or none until the kernel has probed the device and its path.
  std::string endpoint;     // "endpoint5"
  std::string host_bridge;  // "port1"
  std::string root_port;    // address of the bridge's port that it hangs on
  std::vector<CxlEndpointDecoder> decoders;
};

struct CxlRootDecoder {
  std::string name;                    // "decoder0.0"
  std::optional<std::uint64_t> start;  // only root may read it
  SizeBytes size;
  unsigned interleave_ways = 1;
  SizeBytes interleave_granularity;
  std::vector<std::string> targets;  // host bridges in order; "" where none was found
  bool takes_ram = false;
  bool takes_type3 = false;
};

struct CxlRegion {
  std::string name;          // "region0"
  std::string root_decoder;  // "decoder0.0"
  std::optional<std::uint64_t> start;
  SizeBytes size;
  unsigned interleave_ways = 0;
  SizeBytes interleave_granularity;
  std::vector<std::string> targets;  // endpoint decoders by position; "" where none is set
  bool is_committed = false;
  std::string uuid;  // empty for volatile regions
  // access0/: what the kernel computed from HMAT and CDAT; nothing where it could not.
  std::optional<std::uint64_t> read_latency_ns;
  std::optional<std::uint64_t> read_bandwidth_mb_per_s;
};

struct CxlDax {
  std::string name;    // "dax0.0"
  std::string region;  // "region0"; empty: not of a CXL region
  std::string driver;  // "device_dax", "kmem" or empty
  SizeBytes size;
  std::optional<std::uint64_t> start;
  std::optional<int> target_node;
};

struct CxlView {
  std::vector<CxlMemdev> memdevs;
  std::vector<CxlRootDecoder> root_decoders;
  std::vector<CxlRegion> regions;
  std::vector<CxlDax> dax_devices;  // of CXL regions
  // At which a region in a window of one host bridge is to be interleaved, which no table of the
  // firmware says: whoever boots a VM puts godbox.granularity=BYTES on the kernel's command line.
  std::optional<SizeBytes> wanted_granularity;

  [[nodiscard]] const CxlMemdev* find_memdev(const std::string& name) const;
  [[nodiscard]] const CxlRegion* find_region(const std::string& name) const;
  [[nodiscard]] const CxlRootDecoder* find_root_decoder(const std::string& name) const;
  [[nodiscard]] const CxlDax* find_dax_of(const std::string& region) const;
  // The memdev with that endpoint decoder.
  [[nodiscard]] const CxlMemdev* find_owner(const std::string& endpoint_decoder) const;
  [[nodiscard]] const CxlRegion* find_region_of(const CxlMemdev& memdev) const;
  // The windows whose targets include the memdev's host bridge, by ascending address.
  [[nodiscard]] std::vector<const CxlRootDecoder*> windows_of(const CxlMemdev& memdev) const;
};

[[nodiscard]] Result<CxlView> read_cxl_view(const CxlTree& tree);

// The memory blocks of a region: what the kernel can put on line and off line.
struct MemoryBlock {
  std::string name;   // "memory32"
  std::string state;  // "online", "offline", "going-offline"
  std::string zones;  // "Movable", "Normal", ...; empty: not known

  [[nodiscard]] bool is_online_movable() const {
    return state == "online" && (zones.empty() || zones == "Movable");
  }
};
// Those that are there, by ascending address; none while the region is not system memory.
[[nodiscard]] Result<std::vector<MemoryBlock>> read_memory_blocks(const CxlTree& tree,
                                                                  const CxlRegion& region);
// Errors: device_missing (a kernel without memory hotplug), io_error.
[[nodiscard]] Result<SizeBytes> memory_block_size(const CxlTree& tree);

}  // namespace godbox::driver
