// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox_test/cm_peer.h>

namespace godbox::test {

CmPeer::CmPeer(RoceEnd& end, std::uint8_t host) : end_(end), guid_(0x0200'00FF'FE00'0000 | host) {
  header_.destination = end.port().options().mac;
  header_.source = {2, 0, 0, 0, 1, host};
  header_.destination_ip = end.port().options().addresses.front();
  header_.source_ip = roce::Gid::of_ipv4({10, 0, 1, host});
}

roce::CmReq CmPeer::req(roce::ServiceId service) {
  roce::CmReq req;
  req.local_comm_id = roce::CommId(0xC000'0000 | next_number_);
  req.service_id = service;
  req.local_ca_guid = guid_;
  req.local_qpn = roce::QueuePairNumber(next_number_++);
  req.responder_resources = 4;
  req.initiator_depth = 8;
  req.starting_psn = roce::Psn(0xABCDEF);
  req.retry_count = 7;
  req.rnr_retry_count = 7;
  req.path_mtu = 3;
  req.local_gid = header_.source_ip;
  req.remote_gid = header_.destination_ip;
  req.ack_timeout = 17;
  roce::encode_ip_header(
      {.source_port = 40'000, .source = header_.source_ip, .destination = header_.destination_ip},
      req.private_data);
  return req;
}

roce::CmReq CmPeer::pool_req(const emulator::SessionInfo& session) {
  roce::CmReq of = req(roce::kPoolService);
  roce::encode_pool_hello(
      {.session = session.id, .secret = session.secret},
      std::span(of.private_data).last<roce::kCmUserDataBytes>().first<roce::kPoolHelloBytes>());
  return of;
}

Bytes CmPeer::frame_of(const roce::CmMessage& message, std::uint64_t transaction_id) const {
  std::array<std::byte, roce::kMadBytes> payload{};
  roce::encode_mad({transaction_id, message}, payload);
  return roce_frame(header_,
                    {.opcode = roce::Opcode::ud_send_only,
                     .destination_qp = roce::QueuePairNumber(roce::kGsiQueuePair),
                     .q_key = roce::kGsiQKey,
                     .source_qp = roce::QueuePairNumber(roce::kGsiQueuePair)},
                    payload);
}

void CmPeer::send(const roce::CmMessage& message, std::uint64_t transaction_id) {
  end_.on_frame(frame_of(message, transaction_id));
  pump();
}

void CmPeer::send_packet(roce::Packet packet, ConstSpan payload) {
  end_.on_frame(roce_frame(header_, packet, payload));
  pump();
}

void CmPeer::pump() {
  for (Bytes bytes = end_.take_frame(); !bytes.empty(); bytes = end_.take_frame()) {
    std::optional<RoceAnswer> answer = answer_to(header_, bytes);
    if (!answer) {
      continue;
    }
    if (answer->packet.destination_qp.value() == roce::kGsiQueuePair) {
      GODBOX_ASSERT(answer->packet.opcode == roce::Opcode::ud_send_only);
      GODBOX_ASSERT(answer->packet.q_key == roce::kGsiQKey);
      const std::optional<roce::CmMad> mad = roce::decode_mad(answer->payload);
      GODBOX_ASSERT(mad.has_value());
      mads_.push_back(*mad);
      continue;
    }
    packets_.push_back(std::move(*answer));
  }
}

std::optional<roce::CmMad> CmPeer::take_mad() {
  pump();
  if (mads_.empty()) {
    return std::nullopt;
  }
  const roce::CmMad mad = mads_.front();
  mads_.pop_front();
  return mad;
}

std::optional<RoceAnswer> CmPeer::take_packet() {
  pump();
  if (packets_.empty()) {
    return std::nullopt;
  }
  std::optional<RoceAnswer> answer = std::move(packets_.front());
  packets_.pop_front();
  return answer;
}

void CmPeer::advance(Duration by) {
  end_.advance(by, [this] { pump(); });
}

}  // namespace godbox::test
