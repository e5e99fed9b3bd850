// SPDX-License-Identifier: Apache-2.0
//
// The responder's rules one by one, by a peer that says what it wants.
#include "responder_fixture.h"
#include <godbox/roce/icrc.h>

#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <cstring>

namespace godbox::emulator {

TEST_CASE("a WRITE lands as its packets arrive, and is acknowledged when asked", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_256));
  const RemoteMemory memory = end.allocate(1024);
  const Bytes bytes = pattern(600);
  const ConstSpan all(bytes);
  peer.send(write_begin(Opcode::write_first, 0, memory, 600), all.first(256));
  CHECK_FALSE(peer.is_answered());
  Bytes expected(1024);
  std::copy_n(bytes.begin(), 256, expected.begin());
  CHECK(end.bytes_of(memory) == expected);
  peer.send(write_packet(Opcode::write_middle, 1, true), all.subspan(256, 256));
  CHECK(said(peer.take()) == ack(1, 0));  // received, and no message completed
  peer.send(write_packet(Opcode::write_last, 2, true), all.subspan(512));
  CHECK(said(peer.take()) == ack(2, 1));
  std::copy(bytes.begin(), bytes.end(), expected.begin());
  CHECK(end.bytes_of(memory) == expected);
  CHECK(end.port().usage().windows == 0);
}

TEST_CASE("acknowledgements that nobody took yet become one", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(64);
  for (std::uint32_t psn = 0; psn < 5; ++psn) {
    Packet packet = write_begin(Opcode::write_only, psn, memory, 4, true);
    packet.destination_qp = peer.number();
    end.port().on_frame(test::roce_frame(peer.header(), packet, pattern(4)), end.now());
  }
  CHECK(said(peer.take()) == ack(4, 5));
  CHECK_FALSE(peer.is_answered());
  CHECK(end.port().counters().acks.get() == 1);
}

TEST_CASE("a READ is answered in pieces of the path MTU, whatever it is", "[unit][roce]") {
  const auto mtu =
      GENERATE(roce::PathMtu::bytes_256, roce::PathMtu::bytes_512, roce::PathMtu::bytes_1024,
               roce::PathMtu::bytes_2048, roce::PathMtu::bytes_4096);
  const std::uint32_t mtu_bytes = roce::bytes_of(mtu);
  RoceEnd end;
  const RemoteMemory memory = end.allocate(1U << 18U);
  const Bytes content = pattern(1U << 18U);
  end.set_bytes_of(memory, content);
  RocePeer peer(end, with_mtu(end, mtu));
  std::uint32_t psn = 0xFF'FFF0;  // goes round on the way
  QueuePairOptions options = with_mtu(end, mtu);
  options.first_psn_received = Psn(psn);
  RocePeer reader(end, options);
  for (const std::uint32_t size :
       {0U, 1U, 3U, mtu_bytes - 1, mtu_bytes, mtu_bytes + 1, 3 * mtu_bytes, 40'001U, 200'000U}) {
    CAPTURE(mtu_bytes, size);
    REQUIRE(memory.extents[0].length_bytes >= size + 5);
    reader.send_read(psn, memory.key, memory.address() + 5, size);
    Bytes read;
    const std::uint32_t packets = size == 0 ? 1 : (size + mtu_bytes - 1) / mtu_bytes;
    for (std::uint32_t i = 0; i < packets; ++i) {
      const std::optional<RoceAnswer> answer = reader.take();
      REQUIRE(answer.has_value());
      const bool is_first = i == 0, is_last = i + 1 == packets;
      const Opcode opcode = is_first
                                ? is_last ? Opcode::read_response_only : Opcode::read_response_first
                            : is_last ? Opcode::read_response_last
                                      : Opcode::read_response_middle;
      REQUIRE(answer->packet.opcode == opcode);
      REQUIRE(answer->packet.psn == Psn(psn + i));
      REQUIRE((is_last || answer->payload.size() == mtu_bytes));
      read.insert(read.end(), answer->payload.begin(), answer->payload.end());
    }
    CHECK_FALSE(reader.is_answered());
    CHECK(read == Bytes(content.begin() + 5, content.begin() + 5 + size));
    psn += packets;
  }
  CHECK(end.port().usage().windows == 0);
}

