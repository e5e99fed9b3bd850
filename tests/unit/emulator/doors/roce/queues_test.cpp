// SPDX-License-Identifier: Apache-2.0
//
// A port of several queues: whose a number is, the inboxes between their threads, and queue pairs
// and connections whose frames come to whichever queue the seed says.
#include "responder_fixture.h"
#include <godbox/emulator/roce/queues.h>
#include <godbox/roce/pool_hello.h>
#include <godbox_test/cm_peer.h>
#include <godbox_test/roce_world.h>

#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

namespace godbox::emulator {
namespace {

using std::chrono::seconds;
using test::CmPeer;
using test::RoceWorld;
using Kind = ConnectionEvent::Kind;

constexpr std::uint32_t kMtuBytes = 1500;
constexpr std::size_t kFrameBytesMax = kMtuBytes + 18;

Bytes numbered(std::uint64_t number, std::size_t size_bytes) {
  Bytes frame = pattern(size_bytes, number + 1);
  std::memcpy(frame.data(), &number, sizeof(number));
  return frame;
}
std::uint64_t number_in(ConstSpan frame) {
  std::uint64_t number = 0;
  std::memcpy(&number, frame.data(), sizeof(number));
  return number;
}

std::uint64_t sum(RoceEnd& end, RoceCounter RocePortCounters::*counter) {
  std::uint64_t total = 0;
  for (std::size_t queue = 0; queue < end.queues(); ++queue) {
    total += (end.port(queue).counters().*counter).get();
  }
  return total;
}
std::size_t connections_of(RoceEnd& end) {
  std::size_t total = 0;
  for (std::size_t queue = 0; queue < end.queues(); ++queue) {
    total += end.port(queue).usage().connections;
  }
  return total;
}

// Connections of one client to the pool, each with memory there, over a link that loses frames.
struct Crowd {
  static constexpr std::size_t kConnections = 40;
  static constexpr std::size_t kBytes = 9'000;

  RoceWorld world;
  std::vector<roce::QueuePairNumber> pairs;
  std::vector<RemoteMemory> memory;
  std::vector<Bytes> out, in;

