// SPDX-License-Identifier: Apache-2.0
//
// The serial numbers of a box's CXL devices. A DRAM channel is found by its serial number, never by
// the order in which a kernel probed it; and the number says who owns the channel's bytes (DESIGN
// section 4), so that whoever brings a channel up knows before touching it. A real device keeps its
// maker's serial number: parse() answers nullopt for it.
// A logical device, whose bytes are on all DRAM channels, has a number of its own in the channel's
// place, with the highest bit set.
// Spec: CXL r3.1 8.1.3 (the device serial number of PCIe, 64 bits). Layout, from the top:
// 16 bits "gb", 8 bits owner, 24 bits box, 16 bits DRAM channel, or a set bit and 15 bits LD-ID.
// Thread-safety: plain values and pure functions. Errors: none.
#pragma once

#include <godbox/units.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace godbox::cxl {

// `pool`: served by the box's doors, in a guest through dax only; never a kernel's RAM.
// `bound`: given to one VM as its own memory, as dax or NUMA node; never served.
// `shared`: sealed, and of several VMs to read: through dax only, as a kernel writes to its RAM.
enum class ChannelOwner : std::uint8_t { pool = 1, bound = 2, shared = 3 };
inline constexpr std::array<std::string_view, 3> kChannelOwnerNames = {"pool", "bound", "shared"};

[[nodiscard]] constexpr std::string_view to_string(ChannelOwner owner) {
  return kChannelOwnerNames[static_cast<std::size_t>(owner) - 1];
}
// Whether a kernel may take the bytes as its RAM.
[[nodiscard]] constexpr bool may_be_ram(ChannelOwner owner) { return owner == ChannelOwner::bound; }

// A box's number in the serial numbers of its devices: its epoch's low bits, so that the devices of
// a box that was started anew, whose bytes are others, are not taken for its.
[[nodiscard]] constexpr std::uint32_t box_number(Epoch epoch) {
  return static_cast<std::uint32_t>(epoch.value()) & 0xFFFFFFU;
}

struct ChannelSerial {
  static constexpr std::uint64_t kPrefix = 0x6762;  // "gb"
  static constexpr std::uint32_t kBoxMax = 0xFFFFFF;
  static constexpr std::uint32_t kDeviceBit = 0x8000;

  ChannelOwner owner = ChannelOwner::bound;
  std::uint32_t box = 0;  // tells boxes of one host apart; at most kBoxMax
  DramChannelId dram_channel;

  [[nodiscard]] static constexpr ChannelSerial of_device(ChannelOwner owner, std::uint32_t box,
                                                         LdId device) {
    return {owner, box, DramChannelId(static_cast<std::uint16_t>(kDeviceBit | device.value()))};
  }
  // Of a logical device; nothing for a DRAM channel's.
  [[nodiscard]] constexpr std::optional<LdId> logical_device() const {
    return (dram_channel.value() & kDeviceBit) != 0
               ? std::optional(LdId(static_cast<std::uint16_t>(dram_channel.value() & ~kDeviceBit)))
               : std::nullopt;
  }

  [[nodiscard]] constexpr std::uint64_t value() const {
    return (kPrefix << 48U) | (std::uint64_t{static_cast<std::uint8_t>(owner)} << 40U) |
           (std::uint64_t{box & kBoxMax} << 16U) | dram_channel.value();
  }
  [[nodiscard]] static constexpr std::optional<ChannelSerial> parse(std::uint64_t serial) {
    const auto owner = static_cast<std::uint8_t>(serial >> 40U);
    if (serial >> 48U != kPrefix || owner < 1 || owner > kChannelOwnerNames.size()) {
      return std::nullopt;
    }
    return ChannelSerial{.owner = static_cast<ChannelOwner>(owner),
                         .box = static_cast<std::uint32_t>(serial >> 16U) & kBoxMax,
                         .dram_channel = DramChannelId(static_cast<std::uint16_t>(serial))};
  }
  constexpr bool operator==(const ChannelSerial&) const = default;
};

}  // namespace godbox::cxl
