// SPDX-License-Identifier: Apache-2.0
//
// What an input of the fuzz target roce_fuzz does to a port that has a queue pair that is
// connected, memory of a session, and a program that listens and accepts. An input is a sequence of
// steps, each an operation, a size of two bytes (big-endian) and, unless it says otherwise, so many
// bytes:
//   0  a frame as it is               1  a frame, to which its ICRC is added
//   2  a message to queue pair 1      3  a packet to the connected queue pair, from its BTH on
//   4  time: the size in milliseconds, no bytes
//   5  the session's proof is put into the private data of a REQ, which is then sent as 2
//   6  a receive request for memory of that size, no bytes
//   7  this end asks: the SendOp, its memory's size in two bytes, perhaps immediate data in four
//
//   8  the wire takes nothing from now on (an odd size), or does so again; no bytes
//
// In packets of 3 the key 0x1234 stands for the memory's, and 2^36 for its address: those of a run
// are not known when an input is saved. PSNs of both directions begin at 0x100; the path MTU is 256
// bytes.
// Nothing may crash or hold more than the limits say. Every frame that comes out is one that
// godbox's own decoders take; a READ shows bytes of the memory that the key opens, no other byte of
// the pool changes, and in the end nothing is pinned.
// Thread-safety: none. Ownership: owns all of it. Units: bytes. Errors: asserts.
#pragma once

#include <godbox_test/cm_peer.h>

#include <deque>

namespace godbox::test {

class RoceSteps {
 public:
  RoceSteps();

  // All steps of an input, and the end of what they began. Once.
  void run(ConstSpan input);

  [[nodiscard]] const emulator::RocePortCounters& counters() { return end_.port().counters(); }
  // Requests of this end that were done, and that came to receive requests of it.
  [[nodiscard]] std::uint64_t completed() const { return completed_; }
  [[nodiscard]] std::uint64_t received() const { return received_; }

 private:
  void connect();
  void step(std::uint8_t operation, ConstSpan bytes, std::size_t size);
  void finish();

  void on_frame_with_icrc(ConstSpan bytes);
  void on_message(ConstSpan bytes);
  void on_proven_message(ConstSpan bytes);
  void on_packet(ConstSpan bytes);
  void put_memory_into(MutableSpan packet) const;
  // Memory of a work request; nothing where there have been too many.
  [[nodiscard]] MutableSpan new_memory(std::size_t size);
  void post_receive(std::size_t size);
  void post_send(ConstSpan bytes);

  void serve();
  void take_events();
  void take_completions();
  void take_frames();
  void check_frame(ConstSpan bytes);
  void check_shown(ConstSpan payload);
  void check_memory();
  [[nodiscard]] std::uint32_t pool_checksum();

  std::deque<Bytes> work_memory_;  // outlives the port
  RoceEnd end_;
  CmPeer cm_{end_};
  RemoteMemory memory_;
  std::uint32_t pool_before_ = 0;
  roce::QueuePairNumber number_{};
  roce::FrameHeader header_;  // of the connected peer's frames
  bool is_wire_full_ = false;
  std::size_t frames_ = 0;
  std::uint64_t completed_ = 0, received_ = 0;
  Bytes memory_now_;  // while frames are taken, which change none of it; empty: not looked at yet
  std::size_t shown_to_ = 0;
};

}  // namespace godbox::test
