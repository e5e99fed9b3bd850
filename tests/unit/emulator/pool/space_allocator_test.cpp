// SPDX-License-Identifier: Apache-2.0
#include "pool/space_allocator.h"

#include "fake_dram_channel.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>

namespace godbox::emulator {
namespace {

using test::FakeDramChannel;

// A space of its own, with a second set of books: which byte of which DRAM channel belongs to whom.
class Space {
 public:
  Space(std::size_t members, SizeBytes channel_size, SizeBytes limit)
      : geometry(make_geometry(members, channel_size, limit, SizeBytes(4096))),
        table(geometry),
        backing(table, make_channels(members, channel_size), limit, clock),
        allocator(table, backing) {}

  struct Object {
    std::vector<Extent> extents;
    bool is_sparse = false;
    std::uint32_t tenant = 1;
  };

  Errc put(std::uint64_t size_bytes, Object& object) {
    std::vector<Extent> scrub;
    BackingWork work;
    Errc status = Errc::ok;
    int rounds = 0;
    do {
      REQUIRE(rounds++ < 3);
      backing.run(work);
      REQUIRE(backing.finish(work) == Errc::ok);
      status = allocator.allocate({size_bytes, object.tenant, object.is_sparse}, object.extents,
                                  scrub, work);
    } while (!work.empty());
    if (status != Errc::ok) {
      REQUIRE(object.extents.empty());
      REQUIRE(scrub.empty());
      return status;
    }
    std::uint64_t total = 0;
    for (const Extent& extent : object.extents) {
      REQUIRE(extent.length_bytes > 0);
      total += extent.length_bytes;
      for (const striping::DramRun& run : runs_of(extent)) {
        claim(run, object.is_sparse);
      }
    }
    REQUIRE(total == size_bytes);
    REQUIRE(object.extents.size() <= wire::kExtentsPerObjectMax);
    return Errc::ok;
  }

  void remove(const Object& object) {
    for (const Extent& extent : object.extents) {
      for (const striping::DramRun& run : runs_of(extent)) {
        auto& owned = books[run.dram_channel.value()];
        REQUIRE(owned.erase(run.offset.count()) == 1);
      }
    }
    allocator.free(object.extents, object.is_sparse);
  }

  std::vector<striping::DramRun> runs_of(const Extent& extent) const {
    const std::uint32_t slot = table.find(extent.address.slab);
    REQUIRE(slot != kNoSlot);
    std::vector<striping::DramRun> runs;
    table.slab(slot).layout->for_each_run(
        extent.address.offset, extent.length_bytes,
        [&runs](const striping::DramRun& run) { runs.push_back(run); });
    return runs;
  }

  std::vector<std::uint64_t> bytes_per_channel(const Object& object) const {
    std::vector<std::uint64_t> bytes(geometry.members);
    for (const Extent& extent : object.extents) {
      for (const striping::DramRun& run : runs_of(extent)) {
        bytes[run.dram_channel.value()] += run.length_bytes;
      }
    }
    return bytes;
  }

  // One past the last taken small strip, in the order of the slabs.
  std::uint64_t highest_strip() const {
    const std::vector<std::uint32_t>& slabs = table.of_kind(StripKind::small);
    const StripBitmap& bitmap = table.slab(slabs.back()).bitmap;
    std::uint64_t end = 0;
    for (std::uint64_t at = 0; at < bitmap.size(); at = end) {
      const std::uint64_t begin = bitmap.next_taken(at, bitmap.size());
      if (begin == bitmap.size()) {
        break;
      }
      end = bitmap.next_free(begin, bitmap.size());
    }
    return (slabs.size() - 1) * bitmap.size() + end;
  }

  std::uint64_t backed_in_channels() const {
    std::uint64_t total = 0;
    for (const auto& channel : channels) {
      total += channel->backed_bytes;
    }
    return total;
  }

 private:
  std::vector<MemoryTarget*> make_channels(std::size_t members, SizeBytes channel_size) {
    std::vector<MemoryTarget*> targets;
    for (std::size_t i = 0; i < members; ++i) {
      channels.push_back(std::make_unique<FakeDramChannel>(channel_size));
      targets.push_back(channels.back().get());
    }
    books.resize(members);
    return targets;
  }

  // Nobody else's bytes, inside the DRAM channel, and present (a touch would fault otherwise).
  void claim(const striping::DramRun& run, bool is_sparse) {
    auto& owned = books[run.dram_channel.value()];
    const std::uint64_t begin = run.offset.count();
    const std::uint64_t end = begin + run.length_bytes;
    REQUIRE(end <= channels[run.dram_channel.value()]->size().count());
    const auto next = owned.lower_bound(begin);
    REQUIRE((next == owned.end() || next->first >= end));
    REQUIRE((next == owned.begin() || std::prev(next)->second <= begin));
    owned.emplace(begin, end);
    if (!is_sparse) {
      channels[run.dram_channel.value()]->data()[begin] = std::byte{1};
      channels[run.dram_channel.value()]->data()[end - 1] = std::byte{1};
    }
  }

