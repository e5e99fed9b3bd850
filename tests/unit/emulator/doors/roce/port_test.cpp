// SPDX-License-Identifier: Apache-2.0
//
// What a port keeps, for how long, and what it says to whom: pins, fences, strangers, limits, pace.
#include "responder_fixture.h"
#include <godbox_test/allocation_count.h>

#include <algorithm>

namespace godbox::emulator {

TEST_CASE("NAKs have a rate", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  std::size_t told = 0;
  for (int i = 0; i < 1000; ++i) {
    peer.send({.opcode = Opcode::send_only, .wants_ack = true, .psn = Psn(0)}, pattern(8));
    told += peer.take().has_value() ? 1U : 0U;
  }
  CHECK(told == 16);
  CHECK(end.port().counters().naks_withheld.get() == 984);
  peer.advance(std::chrono::milliseconds(1));
  told = 0;
  for (int i = 0; i < 100; ++i) {
    peer.send({.opcode = Opcode::send_only, .wants_ack = true, .psn = Psn(0)}, pattern(8));
    told += peer.take().has_value() ? 1U : 0U;
  }
  CHECK(told == 2);  // one each 0.5 ms
}

TEST_CASE("a WRITE that stalls pins nothing after a while, and can go on", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_256));
  const wire::ReserveAnswer place = end.reserve("object", 4096);
  const RemoteMemory memory{place.write_key, place.extents};
  const auto commit = [&] {
    wire::StatusesReply statuses;
    end.service().commit(end.session().id, {{{place.reservation, {1}}}}, statuses);
    return statuses.statuses.at(0);
  };
  const Bytes content = pattern(600);
  peer.send(write_begin(Opcode::write_first, 0, memory, 600), ConstSpan(content).first(256));
  CHECK(commit() == Errc::write_in_flight);
  peer.advance(std::chrono::milliseconds(199));
  CHECK(commit() == Errc::write_in_flight);
  SECTION("it goes on") {
    peer.advance(std::chrono::milliseconds(2));
    CHECK(end.port().counters().pins_expired.get() == 1);
    peer.send(write_packet(Opcode::write_middle, 1), ConstSpan(content).subspan(256, 256));
    peer.send(write_packet(Opcode::write_last, 2, true), ConstSpan(content).subspan(512));
    CHECK(said(peer.take()) == ack(2, 1));
    Bytes expected = content;
    expected.resize(4096);
    CHECK(end.box().bytes_of(place.extents) == expected);
    CHECK(commit() == Errc::ok);
  }
  SECTION("it never completes") {
    peer.advance(std::chrono::milliseconds(2));
    CHECK(commit() == Errc::ok);
    peer.send(write_packet(Opcode::write_middle, 1), ConstSpan(content).subspan(256, 256));
    CHECK(said(peer.take()) == ack(1, 0, kNakAccess));
  }
  SECTION("its queue pair goes") {
    end.port().destroy_queue_pair(peer.number());
    CHECK(commit() == Errc::ok);
  }
}

TEST_CASE("frames under way keep what they show, also past the end of all else", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_4096));
  const Bytes content = pattern(4096);
  const RemoteMemory object = end.put("old", content);
  Packet read = write_begin(Opcode::read_request, 0, object, 4096, true);
  read.destination_qp = peer.number();
  end.port().on_frame(test::roce_frame(peer.header(), read), end.now());
  OutFrame frame;
  REQUIRE(end.port().next_frame(frame, end.now()));
  REQUIRE(frame.payload.size_bytes() == 4096);
  REQUIRE(frame.token != ReleaseToken());
  // The object goes, its lease, the queue pair and the session; others fill the pool.
  wire::StatusesReply statuses;
  end.service().remove(end.session().id, {{"old"}}, statuses);
  end.port().destroy_queue_pair(peer.number());
  end.service().close_session(end.session().id);
  end.service().on_timer();
  const SessionInfo other = end.open_session("other");
  for (int i = 0; i < 64; ++i) {
    const Result<wire::RegionReply> region =
        end.service().allocate_region(other.id, SizeBytes(256U << 10U));
    if (!region) {
      break;
    }
    end.box().set_bytes_of(region->extents, Bytes(256U << 10U, std::byte{0xEE}));
  }
  Bytes sent(frame.size_bytes());
  REQUIRE(end.port().copy_frame(frame, sent) == sent.size());
  CHECK(std::ranges::equal(ConstSpan(sent).subspan(frame.header_bytes, 4096), content));
  CHECK(end.service().usage().quarantined == 1);
  end.port().release(frame.token);
  CHECK(end.service().usage().quarantined == 0);
  CHECK(end.port().usage().windows == 0);
}

