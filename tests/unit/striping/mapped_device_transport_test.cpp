// SPDX-License-Identifier: Apache-2.0
#include "device_fixture.h"
#include <godbox/driver/host_device.h>
#include <godbox/striping/executor.h>
#include <godbox/striping/mapped_device_transport.h>
#include <godbox_test/allocation_count.h>

#include <string>

namespace godbox::striping {
namespace {

using namespace godbox::test;

// A strict device, and a transport by which it reaches the pool itself.
struct World {
  explicit World(std::uint32_t lanes = 2, SizeBytes batch_bytes = 8_MiB) {
    Targets channels = share(pool);
    for (const auto& target : channels) {
      shared.push_back(static_cast<SharedTarget*>(target.get()));
    }
    auto made = MappedDeviceTransport::create(
        channels, device, {.layout_of = layout_of, .lanes = lanes, .batch_bytes = batch_bytes});
    REQUIRE(made.has_value());
    CHECK(channels.empty());
    transport = std::move(*made);
  }

  std::unique_ptr<DeviceMemory> real = make_test_device();
  FaultyDevice device{*real};
  Targets pool = make_targets();
  std::vector<SharedTarget*> shared;
  std::unique_ptr<MappedDeviceTransport> transport;
};

TEST_CASE("a device moves the bytes and finds the CRCs that a host does, in odd pieces",
          "[unit][device]") {
  World world;
  check_bytes_and_crcs(*world.transport, world.device, world.pool, 25);
  CHECK(world.device.strays == 0);
  world.transport.reset();
  CHECK(world.device.is_clean());
}

TEST_CASE("requests of a lane go in one move; those of two lanes in two", "[unit][device]") {
  World world;
  DevicePages pages(world.device, std::size_t{16} * 65536);
  const Bytes image = random_bytes(pages.size(), 5);
  pages.write(image);
  std::vector<Work> works(16);
  for (const WorkOp op : {WorkOp::write, WorkOp::read}) {
    world.device.moves = 0;
    for (std::size_t i = 0; i < works.size(); ++i) {
      works[i].local = {{pages.at((15 - i) * 65536), 65536}};
      works[i].remote = {segment(1, i * 65536, 65536)};
      const LaneId lane(static_cast<LaneId::rep>(i % 2));
      REQUIRE(world.transport->post(lane, works[i].request(i, op)) == Errc::ok);
    }
    for (const Completion& done : wait_for(*world.transport, works.size())) {
      CHECK(done.status == Errc::ok);
    }
    CHECK(world.device.moves == 2);
    CHECK(pages.read() == image);
    pages.write(op == WorkOp::write ? Bytes(pages.size()) : image);
  }
}

TEST_CASE("a request that resolves to nothing ends with its reason, and moves nothing",
          "[unit][device]") {
  World world;
  DevicePages pages(world.device, 65536);
  const Bytes image = random_bytes(pages.size(), 6);
  pages.write(image);
  Work work;
  work.local = {{pages.at(0), 1000}};
  for (const WorkOp op : {WorkOp::write, WorkOp::read}) {
    work.remote = {segment(9, 0, 1000)};
    CHECK(run(*world.transport, work.request(1, op)) == Errc::not_found);
    work.remote = {segment(3, 0, 1000)};
    CHECK(run(*world.transport, work.request(2, op)) == Errc::out_of_range);
    work.remote = {segment(1, kSlabBytes - 999, 1000)};
    CHECK(run(*world.transport, work.request(3, op)) == Errc::out_of_range);
    work.remote = {segment(1, UINT64_MAX, 1000)};
    CHECK(run(*world.transport, work.request(4, op)) == Errc::out_of_range);
  }
  CHECK(world.device.moves == 0);
  CHECK(pages.read() == image);
  CHECK(world.transport->post(LaneId(2), work.request(5, WorkOp::read)) == Errc::invalid_argument);
}

TEST_CASE("a request in more pieces than a move has is too_large; beside others it waits its turn",
          "[unit][device]") {
  World world(1);
  DevicePages pages(world.device, 4U << 20U);
  pages.write(random_bytes(pages.size(), 7));
  const auto strided = [&](std::size_t count) {
    Work work;
    for (std::size_t i = 0; i < count; ++i) {
      work.local.push_back({pages.at(i * 32), 16});
    }
    work.remote = {segment(1, 0, count * 16)};
    return work;
  };
  Work fits = strided(DeviceQueue::kMovePiecesMax);
  Work more = strided(DeviceQueue::kMovePiecesMax + 1);
  Work small = strided(10);
  REQUIRE(world.transport->post(LaneId(0), small.request(1, WorkOp::write)) == Errc::ok);
  REQUIRE(world.transport->post(LaneId(0), fits.request(2, WorkOp::write)) == Errc::ok);
  REQUIRE(world.transport->post(LaneId(0), more.request(3, WorkOp::write)) == Errc::ok);
  REQUIRE(world.transport->post(LaneId(0), small.request(4, WorkOp::write)) == Errc::ok);
  for (const Completion& done : wait_for(*world.transport, 4)) {
    CHECK(done.status == (done.id == WorkId(3) ? Errc::too_large : Errc::ok));
  }
}

TEST_CASE("channels are registered in pieces, with time for a network between", "[unit][device]") {
  const std::unique_ptr<DeviceMemory> real = make_test_device();
  FaultyDevice device(*real);
  const Targets pool = make_targets();
  Targets channels = share(pool);
  std::size_t calls = 0;
  auto made = MappedDeviceTransport::create(
      channels, device,
      {.layout_of = layout_of, .register_at_once = 1_MiB, .on_registered = [&calls] { ++calls; }});
  REQUIRE(made.has_value());
  CHECK(calls == kChannels * kChannelBytes / (1U << 20U));
  check_bytes_and_crcs(**made, device, pool, 5);
  CHECK(device.strays == 0);
  made->reset();
  CHECK(device.is_clean());
  Targets again = share(pool);
  device.registrations_max = 6;  // the second channel's third piece is not registered
  const auto refused = MappedDeviceTransport::create(
      again, device, {.layout_of = layout_of, .register_at_once = 1_MiB});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::limit_exceeded);
  CHECK(refused.error().detail.find("DRAM channel 1 (") != std::string::npos);
  CHECK(device.is_clean());
  CHECK(MappedDeviceTransport::create(again, device,
                                      {.layout_of = layout_of, .register_at_once = 0_B})
            .error()
            .code == Errc::invalid_argument);
}

TEST_CASE("bytes of a channel that has lost them are poison, others are not", "[unit][device]") {
  World world;
  DevicePages pages(world.device, 65536);
  pages.write(random_bytes(65536, 8));
  Work work;
  work.local = {{pages.at(0), 65536}};
  work.remote = {segment(1, 0, 65536)};
  work.crc = blocks_of(65536, 65536);
  CHECK(run(*world.transport, work.request(1, WorkOp::write)) == Errc::ok);
  world.shared[3]->poison(world.pool[3]->data() + (1U << 20U) + 100);  // slab 1's piece
  CHECK(run(*world.transport, work.request(2, WorkOp::read)) == Errc::poison);
  CHECK(run(*world.transport, work.request(3, WorkOp::write)) == Errc::poison);
  work.crc[0].crc32c ^= 1;
  CHECK(run(*world.transport, work.request(4, WorkOp::read)) == Errc::poison);
  work.crc.clear();
  work.remote = {segment(1, 1U << 20U, 65536)};
  CHECK(run(*world.transport, work.request(5, WorkOp::write)) == Errc::ok);
}

TEST_CASE("channels that no device can reach are refused by name, and left", "[unit][device]") {
  const std::unique_ptr<DeviceMemory> real = make_test_device();
  FaultyDevice device(*real);
  const Targets pool = make_targets();
  const auto refused = [&](const std::function<void(SharedTarget&)>& change,
                           const MappedDeviceOptions& options, Errc code) {
    Targets channels = share(pool);
    change(static_cast<SharedTarget&>(*channels[4]));
    const auto made = MappedDeviceTransport::create(channels, device, options);
    REQUIRE_FALSE(made.has_value());
    CHECK(made.error().code == code);
    CHECK(channels.size() == kChannels);
    CHECK(channels[4] != nullptr);
    CHECK(device.is_clean());
    return made.error().detail;
  };
  const auto none = [](SharedTarget&) {};
  CHECK(refused([](SharedTarget& target) { target.shown_coherence = Coherence::software; }, {},
                Errc::unsupported)
            .find("DRAM channel 4 is coherent by software") != std::string::npos);
  CHECK(refused(none, {.register_bytes_max = SizeBytes(5 * kChannelBytes)}, Errc::limit_exceeded) ==
        "DRAM channels 0 to 5 have 25165824 bytes; 20971520 may be pinned");
  CHECK(refused(none, {.lanes = 0}, Errc::invalid_argument) == "lanes is 0; 1 to 16 are allowed");
  CHECK(refused(none, {.lanes = 17}, Errc::invalid_argument) == "lanes is 17; 1 to 16 are allowed");
  CHECK(refused(none, {.batch_bytes = 0_B}, Errc::invalid_argument) == "batch_bytes is 0");
  device.queues_max = 1;
  (void)refused(none, {}, Errc::limit_exceeded);
  device.registrations_max = 2;
  CHECK(refused(none, {}, Errc::limit_exceeded).find("DRAM channel 2 (heap, 4194304 bytes): ") !=
        std::string::npos);
  device.lose();
  (void)refused(none, {}, Errc::device_lost);
}

TEST_CASE("a fence of a device's lane ends its own requests, and the other lane's go on",
          "[unit][device]") {
  World world(2, 1_B);
  DevicePages pages(world.device, 1U << 20U);
  const Bytes image = random_bytes(pages.size(), 9);
  pages.write(image);
  std::vector<Work> works(32);
  for (int round = 0; round < 20; ++round) {
    for (std::size_t i = 0; i < works.size(); ++i) {
      works[i].local = {{pages.at(i << 15U), 1U << 15U}};
      works[i].remote = {segment(1, i << 15U, 1U << 15U)};
      const LaneId lane(static_cast<LaneId::rep>(i % 2));
      REQUIRE(world.transport->post(lane, works[i].request(i, WorkOp::write)) == Errc::ok);
    }
    for (int i = 0; i < round; ++i) {
      (void)world.transport->progress();
    }
    world.transport->fence(LaneId(0));
    CHECK(world.transport->lane_status(LaneId(0)).last_error == Errc::lane_fenced);
    CHECK(world.transport->post(LaneId(0), works[0].request(99, WorkOp::write)) ==
          Errc::lane_closed);
    for (const Completion& done : wait_for(*world.transport, works.size())) {
      CHECK((done.status == Errc::ok ||
             (done.lane == LaneId(0) && done.status == Errc::lane_fenced)));
    }
    world.transport->reopen(LaneId(0));
    CHECK(world.transport->lane_status(LaneId(0)).state == LaneState::up);
  }
  Work all;
  all.local = {{pages.at(0), pages.size()}};
  all.remote = {segment(1, 0, pages.size())};
  CHECK(run(*world.transport, all.request(1, WorkOp::read)) == Errc::ok);
}

// Two requests on lane 0 and one on lane 1 of a device that does not begin, and lane 0 fenced.
struct HeldWorld : World {
  HeldWorld() {
    pages.write(image);
    for (std::size_t i = 0; i < works.size(); ++i) {
      works[i].local = {{pages.at(i * 65536), 65536}};
      works[i].remote = {segment(1, i * 65536, 65536)};
    }
    device.holds_work = true;
    REQUIRE(transport->post(LaneId(0), works[0].request(0, WorkOp::write)) == Errc::ok);
    REQUIRE(transport->post(LaneId(1), works[1].request(1, WorkOp::write)) == Errc::ok);
    (void)transport->progress();
    REQUIRE(transport->post(LaneId(0), works[2].request(2, WorkOp::read)) == Errc::ok);
    transport->fence(LaneId(0));
  }
  [[nodiscard]] Bytes pool_bytes() const {
    Bytes all;
    for (const std::unique_ptr<MemoryTarget>& target : pool) {
      all.insert(all.end(), target->data(), target->data() + kChannelBytes);
    }
    return all;
  }

