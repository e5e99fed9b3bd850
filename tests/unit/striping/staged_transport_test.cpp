// SPDX-License-Identifier: Apache-2.0
#include "device_fixture.h"
#include <godbox/driver/host_device.h>
#include <godbox/striping/staged_transport.h>
#include <godbox_test/allocation_count.h>

#include <string>

namespace godbox::striping {
namespace {

using namespace godbox::test;

constexpr StagedTransportOptions kSmall{.staging = 32_MiB, .device = 32_MiB};

// A strict device, and a transport that stages for it over the local one.
struct World {
  explicit World(const StagedTransportOptions& options = kSmall) {
    auto made =
        StagedTransport::create(std::make_unique<LocalTransport>(
                                    share(pool), LocalTransportOptions{.layout_of = layout_of}),
                                device, options);
    REQUIRE(made.has_value());
    transport = std::move(*made);
  }

  std::unique_ptr<DeviceMemory> real = make_test_device();
  FaultyDevice device{*real};
  Targets pool = make_targets();
  std::unique_ptr<StagedTransport> transport;
};

TEST_CASE("staged bytes and CRCs are those that a host sees, in odd pieces", "[unit][device]") {
  World world;
  check_bytes_and_crcs(*world.transport, world.device, world.pool, 25);
  CHECK(world.device.strays == 0);
  world.transport.reset();
  CHECK(world.device.is_clean());
}

TEST_CASE("staging lives with queues that are full at any point of a batch", "[unit][device]") {
  for (const std::uint64_t every : {2U, 3U, 5U}) {
    World world;
    DevicePages pages(world.device, std::size_t{8} * 65536);
    const Bytes image = random_bytes(pages.size(), 5);
    pages.write(image);
    world.device.full_every = every;
    std::vector<Work> works(8);
    for (const WorkOp op : {WorkOp::write, WorkOp::read}) {
      for (std::size_t i = 0; i < works.size(); ++i) {
        works[i].local = {{pages.at(i * 65536), 65536}};
        works[i].remote = {segment(1, i * 65536, 65536)};
        works[i].crc.resize(1, {65536, 0});
        REQUIRE(world.transport->post(LaneId(0), works[i].request(i, op)) == Errc::ok);
      }
      for (const Completion& done : wait_for(*world.transport, works.size())) {
        CHECK(done.status == Errc::ok);
      }
      world.device.full_every = 0;
      CHECK(pages.read() == image);
      pages.write(op == WorkOp::write ? Bytes(pages.size()) : image);
      world.device.full_every = every;
    }
    world.device.full_every = 0;
    CHECK(pages.read() == image);
  }
}

TEST_CASE("what progress() finds goes in one move, and slots that touch in one copy",
          "[unit][device]") {
  World world;
  DevicePages pages(world.device, std::size_t{16} * 65536);
  pages.write(Bytes(pages.size()));
  world.device.moves = 0;
  world.device.copies = 0;
  std::vector<Work> works(16);
  for (std::size_t i = 0; i < works.size(); ++i) {
    works[i].local = {{pages.at((15 - i) * 65536), 65536}};
    works[i].remote = {segment(1, i * 65536, 65536)};
    REQUIRE(world.transport->post(LaneId(0), works[i].request(i, WorkOp::write)) == Errc::ok);
  }
  (void)wait_for(*world.transport, works.size());
  CHECK(world.device.moves == 1);
  CHECK(world.device.copies == 1);
}

TEST_CASE("with no slot left post() says queue_full, and takes more when some have ended",
          "[unit][device]") {
  World world;
  DevicePages pages(world.device, kWorkBytesMax / 4);
  pages.write(random_bytes(pages.size(), 6));
  std::vector<Work> works(9);
  for (std::size_t i = 0; i < works.size(); ++i) {
    works[i].local = {{pages.at(0), pages.size()}};
    works[i].remote = {segment(1, 0, pages.size())};
    const Errc answer = world.transport->post(LaneId(0), works[i].request(i, WorkOp::write));
    CHECK(answer == (i < 8 ? Errc::ok : Errc::queue_full));
  }
  CHECK(world.transport->lane_status(LaneId(0)).requests_in_flight == 8);
  (void)wait_for(*world.transport, 8);
  CHECK(world.transport->lane_status(LaneId(0)).requests_in_flight == 0);
  CHECK(world.transport->lane_status(LaneId(0)).bytes_in_flight == 0);
  CHECK(run(*world.transport, works[8].request(9, WorkOp::write)) == Errc::ok);
  Work whole;
  for (int i = 0; i < 4; ++i) {
    whole.local.push_back({pages.at(0), pages.size()});
  }
  whole.remote = {segment(1, 0, kSlabBytes), segment(2, 0, kSlabBytes),
                  segment(1, 0, kWorkBytesMax - 2 * kSlabBytes)};
  CHECK(run(*world.transport, whole.request(10, WorkOp::write)) == Errc::ok);  // the longest
}

TEST_CASE("foreground is staged before background that waits", "[unit][device]") {
  World world({.staging = 64_MiB, .device = 32_MiB, .queues_each_way = 1, .batch_bytes = 1_B});
  DevicePages pages(world.device, 65536);
  pages.write(Bytes(pages.size()));
  world.device.holds_marks = true;
  std::vector<Work> works(24);
  const auto post = [&](std::size_t i, TrafficClass traffic_class) {
    works[i].local = {{pages.at(0), 65536}};
    works[i].remote = {segment(1, i * 65536, 65536)};
    works[i].traffic_class = traffic_class;
    REQUIRE(world.transport->post(LaneId(0), works[i].request(i, WorkOp::write)) == Errc::ok);
  };
  for (std::size_t i = 0; i < 20; ++i) {
    post(i, TrafficClass::prefetch);
    (void)world.transport->progress();  // the first few are on the device before any foreground
  }
  for (std::size_t i = 20; i < 24; ++i) {
    post(i, TrafficClass::foreground);
  }
  world.device.holds_marks = false;
  std::vector<std::uint64_t> order;
  for (const Completion& done : wait_for(*world.transport, 24)) {
    order.push_back(done.id.value());
  }
  const auto place = [&](std::uint64_t id) {
    return std::find(order.begin(), order.end(), id) - order.begin();
  };
  CHECK(place(23) < place(19));
  CHECK(place(20) < place(10));
}

TEST_CASE("memory out of the device's reach is refused, until it is announced", "[unit][device]") {
  World world;
  Bytes memory = random_bytes(10'000, 7);
  Work work;
  work.local = {{nullptr, 0}, {memory.data(), memory.size()}};
  work.remote = {segment(1, 0, memory.size())};
  CHECK(world.transport->post(LaneId(0), work.request(1, WorkOp::write)) == Errc::invalid_argument);
  REQUIRE(world.transport->register_memory(memory).has_value());
  REQUIRE(world.transport->register_memory(MutableSpan(memory).subspan(5, 10)).has_value());
  CHECK(run(*world.transport, work.request(2, WorkOp::write)) == Errc::ok);
  world.transport->deregister_memory(memory);
  world.transport->deregister_memory(memory);  // again: nothing to do
  // What was announced apart is still there.
  Work part;
  part.local = {{memory.data() + 5, 10}};
  part.remote = {segment(1, 0, 10)};
  CHECK(run(*world.transport, part.request(3, WorkOp::write)) == Errc::ok);
  world.transport->deregister_memory(MutableSpan(memory).subspan(5, 10));
  CHECK(world.transport->post(LaneId(0), work.request(4, WorkOp::write)) == Errc::invalid_argument);
  CHECK(world.device.strays == 0);
  CHECK(world.device.reach_calls < 20);
}

TEST_CASE("a piece out of reach is refused wherever it is in a request, and the lane stands",
          "[unit][device]") {
  World world;
  DevicePages pages(world.device, 65536), others(world.device, 65536);
  pages.write(random_bytes(65536, 8));
  Bytes stray(100);
  Work work;
  work.remote = {segment(1, 0, 800)};
  for (const WorkOp op : {WorkOp::write, WorkOp::read}) {
    for (std::size_t bad = 0; bad < 8; ++bad) {
      CAPTURE(bad);
      work.local.clear();
      for (std::size_t i = 0; i < 8; ++i) {
        work.local.push_back({(i % 2 == 0 ? pages : others).at(i * 5000), 100});
      }
      CHECK(run(*world.transport, work.request(1, op)) == Errc::ok);
      work.local[bad].data = stray.data();
      CHECK(world.transport->post(LaneId(0), work.request(2, op)) == Errc::invalid_argument);
      work.local[bad].data = pages.at(65536 - 99);  // its last byte is beyond
      if (!world.device.reaches({pages.at(65536), 1})) {
        CHECK(world.transport->post(LaneId(0), work.request(3, op)) == Errc::invalid_argument);
      }
    }
  }
  CHECK(world.transport->lane_status(LaneId(0)).state == LaneState::up);
  CHECK(world.device.strays == 0);
}

TEST_CASE("more pieces than a move may have are too_large", "[unit][device]") {
  World world;
  DevicePages pages(world.device, 65536);
  Work work;
  work.local.assign(DeviceQueue::kMovePiecesMax + 1, LocalSegment{pages.at(0), 1});
  work.remote = {segment(1, 0, work.local.size())};
  CHECK(world.transport->post(LaneId(0), work.request(1, WorkOp::read)) == Errc::too_large);
  work.local.assign(DeviceQueue::kMovePiecesMax, LocalSegment{pages.at(0), 1});
  work.remote = {segment(1, 0, work.local.size())};
  CHECK(run(*world.transport, work.request(2, WorkOp::write)) == Errc::ok);
}

TEST_CASE("a fenced request ends when its kernels have, and no later", "[unit][device]") {
  World world;
  DevicePages pages(world.device, 1U << 20U);
  const Bytes image = random_bytes(pages.size(), 9);
  pages.write(image);
  std::vector<Work> works(4);
  for (const WorkOp op : {WorkOp::write, WorkOp::read}) {
    for (int steps = 0; steps < 12; ++steps) {
      CAPTURE(steps);
      for (std::size_t i = 0; i < works.size(); ++i) {
        works[i].local = {{pages.at(i << 18U), 1U << 18U}};
        works[i].remote = {segment(1, i << 18U, 1U << 18U)};
        REQUIRE(world.transport->post(LaneId(0), works[i].request(i, op)) == Errc::ok);
      }
      std::size_t ended = 0;
      std::array<Completion, 8> some;
      for (int i = 0; i < steps; ++i) {
        (void)world.transport->progress();
        ended += world.transport->poll(some);
      }
      world.transport->fence(LaneId(0));
      while (world.transport->requests_held(LaneId(0)) > 0) {
        (void)world.transport->progress();
      }
      const std::size_t left = world.transport->poll(some);
      CHECK(ended + left == works.size());
      for (std::size_t i = 0; i < left; ++i) {
        CHECK((some[i].status == Errc::lane_fenced || some[i].status == Errc::ok));
      }
      CHECK(world.transport->lane_status(LaneId(0)).requests_in_flight == 0);
      (void)world.transport->progress();
      CHECK(world.transport->poll_pause() == Duration::max());  // nothing is under way
      world.transport->reopen(LaneId(0));
      if (op == WorkOp::read) {
        pages.write(image);  // what it left in the pages is unspecified
      }
    }
  }
  works[0].local = {{pages.at(0), pages.size()}};
  works[0].remote = {segment(1, 0, pages.size())};
  works[0].crc = blocks_of(pages.size(), 65536);
  CHECK(run(*world.transport, works[0].request(1, WorkOp::write)) == Errc::ok);
  pages.write(Bytes(pages.size()));
  CHECK(run(*world.transport, works[0].request(2, WorkOp::read)) == Errc::ok);
  CHECK(pages.read() == image);
}

TEST_CASE("a device that goes ends every request with device_lost, and all is given back",
          "[unit][device]") {
  for (std::uint64_t at = 0; at < 6; ++at) {
    CAPTURE(at);
    World world;
    auto pages = std::make_unique<DevicePages>(world.device, 8 * 65536);
    pages->write(random_bytes(pages->size(), 10));
    std::vector<Work> works(8);
    world.device.lose_at_move(at);
    for (std::size_t i = 0; i < works.size(); ++i) {
      works[i].local = {{pages->at(i * 65536), 65536}};
      works[i].remote = {segment(1, i * 65536, 65536)};
      const WorkOp op = i % 2 == 0 ? WorkOp::read : WorkOp::write;
      REQUIRE(world.transport->post(LaneId(0), works[i].request(i, op)) == Errc::ok);
    }
    std::size_t count = 0;
    std::size_t lost = 0;
    for (int turn = 0; turn < 100'000 && count < works.size(); ++turn) {
      if (turn == 50'000) {
        world.device.lose();  // there were fewer moves than `at`
      }
      (void)world.transport->progress();
      Completion one;
      while (world.transport->poll({&one, 1}) == 1) {
        CHECK((one.status == Errc::ok || one.status == Errc::device_lost));
        lost += one.status == Errc::device_lost ? 1U : 0U;
        ++count;
      }
    }
    CHECK(count == works.size());
    CHECK((lost > 0 || !world.device.is_lost()));
    world.device.lose();
    (void)world.transport->post(LaneId(0), works[0].request(99, WorkOp::write));
    (void)world.transport->progress();
    Completion last;
    CHECK((world.transport->poll({&last, 1}) == 0 || last.status == Errc::device_lost));
    const LaneStatus status = world.transport->lane_status(LaneId(0));
    CHECK(status.state == LaneState::down);
    CHECK(status.last_error == Errc::device_lost);
    CHECK(status.requests_in_flight == 0);
    world.transport->reopen(LaneId(0));
    CHECK(world.transport->lane_status(LaneId(0)).state == LaneState::down);
    CHECK(world.transport->post(LaneId(0), works[0].request(1, WorkOp::read)) == Errc::lane_closed);
    CHECK(world.transport->poll_pause() == Duration::max());
    world.transport->fence(LaneId(0));
    world.transport.reset();
    pages.reset();
    CHECK(world.device.is_clean());
  }
}

TEST_CASE("a fence keeps what a slow device has until it is through, and loses no device for it",
          "[unit][device]") {
  for (const bool is_lost : {false, true}) {
    CAPTURE(is_lost);
    World world;
    Transport& transport = *world.transport;
    DevicePages pages(world.device, std::size_t{2} * 65536);
    pages.write(random_bytes(pages.size(), 11));
    std::array<Work, 2> works;
    for (std::size_t i = 0; i < works.size(); ++i) {
      works[i].local = {{pages.at(i * 65536), 65536}};
      works[i].remote = {segment(1, i * 65536, 65536)};
    }
    world.device.holds_work = true;
    REQUIRE(transport.post(LaneId(0), works[0].request(1, WorkOp::write)) == Errc::ok);
    (void)transport.progress();
    REQUIRE(transport.post(LaneId(0), works[1].request(2, WorkOp::write)) == Errc::ok);
    transport.fence(LaneId(0));
    std::array<Completion, 4> some;
    REQUIRE(transport.poll(some) == 1);
    CHECK((some[0].id == WorkId(2) && some[0].status == Errc::lane_fenced));
    for (int i = 0; i < 1000; ++i) {
      (void)transport.progress();
      transport.reopen(LaneId(0));
      CHECK(transport.poll(some) == 0);
    }
    CHECK(transport.poll_pause() < Duration::max());
    CHECK(transport.requests_held(LaneId(0)) == 1);
    CHECK(transport.lane_status(LaneId(0)).last_error == Errc::lane_fenced);
    CHECK(transport.post(LaneId(0), works[1].request(3, WorkOp::read)) == Errc::lane_closed);
    if (is_lost) {
      world.device.lose();
    }
    world.device.holds_work = false;
    const std::vector<Completion> done = wait_for(transport, 1);
    CHECK(done[0].id == WorkId(1));
    CHECK(done[0].status == (is_lost ? Errc::device_lost : Errc::lane_fenced));
    CHECK(transport.requests_held(LaneId(0)) == 0);
    if (!is_lost) {
      transport.reopen(LaneId(0));
      CHECK(run(transport, works[1].request(4, WorkOp::write)) == Errc::ok);
    }
  }
}

TEST_CASE("staging that cannot be made says why, and leaves nothing behind", "[unit][device]") {
  const std::unique_ptr<DeviceMemory> real = make_test_device();
  const Targets pool = make_targets();
  const auto code = [&](FaultyDevice& device, StagedTransportOptions options) {
    const auto made =
        StagedTransport::create(std::make_unique<LocalTransport>(
                                    share(pool), LocalTransportOptions{.layout_of = layout_of}),
                                device, options);
    CHECK(device.is_clean());
    REQUIRE_FALSE(made.has_value());
    CHECK_FALSE(made.error().detail.empty());
    return made.error().code;
  };
  FaultyDevice device(*real);
  CHECK(code(device, {.staging = 16_MiB}) == Errc::invalid_argument);
  CHECK(code(device, {.staging = 33_MiB}) == Errc::invalid_argument);
  CHECK(code(device, {.device = 0_B}) == Errc::invalid_argument);
  CHECK(code(device, {.queues_each_way = 0}) == Errc::invalid_argument);
  CHECK(code(device, {.queues_each_way = 17}) == Errc::invalid_argument);
  CHECK(code(device, {.batch_bytes = 0_B}) == Errc::invalid_argument);
  device.allocations_fail = true;
  CHECK(code(device, kSmall) == Errc::device_memory_full);
  device.allocations_fail = false;
  device.staging_fails = true;
  CHECK(code(device, kSmall) == Errc::limit_exceeded);
  device.staging_fails = false;
  device.queues_max = 3;
  CHECK(code(device, kSmall) == Errc::limit_exceeded);
  device.lose();
  CHECK(code(device, kSmall) == Errc::device_lost);
}

TEST_CASE("warm, staging allocates nothing per request", "[unit][device]") {
  const std::unique_ptr<DeviceMemory> real = driver::make_host_device();
  const Targets pool = make_targets();
  auto made = StagedTransport::create(
      std::make_unique<LocalTransport>(share(pool), LocalTransportOptions{.layout_of = layout_of}),
      *real, kSmall);
  REQUIRE(made.has_value());
  StagedTransport& transport = **made;
  DevicePages pages(*real, std::size_t{32} * 4096);
  std::array<Work, 16> works;
  for (std::size_t i = 0; i < works.size(); ++i) {
    for (std::size_t page = 0; page < 32; ++page) {
      works[i].local.push_back({pages.at((page * 7 + i) % 32 * 4096), 4096});
    }
    works[i].remote = {segment(1, i * 131'072, 131'072)};
    works[i].crc = blocks_of(131'072, 65536);
  }
  const auto round = [&](WorkOp op) {
    for (std::size_t i = 0; i < works.size(); ++i) {
      WorkRequest request = works[i].request(i, op);
      request.crc = {};
      if (op == WorkOp::write) {
        request.crc = works[i].crc;
      }
      if (transport.post(LaneId(0), request) != Errc::ok) {
        return false;
      }
    }
    std::size_t left = works.size();
    std::array<Completion, 16> some;
    while (left > 0) {
      (void)transport.progress();
      left -= transport.poll(some);
    }
    return true;
  };
  CHECK(rounds_until_warm([&] { return round(WorkOp::write) && round(WorkOp::read); }) > 0);
}

}  // namespace
}  // namespace godbox::striping
