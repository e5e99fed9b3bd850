// SPDX-License-Identifier: Apache-2.0
//
// What the tests of transports for device memory share: a pool on the heap, pages in the memory of
// a device that is strict about what it reaches, and requests between the two.
#pragma once

#include "work_fixture.h"
#include <godbox/striping/local_transport.h>
#include <godbox_test/allocation_count.h>
#include <godbox_test/faulty_device.h>
#include <godbox_test/heap_memory_target.h>
#include <godbox_test/test_device.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

namespace godbox::test {

using Targets = std::vector<std::unique_ptr<MemoryTarget>>;

inline constexpr std::uint64_t kChannelBytes = 4U << 20U;
inline constexpr std::uint16_t kChannels = 7;

// Slab 1: strips of 4 KiB; 2: of 128 B; 3: beyond the mapping.
inline Result<striping::SlabLayout> layout_of(SlabId id) {
  if (id.value() < 1 || id.value() > 3) {
    return Error(Errc::not_found);
  }
  wire::SlabRecord record;
  record.id = id;
  record.strip_bytes = id.value() == 2 ? 128 : 4096;
  record.rotation = 2;
  record.piece_size = SizeBytes(1U << 20U);
  const std::uint64_t offset = id.value() == 3 ? kChannelBytes - 4096 : id.value() << 20U;
  for (std::uint16_t i = 0; i < kChannels; ++i) {
    record.members.push_back({.dram_channel = DramChannelId(i), .offset = DramOffset(offset)});
  }
  return striping::SlabLayout::create(record);
}
inline constexpr std::uint64_t kSlabBytes = std::uint64_t{kChannels} << 20U;

inline Targets make_targets() {
  Targets targets = heap_memory_targets(kChannels, SizeBytes(kChannelBytes));
  for (const std::unique_ptr<MemoryTarget>& target : targets) {
    REQUIRE(target->back(DramOffset(0), SizeBytes(kChannelBytes)).has_value());
  }
  return targets;
}

// The same memory again, for a second transport, which is held against the first.
class SharedTarget final : public MemoryTarget {
 public:
  explicit SharedTarget(MemoryTarget& of) : of_(of) {}
  std::string_view kind() const override { return of_.kind(); }
  SizeBytes size() const override { return of_.size(); }
  Coherence coherence() const override { return shown_coherence; }
  std::byte* data() const override { return of_.data(); }
  int descriptor() const override { return -1; }
  SizeBytes backing_granularity() const override { return of_.backing_granularity(); }
  Result<void> back(DramOffset, SizeBytes) override { return {}; }
  Result<void> discard(DramOffset, SizeBytes) override { return {}; }
  void flush(ConstSpan) const override {}
  void invalidate(ConstSpan) const override {}
  bool is_poisoned(ConstSpan range) const override {
    return std::any_of(range.begin(), range.end(),
                       [this](const std::byte& byte) { return &byte == poisoned; });
  }
  void poison(const std::byte* byte) {
    poisoned = byte;
    has_poison_ = true;
  }

  Coherence shown_coherence = Coherence::coherent;
  const std::byte* poisoned = nullptr;

 private:
  MemoryTarget& of_;
};

inline Targets share(const Targets& targets) {
  Targets shared;
  for (const std::unique_ptr<MemoryTarget>& target : targets) {
    shared.push_back(std::make_unique<SharedTarget>(*target));
  }
  return shared;
}

// Memory of a device, written and read by its queues alone.
class DevicePages {
 public:
  DevicePages(DeviceMemory& device, std::size_t size) : device_(device) {
    auto memory = device.allocate(SizeBytes(size));
    auto staging = device.allocate_staging(SizeBytes(size));
    auto queue = device.make_queue();
    REQUIRE((memory.has_value() && staging.has_value() && queue.has_value()));
    memory_ = *memory;
    staging_ = *staging;
    queue_ = std::move(*queue);
  }
  ~DevicePages() {
    queue_.reset();
    device_.release(memory_);
    device_.release_staging(staging_);
  }
  DevicePages(const DevicePages&) = delete;
  DevicePages& operator=(const DevicePages&) = delete;

  [[nodiscard]] std::byte* at(std::size_t offset) const { return memory_.data() + offset; }
  [[nodiscard]] std::size_t size() const { return memory_.size(); }
  void write(const Bytes& bytes) {
    REQUIRE(bytes.size() == memory_.size());
    std::copy(bytes.begin(), bytes.end(), staging_.begin());
    copy(memory_, staging_);
  }
  [[nodiscard]] Bytes read() {
    copy(staging_, memory_);
    return {staging_.begin(), staging_.end()};
  }