TEST_CASE("a gap is told of once, and ends with the packet that was missing", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(64);
  peer.send_write(0, memory.key, memory.address(), pattern(4));
  CHECK(said(peer.take()) == ack(0, 1));
  peer.send_write(2, memory.key, memory.address(), pattern(8));
  CHECK(said(peer.take()) == ack(1, 1, kNakSequence));
  peer.send_write(3, memory.key, memory.address(), pattern(8));
  peer.send_read(9, memory.key, memory.address(), 8);
  CHECK_FALSE(peer.is_answered());
  CHECK(end.port().counters().dropped_sequence.get() == 2);
  peer.send_write(1, memory.key, memory.address(), pattern(4));
  CHECK(said(peer.take()) == ack(1, 2));
  peer.send_write(5, memory.key, memory.address(), pattern(4));
  CHECK(said(peer.take()) == ack(2, 2, kNakSequence));
  CHECK_FALSE(end.port().is_broken(peer.number()));
}

TEST_CASE("messages whose parts do not follow each other are invalid requests", "[unit][roce]") {
  RoceEnd end;
  const RemoteMemory memory = end.allocate(4096);
  const Bytes full = pattern(256);
  const auto first = write_begin(Opcode::write_first, 0, memory, 600);
  const auto refused = [&](const std::vector<Packet>& packets) {
    RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_256));
    REQUIRE(end.port().post_receive(peer.number(), {}) == Errc::ok);
    for (std::size_t i = 0; i < packets.size(); ++i) {
      Packet packet = packets[i];
      packet.psn = Psn(static_cast<std::uint32_t>(i));
      const auto format = roce::format_of(packet.opcode);
      REQUIRE(format.has_value());
      const bool has_payload = format->payload != roce::Payload::none;
      peer.send(packet, has_payload ? ConstSpan(full) : ConstSpan());
      if (i + 1 < packets.size()) {
        REQUIRE_FALSE(peer.is_answered());
      }
    }
    const auto psn = static_cast<std::uint32_t>(packets.size() - 1);
    CHECK(said(peer.take()) == ack(psn, 0, kNakInvalid));
    CHECK(end.port().is_broken(peer.number()));
    // Nothing is taken from then on, and nothing said.
    peer.send_write(psn, memory.key, memory.address(), pattern(4));
    CHECK_FALSE(peer.is_answered());
  };
  refused({write_packet(Opcode::write_middle, 0)});
  refused({write_packet(Opcode::write_last, 0)});
  refused({write_packet(Opcode::send_middle, 0)});
  refused({write_packet(Opcode::send_last, 0)});
  refused({first, first});
  refused({first, write_begin(Opcode::write_only, 0, memory, 256)});
  refused({first, write_packet(Opcode::send_middle, 0)});
  refused({first, write_packet(Opcode::send_last, 0)});
  refused({first, write_begin(Opcode::read_request, 0, memory, 8)});
  refused({first, write_begin(Opcode::fetch_add, 0, memory, 0)});
  // What is not offered at all.
  refused({write_begin(Opcode::flush, 0, memory, 8)});
  refused({write_packet(Opcode::send_only_invalidate, 0)});
  const auto bytes = end.bytes_of(memory);
  CHECK(std::ranges::all_of(bytes.begin() + 256, bytes.end(),
                            [](std::byte byte) { return byte == std::byte{0}; }));
}