TEST_CASE("long READs pin a window at a time, and see a key that is revoked", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_4096));
  const RemoteMemory memory = end.allocate(1U << 20U);
  REQUIRE(memory.extents[0].length_bytes >= 512U << 10U);
  end.set_bytes_of(memory, pattern(1U << 20U));
  Packet read = write_begin(Opcode::read_request, 0, memory, 512U << 10U, true);
  read.destination_qp = peer.number();
  end.port().on_frame(test::roce_frame(peer.header(), read), end.now());
  CHECK(end.port().usage().windows == 0);
  OutFrame frame;
  for (int i = 0; i < 40; ++i) {  // 32 packets to a window
    REQUIRE(end.port().next_frame(frame, end.now()));
    end.port().release(frame.token);
    CHECK(end.port().usage().windows == 1);
  }
  REQUIRE(end.service().free_region(end.session().id, memory.key) == Errc::ok);
  std::size_t more = 0;
  while (end.port().next_frame(frame, end.now()) && frame.token != ReleaseToken()) {
    end.port().release(frame.token);
    ++more;
  }
  CHECK(more == 24);  // the window that was pinned
  roce::Frame decoded;
  roce::Packet nak;
  Bytes sent(frame.size_bytes());
  REQUIRE(end.port().copy_frame(frame, sent) == sent.size());
  REQUIRE(roce::decode_frame(sent, decoded) == roce::FrameKind::roce);
  REQUIRE(roce::decode_packet(decoded.packet, nak) == roce::Malformed::no);
  CHECK(nak.syndrome == kNakAccess);
  CHECK(nak.psn == Psn(64));
  CHECK(end.port().usage().windows == 0);
}

TEST_CASE("a fenced lane and a session that ended do nothing more", "[unit][roce]") {
  RoceEnd end;
  const RemoteMemory memory = end.allocate(64);
  const QueuePairOptions options = end.pair_options();
  RocePeer peer(end, options);
  peer.send_write(0, memory.key, memory.address(), pattern(8));
  CHECK(said(peer.take()) == ack(0, 1));
  SECTION("fenced") {
    const std::array<wire::LaneToken, 1> lanes{options.lane};
    REQUIRE(end.service().fence_lanes(end.session().id, lanes) == Errc::ok);
    peer.send_write(1, memory.key, memory.address(), pattern(8, 9));
    CHECK(said(peer.take()) == ack(1, 1, kNakAccess));
  }
  SECTION("fenced in the middle of a WRITE") {
    peer.send(write_begin(Opcode::write_first, 1, memory, 2000), pattern(1024));
    CHECK(said(peer.take()) == ack(1, 1, kNakAccess));  // 2000 bytes of 64
  }
  SECTION("found by the sweep") {
    end.service().close_session(end.session().id);
    peer.advance(std::chrono::milliseconds(60));
    CHECK(end.port().is_broken(peer.number()));
    peer.send_write(1, memory.key, memory.address(), pattern(8, 9));
    CHECK_FALSE(peer.is_answered());
  }
}

TEST_CASE("a queue pair without a session reaches nothing of the pool", "[unit][roce]") {
  RoceEnd end;
  const RemoteMemory memory = end.allocate(64);
  QueuePairOptions options = end.pair_options();
  options.session = SessionId();
  options.lane = wire::LaneToken();
  RocePeer peer(end, options);
  peer.send_read(0, memory.key, memory.address(), 8);
  CHECK(said(peer.take()) == ack(0, 0, kNakAccess));
}

TEST_CASE("a port without a pool refuses every access, whoever asks", "[unit][roce]") {
  RoceEnd end({.has_pool = false});
  const RemoteMemory memory = end.allocate(64);
  const Bytes untouched = end.all_memory();
  QueuePairOptions options = end.pair_options();  // of a session that there is elsewhere
  SECTION("with a session") {}
  SECTION("without") {
    options.session = SessionId();
    options.lane = wire::LaneToken();
  }
  const auto refused = [&](auto&& ask) {
    RocePeer peer(end, options);
    ask(peer);
    CHECK(said(peer.take()) == ack(0, 0, kNakAccess));
    CHECK(end.port().is_broken(peer.number()));
    end.port().destroy_queue_pair(peer.number());
  };
  refused([&](RocePeer& peer) { peer.send_read(0, memory.key, memory.address(), 8); });
  refused([&](RocePeer& peer) { peer.send_read(0, memory.key, memory.address(), 1U << 30U); });
  refused([&](RocePeer& peer) { peer.send_write(0, memory.key, memory.address(), pattern(8)); });
  for (const Opcode opcode : {Opcode::fetch_add, Opcode::compare_swap}) {
    refused([&](RocePeer& peer) { peer.send_atomic(0, opcode, memory.key, memory.address(), 1); });
  }
  CHECK(end.all_memory() == untouched);
  CHECK(end.port().usage().windows == 0);
}