  Crowd(std::size_t queues, std::uint64_t seed)
      : world(
            {.lost = 0.01, .doubled = 0.02, .jitter = std::chrono::microseconds(20), .seed = seed},
            queued(queues, seed)) {
    for (std::size_t i = 0; i < kConnections; ++i) {
      memory.push_back(world.box().allocate(kBytes));
      out.push_back(pattern(kBytes, seed * 100 + i));
      in.emplace_back(kBytes);
    }
  }
  void connect() {
    RocePort& client = world.client().port();
    ConnectionAttempt attempt;
    attempt.destination = world.box().port().options().addresses.front();
    attempt.next_hop = world.box().port().options().mac;
    attempt.service = roce::kPoolService;
    attempt.path_mtu = roce::PathMtu::bytes_1024;
    roce::encode_pool_hello(
        {.session = world.box().session().id, .secret = world.box().session().secret},
        std::span(attempt.private_data).first<roce::kPoolHelloBytes>());
    for (std::size_t i = 0; i < kConnections; ++i) {
      REQUIRE(client.connect(attempt, world.now()).has_value());
    }
    REQUIRE(world.run_until([&] {
      while (const auto event = client.take_connection_event()) {
        REQUIRE(event->kind == Kind::established);
        pairs.push_back(event->number);
      }
      return pairs.size() == kConnections;
    }));
  }
  // All of them at once.
  void move(SendOp op) {
    RocePort& client = world.client().port();
    for (std::size_t i = 0; i < kConnections; ++i) {
      const MutableSpan piece(op == SendOp::write ? out[i] : in[i]);
      REQUIRE(client.post_send(pairs[i], {.id = WorkId(i),
                                          .op = op,
                                          .local = {&piece, 1},
                                          .remote_address = memory[i].address(),
                                          .key = memory[i].key}) == Errc::ok);
    }
    std::size_t done = 0;
    REQUIRE(world.run_until([&] {
      for (const roce::QueuePairNumber pair : pairs) {
        while (const auto completed = client.take_completed(pair)) {
          REQUIRE(completed->status == WorkStatus::ok);
          ++done;
        }
      }
      return done == kConnections;
    }));
  }
};

}  // namespace

TEST_CASE("a queue's numbers are its own, near what was drawn", "[unit][roce]") {
  const std::size_t count = GENERATE(1U, 2U, 3U, 7U, 16U);
  const RoceQueues queues(count, kMtuBytes);
  for (const std::uint32_t drawn : {0U, 1U, 2U, 0xFFFFFFU, 0x123456U, 0xFFFFFFFFU}) {
    for (std::size_t queue = 0; queue < count; ++queue) {
      const std::uint64_t number = queues.number_of(queue, drawn);
      CAPTURE(count, drawn, queue, number);
      CHECK(number % count == queue);
      CHECK(number + count > drawn);
      CHECK(number < drawn + std::uint64_t{count});
    }
  }
}

TEST_CASE("frames come out in their order, and are refused where there is no room",
          "[unit][roce]") {
  RoceQueues queues(2, kMtuBytes);
  std::uint64_t given = 0, taken = 0;
  const auto size_of = [](std::uint64_t number) { return 8 + number * 37 % (kFrameBytesMax - 7); };
  const auto take = [&](std::size_t frames_max) {
    return queues.take(1, frames_max, [&](ConstSpan frame) {
      CHECK(std::ranges::equal(frame, numbered(taken, size_of(taken))));
      ++taken;
    });
  };
  const auto give = [&] {
    const bool is_taken = queues.give(0, 1, numbered(given, size_of(given)));
    given += is_taken ? 1U : 0U;
    return is_taken;
  };
  CHECK(take(100) == 0);
  for (int turn = 0; turn < 5; ++turn) {
    while (give()) {
    }
    CHECK(given - taken == kRoceGivenFramesMax);
    CHECK(take(100) == 100);
    CHECK(give());
    CHECK(take(1000) == kRoceGivenFramesMax - 99);
    CHECK(take(1000) == 0);
  }
  CHECK(queues.take(0, 10, [](ConstSpan) {}) == 0);
  CHECK(queues.room_for(0) == kRoceGivenFramesMax);
  CHECK(queues.give(0, 1, Bytes(kFrameBytesMax)));
  CHECK(queues.room_for(0) == kRoceGivenFramesMax - 1);
  CHECK(queues.room_for(1) == kRoceGivenFramesMax);
  CHECK(!queues.give(0, 1, Bytes(kFrameBytesMax + 1)));
}

TEST_CASE("a queue that floods another takes no room from a third", "[unit][roce]") {
  RoceQueues queues(3, kMtuBytes);
  while (queues.give(0, 2, Bytes(64))) {
  }
  CHECK(queues.give(1, 2, Bytes(65)));
  std::size_t of_third = 0;
  const auto count = [&](ConstSpan frame) { of_third += frame.size() == 65 ? 1U : 0U; };
  CHECK(queues.take(2, 64, count) == 64);
  CHECK(queues.take(2, 64, count) == 64);
  CHECK(of_third == 1);  // it had its turn before all of the flood
}

TEST_CASE("who begins to sleep has seen what was given, or is woken by it, once", "[unit][roce]") {
  RoceQueues queues(2, kMtuBytes);
  const Bytes frame(64);
  CHECK(queues.begin_sleep(1));  // nobody to be woken yet
  CHECK(queues.give(0, 1, frame));
  int woken = 0;
  queues.set_wake(1, [&] { ++woken; });
  CHECK(!queues.begin_sleep(1));
  CHECK(queues.give(0, 1, frame));
  CHECK(woken == 0);  // it is awake
  CHECK(queues.take(1, 10, [](ConstSpan) {}) == 2);
  CHECK(queues.begin_sleep(1));
  CHECK(queues.give(0, 1, frame));
  CHECK(queues.give(0, 1, frame));
  CHECK(woken == 1);
  CHECK(queues.take(1, 10, [](ConstSpan) {}) == 2);
  CHECK(queues.begin_sleep(1));
  queues.end_sleep(1);
  CHECK(queues.give(0, 1, frame));
  CHECK(woken == 1);
}

TEST_CASE("what is new goes to queues whose wires take something", "[unit][roce]") {
  RoceQueues queues(4, kMtuBytes);
  CHECK(queues.queue_for(6, 0) == 2);
  queues.set_stalled(2, true);
  CHECK(queues.queue_for(6, 0) == 0);
  CHECK(queues.queue_for(6, 3) == 3);
  CHECK(queues.queue_for(5, 3) == 1);
  queues.set_stalled(2, false);
  CHECK(queues.queue_for(6, 0) == 2);
}

// The reader sleeps without a limit whenever it may: a wake that is lost hangs the test.
TEST_CASE("queues give frames to each other from threads of their own", "[unit][roce]") {
  constexpr std::uint64_t kFrames = 20'000, kWriters = 3;
  RoceQueues queues(kWriters + 1, kMtuBytes);
  std::mutex mutex;
  std::condition_variable came;
  bool is_woken = false;
  std::atomic<std::uint64_t> sleeps{0};
  queues.set_wake(kWriters, [&] {
    const std::scoped_lock lock(mutex);
    is_woken = true;
    came.notify_one();
  });
  std::vector<std::thread> writers;
  for (std::uint64_t writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      while (sleeps == 0) {
        std::this_thread::yield();
      }
      for (std::uint64_t i = 0; i < kFrames; ++i) {
        const Bytes frame = numbered(writer << 32U | i, 8 + i % 100);
        while (!queues.give(writer, kWriters, frame)) {
          std::this_thread::yield();
        }
      }
    });
  }
  std::array<std::uint64_t, kWriters> next{};
  std::uint64_t wrong = 0, taken = 0;
  while (taken < kWriters * kFrames) {
    const std::size_t now = queues.take(kWriters, 64, [&](ConstSpan frame) {
      const std::uint64_t number = number_in(frame);
      const std::uint64_t i = number & UINT32_MAX;
      const bool is_right = i == next[number >> 32U]++ && frame.size() == 8 + i % 100 &&
                            std::ranges::equal(frame, numbered(number, frame.size()));
      wrong += is_right ? 0U : 1U;
    });
    taken += now;
    if (now == 0 && queues.begin_sleep(kWriters)) {
      ++sleeps;
      std::unique_lock lock(mutex);
      came.wait(lock, [&] { return is_woken; });
      is_woken = false;
    }
    queues.end_sleep(kWriters);
  }
  for (std::thread& writer : writers) {
    writer.join();
  }
  CHECK(wrong == 0);
  CHECK(next == std::array{kFrames, kFrames, kFrames});
}

