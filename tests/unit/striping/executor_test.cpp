// SPDX-License-Identifier: Apache-2.0
#include "fake_transport.h"
#include <godbox/striping/executor.h>
#include <godbox_test/allocation_count.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <random>

namespace godbox::striping {
namespace {

using namespace std::chrono_literals;
using test::FakeTransport;

constexpr std::uint64_t kKi = 1024;
constexpr std::uint64_t kMi = 1024 * kKi;

// Transfers over one local buffer, and what became of them.
struct Job {
  std::vector<std::byte> memory;
  std::deque<Extent> extents;
  std::deque<LocalSegment> locals;
  std::deque<std::vector<std::uint32_t>> crcs;
  std::vector<Transfer> transfers;
  std::vector<Errc> statuses;
  int calls = 0;

  explicit Job(std::size_t memory_bytes = 0) : memory(memory_bytes) {}

  // Pool and local offset alike.
  void add(WorkOp op, std::uint64_t offset, std::uint32_t bytes, bool with_crc = false) {
    extents.push_back({.address = {SlabId(1), SlabOffset(offset)}, .length_bytes = bytes});
    locals.push_back({.data = memory.data() + offset, .size_bytes = bytes});
    crcs.emplace_back(with_crc ? (bytes + 65535) / 65536 : 0);
    transfers.push_back({.op = op,
                         .key = RKey(static_cast<std::uint32_t>(transfers.size() + 1)),
                         .extents = {&extents.back(), 1},
                         .local = {&locals.back(), 1},
                         .crc32c = crcs.back()});
  }
  Executor::OnBatchDone on_done() {
    return [this](std::span<const Errc> given) {
      statuses.assign(given.begin(), given.end());
      ++calls;
    };
  }
  [[nodiscard]] bool all(Errc status) const {
    return statuses.size() == transfers.size() &&
           std::all_of(statuses.begin(), statuses.end(), [&](Errc s) { return s == status; });
  }
};

// A job of transfers without memory behind them: for what does not move bytes.
void add_unbacked(Job& job, WorkOp op, std::uint32_t bytes, std::uint64_t offset = 0) {
  job.extents.push_back({.address = {SlabId(1), SlabOffset(offset)}, .length_bytes = bytes});
  static std::byte place{};
  job.locals.push_back({.data = &place, .size_bytes = bytes});
  job.transfers.push_back({.op = op,
                           .key = RKey(1),
                           .extents = {&job.extents.back(), 1},
                           .local = {&job.locals.back(), 1},
                           .crc32c = {}});
}

struct Rig {
  ManualClock clock;
  FakeTransport transport;
  Executor executor;

  explicit Rig(std::size_t lanes, std::size_t pool_bytes = 0, ExecutorOptions options = {})
      : transport(clock, lanes, pool_bytes), executor(transport, clock, std::move(options)) {}

