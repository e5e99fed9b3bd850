// SPDX-License-Identifier: Apache-2.0
//
// The pump over wires in memory: by hand in virtual time, and on threads of its own. A wire takes
// few frames at a time, so that frames have to wait for room.
#include "responder_fixture.h"
#include <godbox/emulator/roce/pump.h>
#include <godbox_test/cm_peer.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <thread>

#include <sys/eventfd.h>
#include <unistd.h>

namespace godbox::emulator {
namespace {

using test::RoceEndOptions;

constexpr std::uint32_t kMtuBytes = 4200;

// One direction of a wire.
struct Channel {
  std::mutex mutex;
  std::deque<Bytes> frames;
  std::size_t frames_max = 0;
};

class MemoryFrames final : public FrameSource {
 public:
  MemoryFrames(Channel& in, Channel& out, MacAddress mac) : in_(in), out_(out), mac_(mac) {}

  [[nodiscard]] std::string name() const override { return "memory"; }
  [[nodiscard]] MacAddress mac() const override { return mac_; }
  [[nodiscard]] std::uint32_t mtu_bytes() const override { return kMtuBytes; }
  [[nodiscard]] std::size_t receive(std::span<ConstSpan> frames) override {
    held_.clear();
    const std::scoped_lock lock(in_.mutex);
    while (held_.size() < frames.size() && !in_.frames.empty()) {
      held_.push_back(std::move(in_.frames.front()));
      in_.frames.pop_front();
    }
    std::copy(held_.begin(), held_.end(), frames.begin());
    return held_.size();
  }
  // Committed frames wait for flush(), so the room is what is left behind those.
  [[nodiscard]] MutableSpan room_to_send(std::size_t size_bytes) override {
    const std::scoped_lock lock(out_.mutex);
    if (out_.frames.size() + waiting_.size() >= out_.frames_max) {
      ++refusals;
      return {};
    }
    room_.resize(size_bytes);
    return room_;
  }
  void commit() override { waiting_.push_back(room_); }
  void flush() override {
    const std::scoped_lock lock(out_.mutex);
    std::move(waiting_.begin(), waiting_.end(), std::back_inserter(out_.frames));
    waiting_.clear();
  }
  [[nodiscard]] int wait_descriptor() const override { return descriptor; }
  [[nodiscard]] FrameCounters counters() const override { return {}; }

  std::atomic<std::uint64_t> refusals{0};
  int descriptor = -1;

 private:
  Channel& in_;
  Channel& out_;
  MacAddress mac_;
  std::deque<Bytes> held_;
  Bytes room_;
  std::vector<Bytes> waiting_;
};

// Two ends with a wire of `frames_max` frames each way, and a queue pair between them.
struct Wired {
  explicit Wired(std::size_t frames_max, std::size_t box_queues = 1) : box(queued(box_queues)) {
    to_box.frames_max = frames_max;
    to_client.frames_max = frames_max;
    const auto client_pair = client.port().allot_queue_pair();
    const auto box_pair = box.port().allot_queue_pair();
    REQUIRE((client_pair.has_value() && box_pair.has_value()));
    const auto connect = [](RoceEnd& end, RoceEnd& peer, const RocePort::LocalQueuePair& own,
                            const RocePort::LocalQueuePair& other) {
      QueuePairOptions options = end.pair_options();
      options.path_mtu = roce::PathMtu::bytes_4096;
      options.number = own.number;
      options.remote_number = other.number;
      options.first_psn_sent = own.first_psn_sent;
      options.first_psn_received = other.first_psn_sent;
      options.path.destination = peer.port().options().mac;
      options.path.destination_ip = peer.port().options().addresses.front();
      REQUIRE(end.port().connect_queue_pair(options, end.now()) == Errc::ok);
    };
    connect(client, box, *client_pair, *box_pair);
    connect(box, client, *box_pair, *client_pair);
    number = client_pair->number;
    memory = box.allocate(1U << 20U);
    REQUIRE(memory.extents[0].length_bytes >= content.size());
  }
  static RoceEndOptions client_options() {
    RoceEndOptions options;
    options.mac = {2, 0, 0, 0, 0, 1};
    options.addresses = {roce::Gid::of_ipv4({10, 0, 0, 1})};
    options.seed = 78;
    return options;
  }
  [[nodiscard]] SendRequest request(SendOp op, const MutableSpan& piece) const {
    return {.id = WorkId(1),
            .op = op,
            .local = {&piece, 1},
            .remote_address = memory.address(),
            .key = memory.key};
  }

