// SPDX-License-Identifier: Apache-2.0
#include "big_endian.h"
#include <godbox/assert.h>
#include <godbox/roce/packet.h>

namespace godbox::roce {
namespace {

constexpr std::uint8_t kSolicited = 0x80, kMigrated = 0x40, kVersionMask = 0x0F;
constexpr std::uint8_t kFecn = 0x80, kBecn = 0x40;
constexpr std::uint8_t kAckRequest = 0x80;

// Takes one header after the other; all of them are there.
class HeaderReader {
 public:
  explicit HeaderReader(const std::byte* at) : at_(at) {}
  template <class Spec>
  Spec take() {
    const Spec spec = read_spec<Spec>(at_);
    at_ += sizeof(Spec);
    return spec;
  }

 private:
  const std::byte* at_;
};

void read_bth(const BthSpec& bth, Packet& out) {
  out.is_solicited = (bth.flags & kSolicited) != 0;
  out.is_migrated = (bth.flags & kMigrated) != 0;
  out.p_key = load(bth.p_key);
  out.fecn = (bth.congestion & kFecn) != 0;
  out.becn = (bth.congestion & kBecn) != 0;
  out.destination_qp = QueuePairNumber(load(bth.destination_qp));
  out.wants_ack = (bth.ack & kAckRequest) != 0;
  out.psn = Psn(load(bth.psn));
}

void read_extensions(const OpcodeFormat& format, HeaderReader reader, Packet& out) {
  if (format.deth) {
    const auto deth = reader.take<DethSpec>();
    out.q_key = load(deth.q_key);
    out.source_qp = QueuePairNumber(load(deth.source_qp));
  }
  if (format.feth) {
    out.flush_flags = load(reader.take<FethSpec>().flags);
  }
  if (format.reth) {
    const auto reth = reader.take<RethSpec>();
    out.address = load(reth.virtual_address);
    out.r_key = RKey(load(reth.r_key));
    out.length_bytes = load(reth.dma_length);
  }
  if (format.atomic_eth) {
    const auto atomic = reader.take<AtomicEthSpec>();
    out.address = load(atomic.virtual_address);
    out.r_key = RKey(load(atomic.r_key));
    out.swap_or_add = load(atomic.swap_or_add);
    out.compare = load(atomic.compare);
  }
  if (format.aeth) {
    const auto aeth = reader.take<AethSpec>();
    out.syndrome = aeth.syndrome;
    out.msn = load(aeth.msn);
  }
  if (format.atomic_ack_eth) {
    out.original = load(reader.take<AtomicAckEthSpec>().original);
  }
  if (format.immediate) {
    out.immediate = load(reader.take<ImmediateSpec>().value);
  }
  if (format.ieth) {
    out.r_key = RKey(load(reader.take<IethSpec>().r_key));
  }
}

bool has_allowed_size(Payload payload, std::size_t bytes) {
  switch (payload) {
    case Payload::none:
      return bytes == 0;
    case Payload::eight_bytes:
      return bytes == 8;
    case Payload::path_mtu:
    case Payload::up_to_path_mtu:
    case Payload::any_to_path_mtu:
      return true;
  }
  return false;
}

BthSpec bth_of(const Packet& packet, std::size_t payload_bytes) {
  GODBOX_ASSERT(packet.destination_qp.value() <= Psn::kMask);
  const std::size_t flags = (packet.is_solicited ? kSolicited : 0U) |
                            (packet.is_migrated ? kMigrated : 0U) | pad_bytes(payload_bytes) << 4U;
  const unsigned congestion = (packet.fecn ? kFecn : 0U) | (packet.becn ? kBecn : 0U);
  return {.opcode = static_cast<std::uint8_t>(packet.opcode),
          .flags = static_cast<std::uint8_t>(flags),
          .p_key = be<Be16>(packet.p_key),
          .congestion = static_cast<std::uint8_t>(congestion),
          .destination_qp = be<Be24>(packet.destination_qp.value()),
          .ack = packet.wants_ack ? kAckRequest : std::uint8_t{0},
          .psn = be<Be24>(packet.psn.value())};
}

std::byte* write_extensions(const OpcodeFormat& format, const Packet& packet, std::byte* at) {
  if (format.deth) {
    GODBOX_ASSERT(packet.source_qp.value() <= Psn::kMask);
    at = write_spec(at, DethSpec{.q_key = be<Be32>(packet.q_key),
                                 .reserved = 0,
                                 .source_qp = be<Be24>(packet.source_qp.value())});
  }
  if (format.feth) {
    at = write_spec(at, FethSpec{.flags = be<Be32>(packet.flush_flags)});
  }
  if (format.reth) {
    at = write_spec(at, RethSpec{.virtual_address = be<Be64>(packet.address),
                                 .r_key = be<Be32>(packet.r_key.value()),
                                 .dma_length = be<Be32>(packet.length_bytes)});
  }
  if (format.atomic_eth) {
    at = write_spec(at, AtomicEthSpec{.virtual_address = be<Be64>(packet.address),
                                      .r_key = be<Be32>(packet.r_key.value()),
                                      .swap_or_add = be<Be64>(packet.swap_or_add),
                                      .compare = be<Be64>(packet.compare)});
  }
  if (format.aeth) {
    GODBOX_ASSERT(packet.msn <= Psn::kMask);
    at = write_spec(at, AethSpec{.syndrome = packet.syndrome, .msn = be<Be24>(packet.msn)});
  }
  if (format.atomic_ack_eth) {
    at = write_spec(at, AtomicAckEthSpec{.original = be<Be64>(packet.original)});
  }
  if (format.immediate) {
    at = write_spec(at, ImmediateSpec{.value = be<Be32>(packet.immediate)});
  }
  if (format.ieth) {
    at = write_spec(at, IethSpec{.r_key = be<Be32>(packet.r_key.value())});
  }
  return at;
}

}  // namespace

std::optional<OpcodeFormat> format_of(Opcode opcode) {
  switch (opcode) {
    case Opcode::send_first:
    case Opcode::send_middle:
    case Opcode::write_middle:
    case Opcode::read_response_middle:
      return OpcodeFormat{.payload = Payload::path_mtu};
    case Opcode::send_last:
    case Opcode::write_last:
      return OpcodeFormat{.payload = Payload::up_to_path_mtu};
    case Opcode::send_last_immediate:
    case Opcode::write_last_immediate:
      return OpcodeFormat{.immediate = true, .payload = Payload::up_to_path_mtu};
    case Opcode::send_only:
      return OpcodeFormat{.payload = Payload::any_to_path_mtu};
    case Opcode::send_only_immediate:
      return OpcodeFormat{.immediate = true, .payload = Payload::any_to_path_mtu};
    case Opcode::write_first:
      return OpcodeFormat{.reth = true, .payload = Payload::path_mtu};
    case Opcode::write_only:
      return OpcodeFormat{.reth = true, .payload = Payload::any_to_path_mtu};
    case Opcode::write_only_immediate:
      return OpcodeFormat{.reth = true, .immediate = true, .payload = Payload::any_to_path_mtu};
    case Opcode::read_request:
      return OpcodeFormat{.reth = true};
    case Opcode::read_response_first:
      return OpcodeFormat{.aeth = true, .payload = Payload::path_mtu};
    case Opcode::read_response_last:
      return OpcodeFormat{.aeth = true, .payload = Payload::up_to_path_mtu};
    case Opcode::read_response_only:
      return OpcodeFormat{.aeth = true, .payload = Payload::any_to_path_mtu};
    case Opcode::acknowledge:
      return OpcodeFormat{.aeth = true};
    case Opcode::atomic_acknowledge:
      return OpcodeFormat{.aeth = true, .atomic_ack_eth = true};
    case Opcode::compare_swap:
    case Opcode::fetch_add:
      return OpcodeFormat{.atomic_eth = true};
    case Opcode::send_last_invalidate:
      return OpcodeFormat{.ieth = true, .payload = Payload::up_to_path_mtu};
    case Opcode::send_only_invalidate:
      return OpcodeFormat{.ieth = true, .payload = Payload::any_to_path_mtu};
    case Opcode::flush:
      return OpcodeFormat{.feth = true, .reth = true};
    case Opcode::atomic_write:
      return OpcodeFormat{.reth = true, .payload = Payload::eight_bytes};
    case Opcode::ud_send_only:
      return OpcodeFormat{.deth = true, .payload = Payload::any_to_path_mtu};
    case Opcode::ud_send_only_immediate:
      return OpcodeFormat{.deth = true, .immediate = true, .payload = Payload::any_to_path_mtu};
    case Opcode::congestion_notification:
      return OpcodeFormat{.payload = Payload::any_to_path_mtu};
  }
  return std::nullopt;
}

std::string_view to_string(Malformed why) {
  switch (why) {
    case Malformed::no:
      return "ok";
    case Malformed::too_short:
      return "too_short";
    case Malformed::transport_version:
      return "transport_version";
    case Malformed::unknown_opcode:
      return "unknown_opcode";
    case Malformed::payload_size:
      return "payload_size";
  }
  return "unknown";
}

Malformed decode_packet(ConstSpan bytes, Packet& out) {
  if (bytes.size() < sizeof(BthSpec)) {
    return Malformed::too_short;
  }
  const auto bth = read_spec<BthSpec>(bytes.data());
  if ((bth.flags & kVersionMask) != 0) {
    return Malformed::transport_version;
  }
  const std::optional<OpcodeFormat> format = format_of(static_cast<Opcode>(bth.opcode));
  if (!format) {
    return Malformed::unknown_opcode;
  }
  const std::size_t header_bytes = format->header_bytes();
  const std::size_t pad = (bth.flags >> 4U) & 3U;
  if (bytes.size() < header_bytes + pad) {
    return Malformed::too_short;
  }
  out = {.opcode = static_cast<Opcode>(bth.opcode)};
  read_bth(bth, out);
  read_extensions(*format, HeaderReader(bytes.data() + sizeof(BthSpec)), out);
  out.payload = bytes.subspan(header_bytes, bytes.size() - header_bytes - pad);
  out.is_padded = pad == pad_bytes(out.payload.size());
  return has_allowed_size(format->payload, out.payload.size()) ? Malformed::no
                                                               : Malformed::payload_size;
}

std::size_t encode_headers(const Packet& packet, std::span<std::byte, kHeaderBytesMax> out) {
  return encode_headers(packet, packet.payload.size(), out);
}

std::size_t encode_headers(const Packet& packet, std::size_t payload_bytes,
                           std::span<std::byte, kHeaderBytesMax> out) {
  const std::optional<OpcodeFormat> format = format_of(packet.opcode);
  GODBOX_ASSERT(format && has_allowed_size(format->payload, payload_bytes));
  std::byte* at = write_spec(out.data(), bth_of(packet, payload_bytes));
  at = write_extensions(*format, packet, at);
  return static_cast<std::size_t>(at - out.data());
}

}  // namespace godbox::roce
