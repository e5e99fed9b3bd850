// SPDX-License-Identifier: Apache-2.0
//
// A CXL.mem link: what its flits leave of the wire's rate for lines of 64 bytes, each direction by
// itself. The ceiling is what the link's packer does with an endless supply of messages, not a
// table: the same packer carries the messages of the detailed model (type3_run.h).
// Spec: CXL r3.1 4.2 (68-byte flits), 4.3 (256-byte flits); PCIe r6.0 4.2 (encoding).
// Thread-safety: plain values and pure functions. Ownership: values. Units: in the names; rates are
// of data unless the name says otherwise. Errors: config_invalid, with key, value and what is
// allowed.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace godbox::emulator::model {

enum class PcieGeneration : std::uint8_t { gen5, gen6 };
inline constexpr std::array<std::string_view, 2> kPcieGenerationNames = {"gen5", "gen6"};
[[nodiscard]] constexpr std::string_view to_string(PcieGeneration generation) {
  return kPcieGenerationNames[static_cast<std::size_t>(generation)];
}

// Host to device (requests, written lines), device to host (read lines, completions).
enum class CxlDirection : std::uint8_t { m2s, s2m };
inline constexpr std::array<std::string_view, 2> kCxlDirectionNames = {"M2S", "S2M"};
[[nodiscard]] constexpr std::string_view to_string(CxlDirection direction) {
  return kCxlDirectionNames[static_cast<std::size_t>(direction)];
}

inline constexpr std::uint32_t kLinkCreditsMax = 4096;

struct CxlLinkSpec {
  PcieGeneration generation = PcieGeneration::gen5;
  std::uint32_t lanes = 8;
  std::uint32_t flit_bytes = 68;
  // Headers of read data that wait at the same time share a slot (68 bytes: H5, G6; 256 bytes: H13,
  // G13). A device that cannot gives each line a slot for its header.
  bool shares_data_headers = true;
  // From the last bit of a flit at a sender's pins to where the receiver's next stage has it.
  double crossing_ns = 0;
  // Messages that a receiver has buffers for; a sender without a credit waits. The specification
  // leaves the number to the device (CXL r3.1 4.2.8); 64 is chosen here, enough for 16 lanes at 32
  // GT/s over a crossing of 25 ns: 64 lines in a round trip of 54 ns are 75 GB/s.
  std::uint32_t request_credits = 64;     // M2S Req
  std::uint32_t write_credits = 64;       // M2S RwD
  std::uint32_t data_credits = 64;        // S2M DRS
  std::uint32_t completion_credits = 64;  // S2M NDR

  // All lanes, one direction, before encoding and flits.
  [[nodiscard]] Rate raw() const {
    return Rate((generation == PcieGeneration::gen5 ? 32e9 : 64e9) * lanes / 8);
  }
  // 128b/130b up to 32 GT/s; 64 GT/s sends flits as they are.
  [[nodiscard]] Rate after_encoding() const {
    return Rate(raw().bytes_per_second() *
                (generation == PcieGeneration::gen5 ? 128.0 / 130.0 : 1.0));
  }
  [[nodiscard]] double flit_ns() const {
    return flit_bytes * 1e9 / after_encoding().bytes_per_second();
  }
};

[[nodiscard]] Result<void> validate(const CxlLinkSpec& spec);

struct CxlLinkCeiling {
  // Lines that a flit carries on average, of all the traffic that the direction belongs to.
  std::array<double, 2> lines_per_flit{};  // by CxlDirection
  CxlDirection bound = CxlDirection::s2m;  // the one that is full
  Rate data;                               // reads and writes together
};

// Of an endless mix of whole lines, `read_share` of them read. Credits are taken as enough.
[[nodiscard]] Result<CxlLinkCeiling> cxl_link_ceiling(const CxlLinkSpec& spec, double read_share);

struct CxlLinkRate {
  Rate data;  // at most the ceiling's
  bool waits_for_credits = false;
};
// The same with the credits that the link has: what a credit's round trip over the wire leaves. The
// host frees a buffer as soon as a message is in it, the device `device_hold_ns` later.
[[nodiscard]] Result<CxlLinkRate> cxl_link_rate(const CxlLinkSpec& spec, double read_share,
                                                double device_hold_ns);

}  // namespace godbox::emulator::model