TEST_CASE("packets of the wrong length are invalid requests", "[unit][roce]") {
  RoceEnd end;
  const RemoteMemory memory = end.allocate(4096);
  struct Step {
    Opcode opcode;
    std::size_t payload_bytes;
    std::uint32_t length_bytes;
  };
  const auto verdict = [&](std::vector<Step> steps) {
    RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_256));
    Bytes room(2048);
    const std::array<MutableSpan, 1> local{room};
    REQUIRE(end.port().post_receive(peer.number(), {.local = local}) == Errc::ok);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      Packet packet = write_begin(steps[i].opcode, static_cast<std::uint32_t>(i), memory,
                                  steps[i].length_bytes, i + 1 == steps.size());
      peer.send(packet, pattern(steps[i].payload_bytes));
    }
    const std::optional<RoceAnswer> answer = peer.take();
    REQUIRE(answer.has_value());
    CHECK(answer->packet.psn.value() == steps.size() - 1);
    return answer->packet.syndrome;
  };
  using enum Opcode;
  CHECK(verdict({{write_only, 257, 257}}) == kNakInvalid);
  CHECK(verdict({{write_only, 8, 9}}) == kNakInvalid);
  CHECK(verdict({{write_only, 8, 7}}) == kNakInvalid);
  CHECK(verdict({{write_only, 0, 1}}) == kNakInvalid);
  CHECK(verdict({{write_first, 255, 600}}) == kNakInvalid);
  CHECK(verdict({{write_first, 256, 256}}) == kNakInvalid);  // then it is no first
  CHECK(verdict({{write_first, 256, 0}}) == kNakInvalid);
  CHECK(verdict({{write_first, 256, 600}, {write_last, 255, 0}}) == kNakInvalid);
  CHECK(verdict({{write_first, 256, 600}, {write_last, 256, 0}}) == kNakInvalid);
  CHECK(verdict({{write_first, 256, 600}, {write_middle, 255, 0}}) == kNakInvalid);
  CHECK(verdict({{write_first, 256, 512}, {write_middle, 256, 0}}) == kNakInvalid);
  CHECK(verdict({{write_first, 256, 300}, {write_last, 0, 0}}) == kNakInvalid);
  CHECK(verdict({{write_first, 256, 300}, {write_last, 44, 0}}) == kAck);
  CHECK(verdict({{write_only, 8, 0x8000'0001}}) == kNakInvalid);
  CHECK(verdict({{send_only, 257, 0}}) == kNakInvalid);
  CHECK(verdict({{send_first, 100, 0}}) == kNakInvalid);
  CHECK(verdict({{send_first, 256, 0}, {send_last, 0, 0}}) == kNakInvalid);
  CHECK(verdict({{send_first, 256, 0}, {send_last, 1, 0}}) == kAck);
}

TEST_CASE("padding that is not to a multiple of four is an invalid request", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(64);
  Packet packet = write_begin(Opcode::write_only, 0, memory, 5, true);
  packet.destination_qp = peer.number();
  const Bytes right = test::roce_frame(peer.header(), packet, pattern(5));
  // Two bytes of padding in the place of three, with lengths and checks that fit.
  constexpr std::size_t kTransport = 14 + 20 + 8;
  Bytes wrong(right.begin(), right.end() - 5);
  wrong[kTransport + 1] = std::byte{0x20};
  std::array<std::byte, roce::kFrameHeaderBytesMax> before{};
  const std::size_t before_bytes = roce::encode_frame_header(
      peer.header(), wrong.size() - kTransport + roce::kIcrcBytes, before);
  REQUIRE(before_bytes == kTransport);
  std::copy_n(before.begin(), before_bytes, wrong.begin());
  std::array<std::byte, roce::kIcrcBytes> icrc{};
  roce::store_icrc(roce::icrc_begin(ConstSpan(wrong).subspan(14)), icrc);
  wrong.insert(wrong.end(), icrc.begin(), icrc.end());
  peer.send_frame(wrong);
  CHECK(said(peer.take()) == ack(0, 0, kNakInvalid));
}

TEST_CASE("a queue pair does only what it was given rights for", "[unit][roce]") {
  RoceEnd end;
  const RemoteMemory memory = end.allocate(64);
  const auto peer_with = [&](bool read, bool write, bool atomic) {
    QueuePairOptions options = end.pair_options();
    options.allows_read = read;
    options.allows_write = write;
    options.allows_atomic = atomic;
    return options;
  };
  {
    RocePeer peer(end, peer_with(false, true, true));
    peer.send_read(0, memory.key, memory.address(), 8);
    CHECK(said(peer.take()) == ack(0, 0, kNakInvalid));
  }
  {
    RocePeer peer(end, peer_with(true, false, true));
    peer.send_write(0, memory.key, memory.address(), pattern(8));
    CHECK(said(peer.take()) == ack(0, 0, kNakInvalid));
  }
  {
    RocePeer peer(end, peer_with(true, false, true));
    peer.send(write_begin(Opcode::atomic_write, 0, memory, 8, true), pattern(8));
    CHECK(said(peer.take()) == ack(0, 0, kNakInvalid));
  }
  {
    RocePeer peer(end, peer_with(true, true, false));
    peer.send_atomic(0, Opcode::fetch_add, memory.key, memory.address(), 1);
    CHECK(said(peer.take()) == ack(0, 0, kNakInvalid));
  }
  QueuePairOptions none = peer_with(true, true, true);
  none.resources_max = 0;
  RocePeer peer(end, none);
  peer.send_read(0, memory.key, memory.address(), 8);
  CHECK(said(peer.take()) == ack(0, 0, kNakInvalid));
  CHECK(end.bytes_of(memory) == Bytes(64));
}

TEST_CASE("keys, ranges and tenants are checked, and nothing is touched", "[unit][roce]") {
  RoceEnd end;
  const RemoteMemory before = end.allocate(4096), memory = end.allocate(4096),
                     behind = end.allocate(4096);
  const emulator::SessionInfo other = end.open_session("other");
  const RemoteMemory foreign = end.allocate(other, 4096);
  for (const RemoteMemory* each : {&before, &memory, &behind, &foreign}) {
    end.set_bytes_of(*each, pattern(4096));
  }
  const Bytes untouched = end.all_memory();
  struct Target {
    const char* what;
    RKey key;
    std::uint64_t address;
    std::uint32_t length_bytes;
  };
  const std::uint64_t at = memory.address();
  const std::array<Target, 12> targets{{
      {"a key that is none", RKey(memory.key.value() ^ 1U), at, 8},
      {"key 0", RKey(0), at, 8},
      {"one byte beyond the end", memory.key, at + 4089, 8},
      {"one byte before the begin", memory.key, at - 1, 8},
      {"all and one more", memory.key, at, 4097},
      {"behind the end", memory.key, at + 4096, 8},
      {"another region with this key", memory.key, before.address(), 8},
      {"wrapping around 2^64", memory.key, UINT64_MAX - 3, 8},
      {"a slab that is not there", memory.key, at + (std::uint64_t{5} << 36U), 8},
      {"the longest length", memory.key, at, 0x8000'0000},
      {"another tenant's", foreign.key, foreign.address(), 8},
      {"another tenant's with the own key", memory.key, foreign.address(), 8},
  }};
  for (const Target& target : targets) {
    CAPTURE(target.what);
    RocePeer reader(end);
    reader.send_read(0, target.key, target.address, target.length_bytes);
    CHECK(said(reader.take()) == ack(0, 0, kNakAccess));
    CHECK(end.port().is_broken(reader.number()));
    RocePeer writer(end);
    if (target.length_bytes <= 1024) {
      writer.send_write(0, target.key, target.address, pattern(target.length_bytes, 9));
    } else {
      Packet packet = write_packet(Opcode::write_first, 0);
      packet.r_key = target.key;
      packet.address = target.address;
      packet.length_bytes = target.length_bytes;
      writer.send(packet, pattern(1024, 9));
    }
    CHECK(said(writer.take()) == ack(0, 0, kNakAccess));
    if (target.address % 8 == 0) {
      RocePeer adder(end);
      if (target.length_bytes == 8) {
        adder.send_atomic(0, Opcode::fetch_add, target.key, target.address, 1);
        CHECK(said(adder.take()) == ack(0, 0, kNakAccess));
      }
    }
  }
  CHECK(end.all_memory() == untouched);
  CHECK(end.port().usage().windows == 0);
}

TEST_CASE("a READ or WRITE of nothing has no key to check", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  peer.send_read(0, RKey(0), 0, 0);
  CHECK(said(peer.take()) == Said{Opcode::read_response_only, 0, kAck, 1});
  peer.send_write(1, RKey(0xFFFF'FFFF), UINT64_MAX, {});
  CHECK(said(peer.take()) == ack(1, 2));
}

TEST_CASE("sealed objects are read with their key, and written with none", "[unit][roce]") {
  RoceEnd end;
  const Bytes content = pattern(3000);
  const RemoteMemory object = end.put("sealed", content);
  RocePeer reader(end);
  reader.send_read(0, object.key, object.address(), 1000);
  CHECK(reader.take()->payload == Bytes(content.begin(), content.begin() + 1000));
  RocePeer writer(end);
  writer.send_write(0, object.key, object.address(), pattern(8));
  CHECK(said(writer.take()) == ack(0, 0, kNakAccess));
  RocePeer adder(end);
  adder.send_atomic(0, Opcode::fetch_add, object.key, object.address(), 0);
  CHECK(said(adder.take()) == ack(0, 0, kNakAccess));
  CHECK(end.bytes_of(object) == content);
}

TEST_CASE("a reservation's key writes until it is committed, and is dead then", "[unit][roce]") {
  RoceEnd end;
  const wire::ReserveAnswer place = end.reserve("object", 4096);
  const std::uint64_t address = to_virtual(place.extents[0].address)->value();
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_4096));
  const Bytes content = pattern(4096);
  peer.send_write(0, place.write_key, address, content);
  CHECK(said(peer.take()) == ack(0, 1));
  wire::StatusesReply statuses;
  const std::array<std::uint32_t, 1> crc{0x1234};
  end.service().commit(end.session().id, {{{place.reservation, {crc.begin(), crc.end()}}}},
                       statuses);
  REQUIRE(statuses.statuses.at(0) == Errc::ok);
  // A late one: the key opens nothing any more.
  peer.send_write(1, place.write_key, address, pattern(8, 9));
  CHECK(said(peer.take()) == ack(1, 1, kNakAccess));
  CHECK(end.box().bytes_of(place.extents) == content);
}

TEST_CASE("extents of one object are addressed one by one", "[unit][roce]") {
  RoceEnd end;
  // Over four DRAM channels: whole stripes of 64 KiB strips, then smaller ones.
  const std::size_t size_bytes = 700'000;
  const RemoteMemory memory = end.allocate(size_bytes);
  REQUIRE(memory.extents.size() > 1);
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_4096));
  const Bytes content = pattern(size_bytes);
  std::size_t at = 0;
  std::uint32_t psn = 0;
  for (const Extent& extent : memory.extents) {
    const std::uint64_t address = to_virtual(extent.address)->value();
    for (std::uint32_t inside = 0; inside < extent.length_bytes; inside += 4096, ++psn) {
      const std::size_t step = std::min<std::size_t>(4096, extent.length_bytes - inside);
      peer.send_write(psn, memory.key, address + inside, ConstSpan(content).subspan(at, step));
      at += step;
    }
  }
  CHECK(end.bytes_of(memory) == content);
  // Across the end of one: not even where another follows it in the object.
  const Extent& first = memory.extents[0];
  RocePeer reader(end);
  reader.send_read(0, memory.key, to_virtual(first.address)->value() + first.length_bytes - 4, 8);
  CHECK(said(reader.take()) == ack(0, 0, kNakAccess));
}

TEST_CASE("a WRITE that was executed is acknowledged again, and not done again", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(64);
  peer.send_write(0, memory.key, memory.address(), pattern(8, 1));
  peer.send_write(1, memory.key, memory.address(), pattern(8, 2));
  CHECK(said(peer.take()) == ack(0, 1));
  CHECK(said(peer.take()) == ack(1, 2));
  peer.send_write(0, memory.key, memory.address(), pattern(8, 1));
  CHECK(said(peer.take()) == ack(1, 2));
  Bytes expected = pattern(8, 2);
  expected.resize(64);
  CHECK(end.bytes_of(memory) == expected);
  CHECK(end.port().counters().duplicates.get() == 1);
}

TEST_CASE("a READ is done again, from anywhere, only as far as it is remembered", "[unit][roce]") {
  RoceEnd end;
  QueuePairOptions options = with_mtu(end, roce::PathMtu::bytes_256);
  options.resources_max = 2;
  RocePeer peer(end, options);
  const RemoteMemory memory = end.allocate(4096);
  const Bytes content = pattern(4096);
  end.set_bytes_of(memory, content);
  const std::uint64_t at = memory.address();
  const auto drain = [&] {
    Bytes bytes;
    std::vector<std::uint32_t> psns;
    while (const std::optional<RoceAnswer> answer = peer.take()) {
      psns.push_back(answer->packet.psn.value());
      bytes.insert(bytes.end(), answer->payload.begin(), answer->payload.end());
    }
    return std::pair(psns, bytes);
  };
  peer.send_read(0, memory.key, at, 1000);  // PSN 0 to 3
  CHECK(drain().first == std::vector<std::uint32_t>{0, 1, 2, 3});
  peer.send_read(2, memory.key, at + 512, 488);
  CHECK(drain() == std::pair(std::vector<std::uint32_t>{2, 3},
                             Bytes(content.begin() + 512, content.begin() + 1000)));
  peer.send_read(0, memory.key, at, 1000);
  CHECK(drain().second == Bytes(content.begin(), content.begin() + 1000));
  // A part of it is enough for whoever asks for a part.
  peer.send_read(1, memory.key, at + 256, 10);
  CHECK(drain().second == Bytes(content.begin() + 256, content.begin() + 266));

  // Not: other bytes, another key, more than was asked for then, or more packets than there are
  // PSNs.
  peer.send_read(2, memory.key, at + 512, 489);
  peer.send_read(0, memory.key, at + 1, 1000);
  peer.send_read(0, memory.key, at - 1, 100);
  peer.send_read(0, RKey(memory.key.value() + 1), at, 1000);
  peer.send_read(3, memory.key, at, 1000);
  peer.send_read(0, memory.key, at, 0);
  peer.send_read(0, memory.key, UINT64_MAX, 8);
  CHECK(drain().first.empty());
  // Two more READs, and the first is forgotten.
  peer.send_read(4, memory.key, at, 8);
  peer.send_read(5, memory.key, at, 8);
  CHECK(drain().first == std::vector<std::uint32_t>{4, 5});
  peer.send_read(0, memory.key, at, 1000);
  CHECK(drain().first.empty());
  peer.send_read(4, memory.key, at, 8);
  CHECK(drain().first == std::vector<std::uint32_t>{4});
  CHECK_FALSE(end.port().is_broken(peer.number()));
}

TEST_CASE("a READ asked again finds the key revoked, and never what came after", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(4096);
  end.set_bytes_of(memory, pattern(4096));
  peer.send_read(0, memory.key, memory.address(), 1000);
  CHECK(peer.take()->payload.size() == 1000);
  REQUIRE(end.service().free_region(end.session().id, memory.key) == Errc::ok);
  const RemoteMemory next = end.allocate(4096);  // in the same place, perhaps
  end.set_bytes_of(next, pattern(4096, 8));
  peer.send_read(0, memory.key, memory.address(), 1000);
  CHECK(said(peer.take()) == ack(0, 1, kNakAccess));
  CHECK_FALSE(peer.is_answered());
}

TEST_CASE("atomics are answered from what was saved when asked again", "[unit][roce]") {
  RoceEnd end;
  QueuePairOptions options = end.pair_options();
  options.resources_max = 2;
  RocePeer peer(end, options);
  const RemoteMemory memory = end.allocate(64);
  const auto original = [&] {
    const std::optional<RoceAnswer> answer = peer.take();
    REQUIRE(answer.has_value());
    REQUIRE(answer->packet.opcode == Opcode::atomic_acknowledge);
    return answer->packet.original;
  };
  const auto word = [&] {
    std::uint64_t value = 0;
    std::memcpy(&value, end.bytes_of(memory).data(), sizeof(value));
    return value;
  };
  peer.send_atomic(0, Opcode::fetch_add, memory.key, memory.address(), 41);
  CHECK(original() == 0);
  peer.send_atomic(1, Opcode::fetch_add, memory.key, memory.address(), UINT64_MAX);
  CHECK(original() == 41);
  CHECK(word() == 40);
  peer.send_atomic(0, Opcode::fetch_add, memory.key, memory.address(), 41);
  CHECK(original() == 0);
  peer.send_atomic(1, Opcode::fetch_add, memory.key, memory.address(), UINT64_MAX);
  CHECK(original() == 41);
  CHECK(word() == 40);
  peer.send_atomic(2, Opcode::compare_swap, memory.key, memory.address(), 7, 39);
  CHECK(original() == 40);
  CHECK(word() == 40);
  peer.send_atomic(3, Opcode::compare_swap, memory.key, memory.address(), 7, 40);
  CHECK(original() == 40);
  CHECK(word() == 7);
  // Forgotten: nothing is said, and nothing done.
  peer.send_atomic(0, Opcode::fetch_add, memory.key, memory.address(), 41);
  CHECK_FALSE(peer.is_answered());
  CHECK(word() == 7);
  // A READ is no atomic.
  peer.send_read(3, memory.key, memory.address(), 8);
  CHECK_FALSE(peer.is_answered());
}

TEST_CASE("an ATOMIC WRITE is done once, and answered like a READ of nothing", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(64);
  const auto send = [&](std::uint32_t psn, std::uint64_t offset, std::uint32_t length,
                        std::uint64_t seed) {
    Packet packet = write_begin(Opcode::atomic_write, psn, memory, length, true);
    packet.address += offset;
    peer.send(packet, pattern(8, seed));
  };
  send(0, 8, 8, 1);
  CHECK(said(peer.take()) == Said{Opcode::read_response_only, 0, kAck, 1});
  Bytes expected(64);
  std::ranges::copy(pattern(8, 1), expected.begin() + 8);
  CHECK(end.bytes_of(memory) == expected);
  end.set_bytes_of(memory, Bytes(64));
  send(0, 8, 8, 1);
  CHECK(said(peer.take()) == Said{Opcode::read_response_only, 0, kAck, 1});
  CHECK(end.bytes_of(memory) == Bytes(64));
  SECTION("on a word only") {
    send(1, 4, 8, 1);
    CHECK(said(peer.take()) == ack(1, 1, kNakInvalid));
  }
  SECTION("of eight bytes only") {
    send(1, 8, 4, 1);
    CHECK(said(peer.take()) == ack(1, 1, kNakInvalid));
  }
}

TEST_CASE("atomics work on words only", "[unit][roce]") {
  RoceEnd end;
  const RemoteMemory memory = end.allocate(64);
  for (const std::uint64_t offset : {1U, 4U, 7U}) {
    RocePeer peer(end);
    peer.send_atomic(0, Opcode::fetch_add, memory.key, memory.address() + offset, 1);
    CHECK(said(peer.take()) == ack(0, 0, kNakInvalid));
  }
  CHECK(end.bytes_of(memory) == Bytes(64));
}

TEST_CASE("a reservation's key of another session does not read by an atomic", "[unit][roce]") {
  RoceEnd end;
  const wire::ReserveAnswer place = end.reserve("object", 4096);
  const std::uint64_t address = to_virtual(place.extents[0].address)->value();
  // Another session of the same tenant may write what it was given the key for, not read it.
  const SessionInfo other = end.open_session("tenant");
  RocePeer writer(end, end.pair_options(other));
  writer.send_write(0, place.write_key, address, pattern(8));
  CHECK(said(writer.take()) == ack(0, 1));
  writer.send_atomic(1, Opcode::fetch_add, place.write_key, address, 0);
  CHECK(said(writer.take()) == ack(1, 1, kNakAccess));
}

TEST_CASE("answers leave in the order of their PSNs", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_256));
  const RemoteMemory memory = end.allocate(4096);
  const auto feed = [&](Packet packet, ConstSpan payload = {}) {
    packet.destination_qp = peer.number();
    end.port().on_frame(test::roce_frame(peer.header(), packet, payload), end.now());
  };
  // All of them are here before anything leaves.
  feed(write_begin(Opcode::write_only, 0, memory, 4, true), pattern(4));
  feed(write_begin(Opcode::read_request, 1, memory, 700, true));
  feed(write_begin(Opcode::write_only, 4, memory, 4, true), pattern(4));
  feed(write_begin(Opcode::fetch_add, 5, memory, 0, true));
  feed(write_begin(Opcode::write_only, 6, memory, 4, true), pattern(4));
  std::vector<std::uint32_t> psns;
  std::vector<Opcode> opcodes;
  while (const std::optional<RoceAnswer> answer = peer.take()) {
    psns.push_back(answer->packet.psn.value());
    opcodes.push_back(answer->packet.opcode);
  }
  using enum Opcode;
  // One ACK for all three: those before are implied by the responses.
  CHECK(psns == std::vector<std::uint32_t>{1, 2, 3, 5, 6});
  CHECK(opcodes == std::vector<Opcode>{read_response_first, read_response_middle,
                                       read_response_last, atomic_acknowledge, acknowledge});
}