  BatchId submit(Job& job, Duration timeout = 10s,
                 TrafficClass traffic_class = TrafficClass::foreground) {
    return executor.submit(job.transfers, clock.now() + timeout, job.on_done(), traffic_class)
        .value();
  }
  // Lets time pass up to `until`, from event to event.
  void run_until(TimePoint until) {
    for (int idle_rounds = 0; idle_rounds < 1000;) {
      idle_rounds = executor.progress() ? 0 : idle_rounds + 1;
      const TimePoint next = std::min(transport.next_event(), executor.next_deadline());
      if (next > until) {
        break;
      }
      if (next > clock.now()) {
        idle_rounds = 0;
        clock.set(next);
      }
    }
    clock.set(std::max(clock.now(), until));
    executor.progress();
  }
  void run_until_done(const Job& job, Duration limit = 60s) {
    const TimePoint until = clock.now() + limit;
    executor.progress();
    while (job.calls == 0 && clock.now() < until) {
      const TimePoint next = std::min({transport.next_event(), executor.next_deadline(), until});
      clock.set(std::max(clock.now(), next));
      executor.progress();
    }
  }
};

void fill_random(std::vector<std::byte>& bytes, std::uint32_t seed) {
  std::mt19937 random(seed);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
}

TEST_CASE("what a batch writes, another reads back, over many lanes", "[unit]") {
  Rig rig(5, 4 * kMi);
  Job write(4 * kMi);
  fill_random(write.memory, 1);
  write.add(WorkOp::write, 0, 2 * kMi, true);
  write.add(WorkOp::write, 2 * kMi, 100'001, true);
  for (std::uint32_t i = 0; i < 40; ++i) {
    write.add(WorkOp::write, 3 * kMi + std::uint64_t{i} * 20'000, 18 * kKi, true);
  }
  rig.submit(write);
  rig.run_until_done(write);
  CHECK(write.calls == 1);
  CHECK(write.all(Errc::ok));
  CHECK(write.crcs[1][0] == crc32c(ConstSpan(write.memory).subspan(2 * kMi, 65536)));
  CHECK(write.crcs[1][1] == crc32c(ConstSpan(write.memory).subspan(2 * kMi + 65536, 34'465)));

  Job read(4 * kMi);
  for (std::size_t i = 0; i < write.transfers.size(); ++i) {
    read.add(WorkOp::read, write.extents[i].address.offset.count(), write.extents[i].length_bytes,
             true);
    read.crcs[i] = write.crcs[i];
  }
  rig.submit(read);
  rig.run_until_done(read);
  CHECK(read.calls == 1);
  CHECK(read.all(Errc::ok));
  for (const Extent& extent : write.extents) {
    const std::size_t offset = extent.address.offset.count();
    CHECK(std::memcmp(read.memory.data() + offset, write.memory.data() + offset,
                      extent.length_bytes) == 0);
  }
  CHECK(rig.transport.credit_overruns == 0);
  CHECK(rig.executor.batches_in_flight() == 0);
  for (const FakeTransport::Lane& lane : rig.transport.lanes) {
    CHECK(lane.bytes_done > 0);
  }
}

TEST_CASE("a batch without bytes ends with the next progress", "[unit]") {
  Rig rig(1);
  Job nothing;
  rig.submit(nothing);
  CHECK(nothing.calls == 0);
  CHECK(rig.executor.next_deadline() <= rig.clock.now());
  CHECK(rig.executor.progress());
  CHECK(nothing.calls == 1);
  Job empty;
  add_unbacked(empty, WorkOp::read, 0);
  rig.submit(empty);
  rig.executor.progress();
  CHECK(empty.all(Errc::ok));
}

TEST_CASE("credits are never overrun and lanes hold a bounded number of bytes", "[unit]") {
  Rig rig(3);
  rig.transport.lanes[0].status.requests_in_flight_max = 1;
  rig.transport.lanes[1].status.requests_in_flight_max = 3;
  rig.transport.lanes[2].status.bytes_in_flight_max = 2 * kMi;
  Job job;
  for (int i = 0; i < 100; ++i) {
    add_unbacked(job, WorkOp::read, 3 * kMi);
  }
  rig.submit(job);
  rig.run_until_done(job);
  CHECK(job.all(Errc::ok));
  CHECK(rig.transport.credit_overruns == 0);
  CHECK(rig.transport.lanes[0].requests_max_seen == 1);
  CHECK(rig.transport.lanes[1].requests_max_seen == 3);
  CHECK(rig.transport.lanes[2].bytes_max_seen == 2 * kMi);
  CHECK(rig.transport.lanes[0].bytes_max_seen <= kLaneBytesInFlight);
}

TEST_CASE("a lane holds at least two requests and at most its byte target", "[unit]") {
  Rig rig(1, 0, {.lane_bytes_in_flight = 3 * kMi});
  Job job;
  add_unbacked(job, WorkOp::read, 100 * kMi);
  rig.submit(job);
  rig.run_until_done(job);
  CHECK(job.all(Errc::ok));
  CHECK(rig.transport.lanes[0].bytes_max_seen == 3 * kMi);

  Rig tight(1, 0, {.lane_bytes_in_flight = 1});
  Job second;
  add_unbacked(second, WorkOp::read, 100 * kMi);
  tight.submit(second);
  tight.run_until_done(second);
  CHECK(tight.transport.lanes[0].requests_max_seen == 2);
}

TEST_CASE("a lane whose credit is below one run still carries its share", "[unit]") {
  Rig rig(2);
  rig.transport.lanes[0].status.bytes_in_flight_max = 200 * kKi;
  rig.executor.progress();
  Job job;
  add_unbacked(job, WorkOp::read, 50 * kMi);
  rig.submit(job);
  rig.run_until_done(job);
  CHECK(job.all(Errc::ok));
  CHECK(rig.transport.credit_overruns == 0);
  CHECK(rig.transport.lanes[0].bytes_done > 5 * kMi);
}

// Virtual time for `bytes` in one batch over the rig's lanes.
double seconds_for(Rig& rig, std::uint32_t bytes) {
  Job job;
  add_unbacked(job, WorkOp::read, bytes);
  const TimePoint begin = rig.clock.now();
  rig.submit(job);
  rig.run_until_done(job);
  CHECK(job.all(Errc::ok));
  return static_cast<double>((rig.clock.now() - begin).count()) * 1e-9;
}

TEST_CASE("one slow lane costs its own share and nothing else", "[unit]") {
  for (const double slow : {0.5e9, 0.1e9, 0.01e9}) {
    CAPTURE(slow);
    Rig rig(9);
    rig.transport.lanes[4].bytes_per_second = slow;
    const double without_it = 160.0 * kMi / 8e9;  // 21 ms on the 8 others alone
    seconds_for(rig, 160 * kMi);                  // learns the rates
    for (int round = 0; round < 5; ++round) {
      CHECK(seconds_for(rig, 160 * kMi) < without_it * 1.08);
    }
  }
}

TEST_CASE("a slow lane nobody has measured delays a large batch by a few runs at most", "[unit]") {
  Rig rig(9);
  rig.transport.lanes[0].bytes_per_second = 0.1e9;
  // The first batch cannot know: the lane holds two runs of 1 MiB, 21 ms.
  CHECK(seconds_for(rig, 160 * kMi) < 0.030);
}

TEST_CASE("equal lanes share a batch equally", "[unit]") {
  Rig rig(8);
  seconds_for(rig, 64 * kMi);
  const double ideal = 64.0 * kMi / 8e9;
  CHECK(seconds_for(rig, 64 * kMi) < ideal * 1.1);
  for (const FakeTransport::Lane& lane : rig.transport.lanes) {
    CHECK(lane.bytes_done > 14 * kMi);
    CHECK(lane.bytes_done < 18 * kMi);
  }
}

TEST_CASE("a batch behind others goes out in fewer requests than one on idle lanes", "[unit]") {
  const auto posts_behind = [](std::uint32_t bytes_before) {
    Rig rig(16);
    Job before;
    if (bytes_before > 0) {
      add_unbacked(before, WorkOp::read, bytes_before);
      rig.submit(before);
    }
    Job job;
    add_unbacked(job, WorkOp::read, kMi);
    rig.submit(job);
    rig.run_until_done(job);
    CHECK(job.all(Errc::ok));
    return rig.transport.posts;
  };
  CHECK(posts_behind(0) == 16);
  CHECK(posts_behind(kMi) == 16 + 8);
  CHECK(posts_behind(16 * kMi) == 16 + 4);
}

TEST_CASE("what a stalled lane sits on does not keep work from the others", "[unit]") {
  Job stuck, job;  // outlive the rig, whose end calls them back
  Rig rig(16);
  rig.transport.lanes[3].stalled = true;
  add_unbacked(stuck, WorkOp::read, 16 * kMi);
  rig.submit(stuck);
  rig.run_until(rig.clock.now() + 1s);
  CHECK(stuck.calls == 0);
  CHECK(rig.transport.lanes[3].status.bytes_in_flight > 0);
  const auto before = rig.transport.posts;
  add_unbacked(job, WorkOp::read, kMi);
  rig.submit(job);
  rig.run_until_done(job);
  CHECK(rig.transport.posts - before >= 8);
}

TEST_CASE("a lane that has recovered gets work again", "[unit]") {
  Rig rig(2);
  rig.transport.lanes[0].bytes_per_second = 0.01e9;
  seconds_for(rig, 20 * kMi);
  rig.transport.lanes[0].bytes_per_second = 1e9;
  rig.run_until(rig.clock.now() + 1s);
  rig.transport.lanes[0].bytes_done = 0;
  seconds_for(rig, 200 * kMi);
  seconds_for(rig, 200 * kMi);
  CHECK(rig.transport.lanes[0].bytes_done > 150 * kMi);
}

// Gets of `bytes`, one every `gap`, for so long; how long each took, in ms.
std::vector<double> paced_ms(Rig& rig, std::uint32_t bytes, Duration gap, Duration length) {
  std::vector<double> took_ms;
  const TimePoint end = rig.clock.now() + length;
  for (TimePoint due = rig.clock.now(); due < end; due += gap) {
    rig.run_until(due);
    took_ms.push_back(seconds_for(rig, bytes) * 1e3);
  }
  return took_ms;
}

TEST_CASE("at half load a slow lane meets few batches, and each of them little", "[unit]") {
  // 100 MB/s each: a batch's share of 466 KB takes 4.7 ms, on the slow lane 47 ms.
  Rig rig(9);
  for (FakeTransport::Lane& lane : rig.transport.lanes) {
    lane.bytes_per_second = 0.1e9;
  }
  paced_ms(rig, 4 * kMi, 10ms, 500ms);
  rig.transport.lanes[4].bytes_per_second = 0.01e9;
  paced_ms(rig, 4 * kMi, 10ms, 1s);  // learns it
  std::vector<double> took_ms = paced_ms(rig, 4 * kMi, 10ms, 6s);
  CHECK(rig.transport.lanes[4].bytes_done > 0);
  // No batch waits for more than one CRC block on it, 6.6 ms, and 8 lanes carry the rest.
  CHECK(*std::max_element(took_ms.begin(), took_ms.end()) < 8);
  // Back, it carries its share again within a second.
  rig.transport.lanes[4].bytes_per_second = 0.1e9;
  paced_ms(rig, 4 * kMi, 10ms, 1s);
  rig.transport.lanes[4].bytes_done = 0;
  paced_ms(rig, 4 * kMi, 10ms, 1s);
  CHECK(rig.transport.lanes[4].bytes_done > 100 * (4 * kMi) / 9 / 2);
}

TEST_CASE("batches too small to be cut find out that a lane has recovered", "[unit]") {
  // 4 KiB take as long as nothing at 1 GB/s; what is seen is the delay of 50 us.
  Rig rig(3);
  rig.transport.lanes[1].bytes_per_second = 0.01e9;
  for (int i = 0; i < 10; ++i) {
    seconds_for(rig, 16 * kMi);
  }
  rig.transport.lanes[1].bytes_per_second = 1e9;
  rig.transport.lanes[1].bytes_done = 0;
  paced_ms(rig, 4 * kKi, 1ms, 2s);
  CHECK(rig.transport.lanes[1].bytes_done > 300 * (4 * kKi));
}

TEST_CASE("the work of a lane that dies is sent again on the others", "[unit]") {
  Rig rig(3, 32 * kMi);
  Job job(32 * kMi);
  fill_random(job.memory, 2);
  for (std::uint32_t i = 0; i < 8; ++i) {
    job.add(WorkOp::write, std::uint64_t{i} * 4 * kMi, 4 * kMi, true);
  }
  rig.transport.lanes[1].reopen_works = false;
  rig.submit(job);
  rig.run_until(rig.clock.now() + 2ms);
  REQUIRE(rig.transport.lanes[1].status.requests_in_flight > 0);
  rig.transport.close(LaneId(1), Errc::lane_closed);
  rig.run_until_done(job);
  CHECK(job.calls == 1);
  CHECK(job.all(Errc::ok));
  CHECK(rig.executor.counters().runs_resent > 0);
  CHECK(std::memcmp(rig.transport.pool.data(), job.memory.data(), job.memory.size()) == 0);
  CHECK(job.crcs[7][63] == crc32c(ConstSpan(job.memory).last(65536)));
}

TEST_CASE("lanes flapping at random times lose no byte and no callback", "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    Rig rig(4, 2 * kMi);
    std::deque<Job> jobs;
    for (std::uint32_t j = 0; j < 4; ++j) {
      Job& job = jobs.emplace_back(2 * kMi);
      fill_random(job.memory, seed + j);
      for (std::uint64_t offset = j * (kMi / 2); offset < (j + 1) * (kMi / 2);) {
        const auto bytes = static_cast<std::uint32_t>(
            std::min<std::uint64_t>((j + 1) * (kMi / 2) - offset, 1 + random() % 90'000));
        job.add(WorkOp::write, offset, bytes, true);
        offset += bytes;
      }
      rig.submit(job, 30s);
    }
    for (int step = 0; step < 40; ++step) {
      rig.run_until(rig.clock.now() + Duration(static_cast<std::int64_t>(random() % 200'000)));
      const LaneId lane(static_cast<std::uint16_t>(random() % 4));
      if (step < 20 && rig.transport.lanes[lane.value()].status.state == LaneState::up) {
        rig.transport.close(lane, random() % 2 == 0 ? Errc::lane_closed : Errc::lane_timeout);
      }
    }
    rig.run_until(rig.clock.now() + 40s);
    for (std::size_t j = 0; j < jobs.size(); ++j) {
      CHECK(jobs[j].calls == 1);
      CHECK(jobs[j].all(Errc::ok));
      CHECK(std::memcmp(rig.transport.pool.data() + j * kMi / 2,
                        jobs[j].memory.data() + j * kMi / 2, kMi / 2) == 0);
    }
    CHECK(rig.transport.credit_overruns == 0);
  }
}

TEST_CASE("a dead lane is reopened with growing delays", "[unit]") {
  Rig rig(1);
  rig.transport.lanes[0].reopen_works = false;
  rig.transport.close(LaneId(0), Errc::connect_failed);
  rig.run_until(TimePoint(2500ms));
  const std::vector<TimePoint> expected = {
      TimePoint(10ms),  TimePoint(30ms),   TimePoint(70ms),   TimePoint(150ms),  TimePoint(310ms),
      TimePoint(630ms), TimePoint(1030ms), TimePoint(1430ms), TimePoint(1830ms), TimePoint(2230ms)};
  CHECK(rig.transport.reopen_times == expected);
  // Back in service, the first delay counts again.
  rig.transport.lanes[0].reopen_works = true;
  rig.run_until(TimePoint(6s));
  Job job;
  add_unbacked(job, WorkOp::read, kMi);
  rig.submit(job);
  rig.run_until_done(job);
  CHECK(job.all(Errc::ok));
  rig.transport.reopen_times.clear();
  const TimePoint closed_at = rig.clock.now();
  rig.transport.close(LaneId(0), Errc::lane_closed);
  rig.run_until(closed_at + 1s);
  CHECK(rig.transport.reopen_times == std::vector<TimePoint>{closed_at + 10ms});
}

TEST_CASE("without any lane a batch ends at its deadline with lane_closed", "[unit]") {
  Rig rig(2);
  for (std::uint16_t i = 0; i < 2; ++i) {
    rig.transport.lanes[i].reopen_works = false;
    rig.transport.close(LaneId(i), Errc::connect_failed);
  }
  Job job;
  add_unbacked(job, WorkOp::read, 3 * kMi);
  rig.submit(job, 500ms);
  rig.run_until(TimePoint(499ms));
  CHECK(job.calls == 0);
  rig.run_until(TimePoint(500ms));
  CHECK(job.calls == 1);
  CHECK(job.all(Errc::lane_closed));
  CHECK(rig.executor.counters().batches_expired == 1);
}

TEST_CASE("a batch whose lanes the far side has no room for ends with limit_exceeded", "[unit]") {
  const auto [reason, expected] = GENERATE(table<Errc, Errc>(
      {{Errc::limit_exceeded, Errc::limit_exceeded}, {Errc::connect_failed, Errc::lane_closed}}));
  CAPTURE(to_string(reason));
  Rig rig(2);
  for (std::uint16_t i = 0; i < 2; ++i) {
    rig.transport.lanes[i].reopen_works = false;
    rig.transport.close(LaneId(i), Errc::lane_closed);
  }
  rig.transport.close(LaneId(1), reason);
  Job job;
  add_unbacked(job, WorkOp::read, 3 * kMi);
  rig.submit(job, 500ms);
  SECTION("and waits for one until its deadline") {
    rig.run_until(TimePoint(500ms));
    CHECK(job.all(expected));
  }
  SECTION("unless it cannot be reached at all any more") {
    rig.run_until(TimePoint(200ms));
    rig.transport.close(LaneId(1), Errc::connect_failed);
    rig.run_until(TimePoint(500ms));
    CHECK(job.all(Errc::lane_closed));
  }
}

TEST_CASE("once a device has gone with all lanes, batches end with device_lost at once", "[unit]") {
  Rig rig(3);
  Job job;
  add_unbacked(job, WorkOp::read, 64 * kMi);
  rig.submit(job);
  rig.run_until(rig.clock.now() + 2ms);
  for (std::uint16_t i = 0; i < 3; ++i) {
    rig.transport.lanes[i].reopen_works = false;
    rig.transport.close(LaneId(i), Errc::device_lost);
  }
  const TimePoint lost_at = rig.clock.now();
  rig.run_until_done(job);
  CHECK(job.calls == 1);
  CHECK(job.all(Errc::device_lost));
  Job later;
  add_unbacked(later, WorkOp::write, kMi);
  rig.submit(later);
  rig.run_until_done(later);
  CHECK(later.calls == 1);
  CHECK(later.all(Errc::device_lost));
  CHECK(rig.clock.now() == lost_at);
  // A lane that comes up all the same is used.
  rig.transport.lanes[1].status.state = LaneState::up;
  Job again;
  add_unbacked(again, WorkOp::read, kMi);
  rig.submit(again);
  rig.run_until_done(again);
  CHECK(again.all(Errc::ok));
}

TEST_CASE("at a deadline queued runs are dropped and the lanes in use are fenced", "[unit]") {
  Rig rig(2, 16 * kMi);
  rig.transport.lanes[0].stalled = true;
  rig.transport.lanes[0].reopen_works = false;
  // Both lanes busy with `late`, and `innocent` has a request on the stalled lane as well.
  Job late(16 * kMi);
  late.add(WorkOp::read, 0, kMi);
  rig.submit(late, 100ms);
  rig.executor.progress();
  Job innocent(16 * kMi);
  for (std::uint32_t i = 1; i < 8; ++i) {
    innocent.add(WorkOp::write, std::uint64_t{i} * kMi, kMi, true);
  }
  fill_random(innocent.memory, 3);
  rig.submit(innocent, 10s);
  rig.run_until(TimePoint(99ms));
  CHECK(late.calls == 0);
  CHECK(innocent.calls == 0);
  rig.run_until(TimePoint(100ms));
  CHECK(late.calls == 1);
  CHECK(late.all(Errc::deadline_exceeded));
  CHECK(rig.transport.fences == 1);
  CHECK(rig.executor.counters().lanes_fenced == 1);
  std::fill(late.memory.begin(), late.memory.end(), std::byte{0xEE});
  rig.run_until(TimePoint(1s));
  CHECK(innocent.calls == 1);
  CHECK(innocent.all(Errc::ok));
  CHECK(std::memcmp(rig.transport.pool.data() + kMi, innocent.memory.data() + kMi, 7 * kMi) == 0);
  // Nothing was read into the expired batch's memory after its callback.
  CHECK(std::all_of(late.memory.begin(), late.memory.end(),
                    [](std::byte byte) { return byte == std::byte{0xEE}; }));
}

TEST_CASE("a late completion of an old attempt does not complete the new one", "[unit]") {
  Rig rig(2);
  rig.transport.keep_fenced_late = true;
  rig.transport.lanes[0].stalled = true;
  rig.transport.lanes[0].reopen_works = false;
  rig.transport.lanes[1].stalled = true;
  Job hasty;
  add_unbacked(hasty, WorkOp::read, 64 * kKi);
  rig.submit(hasty, 50ms);
  rig.executor.progress();
  REQUIRE(rig.transport.posted.size() == 1);
  const LaneId first_lane = rig.transport.posted[0].lane;
  Job job;
  add_unbacked(job, WorkOp::write, 64 * kKi);
  // Only the first lane is up, so that both requests are on it.
  rig.transport.lanes[1 - first_lane.value()].status.state = LaneState::connecting;
  rig.submit(job, 10s);
  rig.executor.progress();
  REQUIRE(rig.transport.posted.size() == 2);
  const WorkId old_attempt = rig.transport.posted[1].request.id;
  rig.transport.lanes[1 - first_lane.value()].status.state = LaneState::up;
  rig.run_until(TimePoint(60ms));
  REQUIRE(hasty.calls == 1);  // its lane was fenced, the job's run sent again on the other
  REQUIRE(rig.transport.posted.size() == 1);
  const WorkId new_attempt = rig.transport.posted[0].request.id;
  CHECK(new_attempt != old_attempt);
  for (const Errc status : {Errc::ok, Errc::crc_mismatch, Errc::lane_fenced, Errc::wrong_epoch}) {
    rig.transport.completions.push_back({old_attempt, first_lane, status});
    rig.executor.progress();
    CHECK(job.calls == 0);
  }
  rig.transport.completions.push_back({new_attempt, LaneId(1), Errc::ok});
  rig.executor.progress();
  CHECK(job.calls == 1);
  CHECK(job.all(Errc::ok));
  rig.transport.completions.push_back({new_attempt, LaneId(1), Errc::ok});
  rig.executor.progress();
  CHECK(job.calls == 1);
}

TEST_CASE("a shared request that fails is repeated alone for each of its transfers", "[unit]") {
  Rig rig(2, kMi);
  Job job(kMi);
  for (std::uint32_t i = 0; i < 16; ++i) {
    job.add(WorkOp::read, std::uint64_t{i} * 16 * kKi, 16 * kKi);
  }
  // Transfers 3 and 9: keys that have died.
  rig.transport.outcome = [](const FakeTransport::Posted& one) {
    for (const RemoteSegment& segment : one.request.remote) {
      if (segment.key == RKey(4) || segment.key == RKey(10)) {
        return Errc::key_revoked;
      }
    }
    return Errc::ok;
  };
  rig.submit(job);
  rig.run_until_done(job);
  CHECK(job.calls == 1);
  for (std::size_t i = 0; i < 16; ++i) {
    CAPTURE(i);
    CHECK(job.statuses.at(i) == (i == 3 || i == 9 ? Errc::key_revoked : Errc::ok));
  }
}

TEST_CASE("a wrong CRC in a shared request fails exactly its transfer", "[unit]") {
  Rig rig(1, kMi);
  Job job(kMi);
  fill_random(rig.transport.pool, 5);
  for (std::uint32_t i = 0; i < 8; ++i) {
    const std::uint64_t offset = std::uint64_t{i} * 20'000;
    job.add(WorkOp::read, offset, 20'000, true);
    job.crcs[i][0] = crc32c(ConstSpan(rig.transport.pool).subspan(offset, 20'000));
  }
  job.crcs[5][0] ^= 1;
  rig.submit(job);
  rig.run_until_done(job);
  for (std::size_t i = 0; i < 8; ++i) {
    CHECK(job.statuses.at(i) == (i == 5 ? Errc::crc_mismatch : Errc::ok));
  }
}

TEST_CASE("a transfer that has failed starts no further runs", "[unit]") {
  Rig rig(1);
  rig.transport.outcome = [](const FakeTransport::Posted&) { return Errc::access_denied; };
  Job job;
  add_unbacked(job, WorkOp::read, 200 * kMi);
  rig.submit(job);
  rig.run_until_done(job);
  CHECK(job.all(Errc::access_denied));
  CHECK(rig.transport.posts <= 3);
}

TEST_CASE("an error of the session ends the batch, what was done stays done", "[unit]") {
  for (const Errc reason : {Errc::wrong_epoch, Errc::session_lost}) {
    Rig rig(1);
    int ended = 0;
    rig.transport.outcome = [&](const FakeTransport::Posted&) {
      return ++ended <= 2 ? Errc::ok : reason;
    };
    Job job;
    for (int i = 0; i < 10; ++i) {
      add_unbacked(job, WorkOp::read, kMi);
    }
    rig.submit(job);
    rig.run_until_done(job);
    CHECK(job.calls == 1);
    CHECK(job.statuses.at(0) == Errc::ok);
    CHECK(job.statuses.at(1) == Errc::ok);
    for (std::size_t i = 2; i < 10; ++i) {
      CHECK(job.statuses.at(i) == reason);
    }
    CHECK(rig.transport.posts < 10);
    CHECK(rig.transport.fences == 0);
  }
}

TEST_CASE("a run whose lanes keep dying is given up with the lane's error", "[unit]") {
  Rig rig(2);
  rig.transport.outcome = [](const FakeTransport::Posted&) { return Errc::lane_timeout; };
  Job job;
  add_unbacked(job, WorkOp::read, 64 * kKi);
  rig.submit(job, 1000s);
  rig.run_until_done(job, 1000s);
  CHECK(job.all(Errc::lane_timeout));
  CHECK(rig.transport.posts == Executor::kRunAttemptsMax);
  // Such an error from a lane that stays up has it fenced before anything is sent again.
  CHECK(rig.transport.fences == Executor::kRunAttemptsMax);
}

TEST_CASE("affine runs use their SuperNIC's lanes, and others only when those are down", "[unit]") {
  ExecutorOptions options;
  options.policy = LanePolicy::affine;
  options.super_nic_of = [](PoolAddress at) -> Result<SuperNicId> {
    return SuperNicId(static_cast<std::uint16_t>(at.offset.count() / 65536 % 3));
  };
  Rig rig(3, 0, options);
  for (std::uint16_t i = 0; i < 3; ++i) {
    rig.transport.lanes[i].status.super_nic = SuperNicId(static_cast<std::uint16_t>(2 - i));
  }
  rig.transport.lanes[0].bytes_per_second = 0.1e9;  // even if it is slow
  bool all_at_home = true;
  rig.transport.outcome = [&](const FakeTransport::Posted& one) {
    for (const RemoteSegment& segment : one.request.remote) {
      const std::uint64_t owner = segment.address.offset.count() / 65536 % 3;
      all_at_home &= owner == std::uint64_t{2} - one.lane.value();
    }
    return Errc::ok;
  };
  Job job;
  add_unbacked(job, WorkOp::read, 30 * kMi);
  rig.submit(job);
  rig.run_until_done(job);
  CHECK(job.all(Errc::ok));
  CHECK(all_at_home);

  rig.transport.lanes[0].reopen_works = false;
  rig.transport.close(LaneId(0), Errc::lane_closed);
  Job spilled;
  add_unbacked(spilled, WorkOp::read, 30 * kMi);
  rig.submit(spilled);
  rig.run_until_done(spilled);
  CHECK(spilled.all(Errc::ok));
  CHECK_FALSE(all_at_home);
}

TEST_CASE("cancel ends a batch at once and exactly once", "[unit]") {
  Rig rig(2, 8 * kMi);
  Job job(8 * kMi);
  job.add(WorkOp::read, 0, 8 * kMi);
  const BatchId batch = rig.submit(job);
  rig.executor.progress();
  REQUIRE_FALSE(rig.transport.posted.empty());
  rig.executor.cancel(batch);
  CHECK(job.calls == 1);
  CHECK(job.all(Errc::cancelled));
  CHECK(rig.transport.posted.empty());
  rig.executor.cancel(batch);
  rig.run_until(TimePoint(20s));
  CHECK(job.calls == 1);
  CHECK(rig.executor.batches_in_flight() == 0);
  // The slot's next batch is another one.
  Job next(8 * kMi);
  next.add(WorkOp::read, 0, kMi);
  CHECK(rig.submit(next) != batch);
  rig.executor.cancel(batch);
  rig.run_until_done(next);
  CHECK(next.all(Errc::ok));
}

TEST_CASE("an executor that goes away cancels what is left", "[unit]") {
  Job first(8 * kMi), second(8 * kMi);
  first.add(WorkOp::read, 0, 8 * kMi);
  second.add(WorkOp::write, 0, 8 * kMi);
  {
    Rig rig(2, 8 * kMi);
    rig.submit(first);
    rig.executor.progress();
    rig.submit(second);
  }
  CHECK(first.calls == 1);
  CHECK(first.all(Errc::cancelled));
  CHECK(second.calls == 1);
  CHECK(second.all(Errc::cancelled));
}

TEST_CASE("callbacks may submit and cancel", "[unit]") {
  Rig rig(2);
  Job first, second, third;
  for (Job* job : {&first, &second, &third}) {
    add_unbacked(*job, WorkOp::read, 4 * kMi);
  }
  const BatchId victim = rig.submit(third);
  const Result<BatchId> submitted =
      rig.executor.submit(first.transfers, TimePoint(10s), [&](std::span<const Errc> statuses) {
        first.on_done()(statuses);
        rig.executor.cancel(victim);
        rig.submit(second);
      });
  REQUIRE(submitted.has_value());
  rig.transport.outcome = [&](const FakeTransport::Posted&) { return Errc::ok; };
  rig.run_until(TimePoint(20s));
  CHECK(first.calls == 1);
  CHECK(second.calls == 1);
  CHECK(second.all(Errc::ok));
  CHECK(third.calls == 1);
}

TEST_CASE("more batches than the limit are refused without a callback", "[unit]") {
  Rig rig(1);
  std::deque<Job> jobs;
  for (std::size_t i = 0; i < Executor::kBatchesMax; ++i) {
    add_unbacked(jobs.emplace_back(), WorkOp::read, 100);
    rig.submit(jobs.back());
  }
  Job over;
  add_unbacked(over, WorkOp::read, 100);
  const Result<BatchId> refused =
      rig.executor.submit(over.transfers, TimePoint(1s), over.on_done());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::queue_full);
  rig.run_until(TimePoint(9s));
  for (const Job& job : jobs) {
    REQUIRE(job.calls == 1);
    REQUIRE(job.all(Errc::ok));
  }
  CHECK(over.calls == 0);
  rig.submit(over);
  rig.run_until_done(over);
  CHECK(over.all(Errc::ok));
}

// Ends each request at the next poll; allocates nothing itself.
class InstantTransport final : public Transport {
 public:
  [[nodiscard]] std::string_view name() const override { return "instant"; }
  [[nodiscard]] std::size_t lane_count() const override { return 4; }
  [[nodiscard]] LaneStatus lane_status(LaneId lane) const override {
    LaneStatus status;
    status.state = LaneState::up;
    status.requests_in_flight = in_flight_[lane.value()];
    status.requests_in_flight_max = 16;
    status.bytes_in_flight_max = std::uint64_t{64} << 20U;
    return status;
  }
  [[nodiscard]] Result<void> register_memory(MutableSpan) override { return {}; }
  void deregister_memory(MutableSpan) override {}
  [[nodiscard]] Errc post(LaneId lane, const WorkRequest& request) override {
    ended_.at(count_++) = {request.id, lane, Errc::ok};
    in_flight_[lane.value()] += 1;
    return Errc::ok;
  }
  [[nodiscard]] std::size_t poll(std::span<Completion> out) override {
    std::size_t taken = 0;
    while (taken < out.size() && count_ > 0) {
      out[taken] = ended_[--count_];
      in_flight_[out[taken++].lane.value()] -= 1;
    }
    return taken;
  }
  bool progress() override { return false; }
  void fence(LaneId) override {}
  void reopen(LaneId) override {}

 private:
  std::array<Completion, 64> ended_{};
  std::array<std::uint32_t, 4> in_flight_{};
  std::size_t count_ = 0;
};

TEST_CASE("warm, a batch of any number of runs allocates nothing per run", "[unit]") {
  ManualClock clock;
  InstantTransport transport;
  Executor executor(transport, clock, {});
  Job large, small;
  for (int i = 0; i < 2000; ++i) {
    add_unbacked(large, WorkOp::read, 300 * kKi, std::uint64_t(i) * kMi);
  }
  add_unbacked(small, WorkOp::read, 300 * kKi);
  const auto allocations_of = [&](const Job& job) {
    bool done = false;
    const std::uint64_t before = test::allocation_count();
    REQUIRE(executor.submit(job.transfers, kNever, [&done](std::span<const Errc>) { done = true; })
                .has_value());
    while (!done) {
      executor.progress();
      clock.advance(1us);
    }
    return test::allocation_count() - before;
  };
  allocations_of(large);
  CHECK(allocations_of(small) == 0);
  CHECK(allocations_of(large) == 0);
}

TEST_CASE("a batch that cannot be planned is refused and takes no slot", "[unit]") {
  Rig rig(1);
  Job job;
  add_unbacked(job, WorkOp::read, 100);
  job.locals[0].size_bytes = 99;
  const Result<BatchId> refused = rig.executor.submit(job.transfers, TimePoint(1s), job.on_done());
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::invalid_argument);
  CHECK(rig.executor.batches_in_flight() == 0);
}

// Bytes in flight by class.
std::uint64_t bytes_posted(const FakeTransport& transport, bool background) {
  std::uint64_t bytes = 0;
  for (const FakeTransport::Posted& one : transport.posted) {
    const bool counts = is_background(one.request.traffic_class) == background;
    bytes += counts ? one.request.total_bytes : 0;
  }
  return bytes;
}

TEST_CASE("a foreground batch overtakes the background that is queued", "[unit]") {
  Rig rig(4);
  Job background;
  Job foreground;
  for (int i = 0; i < 64; ++i) {
    add_unbacked(background, WorkOp::read, 4 * kMi);
  }
  add_unbacked(foreground, WorkOp::read, 4 * kMi);
  rig.submit(background, 10s, TrafficClass::prefetch);
  rig.run_until(rig.clock.now() + 1ms);
  rig.submit(foreground);
  rig.run_until(rig.clock.now() + 30ms);
  // 256 MiB go ahead of it where all are alike; four lanes of 1 GB/s take 64 ms for them.
  CHECK(foreground.calls == 1);
  CHECK(background.calls == 0);
  rig.run_until(rig.clock.now() + 1s);
  CHECK(background.all(Errc::ok));
}

TEST_CASE("background holds a share of each lane while foreground is about, all without",
          "[unit]") {
  Rig rig(4);
  Job warm_up;
  Job background;
  for (int i = 0; i < 16; ++i) {
    add_unbacked(warm_up, WorkOp::read, 4 * kMi);
  }
  for (int i = 0; i < 64; ++i) {
    add_unbacked(background, WorkOp::write, 4 * kMi);
  }
  rig.submit(warm_up);
  rig.run_until(rig.clock.now() + 1s);  // the lanes' rates are known
  Job foreground;
  add_unbacked(foreground, WorkOp::read, kMi);
  rig.submit(foreground);
  rig.submit(background, 10s, TrafficClass::write_back);
  rig.executor.progress();
  CHECK(bytes_posted(rig.transport, true) > 0);
  CHECK(bytes_posted(rig.transport, true) <= 4 * kLaneBytesInFlight / kBackgroundShare);
  rig.run_until(rig.clock.now() + 5ms);
  CHECK(foreground.calls == 1);
  CHECK(bytes_posted(rig.transport, true) <= 4 * kLaneBytesInFlight / kBackgroundShare);
  rig.run_until(rig.clock.now() + 15ms);  // nothing of the foreground for a while
  CHECK(bytes_posted(rig.transport, true) > 2 * (4 * kLaneBytesInFlight) / kBackgroundShare);
  rig.run_until(rig.clock.now() + 2s);
  CHECK(background.all(Errc::ok));
}

TEST_CASE("background gets its share however much foreground there is", "[unit]") {
  Rig rig(2);
  Job background;
  for (int i = 0; i < 64; ++i) {
    add_unbacked(background, WorkOp::read, kMi);
  }
  // 320 MiB of foreground: more than 150 ms of the two lanes, of which an eighth is background's.
  std::deque<Job> foreground(80);
  for (Job& job : foreground) {
    add_unbacked(job, WorkOp::read, 4 * kMi);
    rig.submit(job);
  }
  rig.submit(background, 10s, TrafficClass::prefetch);
  rig.run_until(rig.clock.now() + 150ms);
  CHECK(foreground.back().calls == 0);
  std::uint64_t done_bytes = 0;
  for (const auto& lane : rig.transport.lanes) {
    done_bytes += lane.bytes_done;
  }
  const std::uint64_t left = rig.executor.counters().bytes_done;
  CHECK(done_bytes == left);
  std::uint64_t foreground_bytes = 0;
  for (const Job& job : foreground) {
    foreground_bytes += job.calls == 1 ? 4 * kMi : 0;
  }
  // What is no whole foreground batch is at most a few of them.
  const std::uint64_t background_bytes = done_bytes - foreground_bytes;
  CHECK(background_bytes >= done_bytes / 9);
  rig.run_until(rig.clock.now() + 2s);
  CHECK(background.all(Errc::ok));
}

TEST_CASE("a traffic class that is none is refused by name", "[unit]") {
  Rig rig(1);
  Job job;
  add_unbacked(job, WorkOp::read, kMi);
  const Result<BatchId> refused = rig.executor.submit(job.transfers, rig.clock.now() + 1s,
                                                      job.on_done(), static_cast<TrafficClass>(7));
  REQUIRE(!refused.has_value());
  CHECK(refused.error().code == Errc::invalid_argument);
  CHECK(refused.error().detail == "traffic class 7 is none");
  CHECK(job.calls == 0);
}

}  // namespace
}  // namespace godbox::striping