TEST_CASE("queue pairs and connections belong to one queue each, whichever their frames come to",
          "[unit][roce]") {
  const std::size_t queues = GENERATE(2U, 3U, 16U);
  const std::uint64_t seed = GENERATE(1U, 2U);
  INFO("seed=" << seed << " queues=" << queues);
  Crowd crowd(queues, seed);
  RoceWorld& world = crowd.world;
  RocePort& client = world.client().port();
  crowd.connect();
  std::size_t in_all = 0, with_some = 0;
  for (std::size_t queue = 0; queue < queues; ++queue) {
    const std::size_t of_queue = world.box().port(queue).usage().queue_pairs;
    in_all += of_queue;
    with_some += of_queue > 0 ? 1U : 0U;
  }
  CHECK(in_all == Crowd::kConnections);
  CHECK(with_some >= std::min<std::size_t>(queues, 8));

  crowd.move(SendOp::write);
  for (std::size_t i = 0; i < Crowd::kConnections; ++i) {
    CHECK(world.box().bytes_of(crowd.memory[i]) == crowd.out[i]);
  }
  // Over a link that loses nothing, so that frames can be counted.
  world.set_link({});
  world.run_for(seconds(1));
  const std::uint64_t sent = client.counters().frames_sent.get();
  const std::uint64_t received = sum(world.box(), &RocePortCounters::frames_received);
  crowd.move(SendOp::read);
  CHECK(crowd.in == crowd.out);
  CHECK(sum(world.box(), &RocePortCounters::frames_given) > 0);
  CHECK(sum(world.box(), &RocePortCounters::dropped_queue) == 0);
  CHECK(sum(world.box(), &RocePortCounters::dropped_stranger) == 0);
  // Each frame that arrived was received by one queue.
  CHECK(sum(world.box(), &RocePortCounters::frames_received) - received ==
        client.counters().frames_sent.get() - sent);
}

TEST_CASE("a peer that has begun anew is found, whichever queue it comes to", "[unit][roce]") {
  const std::uint64_t seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U);
  INFO("seed=" << seed);
  RoceEnd end(queued(4, seed));
  CmPeer peer(end);
  if (seed % 2 == 0) {
    peer.header().vlan = 5;
  }
  const roce::CmReq req = peer.pool_req(end.session());
  peer.send(req);
  const auto rep = peer.take<roce::CmRep>();
  REQUIRE(rep.has_value());
  peer.send(req);  // once more: the same answer, and no second connection
  CHECK(peer.take<roce::CmRep>() == rep);
  CHECK(connections_of(end) == 1);
  roce::CmReq again = peer.pool_req(end.session());
  again.local_qpn = req.local_qpn;
  peer.send(again);
  const auto refused = peer.take<roce::CmRej>();
  REQUIRE(refused.has_value());
  CHECK(refused->reason == roce::RejReason::stale_connection);
}

