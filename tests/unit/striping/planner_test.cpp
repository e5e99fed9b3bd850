// SPDX-License-Identifier: Apache-2.0
#include <godbox/striping/planner.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <random>

namespace godbox::striping {
namespace {

constexpr std::uint64_t kKi = 1024;
constexpr std::uint64_t kMi = 1024 * kKi;

// Transfers with the lists they point to, over one local buffer.
class Batch {
 public:
  explicit Batch(std::size_t local_bytes) : memory_(local_bytes) {}

  // The pieces' sizes on both sides; the pool side begins anew in a slab of its own.
  void add(WorkOp op, std::vector<Extent> extents, const std::vector<std::size_t>& local_sizes,
           bool with_crc = false) {
    auto lists = std::make_unique<Lists>();
    lists->extents = std::move(extents);
    for (const std::size_t size : local_sizes) {
      REQUIRE(next_ + size <= memory_.size());
      lists->local.push_back({.data = memory_.data() + next_, .size_bytes = size});
      next_ += size + gap;
    }
    if (with_crc) {
      lists->crc.resize(crc_block_count(lists->extents));
      for (std::size_t i = 0; i < lists->crc.size(); ++i) {
        lists->crc[i] = static_cast<std::uint32_t>(1000 * transfers.size() + i);
      }
    }
    transfers.push_back({.op = op,
                         .key = RKey(static_cast<std::uint32_t>(transfers.size() + 1)),
                         .extents = lists->extents,
                         .local = lists->local,
                         .crc32c = lists->crc});
    lists_.push_back(std::move(lists));
  }
  // One extent and one local piece of `bytes`, apart from all others.
  void add_simple(WorkOp op, std::uint32_t bytes, bool with_crc = false) {
    const auto slab = SlabId(static_cast<std::uint32_t>(transfers.size() + 1));
    add(op, {{.address = {.slab = slab, .offset = SlabOffset(4096)}, .length_bytes = bytes}},
        {bytes}, with_crc);
  }

  [[nodiscard]] std::span<const std::byte> memory() const { return memory_; }

  std::size_t gap = 1;  // between local pieces; 0 makes them neighbours
  std::vector<Transfer> transfers;

