// SPDX-License-Identifier: Apache-2.0
//
// A CXL topology as a plain description (host bridges, at most one level of switches, Type 3
// devices, fixed memory windows, regions) and the check of all rules that a machine holds it to.
// Nothing is looked up or touched: the same check serves before a VM boots and before a box is
// configured. Spec: CXL r3.1 8.2.4.20 (HDM decoders), 9.13.1 (interleaving), 9.18.1.3 (CFMWS).
// Thread-safety: plain values and pure functions. Ownership: values. Units: bytes.
// Errors: check() returns every violation it finds; place() invalid_argument.
#pragma once

#include <godbox/cxl/hdm_decoder.h>
#include <godbox/cxl/interleave.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace godbox::cxl {

// Indices into the topology's own lists.
using HostBridgeId = Id<struct HostBridgeIdTag, std::uint16_t>;
using CxlSwitchId = Id<struct CxlSwitchIdTag, std::uint16_t>;
using Type3DeviceId = Id<struct Type3DeviceIdTag, std::uint16_t>;
using FixedMemoryWindowId = Id<struct FixedMemoryWindowIdTag, std::uint16_t>;
using CxlRegionId = Id<struct CxlRegionIdTag, std::uint16_t>;

// A root port of a host bridge or a downstream port of a switch.
struct CxlPort {
  std::variant<HostBridgeId, CxlSwitchId> component;
  unsigned port_number = 0;
  bool operator==(const CxlPort&) const = default;
};

// Names may be empty; explanations then name an element by its index.
struct HostBridge {
  std::string name;
  unsigned bus_number = 0;           // of its own bus; its ports' buses follow
  std::vector<unsigned> root_ports;  // port numbers
};

struct CxlSwitch {
  std::string name;
  CxlPort upstream;                        // where its upstream port is attached
  std::vector<unsigned> downstream_ports;  // port numbers
};

struct Type3Device {
  std::string name;
  CxlPort attached_to;
  std::uint64_t serial_number = 0;
  SizeBytes capacity;
};

// A CXL Fixed Memory Window (CFMWS): one NUMA node each in Linux.
struct FixedMemoryWindow {
  std::string name;
  std::vector<HostBridgeId> targets;  // in the order of the interleave; their number is its ways
  SizeBytes granularity = kInterleaveGranularityMin;
  SizeBytes size;
  std::optional<Hpa> base;  // where the machine puts it, if known; QEMU chooses by itself
};

struct CxlRegion {
  std::string name;
  FixedMemoryWindowId window;
  unsigned ways = 1;
  SizeBytes granularity = kInterleaveGranularityMin;
  std::vector<Type3DeviceId> devices;  // by position
  SizeBytes device_share;              // capacity that each device gives to it
};

struct Topology {
  std::vector<HostBridge> host_bridges;
  std::vector<CxlSwitch> switches;
  std::vector<Type3Device> devices;
  std::vector<FixedMemoryWindow> windows;
  std::vector<CxlRegion> regions;  // in the order in which they are created
};

// What the specification allows. CXL r3.1.
struct CxlSpecLimits {
  // 8.2.4.20.1, Decoder Count: up to 32 in host bridges and switches, 10 in devices.
  unsigned port_decoders_max = 32;
  unsigned device_decoders_max = 10;
  // 8.2.4.20.1, Target Count: 8 is the largest; and 3, 6, 12 ways are for devices only.
  unsigned decoder_targets_max = kDecoderTargetsMax;
  // 8.2.4.20.13: decode works on address bits 51:0.
  unsigned address_bits = kAddressBitsMax;
};

// What Linux 6.12 allows besides (drivers/cxl/core/region.c).
struct LinuxLimits {
  // cxl_port_setup_targets(): "ways overflows targets" above 8.
  unsigned decoder_targets_max = 8;
  // cxl_port_setup_targets(): level granularity = parent granularity x parent ways, one of the
  // legal ones even where the level itself has one target.
  SizeBytes level_granularity_max = kInterleaveGranularityMax;
  // check_interleave_cap(), since 6.11: only address bits 14..8 choose a device, which is what a
  // decoder can say that it has (CXL r3.1 8.2.4.20.1, A11to8 and A14to12 Interleave Capable). So
  // ways, without their factor 3, times granularity are at most this.
  SizeBytes selector_span_max{std::uint64_t{32} << 10U};
};

// What QEMU 10.0 (q35) allows besides.
struct QemuLimits {
  // hw/cxl/cxl-host.c and pxb-cxl: a register window of 1 MiB, 64 KiB per host bridge; a 17th is
  // accepted and lies outside of it.
  unsigned host_bridges_max = 16;
  // include/hw/cxl/cxl_component.h: CXL_HDM_DECODER_COUNT 4, at every level.
  unsigned decoders_max = 4;
  // hw/cxl/cxl-component-utils.c: TARGET_COUNT 8; hw/cxl/cxl-host.c decodes powers of two only.
  unsigned decoder_targets_max = 8;
  // hw/cxl/cxl-host.c, cxl_cfmws_find_device(): "only one level of switching".
  unsigned switch_levels_max = 1;
  // Apart in bus_nr, as was run with 9 and 14 host bridges of 2 ports; more where ports need more.
  unsigned bus_number_spacing = 8;
  // hw/pci-bridge/pci_expander_bridge.c: a host bridge with one root port passes everything through
  // and has no decoders (hdm_for_passthrough=off).
  bool single_port_passes_through = true;
};