namespace {

// A REJ of who gave up before it knew a number of this end.
roce::CmRej given_up(const roce::CmReq& req) {
  roce::CmRej rej;
  rej.local_comm_id = req.local_comm_id;
  rej.rejected = roce::CmAnswered::rep;
  rej.reason = roce::RejReason::timeout;
  rej.info_bytes = 8;
  for (std::size_t i = 0; i < 8; ++i) {
    rej.info[i] = static_cast<std::uint8_t>(req.local_ca_guid >> (56 - 8 * i));
  }
  return rej;
}

}  // namespace

TEST_CASE("who gave up before it knew a number is heard by the queue that it asked",
          "[unit][roce]") {
  const std::uint64_t seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U);
  INFO("seed=" << seed);
  RoceEnd end(queued(4, seed));
  CmPeer peer(end);
  const roce::CmReq req = peer.pool_req(end.session());
  peer.send(req);
  REQUIRE(peer.take<roce::CmRep>().has_value());
  peer.send(given_up(req));
  CHECK(sum(end, &RocePortCounters::connections_rejected) == 1);
  peer.advance(seconds(5));
  CHECK(connections_of(end) == 0);
}

TEST_CASE("strangers do not make queues work for each other", "[unit][roce]") {
  const std::size_t by = GENERATE(0U, 1U, 2U, 3U);
  INFO("by queue " << by);
  RoceEnd end(queued(4));
  CmPeer peer(end);
  const roce::CmReq req = peer.pool_req(end.session());
  const auto given = [&] { return sum(end, &RocePortCounters::frames_given); };
  const auto come = [&](const Bytes& frame) {
    end.port(by).on_frame(frame, end.now());
    while (!end.take_frame().empty()) {
    }
  };
  // Of all REJs without a number only those of who gave up are for all queues, and at a rate.
  roce::CmRej other = given_up(req);
  other.reason = roce::RejReason::consumer;
  come(peer.frame_of(other));
  Bytes damaged = peer.frame_of(given_up(req));
  damaged.back() ^= std::byte{1};
  come(damaged);
  // A packet to a queue pair that is not there, or of the wrong kind, goes no further.
  for (std::uint32_t number = 2; number < 10; ++number) {
    come(test::roce_frame(peer.header(), {.opcode = Opcode::read_request,
                                          .destination_qp = roce::QueuePairNumber(number),
                                          .length_bytes = 64}));
    come(test::roce_frame(peer.header(),
                          {.opcode = Opcode::ud_send_only,
                           .destination_qp = roce::QueuePairNumber(roce::kGsiQueuePair),
                           .q_key = roce::kGsiQKey ^ 1U}));
  }
  CHECK(given() == 0);
  CHECK(sum(end, &RocePortCounters::dropped_icrc) == 1);
  CHECK(sum(end, &RocePortCounters::dropped_stranger) == 8);
  CHECK(sum(end, &RocePortCounters::dropped_key) == 8);
  for (std::uint32_t i = 0; i < kRoceStrangerBurstMax + 100; ++i) {
    come(peer.frame_of(given_up(req)));
  }
  CHECK(given() == std::uint64_t{3} * kRoceStrangerBurstMax);
  // Messages for one other queue have a rate, too.
  const roce::CommId others(static_cast<std::uint32_t>(by + 1));
  for (std::uint32_t i = 0; i < kRoceReqBurstMax + 100; ++i) {
    come(peer.frame_of(roce::CmRtu{.local_comm_id = roce::CommId(7), .remote_comm_id = others}));
  }
  CHECK(given() == 3 * kRoceStrangerBurstMax + kRoceReqBurstMax);
  CHECK(sum(end, &RocePortCounters::dropped_limit) == 200);
}

TEST_CASE("a frame for a queue that has no room is lost, and counted", "[unit][roce]") {
  RoceEnd end(queued(2));
  CmPeer peer(end);
  const Bytes frame = peer.frame_of(peer.pool_req(end.session()));
  constexpr std::size_t kMore = 10;
  for (std::size_t i = 0; i < kRoceGivenFramesMax + kMore; ++i) {
    end.port(0).on_frame(frame, end.now());
    end.port(1).on_frame(frame, end.now());
  }
  CHECK(sum(end, &RocePortCounters::frames_given) == kRoceGivenFramesMax);
  CHECK(sum(end, &RocePortCounters::dropped_queue) == kMore);
  while (!end.take_frame().empty()) {
  }
  CHECK(connections_of(end) == 1);
  CHECK(sum(end, &RocePortCounters::frames_received) == 2 * (kRoceGivenFramesMax + kMore));
}

}  // namespace godbox::emulator
