// SPDX-License-Identifier: Apache-2.0
//
// What an engine asks for when its KV cache is cut small: one request of thousands of disjoint
// pieces, each anywhere in a region of the pool and bound for anywhere in memory. Beside it, in
// turn with it: as many bytes as blocks of 1 MiB, which are scattered over the same region in the
// same way, so that the two differ in the pieces' size and in nothing else.
#include "bench/balance.h"
#include "bench/workloads.h"
#include "cli/json.h"
#include "measure/statistics.h"
#include <godbox/crc32c.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr SizeBytes kBlock{std::uint64_t{1} << 20U};

// Each place of the region once at most, in any order.
std::vector<std::uint64_t> shuffled(std::uint64_t count, std::mt19937_64& random) {
  std::vector<std::uint64_t> places(count);
  std::iota(places.begin(), places.end(), std::uint64_t{0});
  for (std::uint64_t i = count; i > 1; --i) {
    std::swap(places[i - 1], places[random() % i]);
  }
  return places;
}

// A seeded choice of pieces of one size: where each lies in the pool, and where in memory.
class Pieces {
 public:
  Pieces(MutableSpan memory, SizeBytes piece, std::uint64_t count, std::uint64_t seed)
      : piece_(piece) {
    std::mt19937_64 random(seed);
    const std::uint64_t places = memory.size() / piece.count();
    const std::vector<std::uint64_t> in_pool = shuffled(places, random);
    const std::vector<std::uint64_t> in_memory = shuffled(places, random);
    for (std::uint64_t i = 0; i < std::min(count, places); ++i) {
      std::byte* const data = memory.data() + in_memory[i] * piece.count();
      list_.push_back({RegionOffset(in_pool[i] * piece.count()), {data, piece.count()}});
    }
  }

  [[nodiscard]] std::span<const striping::RegionPiece> list() const { return list_; }
  [[nodiscard]] SizeBytes bytes() const { return piece_ * list_.size(); }

 private:
  SizeBytes piece_;
  std::vector<striping::RegionPiece> list_;
};

