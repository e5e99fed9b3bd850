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
#include <utility>

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
      : geometry(make_geometry(members, channel_size, limit, {SizeBytes(4096)})),
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
        must(owned.erase(run.offset.count()) == 1, "a run is freed that nobody had");
        if (!object.is_sparse) {
          must(holds_only(run, {stamp_of(object.tenant)}), "somebody scrubbed or wrote it");
        }
      }
    }
    allocator.free(object.extents, object.is_sparse);
  }

  std::vector<striping::DramRun> runs_of(const Extent& extent) const {
    const std::uint32_t slot = table.find(extent.address.slab);
    must(slot != kNoSlot, "an extent of no slab");
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

  // A REQUIRE for what is asked millions of times: one that holds costs nothing.
  static void must(bool holds, const char* what) {
    if (!holds) {
      FAIL(what);
    }
  }

  static std::byte stamp_of(std::uint32_t tenant) { return static_cast<std::byte>(tenant); }

  template <class Visit>
  void for_each_stamp(const striping::DramRun& run, Visit&& visit) const {
    must(run.offset.count() % kFineStripBytes == 0, "a run begins inside a strip");
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
    must(end <= channels[run.dram_channel.value()]->size().count(), "beyond its DRAM channel");
    const auto next = owned.lower_bound(begin);
    must(next == owned.end() || next->first >= end, "runs into another one's bytes");
    must(next == owned.begin() || std::prev(next)->second <= begin, "begins in another one's");
    owned.emplace(begin, end);
    if (!object.is_sparse) {
      const std::byte mine = stamp_of(object.tenant);
      must(holds_only(run, {std::byte{0}, object.wants_zeros ? std::byte{0} : mine}),
           "another tenant's bytes are still there");
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

// How an object's bytes, as the allocator laid them, lie on the DRAM channels.
struct Spread {
  std::uint64_t bytes_most = 0;   // of one DRAM channel
  std::uint64_t pieces_most = 0;  // of one DRAM channel: each is an address of its own
  std::uint64_t extents = 0;
  std::map<std::uint64_t, std::uint64_t> strips;  // by their size
};

// Of places without memory: so it may be large.
Spread spread_of(Space& space, std::uint64_t size_bytes) {
  std::vector<Extent> extents;
  std::vector<Extent> scrub;
  BackingWork work;
  REQUIRE(space.allocator.allocate({size_bytes, 1, true, true, false}, extents, scrub, work) ==
          Errc::ok);
  std::vector<std::uint64_t> bytes(space.geometry.members);
  std::vector<std::uint64_t> pieces(space.geometry.members);
  Spread spread;
  std::uint64_t total = 0;
  for (const Extent& extent : extents) {
    const Slab& slab = space.table.slab(space.table.find(extent.address.slab));
    const std::uint64_t strip = slab.layout->record().strip_bytes;
    spread.strips[strip] += (extent.length_bytes + strip - 1) / strip;
    slab.layout->for_each_run(extent.address.offset, extent.length_bytes,
                              [&](const striping::DramRun& run) {
                                bytes[run.dram_channel.value()] += run.length_bytes;
                                pieces[run.dram_channel.value()] += 1;
                                total += run.length_bytes;
                              });
  }
  REQUIRE(total == size_bytes);
  spread.bytes_most = *std::max_element(bytes.begin(), bytes.end());
  spread.pieces_most = *std::max_element(pieces.begin(), pieces.end());
  spread.extents = extents.size();
  space.allocator.free(extents, true);
  return spread;
}

// Around each size at which the layout changes, and others between a stripe and 4 MiB per member.
std::vector<std::uint64_t> sizes_to_spread(std::uint64_t members, std::mt19937_64& random) {
  const std::uint64_t least = members * 4096;
  std::vector<std::uint64_t> sizes;
  for (const std::uint64_t strip : {128U, 1024U, 4096U, 16384U, 65536U}) {
    for (const std::uint64_t times : {1U, 2U, 3U, 4U, 5U, 20U, 24U, 25U, 26U}) {
      for (const std::uint64_t wiggle : {0U, 1U, 2U}) {
        sizes.push_back(members * strip * times + wiggle - 1);
        sizes.push_back(members * strip * times + strip + wiggle - 1);
      }
    }
  }
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t end = least << (random() % 11);
    sizes.push_back(least + random() % end);
  }
  std::erase_if(sizes, [least](std::uint64_t size) { return size < least; });
  return sizes;
}

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
  CHECK(worst <= 1.04);  // by construction
  CHECK(space.allocator.reserved_bytes() == 0);
}

TEST_CASE("at 1 to 64 DRAM channels each block of a stripe or more is even, and in few pieces",
          "[unit][pool]") {
  const bool has_all_kinds = GENERATE(true, false);
  std::mt19937_64 random(20241128);
  for (std::uint64_t members = 1; members <= 64; ++members) {
    // Chunks of 64 KiB per member: 60 of them, or one too few for all kinds of strips.
    Space space(members, mib(64), SizeBytes(members * 65536 * (has_all_kinds ? 60 : 59)));
    REQUIRE(space.geometry.has_all_kinds == has_all_kinds);
    for (const std::uint64_t size : sizes_to_spread(members, random)) {
      INFO("members " << members << ", size " << size);
      const Spread spread = spread_of(space, size);
      REQUIRE(spread.bytes_most * members * 100 <= size * 105);
      REQUIRE(spread.extents <= 4);
      // Few stripes of each kind besides the large ones.
      REQUIRE(spread.pieces_most <= size / members / 65536 + (has_all_kinds ? 16 : 48));
    }
  }
}

TEST_CASE("a block is cut into the largest strips that spread it evenly", "[unit][pool]") {
  using Strips = std::map<std::uint64_t, std::uint64_t>;
  Space space(18, mib(256), mib(256) * 18);
  CHECK(spread_of(space, 512U << 10U).strips == Strips{{16384, 18}, {4096, 54}, {1024, 8}});
  CHECK(spread_of(space, 1U << 20U).strips == Strips{{16384, 54}, {4096, 36}, {1024, 16}});
  CHECK(spread_of(space, 4U << 20U).strips == Strips{{65536, 54}, {16384, 36}, {4096, 16}});
  CHECK(spread_of(space, 160U << 20U).strips == Strips{{65536, 2560}});
  constexpr std::uint64_t kStripe = std::uint64_t{18} * 4096;
  CHECK(spread_of(space, kStripe).strips == Strips{{4096, 18}});
  CHECK(spread_of(space, kStripe + 1).strips == Strips{{4096, 18}, {128, 1}});
  CHECK(spread_of(space, kStripe - 1).strips == Strips{{4096, 18}});
  CHECK(spread_of(space, 1).strips == Strips{{4096, 1}});
}

TEST_CASE("a pool of few slots or few chunks does without medium and tiny strips", "[unit][pool]") {
  const auto has_all_kinds = [](SizeBytes channel_size, SizeBytes limit, std::uint64_t granule) {
    return make_geometry(18, channel_size, limit, {SizeBytes(granule)}).has_all_kinds;
  };
  CHECK(has_all_kinds(mib(64), mib(64) * 18, 4096));
  CHECK(has_all_kinds(mib(65536), mib(4096), 4096));
  CHECK_FALSE(has_all_kinds(mib(16), mib(16) * 18, 4096));         // 16 slots
  CHECK_FALSE(has_all_kinds(mib(65536), mib(2048), 2U << 20U));    // 56 chunks of 18 x 2 MiB
  CHECK_FALSE(has_all_kinds(mib(64), mib(1U << 20U), 2U << 20U));  // 32 slots of 2 MiB
}

TEST_CASE("memory that is always there is cut into small chunks, as each is zeroed first",
          "[unit][pool]") {
  const auto chunk_of = [](SizeBytes channel_size, bool is_always_present) {
    return make_geometry(18, channel_size, 18 * channel_size, {SizeBytes(4096), is_always_present})
        .chunk_bytes;
  };
  CHECK(chunk_of(mib(256), false) == 2U << 20U);
  CHECK(chunk_of(mib(256), true) == 64U << 10U);
  CHECK(chunk_of(mib(1024), true) == 256U << 10U);
  CHECK(chunk_of(mib(1U << 20U), true) == 2U << 20U);
}

TEST_CASE("objects of many sizes fill a small pool, with all kinds of strips and without",
          "[unit][pool]") {
  // The smallest limit with all kinds, and the largest without.
  const std::uint64_t chunks = GENERATE(59U, 60U);
  constexpr std::uint64_t kMembers = 18;
  const std::uint64_t limit = chunks * kMembers * 65536;
  std::mt19937_64 random(7);
  const auto share_of = [limit](const Space& space) {
    return static_cast<double>(space.allocator.live_bytes()) / static_cast<double>(limit);
  };
  double filled = 0;
  double kept = 0;
  constexpr int kRounds = 20;
  constexpr int kPuts = 400;
  for (int round = 0; round < kRounds; ++round) {
    Space space(kMembers, mib(64), SizeBytes(limit));
    std::vector<Space::Object> objects;
    const auto draw = [&random] { return 1 + random() % (std::uint64_t{1024} << (random() % 12)); };
    for (Space::Object object; space.put(draw(), object) == Errc::ok;) {
      objects.push_back(std::exchange(object, {}));
    }
    filled += share_of(space) / kRounds;
    // Each that finds no room has others removed until it does.
    for (int i = 0; i < kPuts; ++i) {
      const std::uint64_t size = draw();
      Space::Object object;
      while (space.put(size, object) != Errc::ok) {
        std::swap(objects[random() % objects.size()], objects.back());
        space.remove(objects.back());
        objects.pop_back();
      }
      objects.push_back(std::move(object));
      kept += share_of(space) / kRounds / kPuts;
    }
  }
  INFO("chunks " << chunks);
  CHECK(filled >= 0.95);
  CHECK(kept >= 0.85);
}

TEST_CASE("objects below a stripe even out between each other", "[unit][pool]") {
  // One to eighteen strips of 4 KiB on 18 DRAM channels, the last one nearly empty.
  const std::uint64_t size = GENERATE(100U, 5000U, 8200U, 33000U, 70000U);
  Space space(18, mib(64), mib(64) * 18);
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
  const std::uint64_t strips = (size + 4095) / 4096 * kObjects;
  CHECK(static_cast<double>(space.highest_strip()) <= 1.02 * static_cast<double>(strips));
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
  // The limit is a third of the space: both ends are met. 64 MiB have room for all kinds of strips.
  const std::uint64_t channel_mib = GENERATE(16U, 64U);
  Space space(members, mib(channel_mib), mib(channel_mib * members / 3));
  REQUIRE(space.geometry.has_all_kinds == (channel_mib == 64));
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
