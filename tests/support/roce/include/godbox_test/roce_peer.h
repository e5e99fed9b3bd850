// SPDX-License-Identifier: Apache-2.0
//
// A peer of one queue pair, played by hand: it sends the packets that a test makes up, and shows
// what comes back, packet by packet.
// Thread-safety: none. Ownership: the end outlives the peer. Errors: an answer that is no RoCE
// frame with a right ICRC to this peer asserts.
#pragma once

#include <godbox/roce/frame.h>
#include <godbox_test/roce_end.h>

#include <deque>
#include <optional>

namespace godbox::test {

// Ethernet frame of a packet, ICRC included.
[[nodiscard]] Bytes roce_frame(const roce::FrameHeader& header, roce::Packet packet,
                               ConstSpan payload = {});

struct RoceAnswer {
  roce::FrameHeader header;
  roce::Packet packet;
  Bytes payload;
};
// The packet of a frame of an end's to `asker`'s MAC; nullopt: the frame is to another one.
[[nodiscard]] std::optional<RoceAnswer> answer_to(const roce::FrameHeader& asker, ConstSpan bytes);

class RocePeer {
 public:
  static constexpr std::uint32_t kNumber = 0x12;

  // Connects a queue pair of the end with these options; addresses and the peer's number are filled
  // in.
  RocePeer(RoceEnd& end, emulator::QueuePairOptions options);
  explicit RocePeer(RoceEnd& end) : RocePeer(end, end.pair_options()) {}

  [[nodiscard]] roce::QueuePairNumber number() const { return number_; }  // of the end's
  [[nodiscard]] roce::FrameHeader& header() { return header_; }
  // Destination and, where it is wanted, the ICRC are filled in.
  void send(roce::Packet packet, ConstSpan payload = {});
  void send_frame(ConstSpan frame);
  // What the end has to say now.
  void pump();
  [[nodiscard]] std::optional<RoceAnswer> take();
  [[nodiscard]] bool is_answered() {
    pump();
    return !answers_.empty();
  }
  // Time passes, with the port's timers at their times.
  void advance(Duration by);

  // --- Requests, with the PSN given. ---
  void send_read(std::uint32_t psn, RKey key, std::uint64_t address, std::uint32_t length_bytes);
  void send_write(std::uint32_t psn, RKey key, std::uint64_t address, ConstSpan bytes);
  void send_atomic(std::uint32_t psn, roce::Opcode opcode, RKey key, std::uint64_t address,
                   std::uint64_t swap_or_add, std::uint64_t compare = 0);

 private:
  RoceEnd& end_;
  roce::QueuePairNumber number_{};
  roce::FrameHeader header_;
  std::deque<RoceAnswer> answers_;
};

}  // namespace godbox::test