 private:
  void copy(MutableSpan to, ConstSpan from) {
    REQUIRE(queue_->copy(to, from) == Errc::ok);
    REQUIRE(queue_->mark(1) == Errc::ok);
    std::array<DeviceMark, 1> mark;
    while (queue_->poll(mark) == 0) {
      std::this_thread::yield();
    }
    REQUIRE(mark[0].status == Errc::ok);
  }

  DeviceMemory& device_;
  MutableSpan memory_, staging_;
  std::unique_ptr<DeviceQueue> queue_;
};

inline std::vector<CrcBlock> blocks_of(std::size_t total, std::size_t block) {
  std::vector<CrcBlock> blocks;
  for (; total > 0; total -= std::min(total, block)) {
    blocks.push_back({static_cast<std::uint32_t>(std::min(total, block)), 0});
  }
  return blocks;
}

// Random pieces of a slab against random pieces of pages that do not touch in order; each round is
// written by the transport and read by another, and the other way round.
inline void check_bytes_and_crcs(Transport& transport, DeviceMemory& device, const Targets& pool,
                                 int rounds) {
  const std::uint32_t seed = Catch::getSeed();
  std::mt19937 random(seed);
  striping::LocalTransport host(share(pool), {.layout_of = layout_of});
  constexpr std::size_t kPageBytes = 4096, kPages = 128;
  DevicePages pages(device, kPages * kPageBytes);
  for (int round = 0; round < rounds; ++round) {
    const std::uint32_t slab = 1 + random() % 2;
    CAPTURE(seed, round, slab);
    std::vector<std::size_t> order(kPages);
    for (std::size_t i = 0; i < kPages; ++i) {
      order[i] = i;
    }
    std::shuffle(order.begin(), order.end(), random);
    order.resize(1 + random() % kPages);
    Bytes image = random_bytes(pages.size(), seed + static_cast<std::uint32_t>(round));
    pages.write(image);
    Work work;
    Bytes stream;
    for (const std::size_t page : order) {
      const std::size_t inside = random() % 100;
      const std::size_t size = 1 + random() % (kPageBytes - inside);
      work.local.push_back({pages.at(page * kPageBytes + inside), size});
      const auto begin = image.begin() + static_cast<std::ptrdiff_t>(page * kPageBytes + inside);
      stream.insert(stream.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
      if (random() % 8 == 0) {
        work.local.push_back({nullptr, 0});
      }
    }
    std::uint64_t at = random() % 5000;
    for (std::size_t left = stream.size(); left > 0;) {
      const std::size_t size = std::min<std::size_t>(left, 1 + random() % 60'000);
      work.remote.push_back(segment(slab, at, size));
      at += size + random() % 300;
      left -= size;
    }
    const bool has_crc = random() % 4 != 0;
    if (has_crc) {
      work.crc = blocks_of(stream.size(), 1 + random() % 70'000);
    }
    REQUIRE(run(transport, work.request(1, WorkOp::write)) == Errc::ok);
    // The host reads the same, and finds the same CRCs.
    Bytes seen(stream.size());
    Work read = work;
    read.local = {{seen.data(), seen.size()}};
    REQUIRE(run(host, read.request(2, WorkOp::read)) == Errc::ok);
    REQUIRE(seen == stream);
    CHECK(pages.read() == image);
    // And what the host writes comes back to the pages, and nothing beside them.
    Bytes other = random_bytes(stream.size(), ~seed + static_cast<std::uint32_t>(round));
    read.local = {{other.data(), other.size()}};
    REQUIRE(run(host, read.request(3, WorkOp::write)) == Errc::ok);
    work.crc = read.crc;
    REQUIRE(run(transport, work.request(4, WorkOp::read)) == Errc::ok);
    std::size_t taken = 0;
    for (const LocalSegment& piece : work.local) {
      if (piece.size_bytes > 0) {
        std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(taken), piece.size_bytes,
                    image.begin() + (piece.data - pages.at(0)));
        taken += piece.size_bytes;
      }
    }
    REQUIRE(pages.read() == image);
    if (has_crc) {
      work.crc[random() % work.crc.size()].crc32c ^= 1U << (random() % 32);
      CHECK(run(transport, work.request(5, WorkOp::read)) == Errc::crc_mismatch);
    }
  }
}

// Rounds until 20 in a row made no allocation; 0 if there never were. How many requests go into a
// batch is the device's pace, so the largest batch may come late; an allocation per request would
// come in each round.
template <class Round>
std::size_t rounds_until_warm(Round&& round) {
  constexpr std::size_t kRoundsMax = 2000;
  std::size_t warm = 0;
  for (std::size_t i = 0; i < kRoundsMax && warm < 20; ++i) {
    const std::uint64_t before = allocation_count();
    if (!round()) {
      return 0;
    }
    warm = allocation_count() == before ? warm + 1 : 0;
    if (warm == 20) {
      return i + 1;
    }
  }
  return 0;
}

}  // namespace godbox::test