TEST_CASE("strangers get no answer, and are counted", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(64);
  const Bytes untouched = end.all_memory();
  Packet packet = write_begin(Opcode::write_only, 0, memory, 4, true);
  packet.destination_qp = peer.number();
  const auto send = [&](const roce::FrameHeader& header, const Packet& of) {
    end.port().on_frame(test::roce_frame(header, of, pattern(4)), end.now());
    CHECK_FALSE(peer.is_answered());
  };
  const RocePortCounters& counters = end.port().counters();
  roce::FrameHeader header = peer.header();
  header.destination[5] ^= 1;
  send(header, packet);
  header = peer.header();
  header.destination_ip = roce::Gid::of_ipv4({10, 0, 0, 3});
  send(header, packet);
  CHECK(counters.dropped_not_ours.get() == 2);
  header = peer.header();
  header.source_ip = roce::Gid::of_ipv4({10, 0, 0, 9});
  send(header, packet);
  CHECK(counters.dropped_wrong_source.get() == 1);
  Packet other = packet;
  other.destination_qp = roce::QueuePairNumber(peer.number().value() ^ 1U);
  send(peer.header(), other);
  other = packet;
  other.opcode = Opcode::ud_send_only;
  send(peer.header(), other);
  CHECK(counters.dropped_stranger.get() == 2);
  other = packet;
  other.p_key = 0x8001;
  send(peer.header(), other);
  CHECK(counters.dropped_key.get() == 1);
  other.p_key = 0x7FFF;  // a limited member of the same partition: fine
  Bytes frame = test::roce_frame(peer.header(), packet, pattern(4));
  for (const std::size_t at : {frame.size() - 1, frame.size() - 6, std::size_t{60}}) {
    frame[at] ^= std::byte{0x10};
    end.port().on_frame(frame, end.now());
    CHECK_FALSE(peer.is_answered());
    frame[at] ^= std::byte{0x10};
  }
  CHECK(counters.dropped_icrc.get() == 3);
  for (std::size_t size = 0; size < frame.size(); ++size) {
    end.port().on_frame(ConstSpan(frame).first(size), end.now());
  }
  CHECK_FALSE(peer.is_answered());
  CHECK(end.all_memory() == untouched);
  CHECK(end.port().usage().queue_pairs == 1);
  peer.send(other, pattern(4));
  CHECK(said(peer.take()) == ack(0, 1));
}

TEST_CASE("congestion is told to whom it concerns, at a rate", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(64);
  peer.header().traffic_class = 3;
  std::size_t cnps = 0;
  const auto count = [&] {
    while (const std::optional<RoceAnswer> answer = peer.take()) {
      if (answer->packet.opcode == Opcode::congestion_notification) {
        ++cnps;
        CHECK(answer->packet.becn);
        CHECK(answer->packet.psn == Psn(0));
        CHECK(answer->payload == Bytes(16));
      }
    }
  };
  for (std::uint32_t psn = 0; psn < 100; ++psn) {
    peer.send_write(psn, memory.key, memory.address(), pattern(4));
    count();
  }
  CHECK(cnps == 1);
  peer.advance(std::chrono::microseconds(50));
  peer.send_write(100, memory.key, memory.address(), pattern(4));
  count();
  CHECK(cnps == 2);
  peer.header().traffic_class = 2;
  peer.advance(std::chrono::microseconds(50));
  peer.send_write(101, memory.key, memory.address(), pattern(4));
  count();
  CHECK(cnps == 2);
  peer.send({.opcode = Opcode::congestion_notification, .becn = true}, Bytes(16));
  CHECK_FALSE(peer.is_answered());
  CHECK(end.port().counters().cnps_received.get() == 1);
}

TEST_CASE("a port that is dead or silent on purpose neither hears nor speaks", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end);
  const RemoteMemory memory = end.allocate(64);
  end.faults().set(EthPortId(0), {.kind = PortFaultKind::silent}, end.now());
  peer.send_write(0, memory.key, memory.address(), pattern(4));
  CHECK_FALSE(peer.is_answered());
  CHECK(end.port().counters().dropped_port_fault.get() == 1);
  end.faults().set(EthPortId(0), {}, end.now());
  peer.send_write(0, memory.key, memory.address(), pattern(4));
  CHECK(said(peer.take()) == ack(0, 1));
}

