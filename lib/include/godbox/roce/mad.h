// SPDX-License-Identifier: Apache-2.0
//
// Codec of connection management's messages (mad_spec.h), as plain values. Fields that concern
// unreliable datagrams, end-to-end contexts and alternate paths are left out: zero when encoded.
// Source: IBTA volume 1, chapters 12 and 13; golden vectors in tests/vectors/roce.
// Thread-safety: pure functions over plain values. Ownership: none. Units: in each name; timeouts
// are codes (parameters.h). Errors: decoders answer nothing for what is no such message; they read
// nothing out of bounds. Nothing allocates.
#pragma once

#include <godbox/roce/frame.h>
#include <godbox/roce/mad_spec.h>
#include <godbox/roce/packet.h>
#include <godbox/units.h>

#include <array>
#include <optional>
#include <variant>

namespace godbox::roce {

using CommId = Id<struct CommIdTag, std::uint32_t>;
using ServiceId = Id<struct ServiceIdTag, std::uint64_t>;

struct CmReq {
  CommId local_comm_id;
  ServiceId service_id;
  std::uint64_t local_ca_guid = 0;
  QueuePairNumber local_qpn{};
  std::uint8_t responder_resources = 0, initiator_depth = 0;
  std::uint8_t remote_response_timeout = 20, local_response_timeout = 20;  // of CM messages
  std::uint8_t transport = 0;                                              // 0: RC
  bool has_flow_control = false;
  Psn starting_psn;
  std::uint8_t retry_count = 0, rnr_retry_count = 0;
  std::uint16_t p_key = kDefaultPKey;
  std::uint8_t path_mtu = 3;  // a PathMtu, unless the sender is wrong
  std::uint8_t cm_retries_max = 15;
  bool has_srq = false;
  std::uint16_t local_lid = 0xFFFF, remote_lid = 0xFFFF;
  Gid local_gid, remote_gid;
  std::uint32_t flow_label = 0;
  std::uint8_t packet_rate = 0, traffic_class = 0, hop_limit = 64, service_level = 0;
  bool is_subnet_local = false;
  std::uint8_t ack_timeout = 0;
  std::array<std::uint8_t, 92> private_data{};
  bool operator==(const CmReq&) const = default;
};

struct CmRep {
  CommId local_comm_id, remote_comm_id;
  QueuePairNumber local_qpn{};
  Psn starting_psn;
  std::uint8_t responder_resources = 0, initiator_depth = 0;
  std::uint8_t target_ack_delay = 0;
  bool has_flow_control = false;
  std::uint8_t rnr_retry_count = 0;
  bool has_srq = false;
  std::uint64_t local_ca_guid = 0;
  std::array<std::uint8_t, 196> private_data{};
  bool operator==(const CmRep&) const = default;
};

struct CmRtu {
  CommId local_comm_id, remote_comm_id;
  std::array<std::uint8_t, 224> private_data{};
  bool operator==(const CmRtu&) const = default;
};

struct CmRej {
  CommId local_comm_id, remote_comm_id;
  CmAnswered rejected = CmAnswered::req;
  RejReason reason = RejReason::unsupported;
  std::uint8_t info_bytes = 0;  // at most 72
  std::array<std::uint8_t, 72> info{};
  std::array<std::uint8_t, 148> private_data{};
  bool operator==(const CmRej&) const = default;
};

struct CmMra {
  CommId local_comm_id, remote_comm_id;
  CmAnswered received = CmAnswered::req;
  std::uint8_t service_timeout = 0;
  bool operator==(const CmMra&) const = default;
};

struct CmDreq {
  CommId local_comm_id, remote_comm_id;
  QueuePairNumber remote_qpn{};
  std::array<std::uint8_t, 220> private_data{};
  bool operator==(const CmDreq&) const = default;
};

struct CmDrep {
  CommId local_comm_id, remote_comm_id;
  bool operator==(const CmDrep&) const = default;
};

struct CmSidrReq {
  std::uint32_t request_id = 0;
  std::uint16_t p_key = kDefaultPKey;
  ServiceId service_id;
  bool operator==(const CmSidrReq&) const = default;
};

inline constexpr std::uint8_t kSidrUnsupported = 1;  // no such service
struct CmSidrRep {
  std::uint32_t request_id = 0;
  std::uint8_t status = 0;
  ServiceId service_id;
  bool operator==(const CmSidrRep&) const = default;
};

using CmMessage =
    std::variant<CmReq, CmRep, CmRtu, CmRej, CmMra, CmDreq, CmDrep, CmSidrReq, CmSidrRep>;

struct CmMad {
  std::uint64_t transaction_id = 0;
  CmMessage message;
  bool operator==(const CmMad&) const = default;
};

void encode_mad(const CmMad& mad, std::span<std::byte, kMadBytes> out);
// Nothing for other classes, versions, methods and attributes, and for sizes other than a MAD's.
[[nodiscard]] std::optional<CmMad> decode_mad(ConstSpan bytes);

// What rdma_cm tells of an IP service in a REQ's private data.
struct CmIpHeader {
  std::uint16_t source_port = 0;
  Gid source, destination;
  bool operator==(const CmIpHeader&) const = default;
};
inline constexpr std::size_t kCmUserDataBytes = 92 - sizeof(CmIpHeaderSpec);
// Writes the first 36 bytes of private data; both addresses are of one version.
void encode_ip_header(const CmIpHeader& header, std::span<std::uint8_t, 92> private_data);
// Nothing for another version, or addresses of neither kind.
[[nodiscard]] std::optional<CmIpHeader> decode_ip_header(
    std::span<const std::uint8_t, 92> private_data);
// A port of rdma_cm's port space TCP.
[[nodiscard]] constexpr ServiceId tcp_service(std::uint16_t port) {
  return ServiceId(kServicePrefixTcp | port);
}

}  // namespace godbox::roce