struct TopologyLimits {
  CxlSpecLimits cxl_spec;
  std::optional<LinuxLimits> linux_kernel = LinuxLimits{};  // nullopt: not for Linux
  std::optional<QemuLimits> qemu = QemuLimits{};            // nullopt: not under QEMU
  // The machine's physical address width, QEMU's phys-bits: 46 is enough for 36 TiB.
  unsigned address_bits = 46;
  // Where windows without a base begin, one after the other: where QEMU 10.0 put 36 TiB of them
  // (they ended at 25083fffffffh).
  Hpa windows_start{0x108'4000'0000};
};

// Stable names of rules.
namespace rule {
inline constexpr std::string_view kReference = "reference";
inline constexpr std::string_view kBridgeCount = "bridge-count";
inline constexpr std::string_view kBusNumbers = "bus-numbers";
inline constexpr std::string_view kPortNumbers = "port-numbers";
inline constexpr std::string_view kPortOccupied = "port-occupied";
inline constexpr std::string_view kSwitchDepth = "switch-depth";
inline constexpr std::string_view kSerialNumber = "serial-number";
inline constexpr std::string_view kDeviceCapacity = "device-capacity";
inline constexpr std::string_view kInterleaveWays = "interleave-ways";
inline constexpr std::string_view kInterleaveGranularity = "interleave-granularity";
inline constexpr std::string_view kWindowTargets = "window-targets";
inline constexpr std::string_view kWindowAlignment = "window-alignment";
inline constexpr std::string_view kWindowOverlap = "window-overlap";
inline constexpr std::string_view kWindowCapacity = "window-capacity";
inline constexpr std::string_view kAddressBits = "address-bits";
inline constexpr std::string_view kRegionDevices = "region-devices";
inline constexpr std::string_view kRegionSize = "region-size";
inline constexpr std::string_view kRegionTargets = "region-targets";
inline constexpr std::string_view kRegionWays = "region-ways";
inline constexpr std::string_view kRegionGranularity = "region-granularity";
inline constexpr std::string_view kThreeWayWindow = "three-way-window";
inline constexpr std::string_view kBridgeBalance = "bridge-balance";
inline constexpr std::string_view kBridgePowerOfTwo = "bridge-interleave-power-of-two";
inline constexpr std::string_view kBridgeTargets = "bridge-targets";
inline constexpr std::string_view kGranularityChain = "granularity-chain";
inline constexpr std::string_view kSelectorBits = "selector-bits";
inline constexpr std::string_view kPositionOrder = "position-order";
inline constexpr std::string_view kHdmDecoderCount = "hdm-decoder-count";
inline constexpr std::string_view kDecoderOrder = "decoder-order";
}  // namespace rule

inline constexpr std::array kRuleNames = {
    rule::kReference,        rule::kBridgeCount,
    rule::kBusNumbers,       rule::kPortNumbers,
    rule::kPortOccupied,     rule::kSwitchDepth,
    rule::kSerialNumber,     rule::kDeviceCapacity,
    rule::kInterleaveWays,   rule::kInterleaveGranularity,
    rule::kWindowTargets,    rule::kWindowAlignment,
    rule::kWindowOverlap,    rule::kWindowCapacity,
    rule::kAddressBits,      rule::kRegionDevices,
    rule::kRegionSize,       rule::kRegionTargets,
    rule::kRegionWays,       rule::kRegionGranularity,
    rule::kThreeWayWindow,   rule::kBridgeBalance,
    rule::kBridgePowerOfTwo, rule::kBridgeTargets,
    rule::kGranularityChain, rule::kSelectorBits,
    rule::kPositionOrder,    rule::kHdmDecoderCount,
    rule::kDecoderOrder,
};

// Whose rule it is.
enum class RuleSource : std::uint8_t {
  cxl_spec,
  linux_kernel,
  qemu,
  machine,  // its address width
  godbox,   // the description contradicts itself, or Godbox could not find its devices again
};
[[nodiscard]] std::string_view to_string(RuleSource source) noexcept;

struct Violation {
  std::string_view rule;  // one of kRuleNames
  RuleSource source = RuleSource::godbox;
  std::string explanation;  // a sentence that names the element and its value
  std::string neighbour;    // what to change it to; empty where nothing legal is near
  // "bridge-count (qemu): 17 host bridges; at most 16. Legal: 16 host bridges"
  [[nodiscard]] std::string message() const;
};

// All violations, of the parts before the regions that use them; none for a legal topology. A
// region whose parts are broken is not looked at further: mend those first.
[[nodiscard]] std::vector<Violation> check(const Topology& topology,
                                           const TopologyLimits& limits = {});

struct RegionPlacement {
  HpaRange hpa;
  std::vector<Dpa> dpa_starts;  // by position: the first DPA that the device gives to the region
};
struct Placement {
  std::vector<HpaRange> windows;
  std::vector<RegionPlacement> regions;
};

// Where everything lies: windows without a base one after the other from windows_start on, regions
// in their windows and shares in their devices in the order of the list.
// Errors: invalid_argument for a region whose window or device is not there.
[[nodiscard]] Result<Placement> place(const Topology& topology, Hpa windows_start);

}  // namespace godbox::cxl