 private:
  struct Lists {
    std::vector<Extent> extents;
    std::vector<LocalSegment> local;
    std::vector<std::uint32_t> crc;
  };
  std::vector<std::byte> memory_;
  std::size_t next_ = 0;
  std::vector<std::unique_ptr<Lists>> lists_;
};

Plan plan_of(const Batch& batch, std::size_t lanes) {
  Plan plan;
  PlannerOptions options;
  options.lane_count = lanes;
  REQUIRE(make_plan(batch.transfers, options, plan).has_value());
  return plan;
}

std::vector<std::uint32_t> run_sizes(const Plan& plan) {
  std::vector<std::uint32_t> sizes;
  for (const PlannedRun& run : plan.runs) {
    sizes.push_back(run.total_bytes);
  }
  return sizes;
}

// Where each byte of local memory has to go; key 0: nowhere.
struct PoolByte {
  std::uint32_t key = 0;
  std::uint32_t slab = 0;
  std::uint64_t offset = 0;
  bool operator==(const PoolByte&) const = default;
};
using ByteMap = std::vector<PoolByte>;

// Said byte by byte from the transfers' own lists.
ByteMap wanted_bytes(const Batch& batch) {
  ByteMap map(batch.memory().size());
  for (const Transfer& transfer : batch.transfers) {
    std::vector<std::size_t> local;
    for (const LocalSegment& piece : transfer.local) {
      for (std::size_t i = 0; i < piece.size_bytes; ++i) {
        local.push_back(static_cast<std::size_t>(piece.data - batch.memory().data()) + i);
      }
    }
    std::size_t at = 0;
    for (const Extent& extent : transfer.extents) {
      for (std::uint32_t i = 0; i < extent.length_bytes; ++i) {
        map[local[at++]] = {transfer.key.value(), extent.address.slab.value(),
                            extent.address.offset.count() + i};
      }
    }
  }
  return map;
}

// The same, from the requests that the plan makes; each byte may be there only once.
ByteMap planned_bytes(const Batch& batch, Plan& plan) {
  ByteMap map(batch.memory().size());
  bool once = true;
  for (const PlannedRun& run : plan.runs) {
    const WorkRequest request = plan.request(WorkId(1), run.op, run.slice_begin, run.slice_count);
    CHECK(request.total_bytes == run.total_bytes);
    std::vector<PoolByte> pool;
    for (const RemoteSegment& segment : request.remote) {
      for (std::uint32_t i = 0; i < segment.length_bytes; ++i) {
        pool.push_back({segment.key.value(), segment.address.slab.value(),
                        segment.address.offset.count() + i});
      }
    }
    REQUIRE(pool.size() == run.total_bytes);
    std::size_t at = 0;
    for (const LocalSegment& piece : request.local) {
      const auto begin = static_cast<std::size_t>(piece.data - batch.memory().data());
      for (std::size_t i = 0; i < piece.size_bytes; ++i) {
        once &= map.at(begin + i).key == 0;
        map[begin + i] = pool.at(at++);
      }
    }
    REQUIRE(at == run.total_bytes);
  }
  CHECK(once);
  return map;
}

// Each CRC block of each transfer is in the plan once, with its own length and value.
void check_crc_blocks(std::span<const Transfer> transfers, const Plan& plan) {
  std::vector<std::vector<int>> seen;
  std::vector<std::vector<std::uint32_t>> lengths;
  for (const Transfer& transfer : transfers) {
    std::vector<std::uint32_t> blocks;
    for (const Extent& extent : transfer.extents) {
      for (std::uint64_t i = 0; i < extent.length_bytes; i += 65536) {
        blocks.push_back(
            static_cast<std::uint32_t>(std::min<std::uint64_t>(65536, extent.length_bytes - i)));
      }
    }
    seen.emplace_back(transfer.crc32c.size(), 0);
    lengths.push_back(std::move(blocks));
  }
  for (const PlannedSlice& slice : plan.slices) {
    const Transfer& transfer = transfers[slice.transfer];
    std::uint64_t covered = 0;
    for (std::uint32_t i = 0; i < slice.crc_count; ++i) {
      const CrcBlock& block = plan.crc.at(slice.crc_begin + i);
      CHECK(block.length_bytes == lengths[slice.transfer].at(slice.crc_home + i));
      CHECK(block.crc32c == transfer.crc32c[slice.crc_home + i]);
      seen[slice.transfer].at(slice.crc_home + i) += 1;
      covered += block.length_bytes;
    }
    CHECK(covered == (transfer.crc32c.empty() ? 0 : slice.total_bytes));
  }
  for (const std::vector<int>& counts : seen) {
    CHECK(std::all_of(counts.begin(), counts.end(), [](int count) { return count == 1; }));
  }
}

void check_limits(const Plan& plan) {
  for (const PlannedRun& run : plan.runs) {
    CHECK(run.total_bytes <= kRunBytesMax);
    std::uint32_t segments = 0;
    bool several = false;
    for (std::uint32_t i = run.slice_begin; i < run.slice_begin + run.slice_count; ++i) {
      segments += plan.slices[i].remote_count;
      several |= plan.slices[i].transfer != plan.slices[run.slice_begin].transfer;
    }
    CHECK(segments <= kWorkSegmentsMax);
    if (several) {
      CHECK(run.total_bytes <= kPackedBytesMax);
      CHECK(segments <= kPackedSegmentsMax);
    }
  }
}

TEST_CASE("a transfer is cut into even shares, one for each lane", "[unit]") {
  Batch batch(20 * kMi);
  batch.add_simple(WorkOp::write, kMi);
  CHECK(run_sizes(plan_of(batch, 4)) ==
        std::vector<std::uint32_t>{256 * kKi, 256 * kKi, 256 * kKi, 256 * kKi});
  CHECK(run_sizes(plan_of(batch, 1)) == std::vector<std::uint32_t>{kMi});
  CHECK(run_sizes(plan_of(batch, 16)) == std::vector<std::uint32_t>(16, 64 * kKi));
  // More lanes than blocks: a run never goes below 64 KiB.
  CHECK(run_sizes(plan_of(batch, 100)) == std::vector<std::uint32_t>(16, 64 * kKi));
  // 3 lanes, 16 blocks.
  CHECK(run_sizes(plan_of(batch, 3)) ==
        std::vector<std::uint32_t>{384 * kKi, 320 * kKi, 320 * kKi});
}

TEST_CASE("behind other work a transfer is cut only as far as lanes would idle", "[unit]") {
  Batch batch(20 * kMi);
  batch.add_simple(WorkOp::write, kMi);
  PlannerOptions options;
  options.lane_count = 16;
  Plan plan;
  const auto sizes_behind = [&](std::uint64_t bytes_ahead) {
    options.bytes_ahead = bytes_ahead;
    REQUIRE(make_plan(batch.transfers, options, plan).has_value());
    return run_sizes(plan);
  };
  CHECK(sizes_behind(0) == std::vector<std::uint32_t>(16, 64 * kKi));
  CHECK(sizes_behind(kMi) == std::vector<std::uint32_t>(8, 128 * kKi));
  CHECK(sizes_behind(3 * kMi) == std::vector<std::uint32_t>(4, 256 * kKi));
  // No further: the last runs of all this work are still to end together.
  CHECK(sizes_behind(std::uint64_t{1} << 40U) == std::vector<std::uint32_t>(4, 256 * kKi));
  options.lane_count = 2;
  CHECK(sizes_behind(std::uint64_t{1} << 40U) == std::vector<std::uint32_t>(2, 512 * kKi));
}

TEST_CASE("a run is at most 1 MiB however few the lanes", "[unit]") {
  Batch batch(20 * kMi);
  batch.add_simple(WorkOp::read, 16 * kMi);
  CHECK(run_sizes(plan_of(batch, 2)) == std::vector<std::uint32_t>(16, kMi));
}

TEST_CASE("a rest below 64 KiB stays with the run before it", "[unit]") {
  Batch batch(2 * kMi);
  batch.add_simple(WorkOp::write, 100 * kKi);
  CHECK(run_sizes(plan_of(batch, 2)) == std::vector<std::uint32_t>{100 * kKi});
  Batch larger(2 * kMi);
  larger.add_simple(WorkOp::write, 129 * kKi);
  CHECK(run_sizes(plan_of(larger, 8)) == std::vector<std::uint32_t>{64 * kKi, 65 * kKi});
  Batch over(2 * kMi);
  over.add_simple(WorkOp::write, kMi + 1);
  CHECK(run_sizes(plan_of(over, 1)) == std::vector<std::uint32_t>{576 * kKi, 448 * kKi + 1});
}

TEST_CASE("a page of 64 KiB or less is one run", "[unit]") {
  for (const std::uint32_t bytes : std::initializer_list<std::uint32_t>{1, 4096, 18 * kKi, 65536}) {
    Batch batch(kMi);
    batch.add_simple(WorkOp::read, bytes, true);
    const Plan plan = plan_of(batch, 36);
    CHECK(run_sizes(plan) == std::vector<std::uint32_t>{bytes});
    CHECK(plan.crc.size() == 1);
  }
}

TEST_CASE("small transfers travel together, as long as each lane has a run", "[unit]") {
  Batch batch(4 * kMi);
  for (int i = 0; i < 32; ++i) {
    batch.add_simple(WorkOp::read, 64 * kKi, true);
  }
  const Plan plan = plan_of(batch, 8);
  CHECK(run_sizes(plan) == std::vector<std::uint32_t>(8, 256 * kKi));
  CHECK(plan.runs[0].slice_count == 4);
  CHECK(plan_of(batch, 32).runs.size() == 32);
  CHECK(plan_of(batch, 1).runs.size() == 8);  // 256 KiB is the limit of packing
}

TEST_CASE("packing stops at its number of segments", "[unit]") {
  Batch batch(4 * kMi);
  for (int i = 0; i < 300; ++i) {
    batch.add_simple(WorkOp::read, 100);
  }
  const Plan plan = plan_of(batch, 1);
  REQUIRE(plan.runs.size() == 2);
  CHECK(plan.runs[0].slice_count == 256);
  CHECK(plan.runs[1].slice_count == 44);
}

TEST_CASE("reads and writes, with and without CRC, never share a request", "[unit]") {
  Batch batch(kMi);
  batch.add_simple(WorkOp::read, 100, true);
  batch.add_simple(WorkOp::write, 100, true);
  batch.add_simple(WorkOp::read, 100, false);
  batch.add_simple(WorkOp::read, 100, true);
  const Plan plan = plan_of(batch, 4);
  REQUIRE(plan.runs.size() == 3);
  CHECK(plan.runs[0].slice_count == 2);
  CHECK(plan.slices[0].transfer == 0);
  CHECK(plan.slices[1].transfer == 3);
  CHECK(plan.runs[1].op == WorkOp::write);
  CHECK(plan.runs[2].slice_count == 1);
}

TEST_CASE("runs keep the transfers' order, so layer 0 goes first", "[unit]") {
  Batch batch(40 * kMi);
  for (int layer = 0; layer < 8; ++layer) {
    batch.add_simple(WorkOp::read, 4 * kMi);
  }
  const Plan plan = plan_of(batch, 4);
  std::uint32_t before = 0;
  for (const PlannedRun& run : plan.runs) {
    CHECK(plan.slices[run.slice_begin].transfer >= before);
    before = plan.slices[run.slice_begin].transfer;
  }
  CHECK(before == 7);
}

TEST_CASE("neighbouring pieces on either side become one", "[unit]") {
  Batch batch(kMi);
  batch.gap = 0;
  batch.add(WorkOp::write,
            {{.address = {SlabId(1), SlabOffset(0)}, .length_bytes = 4096},
             {.address = {SlabId(1), SlabOffset(4096)}, .length_bytes = 4096},
             {.address = {SlabId(2), SlabOffset(8192)}, .length_bytes = 4096},
             {.address = {SlabId(2), SlabOffset(12289)}, .length_bytes = 100}},
            {5000, 3000, 4388});
  const Plan plan = plan_of(batch, 4);
  REQUIRE(plan.runs.size() == 1);
  REQUIRE(plan.remote.size() == 3);
  CHECK(plan.remote[0].length_bytes == 8192);
  CHECK(plan.remote[1].length_bytes == 4096);
  CHECK(plan.remote[2].length_bytes == 100);
  REQUIRE(plan.local.size() == 1);
  CHECK(plan.local[0].size_bytes == 12388);
}

TEST_CASE("empty pieces and empty transfers leave no trace", "[unit]") {
  Batch batch(kMi);
  batch.add(WorkOp::write, {}, {});
  batch.add(WorkOp::write,
            {{.address = {SlabId(1), SlabOffset(0)}, .length_bytes = 0},
             {.address = {SlabId(1), SlabOffset(7)}, .length_bytes = 10},
             {.address = {SlabId(1), SlabOffset(99)}, .length_bytes = 0}},
            {0, 10, 0}, true);
  const Plan plan = plan_of(batch, 4);
  REQUIRE(plan.runs.size() == 1);
  CHECK(plan.remote.size() == 1);
  CHECK(plan.local.size() == 1);
  CHECK(plan.slices[0].transfer == 1);
  CHECK(plan_of(Batch(1), 4).runs.empty());
}

// Random scatter lists: extents anywhere in three slabs, local pieces cut elsewhere.
Batch random_batch(std::mt19937_64& random, std::uint32_t size_max) {
  Batch batch(kMi);
  batch.gap = random() % 2;
  std::size_t left = 600'000;
  std::uint64_t next_offset = 0;
  const std::size_t transfers = 1 + random() % 12;
  for (std::size_t t = 0; t < transfers && left > 0; ++t) {
    std::vector<Extent> extents;
    std::size_t total = 0;
    const std::size_t count = random() % 5;
    for (std::size_t i = 0; i < count && total < left; ++i) {
      const auto bytes = static_cast<std::uint32_t>(
          std::min<std::size_t>(random() % (size_max + 1), left - total));
      if (random() % 2 == 0) {
        next_offset += 1 + random() % 5000;  // else it touches the extent before
      }
      extents.push_back({.address = {SlabId(static_cast<std::uint32_t>(1 + random() % 3)),
                                     SlabOffset(next_offset)},
                         .length_bytes = bytes});
      next_offset += bytes;
      total += bytes;
    }
    left -= total;
    std::vector<std::size_t> local;
    for (std::size_t rest = total; rest > 0;) {
      const std::size_t bytes = std::min<std::size_t>(rest, random() % (size_max + 1));
      local.push_back(bytes);
      rest -= bytes;
    }
    batch.add(random() % 2 == 0 ? WorkOp::read : WorkOp::write, std::move(extents), local,
              random() % 2 == 0);
  }
  return batch;
}

TEST_CASE("each byte of a random scatter list goes to its place, once", "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 30; ++round) {
    CAPTURE(round);
    const std::uint32_t size_max = std::array{300U, 70'000U, 400'000U}[random() % 3];
    const Batch batch = random_batch(random, size_max);
    Plan plan;
    PlannerOptions options;
    options.lane_count = 1 + random() % 20;
    if (random() % 2 == 0) {
      options.policy = LanePolicy::affine;
      options.super_nic_of = [](PoolAddress at) -> Result<SuperNicId> {
        return SuperNicId(static_cast<std::uint16_t>(at.offset.count() / 65536 % 9));
      };
    }
    REQUIRE(make_plan(batch.transfers, options, plan).has_value());
    CHECK((planned_bytes(batch, plan) == wanted_bytes(batch)));
    check_crc_blocks(batch.transfers, plan);
    check_limits(plan);
  }
}

TEST_CASE("affine runs carry only blocks of their SuperNIC", "[unit]") {
  // 18 members of 64 KiB strips, two DRAM channels per SuperNIC.
  const auto super_nic_of = [](PoolAddress at) -> Result<SuperNicId> {
    return SuperNicId(static_cast<std::uint16_t>(at.offset.count() / 65536 % 18 / 2));
  };
  Batch batch(40 * kMi);
  batch.add(WorkOp::read,
            {{.address = {SlabId(1), SlabOffset(0)}, .length_bytes = 18 * (64 * kKi) * 4}},
            {18 * (64 * kKi) * 4}, true);
  for (std::uint64_t page = 0; page < 40; ++page) {
    batch.add(WorkOp::read,
              {{.address = {SlabId(2), SlabOffset(page * 65536 + 4096)}, .length_bytes = 8192}},
              {8192}, true);
  }
  PlannerOptions options;
  options.policy = LanePolicy::affine;
  options.lane_count = 9;
  options.super_nic_of = super_nic_of;
  Plan plan;
  REQUIRE(make_plan(batch.transfers, options, plan).has_value());
  std::map<std::uint16_t, std::uint64_t> load;
  for (const PlannedRun& run : plan.runs) {
    load[run.super_nic.value()] += run.total_bytes;
    for (std::uint32_t s = run.slice_begin; s < run.slice_begin + run.slice_count; ++s) {
      const PlannedSlice& slice = plan.slices[s];
      for (std::uint32_t r = slice.remote_begin; r < slice.remote_begin + slice.remote_count; ++r) {
        for (std::uint32_t i = 0; i < plan.remote[r].length_bytes; i += 65536) {
          const PoolAddress at{plan.remote[r].address.slab,
                               plan.remote[r].address.offset + SizeBytes(i)};
          CHECK(super_nic_of(at).value() == run.super_nic);
        }
      }
    }
  }
  CHECK(load.size() == 9);
  CHECK(load[0] == 8 * (64 * kKi) + 6 * (8 * kKi));  // pages 0, 1, 18, 19, 36, 37
  CHECK(load[8] == 8 * (64 * kKi) + 4 * (8 * kKi));  // pages 16, 17, 34, 35
  // The first transfer's 8 blocks per SuperNIC share requests of up to a lane's share.
  CHECK(plan.runs.size() <= std::size_t{9} * 3);
}

TEST_CASE("a plan of 30,208 pieces takes milliseconds and, warm, allocates nothing", "[unit]") {
  constexpr std::uint32_t kPieces = 30'208;
  constexpr std::uint32_t kPieceBytes = 32 * kKi;
  std::vector<std::byte> memory(64);  // never touched by a planner: only addresses count
  std::vector<Extent> extents;
  std::vector<LocalSegment> locals;
  for (std::uint32_t i = 0; i < kPieces; ++i) {
    extents.push_back({.address = {SlabId(1 + i % 3), SlabOffset(std::uint64_t{i} * 65536)},
                       .length_bytes = kPieceBytes});
    locals.push_back(
        {.data = memory.data() + std::size_t{i} * 2 * kPieceBytes, .size_bytes = kPieceBytes});
  }
  std::vector<Transfer> transfers;
  const bool one_transfer = GENERATE_COPY(true, false);
  if (one_transfer) {
    transfers.push_back(
        {.op = WorkOp::read, .key = RKey(1), .extents = extents, .local = locals, .crc32c = {}});
  } else {
    for (std::uint32_t i = 0; i < kPieces; ++i) {
      transfers.push_back({.op = WorkOp::read,
                           .key = RKey(1 + i),
                           .extents = std::span(extents).subspan(i, 1),
                           .local = std::span(locals).subspan(i, 1),
                           .crc32c = {}});
    }
  }
  PlannerOptions options;
  options.lane_count = 8;
  Plan plan;
  REQUIRE(make_plan(transfers, options, plan).has_value());
  const std::size_t capacity = plan.runs.capacity() + plan.slices.capacity() +
                               plan.remote.capacity() + plan.local.capacity() +
                               plan.cuts.capacity() + plan.first_cut_of_run.capacity();
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(make_plan(transfers, options, plan).has_value());
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
  CHECK(capacity == plan.runs.capacity() + plan.slices.capacity() + plan.remote.capacity() +
                        plan.local.capacity() + plan.cuts.capacity() +
                        plan.first_cut_of_run.capacity());
  CHECK(plan.remote.size() == kPieces);
  CHECK(plan.runs.size() == (one_transfer ? 944 : 3776));
  INFO("planned in " << took.count() << " ms");
  CHECK(took.count() < 200);  // a few ms; room for sanitizers and a busy machine
}

TEST_CASE("a batch that cannot be planned is refused and leaves an empty plan", "[unit]") {
  const auto refusal = [](const Batch& batch) {
    Plan plan;
    const Result<void> result = make_plan(batch.transfers, {}, plan);
    REQUIRE_FALSE(result.has_value());
    CHECK(plan.runs.empty());
    CHECK(plan.slices.empty());
    return result.error().code;
  };
  Batch totals(kMi);
  totals.add_simple(WorkOp::read, 100);
  totals.add(WorkOp::read, {{.address = {}, .length_bytes = 100}}, {99});
  CHECK(refusal(totals) == Errc::invalid_argument);

  Batch crcs(kMi);
  crcs.add_simple(WorkOp::read, 65537, true);
  crcs.transfers[0].crc32c = crcs.transfers[0].crc32c.first(1);
  CHECK(refusal(crcs) == Errc::invalid_argument);

  Batch overflow(kMi);
  overflow.add(WorkOp::read,
               {{.address = {SlabId(1), SlabOffset(UINT64_MAX - 50)}, .length_bytes = 100}}, {100});
  CHECK(refusal(overflow) == Errc::out_of_range);

  Batch nothing(kMi);
  const LocalSegment no_memory{.data = nullptr, .size_bytes = 100};
  nothing.add_simple(WorkOp::read, 100);
  nothing.transfers[0].local = {&no_memory, 1};
  CHECK(refusal(nothing) == Errc::invalid_argument);
}

TEST_CASE("more pieces than a plan holds are too large", "[unit]") {
  std::vector<Extent> extents(64,
                              {.address = {SlabId(1), SlabOffset(0)}, .length_bytes = UINT32_MAX});
  std::byte byte{};
  const LocalSegment local{.data = &byte, .size_bytes = std::uint64_t{64} * UINT32_MAX};
  const Transfer transfer{
      .op = WorkOp::read, .key = RKey(1), .extents = extents, .local = {&local, 1}, .crc32c = {}};
  Plan plan;
  CHECK(make_plan({&transfer, 1}, {}, plan).has_value());  // 4 Mi blocks exactly
  extents.push_back({.address = {SlabId(1), SlabOffset(0)}, .length_bytes = 65537});
  const LocalSegment longer{.data = &byte, .size_bytes = std::uint64_t{64} * UINT32_MAX + 65537};
  const Transfer over{
      .op = WorkOp::read, .key = RKey(1), .extents = extents, .local = {&longer, 1}, .crc32c = {}};
  const Result<void> refused = make_plan({&over, 1}, {}, plan);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::too_large);
}