class ScatterCase {
 public:
  ScatterCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig)
      : environment_(environment),
        subject_(subject),
        rig_(std::move(rig)),
        memory_(environment.user_memory().first(environment.plan().working_set.count())),
        pieces_(memory_, subject.size, subject.pieces, environment.plan().seed),
        // Whole blocks, at least one.
        blocks_(memory_, std::min(kBlock, environment.plan().working_set),
                std::max<std::uint64_t>(pieces_.bytes() / kBlock, 1), environment.plan().seed) {}

  Result<Rows> run() {
    Result<striping::Region> region = rig_->client().allocate(environment_.plan().working_set);
    if (!region) {
      return region.error();
    }
    region_ = std::move(*region);
    if (auto loaded = load(); !loaded) {
      return loaded.error();
    }
    return measure_ops(environment_.plan(), [this](WorkOp op) { return measure(op); });
  }

 private:
  PatternId pattern(std::uint64_t generation) const {
    return {environment_.plan().seed, generation};
  }

  // The whole region, each byte with what says where in the region it lies.
  Result<void> load() {
    fill_pattern(memory_, pattern(generation_));
    std::vector<striping::RegionPiece> all;
    for (std::uint64_t at = 0; at < memory_.size(); at += kBlock.count()) {
      const std::size_t size = std::min<std::size_t>(kBlock.count(), memory_.size() - at);
      all.push_back({RegionOffset(at), {memory_.data() + at, size}});
    }
    if (const LoopResult written = move(WorkOp::write, all); written.failures > 0) {
      return Error(written.first_failure, "the region could not be written");
    }
    return {};
  }

  // One request.
  LoopResult move(WorkOp op, std::span<const striping::RegionPiece> pieces) {
    return run_loop(rig_->client(), rig_->clock(), {1, 1}, [&](std::uint64_t, Done done) {
      rig_->client().submit_region(op, region_, pieces, std::move(done));
    });
  }

  // New bytes, so that a write that does nothing is seen.
  void renew(const Pieces& pieces) {
    ++generation_;
    for (const striping::RegionPiece& piece : pieces.list()) {
      fill_pattern({piece.local.data, piece.local.size_bytes}, pattern(generation_),
                   piece.offset.count());
    }
  }

  Result<BenchRow> measure(WorkOp op) {
    BenchRow row = row_for(environment_, subject_, *rig_, op, environment_.plan().working_set);
    row.depth = 1;
    std::vector<double> ratios;
    std::vector<double> block_rates;
    const auto pass = [&](std::uint32_t repeat) -> Result<LoopResult> {
      if (op == WorkOp::write) {
        renew(blocks_);
      }
      const LoopResult blocks = move(op, blocks_.list());
      if (blocks.failures > 0) {
        return Error(blocks.first_failure, "the blocks beside the pieces failed");
      }
      if (op == WorkOp::write) {
        renew(pieces_);
      }
      LoopResult scattered = move(op, pieces_.list());
      const double block_rate = rate_of(blocks_, blocks);
      if (repeat != kWarmUp) {
        block_rates.push_back(block_rate);
        ratios.push_back(rate_of(pieces_, scattered) / block_rate);
      }
      return scattered;
    };
    if (!row.is_emulated()) {
      if (const auto warm = pass(kWarmUp); !warm) {
        return warm.error();
      }
    }
    const std::vector<std::uint64_t> before = counted_bytes(rig_->box());
    if (auto done = run_repeats(environment_, pieces_.bytes(), pass, row); !done) {
      return done.error();
    }
    if (!row.is_local()) {
      row.dram_imbalance = imbalance(difference(counted_bytes(rig_->box()), before));
    }
    row.extra["pieces"] = pieces_.list().size();
    row.extra["request_bytes"] = pieces_.bytes().count();
    row.extra["block_gb_per_s_median"] = figure(summarise(block_rates).median);
    row.extra["of_block_rate"] = figure(summarise(ratios).median, 4);
    row.extra["of_block_rate_min"] = figure(summarise(ratios).min, 4);
    row.extra["of_block_rate_max"] = figure(summarise(ratios).max, 4);
    return verify(row);
  }

  static double rate_of(const Pieces& pieces, const LoopResult& result) {
    return static_cast<double>(pieces.bytes().count()) / result.seconds / 1e9;
  }

  // Reads the pieces into memory that holds something else and compares; after writes that shows
  // what was written.
  Result<BenchRow> verify(BenchRow& row) {
    spoil(memory_);
    if (const LoopResult read = move(WorkOp::read, pieces_.list()); read.failures > 0) {
      return Error(read.first_failure, "the pieces could not be read back");
    }
    for (const striping::RegionPiece& piece : pieces_.list()) {
      const ConstSpan bytes(piece.local.data, piece.local.size_bytes);
      row.verification.bytes_checked += bytes.size();
      row.verification.wrong_bytes +=
          count_wrong_bytes(bytes, pattern(generation_), piece.offset.count());
      row.verification.crc32c = crc32c(bytes, row.verification.crc32c);
    }
    return std::move(row);
  }

  static constexpr std::uint32_t kWarmUp = ~std::uint32_t{0};

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  MutableSpan memory_;
  Pieces pieces_;
  Pieces blocks_;
  striping::Region region_;
  std::uint64_t generation_ = 0;  // of what the pieces hold
};

}  // namespace

Result<Rows> run_scatter_case(Environment& environment, const BenchCase& subject) {
  const BenchPlan& plan = environment.plan();
  Result<std::unique_ptr<Rig>> rig = start_rig(
      plan, subject, {subject.transport, subject.lanes_per_eth_port, plan.copy_threads, false});
  if (!rig) {
    return rig.error();
  }
  return ScatterCase(environment, subject, std::move(*rig)).run();
}

}  // namespace godbox::app