  RoceEnd client{client_options()};
  RoceEnd box;
  Channel to_box, to_client;
  MemoryFrames client_frames{to_client, to_box, client.port().options().mac};
  MemoryFrames box_frames{to_box, to_client, box.port().options().mac};
  RoceLine client_line{&client.port(), &client_frames};
  RoceLine box_line{&box.port(), &box_frames};
  roce::QueuePairNumber number{};
  RemoteMemory memory;
  Bytes content = pattern(400'000);
};

}  // namespace

TEST_CASE("a pump moves frames, and holds those that a wire has no room for", "[unit][roce]") {
  for (const std::size_t frames_max : {1U, 3U, 1000U}) {
    CAPTURE(frames_max);
    Wired wired(frames_max);
    Bytes back(wired.content.size());
    const MutableSpan from(wired.content), to(back);
    int step = 0;
    // Writes, then reads back what it wrote.
    RocePump client({&wired.client_line, 1}, wired.client.box().clock(), [&](TimePoint) {
      if (step > 0 && !wired.client.port().take_completed(wired.number)) {
        return false;
      }
      if (step < 2) {
        REQUIRE(wired.client.port().post_send(
                    wired.number, step == 0 ? wired.request(SendOp::write, from)
                                            : wired.request(SendOp::read, to)) == Errc::ok);
      }
      return ++step < 3;
    });
    RocePump box({&wired.box_line, 1}, wired.box.box().clock());
    for (int round = 0; round < 10'000 && step < 3; ++round) {
      client.round();
      box.round();
    }
    REQUIRE(step == 3);
    CHECK(back == wired.content);
    CHECK((wired.box_frames.refusals > 0) == (frames_max < 1000));
    CHECK(wired.client.port().counters().retransmits.get() == 0);
    for (int round = 0; round < 10; ++round) {  // what is left are acknowledgements
      client.round();
      box.round();
    }
    CHECK(!client.round());
    CHECK(!box.round());
    CHECK(wired.box.port().usage().windows == 0);
  }
}

TEST_CASE("a pump sees to timers without frames", "[unit][roce]") {
  Wired wired(1000);
  Bytes back(64);
  const MutableSpan to(back);
  REQUIRE(wired.client.port().post_send(wired.number, wired.request(SendOp::read, to)) == Errc::ok);
  RocePump client({&wired.client_line, 1}, wired.client.box().clock());
  CHECK(client.round());
  wired.to_box.frames.clear();  // lost
  CHECK(!client.round());
  for (int i = 0; i < 100 && wired.client.port().counters().timeouts.get() == 0; ++i) {
    wired.client.box().clock().set(wired.client.port().next_deadline());
    client.round();
  }
  CHECK(wired.client.port().counters().timeouts.get() == 1);
  CHECK(wired.to_box.frames.size() == 1);
}

TEST_CASE("a pump lets go of a frame that never left", "[unit][roce]") {
  Wired wired(1);
  Bytes back(100'000);
  const MutableSpan to(back);
  REQUIRE(wired.client.port().post_send(wired.number, wired.request(SendOp::read, to)) == Errc::ok);
  {
    RocePump client({&wired.client_line, 1}, wired.client.box().clock());
    RocePump box({&wired.box_line, 1}, wired.box.box().clock());
    client.round();
    box.round();
    CHECK(wired.box_frames.refusals > 0);
    CHECK(wired.box.port().usage().windows == 1);
  }
  for (int i = 0; !wired.box.take_frame().empty(); ++i) {
    REQUIRE(i < 100);
  }
  CHECK(wired.box.port().usage().windows == 0);
}

TEST_CASE("who stops reading keeps no memory pinned, and is served once it reads again",
          "[unit][roce]") {
  Wired wired(1);
  Bytes back(400'000);
  const MutableSpan to(back);
  REQUIRE(wired.client.port().post_send(wired.number, wired.request(SendOp::read, to)) == Errc::ok);
  RocePump client({&wired.client_line, 1}, wired.client.box().clock());
  RocePump box({&wired.box_line, 1}, wired.box.box().clock());
  ManualClock& clock = wired.box.box().clock();
  const RocePortCounters& counters = wired.box.port().counters();
  client.round();
  box.round();
  REQUIRE(wired.box.port().usage().windows > 0);
  // A moment is nothing: a frame that has to wait is not lost.
  clock.advance(kRoceHeldMax - std::chrono::milliseconds(1));
  while (box.round()) {
  }
  CHECK(counters.frames_sent.get() == 1);
  CHECK(counters.frames_unsent.get() == 0);
  CHECK(wired.box.port().usage().windows > 0);
  clock.advance(std::chrono::milliseconds(1));
  for (int rounds = 0; box.round(); ++rounds) {
    REQUIRE(rounds < 100);
  }
  CHECK(wired.box.port().usage().windows == 0);
  CHECK(counters.frames_sent.get() == 1);
  CHECK(counters.frames_unsent.get() == back.size() / 4096);  // and one of the rest went out
  CHECK(counters.bytes_sent.get() == wired.to_client.frames.front().size());
  // It reads again, and asks again.
  wired.to_client.frames.clear();
  wired.to_client.frames_max = 1000;
  bool is_done = false;
  for (int round = 0; round < 10'000 && !is_done; ++round) {
    wired.client.box().clock().set(std::min(wired.client.port().next_deadline(), clock.now()));
    client.round();
    box.round();
    clock.advance(std::chrono::milliseconds(1));
    const auto completed = wired.client.port().take_completed(wired.number);
    is_done = completed.has_value();
    REQUIRE((!is_done || completed->status == WorkStatus::ok));
  }
  CHECK(is_done);
  CHECK(wired.box.port().usage().windows == 0);
}

TEST_CASE("a wire that takes nothing is not asked all the time", "[unit][roce]") {
  Wired wired(0);
  const SteadyClock clock;
  Bytes back(64);
  const MutableSpan to(back);
  REQUIRE(wired.client.port().post_send(wired.number, wired.request(SendOp::read, to)) == Errc::ok);
  RocePump client({&wired.client_line, 1}, clock);
  wired.client_frames.descriptor = eventfd(0, EFD_NONBLOCK);
  std::thread thread([&] { client.run(); });
  std::this_thread::sleep_for(2 * kRoceHeldMax);
  const std::uint64_t before = wired.client_frames.refusals;
  std::this_thread::sleep_for(kRoceHeldMax);
  const std::uint64_t asked = wired.client_frames.refusals - before;
  client.stop();
  thread.join();
  close(wired.client_frames.descriptor);
  CHECK(asked < 100);
  CHECK(wired.client.port().counters().frames_unsent.get() >= 1);
}

TEST_CASE("pumps run on threads of their own until they are stopped", "[unit][roce]") {
  Wired wired(8);
  const SteadyClock clock;
  Bytes back(wired.content.size());
  const MutableSpan from(wired.content), to(back);
  std::atomic<int> step{0};
  std::atomic<bool> may_begin{false};
  RocePump client({&wired.client_line, 1}, clock, [&](TimePoint) {
    if (!may_begin || (step > 0 && !wired.client.port().take_completed(wired.number))) {
      return false;
    }
    if (step < 2) {
      static_cast<void>(
          wired.client.port().post_send(wired.number, step == 0 ? wired.request(SendOp::write, from)
                                                                : wired.request(SendOp::read, to)));
    }
    return ++step < 3;
  });
  RocePump box({&wired.box_line, 1}, clock);
  std::thread client_thread([&] { client.run(); });
  std::thread box_thread([&] { box.run(); });
  may_begin = true;
  client.wake();
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (step < 3 && std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  client.stop();
  box.stop();
  client_thread.join();
  box_thread.join();
  CHECK(step == 3);
  CHECK(back == wired.content);
  client.run();  // returns at once
}

// One wire for two queues: whichever thread looks first has the frame, and half of them belong to
// the other one.
TEST_CASE("pumps of one port's queues hand each other's frames over", "[unit][roce]") {
  Wired wired(1000, 2);
  MemoryFrames other_frames(wired.to_box, wired.to_client, wired.box.port().options().mac);
  const RoceLine other_line{&wired.box.port(1), &other_frames};
  const SteadyClock clock;
  Bytes back(wired.content.size());
  const MutableSpan from(wired.content), to(back);
  std::atomic<int> step{0}, failed{0};
  RocePump client({&wired.client_line, 1}, clock, [&](TimePoint) {
    if (step > 0) {
      const auto completed = wired.client.port().take_completed(wired.number);
      if (!completed) {
        return false;
      }
      failed += completed->status == WorkStatus::ok ? 0 : 1;
    }
    if (step < 20) {
      static_cast<void>(wired.client.port().post_send(
          wired.number,
          step % 2 == 0 ? wired.request(SendOp::write, from) : wired.request(SendOp::read, to)));
    }
    return ++step < 21;
  });
  RocePump box({&wired.box_line, 1}, clock), other({&other_line, 1}, clock);
  std::vector<std::thread> threads;
  for (RocePump* const pump : {&box, &other, &client}) {
    threads.emplace_back([pump] { pump->run(); });
  }
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (step < 21 && std::chrono::steady_clock::now() < limit) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (RocePump* const pump : {&box, &other, &client}) {
    pump->stop();
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(step == 21);
  CHECK(failed == 0);
  CHECK(back == wired.content);
  const RocePortCounters& of_other = wired.box.port(1).counters();
  CHECK(wired.box.port(0).counters().frames_received.get() > 0);
  CHECK(of_other.frames_given.get() > 0);
  CHECK(of_other.reads.get() + of_other.writes.get() == 0);  // the queue pair is queue 0's
}

// Queue 0 has nothing to do and waits on a descriptor that nobody writes to: without being woken it
// would look once in a second.
TEST_CASE("a pump that sleeps is woken by frames that its queue is given", "[unit][roce]") {
  constexpr int kTimes = 10;
  Channel nothing, out;
  out.frames_max = 1000;
  RoceEnd box(queued(2));
  MemoryFrames frames(nothing, out, box.port().options().mac);
  frames.descriptor = eventfd(0, EFD_NONBLOCK);
  const RoceLine line{&box.port(0), &frames};
  const SteadyClock clock;
  RocePump pump({&line, 1}, clock);
  std::thread thread([&] { pump.run(); });
  test::CmPeer peer(box);
  // Of no connection: it is answered by the queue whose the number would be.
  const Bytes frame = peer.frame_of(
      roce::CmDreq{.local_comm_id = roce::CommId(7), .remote_comm_id = roce::CommId(8)});
  const auto begin = std::chrono::steady_clock::now();
  const auto limit = begin + std::chrono::seconds(30);
  for (std::uint64_t i = 1; i <= kTimes; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    box.port(1).on_frame(frame, clock.now());
    while (box.port(0).counters().frames_sent.get() < i &&
           std::chrono::steady_clock::now() < limit) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  const auto took = std::chrono::steady_clock::now() - begin;
  pump.stop();
  thread.join();
  close(frames.descriptor);
  CHECK(box.port(0).counters().frames_sent.get() == kTimes);
  CHECK(took < kTimes * std::chrono::milliseconds(500));
}

TEST_CASE("a queue whose wire takes nothing gets no new connections until it does",
          "[unit][roce]") {
  Channel nothing, out;
  RoceEnd box(queued(2));
  MemoryFrames frames(nothing, out, box.port().options().mac);
  const RoceLine line{&box.port(0), &frames};
  ManualClock& clock = box.box().clock();
  RocePump pump({&line, 1}, clock);
  test::CmPeer peer(box);
  // So many clients come by queue 1: how many of them queue 0 has.
  const auto come = [&](int clients) {
    const std::size_t before = box.port(0).usage().connections;
    for (int i = 0; i < clients; ++i) {
      box.port(1).on_frame(peer.frame_of(peer.pool_req(box.session())), clock.now());
      pump.round();
    }
    return box.port(0).usage().connections - before;
  };
  const std::size_t at_first = come(40);
  CHECK((at_first > 5 && at_first < 35));
  clock.advance(kRoceHeldMax);
  while (pump.round()) {
  }
  CHECK(box.port(0).counters().frames_unsent.get() > 0);
  CHECK(come(40) == 0);
  out.frames_max = 1000;
  pump.round();
  const std::size_t at_last = come(40);
  CHECK((at_last > 5 && at_last < 35));
}

TEST_CASE("what another queue has no room for waits in the device", "[unit][roce]") {
  Channel in, out;
  out.frames_max = 1000;
  RoceEnd box(queued(2));
  MemoryFrames frames(in, out, box.port().options().mac);
  const RoceLine line{&box.port(1), &frames};
  RocePump pump({&line, 1}, box.box().clock());
  test::CmPeer peer(box);
  constexpr std::size_t kFrames = 3 * kRoceGivenFramesMax;
  for (std::size_t i = 0; i < kFrames; ++i) {
    in.frames.push_back(peer.frame_of(
        roce::CmDreq{.local_comm_id = roce::CommId(7), .remote_comm_id = roce::CommId(8)}));
  }
  while (pump.round()) {
  }
  CHECK(in.frames.size() == kFrames - kRoceGivenFramesMax);
  std::size_t taken = box.port(0).take_given(10, box.now());
  pump.round();
  CHECK(taken == 10);
  CHECK(in.frames.size() == kFrames - kRoceGivenFramesMax - 10);
  for (std::size_t now = 1; now > 0; taken += now) {
    pump.round();
    now = box.port(0).take_given(1000, box.now());
  }
  CHECK(taken == kFrames);
  CHECK(box.port(1).counters().dropped_queue.get() == 0);
}

}  // namespace godbox::emulator