TEST_CASE("what came before a fatal request is answered, then its NAK", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_256));
  const RemoteMemory memory = end.allocate(4096);
  const auto feed = [&](Packet packet, ConstSpan payload = {}) {
    packet.destination_qp = peer.number();
    end.port().on_frame(test::roce_frame(peer.header(), packet, payload), end.now());
  };
  feed(write_begin(Opcode::read_request, 0, memory, 300, true));
  feed(write_begin(Opcode::write_only, 2, memory, 4, true), pattern(4));
  Packet wrong = write_begin(Opcode::read_request, 3, memory, 8, true);
  wrong.r_key = RKey(1);
  feed(wrong);
  feed(write_begin(Opcode::write_only, 4, memory, 4, true), pattern(4));
  CHECK(peer.take()->packet.psn == Psn(0));
  CHECK(peer.take()->packet.psn == Psn(1));
  CHECK(said(peer.take()) == ack(3, 2, kNakAccess));
  CHECK_FALSE(peer.is_answered());
}

TEST_CASE("SENDs fill what was posted, in order, and wait where nothing is", "[unit][roce]") {
  RoceEnd end;
  QueuePairOptions options = with_mtu(end, roce::PathMtu::bytes_256);
  options.rnr_timer = 14;
  RocePeer peer(end, options);
  Bytes a(100), b(400);
  const std::array<MutableSpan, 2> pieces{MutableSpan(b).first(10), MutableSpan(b).subspan(10)};
  const std::array<MutableSpan, 1> one{a};
  peer.send({.opcode = Opcode::send_only, .wants_ack = true, .psn = Psn(0)}, pattern(8));
  CHECK(said(peer.take()) == ack(0, 0, 0x20 | 14));
  // What was sent behind it is dropped without a word: it comes again.
  peer.send({.opcode = Opcode::send_only, .wants_ack = true, .psn = Psn(1)}, pattern(8));
  CHECK_FALSE(peer.is_answered());

  REQUIRE(end.port().post_receive(peer.number(), {WorkId(1), one}) == Errc::ok);
  REQUIRE(end.port().post_receive(peer.number(), {WorkId(2), pieces}) == Errc::ok);
  Packet send{.opcode = Opcode::send_only_immediate,
              .is_solicited = true,
              .wants_ack = true,
              .psn = Psn(0),
              .immediate = 0xCAFE};
  peer.send(send, pattern(8));
  CHECK(said(peer.take()) == ack(0, 1));
  std::optional<ReceiveCompletion> done = end.port().take_received(peer.number());
  REQUIRE(done.has_value());
  CHECK(done->id == WorkId(1));
  CHECK(done->status == WorkStatus::ok);
  CHECK(done->length_bytes == 8);
  CHECK(done->immediate == 0xCAFEU);
  CHECK(done->is_solicited);
  CHECK(std::ranges::equal(ConstSpan(a).first(8), pattern(8)));

  const Bytes content = pattern(399);
  peer.send({.opcode = Opcode::send_first, .psn = Psn(1)}, ConstSpan(content).first(256));
  CHECK_FALSE(end.port().take_received(peer.number()).has_value());
  peer.send({.opcode = Opcode::send_last, .wants_ack = true, .psn = Psn(2)},
            ConstSpan(content).subspan(256));
  CHECK(said(peer.take()) == ack(2, 2));
  done = end.port().take_received(peer.number());
  REQUIRE(done.has_value());
  CHECK(done->id == WorkId(2));
  CHECK(done->length_bytes == 399);
  CHECK_FALSE(done->immediate.has_value());
  CHECK(std::ranges::equal(ConstSpan(b).first(399), content));
}

