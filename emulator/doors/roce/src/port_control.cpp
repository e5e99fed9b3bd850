// SPDX-License-Identifier: Apache-2.0
#include "port_impl.h"
#include <godbox/roce/icrc.h>
#include <godbox/roce/link.h>

#include <algorithm>

namespace godbox::emulator {

void RocePort::Impl::on_link(ConstSpan bytes, TimePoint now) {
  RocePortCounters& counters = context.counters;
  roce::LinkMessage message;
  switch (roce::decode_link(bytes, message)) {
    case roce::LinkKind::other:
      counters.dropped_other.add();
      return;
    case roce::LinkKind::malformed:
      counters.dropped_malformed.add();
      return;
    default:
      break;
  }
  const std::optional<roce::LinkMessage> answer =
      roce::answer_of(message, options.mac, options.addresses);
  if (!answer) {
    counters.link_frames.add();
    return;
  }
  if (!link_limit.take(now)) {
    counters.dropped_limit.add();
    return;
  }
  counters.link_answers.add();
  queue_control(roce::encode_link(*answer));
}

void RocePort::Impl::on_management(const roce::Frame& frame, const roce::Packet& in,
                                   TimePoint now) {
  const std::optional<roce::CmMad> mad = roce::decode_mad(in.payload);
  if (!mad) {
    context.counters.dropped_malformed.add();
    return;
  }
  context.counters.management.add();
  connections.on_mad(frame.header, in.source_qp, *mad, now);
}

roce::FrameHeader RocePort::Impl::path_back(const roce::FrameHeader& header) const {
  return {.destination = header.source,
          .source = options.mac,
          .vlan = header.vlan,
          .source_ip = header.destination_ip,
          .destination_ip = header.source_ip,
          .source_port = roce::udp_source_port(roce::kGsiQueuePair, roce::kGsiQueuePair)};
}

void RocePort::Impl::queue_mad(const roce::FrameHeader& path, roce::QueuePairNumber to,
                               roce::Psn psn, const roce::CmMad& mad) {
  std::array<std::byte, roce::kMadBytes> payload;
  roce::encode_mad(mad, payload);
  const roce::Packet datagram{.opcode = roce::Opcode::ud_send_only,
                              .destination_qp = to,
                              .psn = psn,
                              .q_key = roce::kGsiQKey,
                              .source_qp = roce::QueuePairNumber(roce::kGsiQueuePair),
                              .payload = payload};
  std::array<std::byte, roce::kHeaderBytesMax> transport;
  const std::size_t transport_bytes = roce::encode_headers(datagram, transport);
  std::array<std::byte, roce::kFrameHeaderBytesMax> before;
  const std::size_t before_bytes =
      roce::encode_frame_header(path, transport_bytes + payload.size() + roce::kIcrcBytes, before);
  std::vector<std::byte> frame(before_bytes + transport_bytes + payload.size() + roce::kIcrcBytes);
  auto at = std::copy_n(before.begin(), before_bytes, frame.begin());
  at = std::copy_n(transport.begin(), transport_bytes, at);
  std::ranges::copy(payload, at);
  const MutableSpan whole(frame);
  const ConstSpan covered = whole.first(whole.size() - roce::kIcrcBytes);
  roce::store_icrc(roce::icrc_begin(covered.subspan(roce::ethernet_header_bytes(path))),
                   whole.last<roce::kIcrcBytes>());
  queue_control(std::move(frame));
}

// What is lost here is asked for again by whoever wanted it.
void RocePort::Impl::queue_control(std::vector<std::byte> frame) {
  if (control_frames.size() >= kRoceControlFramesMax || frame.size() > kOutHeaderBytesMax) {
    context.counters.control_dropped.add();
    return;
  }
  control_frames.push_back(std::move(frame));
}

std::uint64_t RocePort::Impl::ca_guid() const {
  const MacAddress& mac = options.mac;
  const std::array<std::uint8_t, 8> eui{
      static_cast<std::uint8_t>(mac[0] ^ 2U), mac[1], mac[2], 0xFF, 0xFE, mac[3], mac[4], mac[5]};
  std::uint64_t guid = 0;
  for (const std::uint8_t byte : eui) {
    guid = guid << 8U | byte;
  }
  return guid;
}

}  // namespace godbox::emulator