  DevicePages pages{device, std::size_t{3} * 65536};
  Bytes image = random_bytes(pages.size(), 11);
  std::array<Work, 3> works;
};

TEST_CASE("a slow device is none that is lost: what it holds completes when no byte moves any more",
          "[unit][device]") {
  HeldWorld world;
  Transport& transport = *world.transport;
  std::array<Completion, 4> some;
  REQUIRE(transport.poll(some) == 1);  // it had not been launched
  CHECK((some[0].id == WorkId(2) && some[0].status == Errc::lane_fenced));
  CHECK(transport.requests_held(LaneId(0)) == 1);
  CHECK(transport.requests_held(LaneId(1)) == 0);
  const Bytes before = world.pool_bytes();
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
  while (std::chrono::steady_clock::now() < until) {
    (void)transport.progress();
    CHECK(transport.poll(some) == 0);
    transport.reopen(LaneId(0));
    transport.fence(LaneId(0));
  }
  CHECK(transport.poll_pause() < Duration::max());
  CHECK(transport.lane_status(LaneId(0)).state == LaneState::down);
  CHECK(transport.lane_status(LaneId(0)).last_error == Errc::lane_fenced);
  CHECK(transport.lane_status(LaneId(1)).state == LaneState::up);
  CHECK(transport.post(LaneId(0), world.works[2].request(3, WorkOp::read)) == Errc::lane_closed);
  CHECK(world.pool_bytes() == before);
  world.device.holds_work = false;
  Bytes after;
  for (std::size_t ended = 0; ended < 2;) {
    (void)transport.progress();
    ended += transport.poll(std::span(some).subspan(ended));
  }
  after = world.pool_bytes();
  CHECK(after != before);  // which is why it was not to complete before
  for (const Completion& done : std::span(some).first(2)) {
    CHECK(done.status == (done.lane == LaneId(0) ? Errc::lane_fenced : Errc::ok));
  }
  CHECK(transport.requests_held(LaneId(0)) == 0);
  transport.reopen(LaneId(0));
  CHECK(run(transport, world.works[2].request(4, WorkOp::read)) == Errc::ok);
  CHECK(world.pool_bytes() == after);
}

TEST_CASE("what a device holds ends with it, if it is lost indeed", "[unit][device]") {
  HeldWorld world;
  world.device.lose();
  std::size_t lost = 0;
  for (const Completion& done : wait_for(*world.transport, 3)) {
    lost += done.status == Errc::device_lost ? 1U : 0U;
  }
  CHECK(lost == 2);
  CHECK(world.transport->requests_held(LaneId(0)) == 0);
}

TEST_CASE("a batch ends behind its deadline, or its cancelling, when the device is through",
          "[unit][device]") {
  const SteadyClock clock;
  for (const bool is_cancelled : {false, true}) {
    CAPTURE(is_cancelled);
    World world;
    DevicePages pages(world.device, 65536);
    pages.write(random_bytes(65536, 13));
    Executor executor(*world.transport, clock, {});
    const Extent extent{.address = {SlabId(1), SlabOffset(0)}, .length_bytes = 65536};
    const LocalSegment local{pages.at(0), 65536};
    const Transfer transfer{
        .op = WorkOp::write, .key = RKey(1), .extents = {&extent, 1}, .local = {&local, 1}};
    Errc status = Errc::ok;
    Bytes at_end;
    const auto first_strip = [&] {
      return Bytes(world.pool[0]->data() + (1U << 20U), world.pool[0]->data() + (2U << 20U));
    };
    world.device.holds_work = true;
    const auto batch = executor.submit({&transfer, 1}, clock.now() + std::chrono::milliseconds(20),
                                       [&](std::span<const Errc> statuses) {
                                         status = statuses[0];
                                         at_end = first_strip();
                                       });
    REQUIRE(batch.has_value());
    const auto drive = [&](std::chrono::milliseconds how_long) {
      const auto until = std::chrono::steady_clock::now() + how_long;
      while (std::chrono::steady_clock::now() < until && status == Errc::ok) {
        (void)executor.progress();
        (void)world.transport->progress();
      }
    };
    if (is_cancelled) {
      (void)executor.progress();
      (void)world.transport->progress();
      std::thread release([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        world.device.holds_work = false;
      });
      executor.cancel(*batch);
      CHECK_FALSE(world.device.holds_work);
      release.join();
    } else {
      drive(std::chrono::milliseconds(80));
      CHECK(status == Errc::ok);
      CHECK(executor.batches_in_flight() == 1);
      CHECK(executor.counters().batches_expired == 1);
      world.device.holds_work = false;
      drive(std::chrono::seconds(10));
    }
    CHECK(status == (is_cancelled ? Errc::cancelled : Errc::deadline_exceeded));
    CHECK(executor.counters().lanes_fenced == 1);
    CHECK(executor.batches_in_flight() == 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(first_strip() == at_end);
  }
}

TEST_CASE("a device that goes takes its lanes with it", "[unit][device]") {
  for (std::uint64_t at = 0; at < 4; ++at) {
    World world(2, 1_B);
    auto pages = std::make_unique<DevicePages>(world.device, 8 * 65536);
    pages->write(random_bytes(pages->size(), 10));
    world.device.lose_at_move(at);
    std::vector<Work> works(8);
    for (std::size_t i = 0; i < works.size(); ++i) {
      works[i].local = {{pages->at(i * 65536), 65536}};
      works[i].remote = {segment(1, i * 65536, 65536)};
      const LaneId lane(static_cast<LaneId::rep>(i % 2));
      REQUIRE(world.transport->post(lane, works[i].request(i, WorkOp::write)) == Errc::ok);
    }
    std::size_t lost = 0;
    for (const Completion& done : wait_for(*world.transport, works.size())) {
      lost += done.status == Errc::device_lost ? 1U : 0U;
    }
    CHECK(lost > 0);
    for (const LaneId lane : {LaneId(0), LaneId(1)}) {
      world.transport->reopen(lane);
      CHECK(world.transport->lane_status(lane).state == LaneState::down);
      CHECK(world.transport->lane_status(lane).last_error == Errc::device_lost);
      CHECK(world.transport->post(lane, works[0].request(1, WorkOp::read)) == Errc::lane_closed);
    }
    world.transport.reset();
    pages.reset();
    CHECK(world.device.is_clean());
  }
}

TEST_CASE("warm, a device over the mapped pool allocates nothing per request", "[unit][device]") {
  const std::unique_ptr<DeviceMemory> real = driver::make_host_device();
  const Targets pool = make_targets();
  Targets channels = share(pool);
  auto made = MappedDeviceTransport::create(channels, *real, {.layout_of = layout_of});
  REQUIRE(made.has_value());
  MappedDeviceTransport& transport = **made;
  DevicePages pages(*real, std::size_t{32} * 4096);
  std::array<Work, 16> works;
  for (std::size_t i = 0; i < works.size(); ++i) {
    for (std::size_t page = 0; page < 32; ++page) {
      works[i].local.push_back({pages.at((page * 7 + i) % 32 * 4096), 4096});
    }
    works[i].remote = {segment(1, i * 131'072, 65536), segment(2, i * 131'072, 65536)};
    works[i].crc = blocks_of(131'072, 65536);
  }
  const auto round = [&] {
    for (std::size_t i = 0; i < works.size(); ++i) {
      const LaneId lane(static_cast<LaneId::rep>(i % 2));
      if (transport.post(lane, works[i].request(i, WorkOp::write)) != Errc::ok) {
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
  CHECK(rounds_until_warm(round) > 0);
}

}  // namespace
}  // namespace godbox::striping
