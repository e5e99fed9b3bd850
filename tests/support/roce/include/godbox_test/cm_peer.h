// SPDX-License-Identifier: Apache-2.0
//
// A client of connection management, played by hand: it sends the messages that a test makes up to
// a port's queue pair 1, and shows what comes back, messages and packets of queue pairs apart.
// Thread-safety: none. Ownership: the end outlives the peer. Errors: an answer that is no RoCE
// frame with a right ICRC asserts; what goes to other hosts is lost.
#pragma once

#include <godbox/roce/mad.h>
#include <godbox/roce/pool_hello.h>
#include <godbox_test/roce_peer.h>

#include <deque>
#include <optional>

namespace godbox::test {

class CmPeer {
 public:
  // `host`: the last byte of its addresses and its GUID.
  explicit CmPeer(RoceEnd& end, std::uint8_t host = 1);

  // A REQ as Linux sends one, of a new communication id and queue pair.
  [[nodiscard]] roce::CmReq req(roce::ServiceId service);
  // The same for the pool's service, with the proof of a session.
  [[nodiscard]] roce::CmReq pool_req(const emulator::SessionInfo& session);
  void send(const roce::CmMessage& message, std::uint64_t transaction_id = kTransaction);
  // The frame that send() sends.
  [[nodiscard]] Bytes frame_of(const roce::CmMessage& message,
                               std::uint64_t transaction_id = kTransaction) const;
  // A request over a queue pair of the port.
  void send_packet(roce::Packet packet, ConstSpan payload = {});
  [[nodiscard]] roce::FrameHeader& header() { return header_; }

  // The next message, that has to be of this kind.
  template <class Message>
  [[nodiscard]] std::optional<Message> take() {
    const std::optional<roce::CmMad> mad = take_mad();
    return mad && std::holds_alternative<Message>(mad->message)
               ? std::optional(std::get<Message>(mad->message))
               : std::nullopt;
  }
  [[nodiscard]] std::optional<roce::CmMad> take_mad();
  [[nodiscard]] std::optional<RoceAnswer> take_packet();
  // Time passes, with the port's timers at their times.
  void advance(Duration by);

  static constexpr std::uint64_t kTransaction = 0x1122'3344'5566'7788;

 private:
  void pump();

  RoceEnd& end_;
  roce::FrameHeader header_;
  std::uint64_t guid_;
  std::uint32_t next_number_ = 0x100;
  std::deque<roce::CmMad> mads_;
  std::deque<RoceAnswer> packets_;
};

}  // namespace godbox::test