 public:
  std::vector<std::unique_ptr<FakeDramChannel>> channels;
  std::vector<std::map<std::uint64_t, std::uint64_t>> books;  // begin -> end, per DRAM channel
  ManualClock clock;
  SpaceGeometry geometry;
  SlabTable table;
  Backing backing;
  SpaceAllocator allocator;
};

constexpr SizeBytes mib(std::uint64_t n) { return SizeBytes(n << 20U); }

}  // namespace

TEST_CASE("every block of a stripe or more loads all DRAM channels alike within 5 %",
          "[unit][pool]") {
  const std::size_t members = GENERATE(1U, 7U, 18U, 28U);
  Space space(members, mib(512), mib(512 * members));
  std::mt19937_64 random(20240601);
  std::vector<std::uint64_t> sizes{
      1 << 20U,           1121976,         4 << 20U,           20 << 20U,
      56203674,           160 << 20U,      (160 << 20U) + 1,   members * 4096,
      members * 4096 + 1, members * 65536, members * 65536 - 1};
  for (int i = 0; i < 300; ++i) {
    sizes.push_back(members * 4096 + random() % (8U << 20U));
  }
  double worst = 0;
  for (const std::uint64_t size : sizes) {
    if (size < members * 4096) {
      continue;
    }
    INFO("members " << members << ", size " << size);
    Space::Object object;
    REQUIRE(space.put(size, object) == Errc::ok);
    const std::vector<std::uint64_t> bytes = space.bytes_per_channel(object);
    const double mean = static_cast<double>(size) / static_cast<double>(members);
    const double most = static_cast<double>(*std::max_element(bytes.begin(), bytes.end()));
    worst = std::max(worst, most / mean);
    REQUIRE(most <= 1.05 * mean);
    space.remove(object);
  }
  // By construction: at most one fine strip more than the emptiest, of at least 4 KiB each.
  CHECK(worst <= 1.0 + 128.0 / 4096.0);
  CHECK(space.allocator.reserved_bytes() == 0);
}

TEST_CASE("objects below a stripe even out between each other", "[unit][pool]") {
  // One to eighteen strips of 4 KiB on 18 DRAM channels, the last one nearly empty.
  const std::uint64_t size = GENERATE(100U, 5000U, 8200U, 33000U, 70000U);
  Space space(18, mib(64), mib(64 * 18));
  INFO("size " << size);
  constexpr std::uint64_t kObjects = 4000;
  std::vector<std::uint64_t> bytes(18);
  for (std::uint64_t i = 0; i < kObjects; ++i) {
    Space::Object object;
    REQUIRE(space.put(size, object) == Errc::ok);
    REQUIRE(object.extents.size() == 1);
    const std::vector<std::uint64_t> one = space.bytes_per_channel(object);
    for (std::size_t channel = 0; channel < bytes.size(); ++channel) {
      bytes[channel] += one[channel];
    }
  }
  const double mean = static_cast<double>(kObjects * size) / 18;
  CHECK(static_cast<double>(*std::max_element(bytes.begin(), bytes.end())) <= 1.05 * mean);
  // Evening out costs little space.
  const double strips = static_cast<double>((size + 4095) / 4096 * kObjects);
  CHECK(static_cast<double>(space.highest_strip()) <= 1.02 * strips);
}

TEST_CASE("random puts and removes never overlap and leave nothing behind", "[unit][pool]") {
  const std::uint64_t seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U);
  const std::size_t members = GENERATE(1U, 3U, 18U);
  // The limit is a third of the space: both ends are met.
  Space space(members, mib(16), mib(16 * members / 3));
  INFO("seed=" << seed << " members=" << members);
  std::mt19937_64 random(seed);
  std::vector<Space::Object> objects;
  std::map<Errc, int> statuses;
  for (int step = 0; step < 3000; ++step) {
    const bool wants_put = objects.empty() || random() % 100 < 55;
    if (wants_put) {
      Space::Object object;
      object.is_sparse = random() % 5 == 0;
      object.tenant = 1 + static_cast<std::uint32_t>(random() % 3);
      const std::uint64_t magnitude = random() % 22;
      const std::uint64_t size = 1 + random() % (std::uint64_t{1} << magnitude);
      const Errc status = space.put(size, object);
      ++statuses[status];
      if (status == Errc::ok) {
        objects.push_back(std::move(object));
      } else {
        REQUIRE((status == Errc::backing_full || status == Errc::pool_full));
      }
    } else {
      std::swap(objects[random() % objects.size()], objects.back());
      space.remove(objects.back());
      objects.pop_back();
    }
    REQUIRE(space.backing.backed_bytes() <= space.backing.limit_bytes());
    REQUIRE(space.backing.backed_bytes() == space.backed_in_channels());
    REQUIRE(space.allocator.live_bytes() <= space.backing.backed_bytes());
  }
  CHECK(statuses[Errc::ok] > 1000);
  for (const Space::Object& object : objects) {
    space.remove(object);
  }
  CHECK(space.allocator.reserved_bytes() == 0);
  CHECK(space.table.live_slabs() <= kStripKinds);
  space.clock.advance(kIdleTimeMin);
  for (int i = 0; i < 1000; ++i) {
    BackingWork work;
    space.backing.plan_trim(work);
    space.backing.run(work);
    REQUIRE(space.backing.finish(work) == Errc::ok);
  }
  CHECK(space.backing.backed_bytes() <= kIdleChunksMin * space.geometry.chunk_total_bytes());
  for (const auto& owned : space.books) {
    CHECK(owned.empty());
  }
}

}  // namespace godbox::emulator