TEST_CASE("a plan that is to try a lane begins with one block alone", "[unit]") {
  for (const std::uint32_t bytes : std::initializer_list<std::uint32_t>{1, 65536, 65537, 4 * kMi}) {
    CAPTURE(bytes);
    Batch batch(8 * kMi);
    batch.add_simple(WorkOp::read, bytes);
    batch.add_simple(WorkOp::read, 1000);
    PlannerOptions options;
    options.lane_count = 9;
    options.probe_first = true;
    Plan plan;
    REQUIRE(make_plan(batch.transfers, options, plan).has_value());
    REQUIRE(plan.runs.size() >= 2);
    CHECK(plan.runs[0].total_bytes == std::min(bytes, 65536U));
    CHECK(plan.runs[0].slice_count == 1);
    std::uint64_t total = 0;
    for (const PlannedRun& run : plan.runs) {
      total += run.total_bytes;
    }
    CHECK(total == bytes + 1000);
  }
}

TEST_CASE("an unknown owner of a block fails an affine plan", "[unit]") {
  Batch batch(kMi);
  batch.add_simple(WorkOp::read, 100'000);
  PlannerOptions options;
  options.policy = LanePolicy::affine;
  options.super_nic_of = [](PoolAddress) -> Result<SuperNicId> { return Error(Errc::not_found); };
  Plan plan;
  const Result<void> refused = make_plan(batch.transfers, options, plan);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::not_found);
}

TEST_CASE("lanes that grant few bytes get shorter runs", "[unit]") {
  Batch batch(8 * kMi);
  batch.add_simple(WorkOp::read, 4 * kMi);
  PlannerOptions options;
  options.run_bytes_max = 300 * kKi;
  Plan plan;
  REQUIRE(make_plan(batch.transfers, options, plan).has_value());
  for (const PlannedRun& run : plan.runs) {
    CHECK(run.total_bytes <= 256 * kKi);
  }
}

}  // namespace
}  // namespace godbox::striping