TEST_CASE("queue pairs are bounded, and their numbers say nothing", "[unit][roce]") {
  test::RoceEndOptions options;
  options.queue_pairs_max = 50;
  RoceEnd end(options);
  std::vector<std::uint32_t> numbers;
  for (int i = 0; i < 50; ++i) {
    const auto local = end.port().allot_queue_pair();
    REQUIRE(local.has_value());
    numbers.push_back(local->number.value());
    CHECK(numbers.back() > 1);
    CHECK(numbers.back() < 0xFF'FFFF);
  }
  CHECK(end.port().allot_queue_pair().error().code == Errc::limit_exceeded);
  std::ranges::sort(numbers);
  CHECK(std::ranges::adjacent_find(numbers) == numbers.end());
  CHECK(numbers.back() - numbers.front() > 1'000'000);
  end.port().destroy_queue_pair(roce::QueuePairNumber(numbers[7]));
  CHECK(end.port().allot_queue_pair().has_value());
  QueuePairOptions pair = end.pair_options();
  pair.number = roce::QueuePairNumber(numbers[8]);
  pair.path.destination_ip = roce::Gid::of_ipv4({10, 0, 0, 1});
  pair.path_mtu = roce::PathMtu::bytes_4096;
  pair.path.source_ip = roce::Gid::of_ipv4({10, 0, 0, 99});
  CHECK(end.port().connect_queue_pair(pair, end.now()) == Errc::invalid_argument);
  pair.path.source_ip = end.port().options().addresses[0];
  pair.resources_max = 129;
  CHECK(end.port().connect_queue_pair(pair, end.now()) == Errc::invalid_argument);
  pair.resources_max = 128;
  CHECK(end.port().connect_queue_pair(pair, end.now()) == Errc::ok);
  CHECK(end.port().connect_queue_pair(pair, end.now()) == Errc::not_found);
}

TEST_CASE("a port of a small MTU has no large path MTU", "[unit][roce]") {
  test::RoceEndOptions options;
  options.ethernet_mtu_bytes = 1500;
  RoceEnd end(options);
  CHECK(end.port().path_mtu_max() == roce::PathMtu::bytes_1024);
  const auto local = end.port().allot_queue_pair();
  QueuePairOptions pair = end.pair_options();
  pair.number = local->number;
  pair.path.destination_ip = roce::Gid::of_ipv4({10, 0, 0, 1});
  pair.path_mtu = roce::PathMtu::bytes_2048;
  CHECK(end.port().connect_queue_pair(pair, end.now()) == Errc::invalid_argument);
}

TEST_CASE("a paced box answers when its channels would be done", "[unit][roce]") {
  test::RoceEndOptions options;
  options.box.mode = TimingMode::paced;
  options.box.rates.dram_channel = Rate(1e6);  // 1 us for a byte
  RoceEnd end(options);
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_4096));
  const RemoteMemory memory = end.allocate(4096);
  peer.send_read(0, memory.key, memory.address(), 4096);
  CHECK_FALSE(peer.is_answered());
  peer.advance(std::chrono::microseconds(4000));
  CHECK_FALSE(peer.is_answered());
  peer.advance(std::chrono::microseconds(97));
  CHECK(peer.take()->payload.size() == 4096);
  peer.send_write(1, memory.key, memory.address(), pattern(1000));
  peer.advance(std::chrono::microseconds(999));
  CHECK_FALSE(peer.is_answered());
  peer.advance(std::chrono::microseconds(2));
  CHECK(said(peer.take()) == ack(1, 2));
}

TEST_CASE("a warm port allocates nothing for READs, WRITEs and atomics", "[unit][roce]") {
  RoceEnd end;
  RocePeer peer(end, with_mtu(end, roce::PathMtu::bytes_4096));
  const RemoteMemory memory = end.allocate(1U << 20U);
  const auto round = [&](std::uint32_t psn) {
    std::vector<Bytes> frames;
    Packet read = write_begin(Opcode::read_request, psn, memory, 16384, true);
    Packet write = write_begin(Opcode::write_only, psn + 4, memory, 4096, true);
    Packet add = write_begin(Opcode::fetch_add, psn + 5, memory, 0, true);
    for (Packet* packet : {&read, &write, &add}) {
      packet->destination_qp = peer.number();
      frames.push_back(
          test::roce_frame(peer.header(), *packet, packet == &write ? pattern(4096) : Bytes()));
    }
    Bytes sent(8192);
    OutFrame frame;
    const std::uint64_t before = test::allocation_count();
    std::size_t answers = 0;
    for (const Bytes& request : frames) {
      end.port().on_frame(request, end.now());
      while (end.port().next_frame(frame, end.now())) {
        answers += end.port().copy_frame(frame, sent) > 0 ? 1U : 0U;
        end.port().release(frame.token);
      }
    }
    CHECK(answers == 6);
    return test::allocation_count() - before;
  };
  std::uint32_t psn = 0;
  for (int i = 0; i < 100; ++i, psn += 6) {
    static_cast<void>(round(psn));
  }
  CHECK(round(psn) == 0);
}

}  // namespace godbox::emulator
