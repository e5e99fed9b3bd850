// SPDX-License-Identifier: Apache-2.0
//
// Host and device physical addresses, the HDM decoder that translates between them, and the way
// that an access takes through the levels of an interleave: fixed memory window (cross-host-bridge
// logic), host bridge, switch.
// Spec: CXL r3.1 8.2.4.20 (CXL HDM Decoder Capability Structure), 8.2.4.20.13 (implementation notes
// on decode), 9.13.1 (memory interleaving); modulo arithmetic only, as QEMU emits no other.
// Thread-safety: immutable values; const calls are concurrent. Ownership: values. Units: bytes.
// Errors: invalid_argument and out_of_range, naming the value and what is allowed.
#pragma once

#include <godbox/cxl/interleave.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <vector>

namespace godbox::cxl {

using Hpa = Offset<struct HpaTag>;  // host physical address
using Dpa = Offset<struct DpaTag>;  // device physical address: of one Type 3 device

// Base and size of decoders and windows are multiples of it: bits 27:0 of the registers are
// reserved (CXL r3.1 8.2.4.20.3 to 8.2.4.20.6, and 9.18.1.3 for windows).
inline constexpr SizeBytes kHdmAlignment{std::uint64_t{256} << 20U};
// Decode works on address bits 51:0 (CXL r3.1 8.2.4.20.13).
inline constexpr unsigned kAddressBitsMax = 52;
inline constexpr SizeBytes kAddressSpaceMax{std::uint64_t{1} << kAddressBitsMax};
// The target list of a host bridge's or switch's decoder (CXL r3.1 8.2.4.20.9 to 8.2.4.20.10).
inline constexpr unsigned kDecoderTargetsMax = 8;

struct HpaRange {
  Hpa base;
  SizeBytes size;
  [[nodiscard]] constexpr Hpa end() const { return base + size; }
  [[nodiscard]] constexpr bool contains(Hpa address) const {
    return address >= base && address - base < size;
  }
  [[nodiscard]] constexpr bool overlaps(const HpaRange& other) const {
    return !size.is_zero() && !other.size.is_zero() &&
           (contains(other.base) || other.contains(base));
  }
  constexpr bool operator==(const HpaRange&) const = default;
};

// A byte of a region: the member at `position` and its DPA there.
struct DevicePlace {
  unsigned position = 0;
  Dpa dpa;
  constexpr bool operator==(const DevicePlace&) const = default;
};

struct HdmDecoderConfig {
  HpaRange hpa;
  Interleave interleave;
  Dpa dpa_start;       // where the device's decoder before this one ended; 0 of the first
  SizeBytes dpa_skip;  // left unmapped before this decoder's first byte
  // Port numbers by selector, of a host bridge or switch; empty at an endpoint.
  std::vector<unsigned> target_list;
};

// One committed HDM decoder.
class HdmDecoder {
 public:
  // Errors: invalid_argument: base, dpa_start or dpa_skip not a multiple of 256 MiB; size zero or
  // not a multiple of 256 MiB (of an endpoint: 256 MiB x ways); a target list that is not one
  // distinct port number (0..255) per way, or for ways other than 1, 2, 4 or 8. out_of_range: the
  // HPA range or the DPAs pass 2^52.
  [[nodiscard]] static Result<HdmDecoder> create(HdmDecoderConfig config);

  [[nodiscard]] const HpaRange& hpa() const { return config_.hpa; }
  [[nodiscard]] const Interleave& interleave() const { return config_.interleave; }
  [[nodiscard]] const std::vector<unsigned>& target_list() const { return config_.target_list; }
  // The DPAs that one member contributes.
  [[nodiscard]] Dpa dpa_base() const { return config_.dpa_start + config_.dpa_skip; }
  [[nodiscard]] SizeBytes dpa_size() const {
    return config_.hpa.size / config_.interleave.ways.count();
  }
  [[nodiscard]] Dpa dpa_end() const { return dpa_base() + dpa_size(); }

  // Errors: out_of_range outside hpa().
  [[nodiscard]] Result<DevicePlace> to_dpa(Hpa address) const;
  // Errors: invalid_argument for a position beyond the ways, out_of_range for a DPA outside
  // [dpa_base(), dpa_end()).
  [[nodiscard]] Result<Hpa> to_hpa(const DevicePlace& place) const;
  // The port number of a host bridge or switch to which the address goes.
  // Errors: out_of_range outside hpa(); unsupported at an endpoint, which has no targets.
  [[nodiscard]] Result<unsigned> target_of(Hpa address) const;

 private:
  explicit HdmDecoder(HdmDecoderConfig config) : config_(std::move(config)) {}
  HdmDecoderConfig config_;
};

// How each level between the root and the devices interleaves. A level of 1 way selects nothing and
// its granularity means nothing.
struct InterleaveLevels {
  Interleave window;
  Interleave host_bridge;
  Interleave cxl_switch;
  constexpr bool operator==(const InterleaveLevels&) const = default;
};

// What each level selects: an index in its list of targets.
struct LevelSelectors {
  unsigned window_target = 0;
  unsigned host_bridge_port = 0;
  unsigned switch_port = 0;
  constexpr bool operator==(const LevelSelectors&) const = default;
};

struct LevelWays {
  unsigned host_bridge = 1;
  unsigned cxl_switch = 1;
};

// The levels of one region, checked to select each position of it once.
class InterleaveRoute {
 public:
  // Levels that interleave must use different, consecutive address bits that begin at the region's
  // granularity (CXL r3.1 9.13.1); the order of the levels is free. So a factor of 3, which only
  // the window may have, is above all other levels (Tables 9-6 to 9-8). Errors: invalid_argument: a
  // host bridge or switch of 3, 6, 12 or 16 ways; a granularity that leaves a gap or overlaps
  // another level's; ways whose product is not the region's.
  [[nodiscard]] static Result<InterleaveRoute> create(const Interleave& region,
                                                      const InterleaveLevels& levels);
  // Derives the granularities of host bridge and switch from the window's: the window nearest to
  // the line, then the host bridge, then the switch, as Linux programs them (level granularity =
  // parent granularity x parent ways); or, where the window's granularity says so, the window above
  // one or both. Errors: as create, and out_of_range for a level that would need more than 16 KiB.
  [[nodiscard]] static Result<InterleaveRoute> derive(const Interleave& region,
                                                      const Interleave& window,
                                                      const LevelWays& ways);

  [[nodiscard]] const Interleave& region() const { return region_; }
  [[nodiscard]] const InterleaveLevels& levels() const { return levels_; }
  // What the levels select for a byte at hpa_offset from the region's start, each by itself.
  // Offsets and addresses select alike where the ways are powers of two, as bases are aligned to
  // 256 MiB; at a level of 3, 6 or 12 ways the window has to begin at a multiple of 3 granules.
  [[nodiscard]] LevelSelectors selectors_at(SizeBytes hpa_offset) const;
  // The region's position behind these selectors, and back. Both arguments must exist (asserted).
  [[nodiscard]] unsigned position_of(const LevelSelectors& selectors) const;
  [[nodiscard]] LevelSelectors selectors_of(unsigned position) const;

 private:
  InterleaveRoute(const Interleave& region, const InterleaveLevels& levels)
      : region_(region), levels_(levels) {}
  // How far apart in positions two neighbouring targets of a level are.
  [[nodiscard]] unsigned stride_of(const Interleave& level) const;
  Interleave region_;
  InterleaveLevels levels_;
};

}  // namespace godbox::cxl
