// SPDX-License-Identifier: Apache-2.0
#include "work_fixture.h"
#include <godbox/crc32c.h>
#include <godbox/striping/local_transport.h>
#include <godbox_test/heap_memory_target.h>
#include <godbox_test/private_cache_target.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <thread>

namespace godbox::striping {
namespace {

using test::random_bytes;
using test::run;
using test::segment;
using test::wait_for;
using test::Work;

constexpr std::uint64_t kChannelBytes = 1U << 20U;
constexpr std::uint16_t kChannels = 7;

wire::SlabRecord record_of(std::uint32_t id, std::uint32_t strip_bytes) {
  wire::SlabRecord record;
  record.id = SlabId(id);
  record.strip_bytes = strip_bytes;
  record.rotation = 2;
  record.piece_size = SizeBytes(256U << 10U);
  for (std::uint16_t i = 0; i < kChannels; ++i) {
    record.members.push_back({.dram_channel = DramChannelId(i), .offset = DramOffset(64U << 10U)});
  }
  return record;
}

// Slab 1: strips of 4 KiB; 2: of 128 B; 3: beyond the mapping; 4: on DRAM channel 50.
Result<SlabLayout> layout_of(SlabId id) {
  switch (id.value()) {
    case 1:
      return SlabLayout::create(record_of(1, 4096));
    case 2:
      return SlabLayout::create(record_of(2, 128));
    case 3: {
      wire::SlabRecord record = record_of(3, 4096);
      record.members[4].offset = DramOffset(kChannelBytes - 4096);
      return SlabLayout::create(record);
    }
    case 4: {
      wire::SlabRecord record = record_of(4, 4096);
      record.members[6].dram_channel = DramChannelId(50);
      return SlabLayout::create(record);
    }
    default:
      return Error(Errc::not_found);
  }
}

std::vector<std::unique_ptr<MemoryTarget>> make_targets() {
  std::vector<std::unique_ptr<MemoryTarget>> targets =
      test::heap_memory_targets(kChannels, SizeBytes(kChannelBytes));
  for (const std::unique_ptr<MemoryTarget>& target : targets) {
    REQUIRE(target->back(DramOffset(0), SizeBytes(kChannelBytes)).has_value());
  }
  return targets;
}

TEST_CASE("bytes lie where the layout says, and come back, in odd pieces", "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937 random(seed);
  std::vector<std::unique_ptr<MemoryTarget>> targets = make_targets();
  std::vector<std::byte*> channels;
  for (const auto& target : targets) {
    channels.push_back(target->data());
  }
  LocalTransport transport(std::move(targets), {.layout_of = layout_of});
  for (int round = 0; round < 60; ++round) {
    const std::uint32_t slab = 1 + random() % 2;
    const std::uint32_t offset = static_cast<std::uint32_t>(random() % 1'000'000);
    const std::uint32_t length = 1 + static_cast<std::uint32_t>(random() % 200'000);
    const bool with_crc = random() % 2 == 0;
    CAPTURE(round, slab, offset, length, with_crc);
    std::vector<std::byte> bytes = random_bytes(length, seed + static_cast<std::uint32_t>(round));
    Work work;
    work.remote = {segment(slab, offset, length / 3), segment(slab, offset + length / 3, 0),
                   segment(slab, offset + length / 3, length - length / 3)};
    std::erase_if(work.remote, [](const RemoteSegment& s) { return s.length_bytes == 0; });
    const auto cut_local = [&](std::vector<std::byte>& memory) {
      std::vector<LocalSegment> pieces;
      for (std::size_t at = 0; at < memory.size();) {
        const std::size_t size = std::min<std::size_t>(random() % 30'000, memory.size() - at);
        pieces.push_back({.data = memory.data() + at, .size_bytes = size});
        at += size;
      }
      return pieces;
    };
    const auto cut_crc = [&] {
      std::vector<CrcBlock> blocks;
      for (std::uint32_t at = 0; with_crc && at < length;) {
        const std::uint32_t size =
            std::min(1 + static_cast<std::uint32_t>(random() % 65536), length - at);
        blocks.push_back({.length_bytes = size});
        at += size;
      }
      return blocks;
    };
    work.local = cut_local(bytes);
    work.crc = cut_crc();
    REQUIRE(run(transport, work.request(1, WorkOp::write)) == Errc::ok);
    std::size_t at = 0;
    for (const CrcBlock& block : work.crc) {
      CHECK(block.crc32c == crc32c(ConstSpan(bytes).subspan(at, block.length_bytes)));
      at += block.length_bytes;
    }
    // Byte by byte, at the places that the layout names.
    const SlabLayout layout = layout_of(SlabId(slab)).value();
    bool in_place = true;
    for (std::uint32_t i = 0; i < length; i += 61) {
      const DramRun place = layout.locate(SlabOffset(std::uint64_t{offset} + i));
      in_place &= channels[place.dram_channel.value()][place.offset.count()] == bytes[i];
    }
    CHECK(in_place);
    std::vector<std::byte> back(length);
    work.local = cut_local(back);
    REQUIRE(run(transport, work.request(2, WorkOp::read)) == Errc::ok);
    CHECK(back == bytes);
  }
}

TEST_CASE("a read that finds other bytes than were committed ends with crc_mismatch", "[unit]") {
  std::vector<std::unique_ptr<MemoryTarget>> targets = make_targets();
  std::byte* const channel = targets[2]->data();  // member of strip 0
  LocalTransport transport(std::move(targets), {.layout_of = layout_of});
  std::vector<std::byte> bytes = random_bytes(150'000, 1);
  Work work;
  work.remote = {segment(1, 0, 150'000)};
  work.local = {{.data = bytes.data(), .size_bytes = bytes.size()}};
  work.crc = {{.length_bytes = 65536}, {.length_bytes = 65536}, {.length_bytes = 18'928}};
  REQUIRE(run(transport, work.request(1, WorkOp::write)) == Errc::ok);
  REQUIRE(run(transport, work.request(2, WorkOp::read)) == Errc::ok);
  std::byte& flipped = channel[(64U << 10U) + 100];
  flipped ^= std::byte{0x10};
  CHECK(run(transport, work.request(3, WorkOp::read)) == Errc::crc_mismatch);
  flipped ^= std::byte{0x10};
  CHECK(run(transport, work.request(4, WorkOp::read)) == Errc::ok);
  work.crc[2].crc32c ^= 0x8000'0000;
  CHECK(run(transport, work.request(5, WorkOp::read)) == Errc::crc_mismatch);
}

TEST_CASE("ranges beyond slab or mapping and unknown slabs end with their error", "[unit]") {
  LocalTransport transport(make_targets(), {.layout_of = layout_of});
  std::vector<std::byte> bytes(8192);
  const std::uint64_t capacity = std::uint64_t{256U << 10U} * kChannels;
  const auto status = [&](std::uint32_t slab, std::uint64_t offset, std::uint32_t length) {
    Work work;
    work.remote = {segment(slab, offset, length)};
    work.local = {{.data = bytes.data(), .size_bytes = length}};
    return run(transport, work.request(1, WorkOp::read));
  };
  CHECK(status(1, capacity - 8192, 8192) == Errc::ok);
  CHECK(status(1, capacity - 8191, 8192) == Errc::out_of_range);
  CHECK(status(1, capacity, 1) == Errc::out_of_range);
  CHECK(status(1, UINT64_MAX - 10, 100) == Errc::out_of_range);
  CHECK(status(3, 0, 1) == Errc::out_of_range);
  CHECK(status(4, 0, 1) == Errc::out_of_range);
  CHECK(status(5, 0, 1) == Errc::not_found);
}

TEST_CASE("a request that makes no sense is refused without side effect", "[unit]") {
  LocalTransport transport(make_targets(), {.layout_of = layout_of});
  std::vector<std::byte> bytes(4096);
  Work good;
  good.remote = {segment(1, 0, 4096)};
  good.local = {{.data = bytes.data(), .size_bytes = 4096}};
  const auto posted = [&](auto&& spoil) {
    Work work = good;
    WorkRequest request = work.request(1, WorkOp::write);
    spoil(work, request);
    return transport.post(LaneId(0), request);
  };
  CHECK(posted([](Work&, WorkRequest& r) { r.total_bytes = 4095; }) == Errc::invalid_argument);
  CHECK(posted([](Work&, WorkRequest& r) { r = {}; }) == Errc::invalid_argument);
  CHECK(posted([](Work& w, WorkRequest&) { w.local[0].size_bytes = 4097; }) ==
        Errc::invalid_argument);
  CHECK(posted([](Work& w, WorkRequest&) { w.local[0].data = nullptr; }) == Errc::invalid_argument);
  CHECK(posted([](Work& w, WorkRequest& r) {
          w.crc = {{.length_bytes = 4095}};
          r.crc = w.crc;
        }) == Errc::invalid_argument);
  CHECK(posted([](Work& w, WorkRequest& r) {
          w.remote.assign(kWorkSegmentsMax + 1, segment(1, 0, 1));
          w.local[0].size_bytes = r.total_bytes = kWorkSegmentsMax + 1;
          r.remote = w.remote;
        }) == Errc::too_large);
  CHECK(posted([](Work& w, WorkRequest& r) {
          w.remote = {segment(1, 0, kWorkBytesMax + 1)};
          w.local[0].size_bytes = r.total_bytes = kWorkBytesMax + 1;
          r.remote = w.remote;
        }) == Errc::too_large);
  CHECK(transport.post(LaneId(1), good.request(1, WorkOp::write)) == Errc::invalid_argument);
  CHECK(transport.lane_status(LaneId(0)).requests_in_flight == 0);
  CHECK(transport.lane_status(LaneId(1)).state == LaneState::down);
  CHECK_FALSE(transport.progress());
}

TEST_CASE("a lane takes as many requests as its credit", "[unit]") {
  LocalTransport transport(make_targets(), {.layout_of = layout_of});
  std::vector<std::byte> bytes(100);
  Work work;
  work.remote = {segment(2, 5, 100)};
  work.local = {{.data = bytes.data(), .size_bytes = 100}};
  for (std::uint32_t i = 0; i < LocalTransport::kRequestsPerLaneMax; ++i) {
    REQUIRE(transport.post(LaneId(0), work.request(i, WorkOp::read)) == Errc::ok);
  }
  CHECK(transport.post(LaneId(0), work.request(99, WorkOp::read)) == Errc::queue_full);
  CHECK(transport.lane_status(LaneId(0)).bytes_in_flight == 6400);
  const std::vector<Completion> done = wait_for(transport, LocalTransport::kRequestsPerLaneMax);
  for (std::uint32_t i = 0; i < done.size(); ++i) {
    CHECK(done[i].id == WorkId(i));
  }
  CHECK(transport.lane_status(LaneId(0)).requests_in_flight == 0);
  CHECK(transport.lane_status(LaneId(0)).bytes_in_flight == 0);
}

TEST_CASE("one, two and three copying threads move the same bytes", "[unit]") {
  for (const std::size_t threads : {std::size_t{1}, std::size_t{2}, std::size_t{3}}) {
    std::atomic<int> wakes = 0;
    LocalTransport transport(make_targets(), {.copy_threads = threads,
                                              .layout_of = layout_of,
                                              .on_completion = [&wakes] { wakes.fetch_add(1); }});
    REQUIRE(transport.lane_count() == threads);
    constexpr std::uint32_t kPieces = 48;
    constexpr std::uint32_t kPieceBytes = 30'001;
    std::vector<std::byte> source = random_bytes(std::size_t{kPieces} * kPieceBytes, 7);
    std::vector<std::byte> target(source.size());
    std::vector<Work> works(kPieces);
    for (const WorkOp op : {WorkOp::write, WorkOp::read}) {
      std::vector<std::byte>& memory = op == WorkOp::write ? source : target;
      for (std::uint32_t i = 0; i < kPieces; ++i) {
        works[i].remote = {segment(1, std::uint64_t{i} * kPieceBytes, kPieceBytes)};
        works[i].local = {
            {.data = memory.data() + std::size_t{i} * kPieceBytes, .size_bytes = kPieceBytes}};
        if (op == WorkOp::write) {
          works[i].crc = {{.length_bytes = kPieceBytes}};
        }
        const LaneId lane(static_cast<std::uint16_t>(i % threads));
        REQUIRE(transport.post(lane, works[i].request(i, op)) == Errc::ok);
      }
      for (const Completion& one : wait_for(transport, kPieces)) {
        CHECK(one.status == Errc::ok);
        CHECK(one.lane.value() == one.id.value() % threads);
      }
    }
    CHECK(source == target);
    CHECK((wakes.load() > 0) == (threads > 1));
  }
}

TEST_CASE("fence ends what waits, and the lane works again once it is reopened", "[unit]") {
  LocalTransport transport(make_targets(), {.copy_threads = 2, .layout_of = layout_of});
  std::vector<std::byte> bytes(4096, std::byte{0x11});
  Work work;
  work.remote = {segment(1, 0, 4096)};
  work.local = {{.data = bytes.data(), .size_bytes = 4096}};
  for (std::uint64_t i = 0; i < 5; ++i) {
    REQUIRE(transport.post(LaneId(0), work.request(i, WorkOp::write)) == Errc::ok);
  }
  transport.fence(LaneId(0));
  const std::vector<Completion> done = wait_for(transport, 5);
  for (const Completion& one : done) {
    CHECK(one.status == Errc::lane_fenced);
  }
  CHECK(transport.lane_status(LaneId(0)).state == LaneState::down);
  CHECK(transport.post(LaneId(0), work.request(9, WorkOp::write)) == Errc::lane_closed);
  CHECK(run(transport, work.request(10, WorkOp::write), LaneId(1)) == Errc::ok);
  transport.reopen(LaneId(0));
  CHECK(transport.lane_status(LaneId(0)).state == LaneState::up);
  CHECK(run(transport, work.request(11, WorkOp::write)) == Errc::ok);
}

// Stands still in the middle of a copy until it is let go: coherent memory does not call flush.
class SlowTarget final : public MemoryTarget {
 public:
  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool open = false;
    bool reached = false;
  };
  SlowTarget(std::unique_ptr<MemoryTarget> inner, Gate& gate)
      : inner_(std::move(inner)), gate_(gate) {}
  std::string_view kind() const override { return "slow"; }
  SizeBytes size() const override { return inner_->size(); }
  Coherence coherence() const override { return Coherence::software; }
  std::byte* data() const override { return inner_->data(); }
  int descriptor() const override { return -1; }
  SizeBytes backing_granularity() const override { return SizeBytes(4096); }
  Result<void> back(DramOffset offset, SizeBytes size) override {
    return inner_->back(offset, size);
  }
  Result<void> discard(DramOffset offset, SizeBytes size) override {
    return inner_->discard(offset, size);
  }
  void flush(ConstSpan) const override {
    std::unique_lock lock(gate_.mutex);
    gate_.reached = true;
    gate_.changed.notify_all();
    gate_.changed.wait(lock, [&] { return gate_.open; });
  }
  void invalidate(ConstSpan) const override {}

 private:
  std::unique_ptr<MemoryTarget> inner_;
  Gate& gate_;
};

TEST_CASE("fence waits for the copy under way, and it touches nothing afterwards", "[unit]") {
  SlowTarget::Gate gate;
  std::vector<std::unique_ptr<MemoryTarget>> targets = make_targets();
  std::byte* const later_channel = targets[3]->data();  // of strip 1
  for (std::unique_ptr<MemoryTarget>& target : targets) {
    target = std::make_unique<SlowTarget>(std::move(target), gate);
  }
  LocalTransport transport(std::move(targets), {.copy_threads = 2, .layout_of = layout_of});
  std::vector<std::byte> bytes(65536, std::byte{0x5A});
  Work work;
  work.remote = {segment(1, 0, 65536)};
  work.local = {{.data = bytes.data(), .size_bytes = bytes.size()}};
  REQUIRE(transport.post(LaneId(1), work.request(1, WorkOp::write)) == Errc::ok);
  {
    std::unique_lock lock(gate.mutex);
    gate.changed.wait(lock, [&] { return gate.reached; });
  }
  std::atomic<bool> fenced = false;
  std::atomic<bool> fenced_too_early = false;
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    fenced_too_early = fenced.load();
    const std::lock_guard lock(gate.mutex);
    gate.open = true;
    gate.changed.notify_all();
  });
  transport.fence(LaneId(1));
  fenced = true;
  opener.join();
  CHECK_FALSE(fenced_too_early.load());
  // The first strip was being written; the second was never begun.
  CHECK(later_channel[64U << 10U] != std::byte{0x5A});
  const std::vector<Completion> done = wait_for(transport, 1);
  CHECK(done[0].status == Errc::lane_fenced);
}

TEST_CASE("layouts that no request needs are forgotten when there are too many", "[unit]") {
  std::map<std::uint32_t, int> asked;
  LocalTransport transport(make_targets(), {.layout_of = [&asked](SlabId id) {
                             asked[id.value()] += 1;
                             return SlabLayout::create(record_of(id.value(), 4096));
                           }});
  std::vector<std::byte> bytes(kWorkSegmentsMax, std::byte{1});
  const auto work_on = [&](std::uint32_t first_slab) {
    Work work;
    for (std::uint32_t i = 0; i < kWorkSegmentsMax; ++i) {
      work.remote.push_back(segment(first_slab + i, i, 1));
    }
    work.local = {{.data = bytes.data(), .size_bytes = bytes.size()}};
    return work;
  };
  static_assert(LocalTransport::kSlabsMax == 4 * kWorkSegmentsMax);
  std::vector<Work> works;
  for (std::uint32_t i = 0; i < 5; ++i) {
    works.push_back(work_on(1 + i * static_cast<std::uint32_t>(kWorkSegmentsMax)));
  }
  for (std::size_t i = 0; i < works.size(); ++i) {
    REQUIRE(transport.post(LaneId(0), works[i].request(i, WorkOp::write)) == Errc::ok);
  }
  for (const Completion& done : wait_for(transport, 5)) {
    CHECK(done.status == (done.id == WorkId(4) ? Errc::limit_exceeded : Errc::ok));
  }
  CHECK(run(transport, works[4].request(5, WorkOp::write)) == Errc::ok);
  CHECK(asked[1] == 1);
  CHECK(run(transport, works[0].request(6, WorkOp::write)) == Errc::ok);
  CHECK(asked[1] == 2);
  CHECK(run(transport, works[4].request(7, WorkOp::write)) == Errc::ok);
  CHECK(asked[1 + 4 * kWorkSegmentsMax] == 2);  // the second after limit_exceeded; still known
}

TEST_CASE("a layout of another slab than was asked for is not believed", "[unit]") {
  LocalTransport transport(make_targets(), {.layout_of = [](SlabId id) {
                             return SlabLayout::create(record_of(id.value() + 1, 4096));
                           }});
  std::vector<std::byte> bytes(100);
  Work work;
  work.remote = {segment(1, 0, 100)};
  work.local = {{.data = bytes.data(), .size_bytes = bytes.size()}};
  CHECK(run(transport, work.request(1, WorkOp::read)) == Errc::protocol_error);
}

TEST_CASE("two hosts without coherence read what the other wrote", "[unit]") {
  std::vector<test::SharedLines> shared(kChannels,
                                        test::SharedLines(SizeBytes(kChannelBytes), std::byte{0}));
  const auto host = [&] {
    std::vector<std::unique_ptr<MemoryTarget>> targets;
    for (test::SharedLines& memory : shared) {
      targets.push_back(std::make_unique<test::PrivateCacheTarget>(memory));
    }
    return targets;
  };
  LocalTransport writer(host(), {.layout_of = layout_of});
  LocalTransport reader(host(), {.layout_of = layout_of});
  for (std::uint32_t round = 0; round < 2; ++round) {
    std::vector<std::byte> bytes = random_bytes(70'003, round);
    std::vector<std::byte> back(bytes.size());
    Work work;
    work.remote = {segment(2, 77, 70'003)};
    work.local = {{.data = bytes.data(), .size_bytes = bytes.size()}};
    work.crc = {{.length_bytes = 65'536}, {.length_bytes = 4467}};
    REQUIRE(run(writer, work.request(1, WorkOp::write)) == Errc::ok);
    work.local = {{.data = back.data(), .size_bytes = back.size()}};
    CHECK(run(reader, work.request(2, WorkOp::read)) == Errc::ok);
    CHECK(back == bytes);
  }
}

TEST_CASE("a transport that goes away with requests outstanding ends its threads", "[unit]") {
  std::vector<std::byte> bytes(65536);
  Work work;
  work.remote = {segment(1, 0, 65536)};
  work.local = {{.data = bytes.data(), .size_bytes = bytes.size()}};
  for (int round = 0; round < 20; ++round) {
    LocalTransport transport(make_targets(), {.copy_threads = 3, .layout_of = layout_of});
    for (std::uint16_t i = 0; i < 30; ++i) {
      REQUIRE(transport.post(LaneId(static_cast<std::uint16_t>(i % 3)),
                             work.request(i, WorkOp::read)) == Errc::ok);
    }
  }
  SUCCEED("no thread is left behind");
}

TEST_CASE("memory to register must not be empty", "[unit]") {
  LocalTransport transport(make_targets(), {.layout_of = layout_of});
  std::byte byte{};
  CHECK(transport.register_memory({&byte, 1}).has_value());
  CHECK(transport.register_memory({}).error().code == Errc::invalid_argument);
  CHECK(transport.name() == "local");
}

}  // namespace
}  // namespace godbox::striping
