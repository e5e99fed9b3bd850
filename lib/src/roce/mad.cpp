// SPDX-License-Identifier: Apache-2.0
#include "big_endian.h"
#include <godbox/assert.h>
#include <godbox/roce/mad.h>

#include <algorithm>
#include <cstring>

namespace godbox::roce {
namespace {

constexpr std::uint8_t kCmaVersion = 0;
constexpr std::size_t kIpv4AddressAt = 12;  // in an address of 16 bytes

template <std::size_t N>
void copy_data(const std::array<std::uint8_t, N>& from, std::uint8_t (&to)[N]) {
  std::copy(from.begin(), from.end(), to);
}
template <std::size_t N>
void copy_data(const std::uint8_t (&from)[N], std::array<std::uint8_t, N>& to) {
  std::copy_n(from, N, to.begin());
}

std::uint8_t bits(unsigned value, unsigned shift) {
  return static_cast<std::uint8_t>(value << shift);
}
std::uint8_t field(std::uint8_t from, unsigned shift, unsigned width) {
  return static_cast<std::uint8_t>(from >> shift & ((1U << width) - 1));
}

Be32 be_id(CommId id) { return be<Be32>(id.value()); }
CommId comm_id(const Be32& from) { return CommId(load(from)); }
Be24 be_number(QueuePairNumber number) { return be<Be24>(number.value()); }
QueuePairNumber number_of(const Be24& from) { return QueuePairNumber(load(from)); }

CmReqSpec to_spec(const CmReq& of) {
  CmReqSpec spec{};
  spec.local_comm_id = be_id(of.local_comm_id);
  spec.service_id = be<Be64>(of.service_id.value());
  spec.local_ca_guid = be<Be64>(of.local_ca_guid);
  spec.local_qpn = be_number(of.local_qpn);
  spec.responder_resources = of.responder_resources;
  spec.initiator_depth = of.initiator_depth;
  spec.transport =
      static_cast<std::uint8_t>(bits(of.remote_response_timeout, 3) | bits(of.transport & 3U, 1) |
                                (of.has_flow_control ? 1U : 0U));
  spec.starting_psn = be<Be24>(of.starting_psn.value());
  spec.retries = bits(of.local_response_timeout, 3) | (of.retry_count & 7U);
  spec.p_key = be<Be16>(of.p_key);
  spec.mtu = bits(of.path_mtu, 4) | (of.rnr_retry_count & 7U);
  spec.cm_retries = static_cast<std::uint8_t>(bits(of.cm_retries_max, 4) | (of.has_srq ? 8U : 0U));
  spec.primary.local_lid = be<Be16>(of.local_lid);
  spec.primary.remote_lid = be<Be16>(of.remote_lid);
  copy_data(of.local_gid.bytes, spec.primary.local_gid);
  copy_data(of.remote_gid.bytes, spec.primary.remote_gid);
  spec.primary.flow_label = be<Be24>(of.flow_label << 4U);
  spec.primary.packet_rate = of.packet_rate & 0x3FU;
  spec.primary.traffic_class = of.traffic_class;
  spec.primary.hop_limit = of.hop_limit;
  spec.primary.service_level =
      static_cast<std::uint8_t>(bits(of.service_level, 4) | (of.is_subnet_local ? 8U : 0U));
  spec.primary.ack_timeout = bits(of.ack_timeout, 3);
  copy_data(of.private_data, spec.private_data);
  return spec;
}

CmReq from_spec(const CmReqSpec& spec) {
  CmReq of;
  of.local_comm_id = comm_id(spec.local_comm_id);
  of.service_id = ServiceId(load(spec.service_id));
  of.local_ca_guid = load(spec.local_ca_guid);
  of.local_qpn = number_of(spec.local_qpn);
  of.responder_resources = spec.responder_resources;
  of.initiator_depth = spec.initiator_depth;
  of.remote_response_timeout = field(spec.transport, 3, 5);
  of.transport = field(spec.transport, 1, 2);
  of.has_flow_control = field(spec.transport, 0, 1) != 0;
  of.starting_psn = Psn(load(spec.starting_psn));
  of.local_response_timeout = field(spec.retries, 3, 5);
  of.retry_count = field(spec.retries, 0, 3);
  of.p_key = load(spec.p_key);
  of.path_mtu = field(spec.mtu, 4, 4);
  of.rnr_retry_count = field(spec.mtu, 0, 3);
  of.cm_retries_max = field(spec.cm_retries, 4, 4);
  of.has_srq = field(spec.cm_retries, 3, 1) != 0;
  of.local_lid = load(spec.primary.local_lid);
  of.remote_lid = load(spec.primary.remote_lid);
  copy_data(spec.primary.local_gid, of.local_gid.bytes);
  copy_data(spec.primary.remote_gid, of.remote_gid.bytes);
  of.flow_label = load(spec.primary.flow_label) >> 4U;
  of.packet_rate = spec.primary.packet_rate & 0x3FU;
  of.traffic_class = spec.primary.traffic_class;
  of.hop_limit = spec.primary.hop_limit;
  of.service_level = field(spec.primary.service_level, 4, 4);
  of.is_subnet_local = field(spec.primary.service_level, 3, 1) != 0;
  of.ack_timeout = field(spec.primary.ack_timeout, 3, 5);
  copy_data(spec.private_data, of.private_data);
  return of;
}

CmRepSpec to_spec(const CmRep& of) {
  CmRepSpec spec{};
  spec.local_comm_id = be_id(of.local_comm_id);
  spec.remote_comm_id = be_id(of.remote_comm_id);
  spec.local_qpn = be_number(of.local_qpn);
  spec.starting_psn = be<Be24>(of.starting_psn.value());
  spec.responder_resources = of.responder_resources;
  spec.initiator_depth = of.initiator_depth;
  spec.ack_delay =
      static_cast<std::uint8_t>(bits(of.target_ack_delay, 3) | (of.has_flow_control ? 1U : 0U));
  spec.rnr_retries =
      static_cast<std::uint8_t>(bits(of.rnr_retry_count, 5) | (of.has_srq ? 0x10U : 0U));
  spec.local_ca_guid = be<Be64>(of.local_ca_guid);
  copy_data(of.private_data, spec.private_data);
  return spec;
}

CmRep from_spec(const CmRepSpec& spec) {
  CmRep of;
  of.local_comm_id = comm_id(spec.local_comm_id);
  of.remote_comm_id = comm_id(spec.remote_comm_id);
  of.local_qpn = number_of(spec.local_qpn);
  of.starting_psn = Psn(load(spec.starting_psn));
  of.responder_resources = spec.responder_resources;
  of.initiator_depth = spec.initiator_depth;
  of.target_ack_delay = field(spec.ack_delay, 3, 5);
  of.has_flow_control = field(spec.ack_delay, 0, 1) != 0;
  of.rnr_retry_count = field(spec.rnr_retries, 5, 3);
  of.has_srq = field(spec.rnr_retries, 4, 1) != 0;
  of.local_ca_guid = load(spec.local_ca_guid);
  copy_data(spec.private_data, of.private_data);
  return of;
}

CmRtuSpec to_spec(const CmRtu& of) {
  CmRtuSpec spec{.local_comm_id = be_id(of.local_comm_id),
                 .remote_comm_id = be_id(of.remote_comm_id),
                 .private_data = {}};
  copy_data(of.private_data, spec.private_data);
  return spec;
}

CmRtu rtu_from(const CmRtuSpec& spec) {
  CmRtu of{.local_comm_id = comm_id(spec.local_comm_id),
           .remote_comm_id = comm_id(spec.remote_comm_id)};
  copy_data(spec.private_data, of.private_data);
  return of;
}

CmRtuSpec to_spec(const CmDrep& of) {
  return {.local_comm_id = be_id(of.local_comm_id),
          .remote_comm_id = be_id(of.remote_comm_id),
          .private_data = {}};
}

CmDrep drep_from(const CmRtuSpec& spec) {
  return {.local_comm_id = comm_id(spec.local_comm_id),
          .remote_comm_id = comm_id(spec.remote_comm_id)};
}

CmRejSpec to_spec(const CmRej& of) {
  CmRejSpec spec{};
  spec.local_comm_id = be_id(of.local_comm_id);
  spec.remote_comm_id = be_id(of.remote_comm_id);
  spec.rejected = bits(static_cast<unsigned>(of.rejected), 6);
  spec.info_bytes = bits(of.info_bytes, 1);
  spec.reason = be<Be16>(static_cast<std::uint16_t>(of.reason));
  copy_data(of.info, spec.info);
  copy_data(of.private_data, spec.private_data);
  return spec;
}

CmRej from_spec(const CmRejSpec& spec) {
  CmRej of;
  of.local_comm_id = comm_id(spec.local_comm_id);
  of.remote_comm_id = comm_id(spec.remote_comm_id);
  of.rejected = static_cast<CmAnswered>(field(spec.rejected, 6, 2));
  of.info_bytes = std::min<std::uint8_t>(field(spec.info_bytes, 1, 7), sizeof(spec.info));
  of.reason = static_cast<RejReason>(load(spec.reason));
  copy_data(spec.info, of.info);
  copy_data(spec.private_data, of.private_data);
  return of;
}

CmMraSpec to_spec(const CmMra& of) {
  return {.local_comm_id = be_id(of.local_comm_id),
          .remote_comm_id = be_id(of.remote_comm_id),
          .received = bits(static_cast<unsigned>(of.received), 6),
          .service_timeout = bits(of.service_timeout, 3),
          .private_data = {}};
}

CmMra from_spec(const CmMraSpec& spec) {
  return {.local_comm_id = comm_id(spec.local_comm_id),
          .remote_comm_id = comm_id(spec.remote_comm_id),
          .received = static_cast<CmAnswered>(field(spec.received, 6, 2)),
          .service_timeout = field(spec.service_timeout, 3, 5)};
}

CmDreqSpec to_spec(const CmDreq& of) {
  CmDreqSpec spec{};
  spec.local_comm_id = be_id(of.local_comm_id);
  spec.remote_comm_id = be_id(of.remote_comm_id);
  spec.remote_qpn = be_number(of.remote_qpn);
  copy_data(of.private_data, spec.private_data);
  return spec;
}

CmDreq from_spec(const CmDreqSpec& spec) {
  CmDreq of;
  of.local_comm_id = comm_id(spec.local_comm_id);
  of.remote_comm_id = comm_id(spec.remote_comm_id);
  of.remote_qpn = number_of(spec.remote_qpn);
  copy_data(spec.private_data, of.private_data);
  return of;
}

CmSidrReqSpec to_spec(const CmSidrReq& of) {
  return {.request_id = be<Be32>(of.request_id),
          .p_key = be<Be16>(of.p_key),
          .reserved = {},
          .service_id = be<Be64>(of.service_id.value()),
          .private_data = {}};
}

CmSidrReq from_spec(const CmSidrReqSpec& spec) {
  return {.request_id = load(spec.request_id),
          .p_key = load(spec.p_key),
          .service_id = ServiceId(load(spec.service_id))};
}

CmSidrRepSpec to_spec(const CmSidrRep& of) {
  CmSidrRepSpec spec{};
  spec.request_id = be<Be32>(of.request_id);
  spec.status = of.status;
  spec.service_id = be<Be64>(of.service_id.value());
  return spec;
}

CmSidrRep from_spec(const CmSidrRepSpec& spec) {
  return {.request_id = load(spec.request_id),
          .status = spec.status,
          .service_id = ServiceId(load(spec.service_id))};
}

struct AttributeOf {
  CmAttribute operator()(const CmReq&) const { return CmAttribute::req; }
  CmAttribute operator()(const CmRep&) const { return CmAttribute::rep; }
  CmAttribute operator()(const CmRtu&) const { return CmAttribute::rtu; }
  CmAttribute operator()(const CmRej&) const { return CmAttribute::rej; }
  CmAttribute operator()(const CmMra&) const { return CmAttribute::mra; }
  CmAttribute operator()(const CmDreq&) const { return CmAttribute::dreq; }
  CmAttribute operator()(const CmDrep&) const { return CmAttribute::drep; }
  CmAttribute operator()(const CmSidrReq&) const { return CmAttribute::sidr_req; }
  CmAttribute operator()(const CmSidrRep&) const { return CmAttribute::sidr_rep; }
};

std::optional<CmMessage> decode_message(CmAttribute attribute, const std::byte* at) {
  switch (attribute) {
    case CmAttribute::req:
      return from_spec(read_spec<CmReqSpec>(at));
    case CmAttribute::mra:
      return from_spec(read_spec<CmMraSpec>(at));
    case CmAttribute::rej:
      return from_spec(read_spec<CmRejSpec>(at));
    case CmAttribute::rep:
      return from_spec(read_spec<CmRepSpec>(at));
    case CmAttribute::rtu:
      return rtu_from(read_spec<CmRtuSpec>(at));
    case CmAttribute::dreq:
      return from_spec(read_spec<CmDreqSpec>(at));
    case CmAttribute::drep:
      return drep_from(read_spec<CmRtuSpec>(at));
    case CmAttribute::sidr_req:
      return from_spec(read_spec<CmSidrReqSpec>(at));
    case CmAttribute::sidr_rep:
      return from_spec(read_spec<CmSidrRepSpec>(at));
    case CmAttribute::lap:
    case CmAttribute::apr:
      break;
  }
  return std::nullopt;
}

void store_address(const Gid& gid, std::uint8_t (&to)[16]) {
  std::fill(std::begin(to), std::end(to), std::uint8_t{0});
  if (gid.is_ipv4()) {
    std::copy(gid.bytes.begin() + kIpv4AddressAt, gid.bytes.end(), to + kIpv4AddressAt);
  } else {
    copy_data(gid.bytes, to);
  }
}

Gid load_address(const std::uint8_t (&from)[16], bool is_ipv4) {
  if (is_ipv4) {
    return Gid::of_ipv4({from[12], from[13], from[14], from[15]});
  }
  Gid gid;
  copy_data(from, gid.bytes);
  return gid;
}

}  // namespace

void encode_mad(const CmMad& mad, std::span<std::byte, kMadBytes> out) {
  const CmAttribute attribute = std::visit(AttributeOf(), mad.message);
  std::byte* const at = write_spec(
      out.data(), MadHeaderSpec{.base_version = kMadBaseVersion,
                                .management_class = kMadClassConnections,
                                .class_version = kMadClassVersion,
                                .method = kMadMethodSend,
                                .status = {},
                                .class_specific = {},
                                .transaction_id = be<Be64>(mad.transaction_id),
                                .attribute_id = be<Be16>(static_cast<std::uint16_t>(attribute)),
                                .reserved = {},
                                .attribute_modifier = {}});
  std::visit([&](const auto& message) { write_spec(at, to_spec(message)); }, mad.message);
}

std::optional<CmMad> decode_mad(ConstSpan bytes) {
  if (bytes.size() != kMadBytes) {
    return std::nullopt;
  }
  const auto header = read_spec<MadHeaderSpec>(bytes.data());
  const bool is_ours = header.base_version == kMadBaseVersion &&
                       header.management_class == kMadClassConnections &&
                       header.class_version == kMadClassVersion && header.method == kMadMethodSend;
  if (!is_ours) {
    return std::nullopt;
  }
  std::optional<CmMessage> message = decode_message(
      static_cast<CmAttribute>(load(header.attribute_id)), bytes.data() + sizeof(MadHeaderSpec));
  if (!message) {
    return std::nullopt;
  }
  return CmMad{.transaction_id = load(header.transaction_id), .message = *message};
}

void encode_ip_header(const CmIpHeader& header, std::span<std::uint8_t, 92> private_data) {
  GODBOX_ASSERT(header.source.is_ipv4() == header.destination.is_ipv4());
  CmIpHeaderSpec spec{};
  spec.version = kCmaVersion;
  spec.ip_version = bits(header.source.is_ipv4() ? 4U : 6U, 4);
  spec.source_port = be<Be16>(header.source_port);
  store_address(header.source, spec.source_address);
  store_address(header.destination, spec.destination_address);
  std::memcpy(private_data.data(), &spec, sizeof(spec));
}

std::optional<CmIpHeader> decode_ip_header(std::span<const std::uint8_t, 92> private_data) {
  CmIpHeaderSpec spec{};
  std::memcpy(&spec, private_data.data(), sizeof(spec));
  const std::uint8_t ip_version = field(spec.ip_version, 4, 4);
  if (spec.version != kCmaVersion || (ip_version != 4 && ip_version != 6)) {
    return std::nullopt;
  }
  return CmIpHeader{.source_port = load(spec.source_port),
                    .source = load_address(spec.source_address, ip_version == 4),
                    .destination = load_address(spec.destination_address, ip_version == 4)};
}

}  // namespace godbox::roce