TEST_CASE("a SEND longer than the memory for it ends the connection", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  Bytes room(7), more(100);
  const std::array<MutableSpan, 1> local{room}, next{more};
  REQUIRE(end.port().post_receive(peer.number(), {WorkId(1), local}) == Errc::ok);
  REQUIRE(end.port().post_receive(peer.number(), {WorkId(2), next}) == Errc::ok);
  peer.send({.opcode = Opcode::send_only, .wants_ack = true, .psn = Psn(0)}, pattern(8));
  CHECK(said(peer.take()) == ack(0, 0, kNakInvalid));
  CHECK(end.port().take_received(peer.number())->status == WorkStatus::local_length);
  CHECK(end.port().take_received(peer.number())->status == WorkStatus::flushed);
  CHECK(room == Bytes(7));
  CHECK(end.port().post_receive(peer.number(), {WorkId(3), next}) == Errc::lane_closed);
}

TEST_CASE("immediate data of a WRITE takes a receive request, and not its memory", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_256));
  const RemoteMemory memory = end.allocate(1024);
  Bytes room(64);
  const std::array<MutableSpan, 1> local{room};
  peer.send(write_begin(Opcode::write_first, 0, memory, 300), pattern(256));
  Packet last = write_packet(Opcode::write_last_immediate, 1, true);
  last.immediate = 5;
  peer.send(last, pattern(44));
  CHECK(said(peer.take()) == ack(1, 0, 0x20 | 12));
  REQUIRE(end.port().post_receive(peer.number(), {WorkId(9), local}) == Errc::ok);
  peer.send(last, pattern(44));
  CHECK(said(peer.take()) == ack(1, 1));
  const std::optional<ReceiveCompletion> done = end.port().take_received(peer.number());
  REQUIRE(done.has_value());
  CHECK(done->id == WorkId(9));
  CHECK(done->is_write);
  CHECK(done->length_bytes == 300);
  CHECK(done->immediate == 5U);
  CHECK(room == Bytes(64));
}

}  // namespace godbox::emulator
