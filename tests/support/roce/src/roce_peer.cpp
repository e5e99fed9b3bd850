// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/crc32.h>
#include <godbox/roce/icrc.h>
#include <godbox_test/roce_peer.h>

#include <array>

namespace godbox::test {

using roce::Opcode;
using roce::Packet;

Bytes roce_frame(const roce::FrameHeader& header, Packet packet, ConstSpan payload) {
  packet.payload = payload;
  std::array<std::byte, roce::kHeaderBytesMax> transport{};
  const std::size_t transport_bytes = roce::encode_headers(packet, transport);
  const std::size_t pad = roce::pad_bytes(payload.size());
  std::array<std::byte, roce::kFrameHeaderBytesMax> before{};
  const std::size_t before_bytes = roce::encode_frame_header(
      header, transport_bytes + payload.size() + pad + roce::kIcrcBytes, before);
  Bytes frame(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(before_bytes));
  frame.insert(frame.end(), transport.begin(),
               transport.begin() + static_cast<std::ptrdiff_t>(transport_bytes));
  frame.insert(frame.end(), payload.begin(), payload.end());
  frame.resize(frame.size() + pad);
  std::array<std::byte, roce::kIcrcBytes> icrc{};
  roce::store_icrc(roce::icrc_begin(ConstSpan(frame).subspan(roce::ethernet_header_bytes(header))),
                   icrc);
  frame.insert(frame.end(), icrc.begin(), icrc.end());
  return frame;
}

std::optional<RoceAnswer> answer_to(const roce::FrameHeader& asker, ConstSpan bytes) {
  roce::Frame frame;
  GODBOX_ASSERT(roce::decode_frame(bytes, frame) == roce::FrameKind::roce);
  GODBOX_ASSERT(roce::has_right_icrc(frame));
  if (frame.header.destination != asker.source) {
    return std::nullopt;
  }
  GODBOX_ASSERT(frame.header.destination_ip == asker.source_ip);
  RoceAnswer answer;
  answer.header = frame.header;
  GODBOX_ASSERT(roce::decode_packet(frame.packet, answer.packet) == roce::Malformed::no);
  answer.payload.assign(answer.packet.payload.begin(), answer.packet.payload.end());
  answer.packet.payload = {};
  return answer;
}

RocePeer::RocePeer(RoceEnd& end, emulator::QueuePairOptions options) : end_(end) {
  const auto local = end.port().allot_queue_pair();
  GODBOX_ASSERT(local.has_value());
  number_ = local->number;
  header_.destination = end.port().options().mac;
  header_.source = {2, 0, 0, 0, 0, 1};
  header_.destination_ip = end.port().options().addresses.front();
  header_.source_ip = roce::Gid::of_ipv4({10, 0, 0, 1});
  options.number = number_;
  options.remote_number = roce::QueuePairNumber(kNumber);
  options.first_psn_sent = local->first_psn_sent;
  options.path.destination = header_.source;
  options.path.destination_ip = header_.source_ip;
  GODBOX_ASSERT(end.port().connect_queue_pair(options, end.now()) == Errc::ok);
}

void RocePeer::send(Packet packet, ConstSpan payload) {
  packet.destination_qp = number_;
  send_frame(roce_frame(header_, packet, payload));
}

void RocePeer::send_frame(ConstSpan frame) {
  end_.on_frame(frame);
  pump();
}

void RocePeer::pump() {
  for (;;) {
    const Bytes bytes = end_.take_frame();
    if (bytes.empty()) {
      return;
    }
    std::optional<RoceAnswer> answer = answer_to(header_, bytes);
    GODBOX_ASSERT(answer.has_value());
    GODBOX_ASSERT(answer->packet.destination_qp.value() == kNumber);
    answers_.push_back(std::move(*answer));
  }
}

std::optional<RoceAnswer> RocePeer::take() {
  pump();
  if (answers_.empty()) {
    return std::nullopt;
  }
  std::optional<RoceAnswer> answer = std::move(answers_.front());
  answers_.pop_front();
  return answer;
}

void RocePeer::advance(Duration by) {
  end_.advance(by, [this] { pump(); });
}

void RocePeer::send_read(std::uint32_t psn, RKey key, std::uint64_t address,
                         std::uint32_t length_bytes) {
  send({.opcode = Opcode::read_request,
        .wants_ack = true,
        .psn = roce::Psn(psn),
        .address = address,
        .r_key = key,
        .length_bytes = length_bytes});
}

void RocePeer::send_write(std::uint32_t psn, RKey key, std::uint64_t address, ConstSpan bytes) {
  send({.opcode = Opcode::write_only,
        .wants_ack = true,
        .psn = roce::Psn(psn),
        .address = address,
        .r_key = key,
        .length_bytes = static_cast<std::uint32_t>(bytes.size())},
       bytes);
}

void RocePeer::send_atomic(std::uint32_t psn, Opcode opcode, RKey key, std::uint64_t address,
                           std::uint64_t swap_or_add, std::uint64_t compare) {
  send({.opcode = opcode,
        .wants_ack = true,
        .psn = roce::Psn(psn),
        .address = address,
        .r_key = key,
        .swap_or_add = swap_or_add,
        .compare = compare});
}

}  // namespace godbox::test
