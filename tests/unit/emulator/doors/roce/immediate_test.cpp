// SPDX-License-Identifier: Apache-2.0
//
// Immediate data as the responder takes it: it comes with the last packet of a SEND or a WRITE, and
// a WRITE takes a receive request for it alone.
#include "responder_fixture.h"

#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

namespace godbox::emulator {
namespace {

Packet with_immediate(Packet packet, std::uint32_t immediate) {
  packet.immediate = immediate;
  return packet;
}

}  // namespace

TEST_CASE("immediate data comes with the last packet of a SEND", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_256));
  Bytes room(700);
  const std::array<MutableSpan, 1> local{room};
  REQUIRE(end.port().post_receive(peer.number(), {WorkId(3), local}) == Errc::ok);
  const Bytes content = pattern(600);
  const ConstSpan all(content);
  peer.send(write_packet(Opcode::send_first, 0), all.first(256));
  peer.send(write_packet(Opcode::send_middle, 1), all.subspan(256, 256));
  CHECK_FALSE(end.port().take_received(peer.number()).has_value());
  Packet last = with_immediate(write_packet(Opcode::send_last_immediate, 2, true), 0xCAFE'F00D);
  last.is_solicited = true;
  peer.send(last, all.subspan(512));
  CHECK(said(peer.take()) == ack(2, 1));
  const std::optional<ReceiveCompletion> done = end.port().take_received(peer.number());
  REQUIRE(done.has_value());
  CHECK(done->id == WorkId(3));
  CHECK(done->status == WorkStatus::ok);
  CHECK(done->length_bytes == 600);
  CHECK(done->immediate == 0xCAFE'F00D);
  CHECK(done->is_solicited);
  CHECK_FALSE(done->is_write);
  CHECK(std::ranges::equal(ConstSpan(room).first(600), content));
  // Once more: it has been done.
  peer.send(last, all.subspan(512));
  CHECK(said(peer.take()) == ack(2, 1));
  CHECK_FALSE(end.port().take_received(peer.number()).has_value());
  CHECK(end.port().counters().sends.get() == 1);
}

TEST_CASE("a WRITE of one packet with immediate data waits for a receive request, and takes it",
          "[unit][roce]") {
  const std::uint32_t bytes = GENERATE(0U, 8U, 1024U);
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(1024);
  const Bytes content = pattern(bytes);
  const Packet write =
      with_immediate(write_begin(Opcode::write_only_immediate, 0, memory, bytes, true), 42);
  peer.send(write, content);
  CHECK(said(peer.take()) == ack(0, 0, 0x20 | 12));
  CHECK(end.bytes_of(memory) == Bytes(1024));  // nothing has been done of it
  CHECK(end.port().counters().writes.get() == 0);

  Bytes room(64);
  const std::array<MutableSpan, 1> local{room};
  REQUIRE(end.port().post_receive(peer.number(), {WorkId(7), local}) == Errc::ok);
  peer.send(write, content);
  CHECK(said(peer.take()) == ack(0, 1));
  Bytes expected = content;
  expected.resize(1024);
  CHECK(end.bytes_of(memory) == expected);
  const std::optional<ReceiveCompletion> done = end.port().take_received(peer.number());
  REQUIRE(done.has_value());
  CHECK(done->id == WorkId(7));
  CHECK(done->is_write);
  CHECK(done->length_bytes == bytes);
  CHECK(done->immediate == 42U);
  CHECK_FALSE(done->is_solicited);
  CHECK(room == Bytes(64));
  // Once more: it takes no second one.
  REQUIRE(end.port().post_receive(peer.number(), {WorkId(8), local}) == Errc::ok);
  peer.send(write, content);
  CHECK(said(peer.take()) == ack(0, 1));
  CHECK_FALSE(end.port().take_received(peer.number()).has_value());
  CHECK(end.port().counters().writes.get() == 1);
}

TEST_CASE("a WRITE with immediate data that is refused takes no receive request with it",
          "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(64);
  Bytes room(64);
  const std::array<MutableSpan, 1> local{room};
  REQUIRE(end.port().post_receive(peer.number(), {WorkId(7), local}) == Errc::ok);
  Packet write = with_immediate(write_begin(Opcode::write_only_immediate, 0, memory, 8, true), 42);
  write.r_key = RKey(memory.key.value() ^ 1U);
  peer.send(write, pattern(8));
  CHECK(said(peer.take()) == ack(0, 0, kNakAccess));
  const std::optional<ReceiveCompletion> done = end.port().take_received(peer.number());
  REQUIRE(done.has_value());
  CHECK(done->status == WorkStatus::flushed);
  CHECK_FALSE(done->immediate.has_value());
  CHECK(end.bytes_of(memory) == Bytes(64));
}

}  // namespace godbox::emulator
