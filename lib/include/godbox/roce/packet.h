// SPDX-License-Identifier: Apache-2.0
//
// Codec of InfiniBand transport packets (packet_spec.h): BTH, the extension headers that an opcode
// has, payload and padding, without the ICRC (icrc.h) and what is before it (frame.h).
// Source: IBTA volume 1, chapter 9; golden vectors in tests/vectors/roce.
// Thread-safety: pure functions over plain values. Ownership: a decoded payload points into the
// decoded bytes. Units: bytes. Errors: Malformed; decoders read nothing out of bounds. Nothing
// allocates.
#pragma once

#include <godbox/roce/packet_spec.h>
#include <godbox/units.h>

#include <optional>
#include <string_view>

namespace godbox::roce {

// A queue pair's number: 24 bits.
using QueuePairNumber = Id<struct QueuePairNumberTag, std::uint32_t>;

// A packet sequence number: 24 bits, in a circle of which one half is ahead (9.7.1, 9.7.4.1.1).
class Psn {
 public:
  static constexpr std::uint32_t kMask = 0xFF'FFFF;
  constexpr Psn() = default;
  constexpr explicit Psn(std::uint32_t value) : value_(value & kMask) {}
  [[nodiscard]] constexpr std::uint32_t value() const { return value_; }
  constexpr bool operator==(const Psn&) const = default;
  friend constexpr Psn operator+(Psn psn, std::uint32_t count) { return Psn(psn.value_ + count); }
  // How far `to` is ahead of `from`: -2^23 to 2^23 - 1.
  [[nodiscard]] friend constexpr std::int32_t distance(Psn from, Psn to) {
    const std::uint32_t ahead = (to.value_ - from.value_) & kMask;
    return static_cast<std::int32_t>(ahead << 8U) >> 8;
  }

 private:
  std::uint32_t value_ = 0;
};

// Which extension headers an opcode has, in the order in which they lie, and what payload.
enum class Payload : std::uint8_t {
  none,
  path_mtu,         // exactly: of all but the last packet of a message
  up_to_path_mtu,   // and at least one byte: of the last
  any_to_path_mtu,  // of an only packet
  eight_bytes,      // of ATOMIC WRITE
};
struct OpcodeFormat {
  bool deth = false, feth = false, reth = false, atomic_eth = false, aeth = false;
  bool atomic_ack_eth = false, immediate = false, ieth = false;
  Payload payload = Payload::none;

  [[nodiscard]] constexpr std::size_t header_bytes() const {
    return sizeof(BthSpec) + (deth ? sizeof(DethSpec) : 0) + (feth ? sizeof(FethSpec) : 0) +
           (reth ? sizeof(RethSpec) : 0) + (atomic_eth ? sizeof(AtomicEthSpec) : 0) +
           (aeth ? sizeof(AethSpec) : 0) + (atomic_ack_eth ? sizeof(AtomicAckEthSpec) : 0) +
           (immediate ? sizeof(ImmediateSpec) : 0) + (ieth ? sizeof(IethSpec) : 0);
  }
};
// Nothing for opcodes that are none of ours: unreliable connections, RD, and reserved ones.
[[nodiscard]] std::optional<OpcodeFormat> format_of(Opcode opcode);

// Fields that the opcode has not are zeros.
struct Packet {
  Opcode opcode = Opcode::acknowledge;
  bool is_solicited = false;
  bool is_migrated = false;  // MigReq: ConnectX sets it, Linux rxe does not; it means nothing here
  bool is_padded = true;     // decoded: to a multiple of four bytes, as it has to be
  std::uint16_t p_key = kDefaultPKey;
  bool fecn = false, becn = false;
  QueuePairNumber destination_qp{};
  bool wants_ack = false;
  Psn psn{};

  std::uint32_t q_key = 0;  // DETH
  QueuePairNumber source_qp{};
  std::uint64_t address = 0;  // RETH, AtomicETH
  RKey r_key{};               // RETH, AtomicETH, IETH
  std::uint32_t length_bytes = 0;
  std::uint64_t swap_or_add = 0, compare = 0;
  std::uint8_t syndrome = 0;  // AETH
  std::uint32_t msn = 0;
  std::uint64_t original = 0;  // AtomicAckETH
  std::uint32_t immediate = 0;
  std::uint32_t flush_flags = 0;

  ConstSpan payload{};
};

enum class Malformed : std::uint8_t {
  no,
  too_short,          // for the BTH, the opcode's headers or its padding
  transport_version,  // TVer is not 0
  unknown_opcode,
  payload_size,  // bytes where the opcode has none, or other than the eight of ATOMIC WRITE
};
[[nodiscard]] std::string_view to_string(Malformed why);

// `bytes` begin with the BTH and end before the ICRC. What depends on a queue pair, such as its
// path MTU, is the receiver's to check. `out` is complete only for Malformed::no.
[[nodiscard]] Malformed decode_packet(ConstSpan bytes, Packet& out);

// Writes BTH and extension headers for a payload of packet.payload.size() bytes; returns how many
// bytes. `out` holds kHeaderBytesMax. The opcode has a format; numbers of 24 bits are in range.
std::size_t encode_headers(const Packet& packet, std::span<std::byte, kHeaderBytesMax> out);
// The same for a payload that lies elsewhere, perhaps in pieces: packet.payload means nothing.
std::size_t encode_headers(const Packet& packet, std::size_t payload_bytes,
                           std::span<std::byte, kHeaderBytesMax> out);
// Zero bytes behind a payload: to a multiple of four.
[[nodiscard]] constexpr std::size_t pad_bytes(std::size_t payload_bytes) {
  return (4 - payload_bytes % 4) % 4;
}

}  // namespace godbox::roce
