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
// Whose bytes lie where is stamped into the memory itself, once per fine strip, because nothing
// that a tenant is given is smaller: so the scrubbing and the giving back that it sees are the real
// ones.
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
    bool wants_zeros = false;
  };

  Errc put(std::uint64_t size_bytes, Object& object) {
    std::vector<Extent> scrub;
    BackingWork work;
    Errc status = Errc::ok;
    int rounds = 0;
    bool may_back = true;
    do {
      REQUIRE(rounds++ < 4);
      backing.run(work);
      may_back = backing.finish(work) == Errc::ok && may_back;
      REQUIRE((may_back || channels[0]->discard_status != Errc::ok));
      status = allocator.allocate(
          {size_bytes, object.tenant, object.is_sparse, may_back, object.wants_zeros},
          object.extents, scrub, work);
    } while (!work.empty());
    if (status != Errc::ok) {
      REQUIRE(object.extents.empty());
      REQUIRE(scrub.empty());
      return status;
    }
    run_scrub(scrub);
    std::uint64_t total = 0;
    for (const Extent& extent : object.extents) {
      REQUIRE(extent.length_bytes > 0);
      total += extent.length_bytes;
      for (const striping::DramRun& run : runs_of(extent)) {
        claim(run, object);
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
        if (!object.is_sparse) {
          REQUIRE(holds_only(run, {stamp_of(object.tenant)}));  // nobody scrubbed or wrote it
        }
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

  static std::byte stamp_of(std::uint32_t tenant) { return static_cast<std::byte>(tenant); }

  template <class Visit>
  void for_each_stamp(const striping::DramRun& run, Visit&& visit) const {
    REQUIRE(run.offset.count() % kFineStripBytes == 0);
    std::byte* const begin = channels[run.dram_channel.value()]->data() + run.offset.count();
    for (std::uint64_t at = 0; at < run.length_bytes; at += kFineStripBytes) {
      visit(begin[at]);
    }
  }

  bool holds_only(const striping::DramRun& run, std::set<std::byte> allowed) const {
    bool holds = true;
    for_each_stamp(run, [&](std::byte stamp) { holds = holds && allowed.contains(stamp); });
    return holds;
  }

  void run_scrub(const std::vector<Extent>& scrub) {
    for (const Extent& extent : scrub) {
      scrubbed_bytes += extent.length_bytes;
      for (const striping::DramRun& run : runs_of(extent)) {
        for_each_stamp(run, [](std::byte& stamp) { stamp = std::byte{0}; });
      }
    }
  }

  // Nobody else's bytes, now or before, inside the DRAM channel, and present (a touch would fault
  // otherwise).
  void claim(const striping::DramRun& run, const Object& object) {
    auto& owned = books[run.dram_channel.value()];
    const std::uint64_t begin = run.offset.count();
    const std::uint64_t end = begin + run.length_bytes;
    REQUIRE(end <= channels[run.dram_channel.value()]->size().count());
    const auto next = owned.lower_bound(begin);
    REQUIRE((next == owned.end() || next->first >= end));
    REQUIRE((next == owned.begin() || std::prev(next)->second <= begin));
    owned.emplace(begin, end);
    if (!object.is_sparse) {
      const std::byte mine = stamp_of(object.tenant);
      REQUIRE(holds_only(run, {std::byte{0}, object.wants_zeros ? std::byte{0} : mine}));
      for_each_stamp(run, [mine](std::byte& stamp) { stamp = mine; });
      channels[run.dram_channel.value()]->data()[end - 1] = mine;
    }
  }

 public:
  std::uint64_t scrubbed_bytes = 0;
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

TEST_CASE("an object in several pieces of a chunk is scrubbed in each of them", "[unit][pool]") {
  Space space(1, mib(1), mib(1));
  REQUIRE(space.geometry.chunk_bytes == 65536);
  constexpr std::uint64_t kStrips = 16;  // of 4 KiB in a chunk
  const auto put = [&space](std::uint64_t strips, std::uint32_t tenant, bool is_sparse) {
    Space::Object object;
    object.tenant = tenant;
    object.is_sparse = is_sparse;
    REQUIRE(space.put(strips * 4096, object) == Errc::ok);
    return object;
  };
  // All memory was somebody's.
  std::vector<Space::Object> theirs;
  for (std::uint64_t i = 0; i < (1U << 20U) / 4096; ++i) {
    theirs.push_back(put(1, 1, false));
  }
  for (const Space::Object& object : theirs) {
    space.remove(object);
  }
  // Another tenant takes every second strip of a chunk, with nothing but places in between.
  std::vector<Space::Object> between;
  for (std::uint64_t i = 0; i < kStrips / 2; ++i) {
    static_cast<void>(put(1, 2, false));
    between.push_back(put(1, 2, true));
  }
  for (const Space::Object& object : between) {
    space.remove(object);
  }
  // space.put() looks at what is in them.
  std::size_t in_pieces = 0;
  for (std::uint64_t i = 0; i < kStrips / 4; ++i) {
    in_pieces += put(2, 2, false).extents.size() == 2 ? 1U : 0U;
  }
  CHECK(in_pieces == kStrips / 4);
}

TEST_CASE("random puts and removes never overlap and leave nothing behind", "[unit][pool]") {
  const std::uint64_t seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U);
  const std::size_t members = GENERATE(1U, 3U, 18U);
  const bool gives_back = GENERATE(true, false);  // else the memory stays with what is in it
  // The limit is a third of the space: both ends are met.
  Space space(members, mib(16), mib(16 * members / 3));
  for (const auto& channel : space.channels) {
    channel->discard_status = gives_back ? Errc::ok : Errc::unsupported;
  }
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
      object.wants_zeros = random() % 4 == 0;
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
  CHECK((!gives_back ||
         space.backing.backed_bytes() <= kIdleChunksMin * space.geometry.chunk_total_bytes()));
  CHECK(space.scrubbed_bytes > 0);
  for (const auto& owned : space.books) {
    CHECK(owned.empty());
  }
}

}  // namespace godbox::emulator
