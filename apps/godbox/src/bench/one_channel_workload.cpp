// SPDX-License-Identifier: Apache-2.0
//
// The counter-example to striping: reads and writes of a region whose pieces all lie on one DRAM
// channel. In the paced mode they get that channel's rate and no more.
#include "bench/balance.h"
#include "bench/workloads.h"
#include "box/model_rate.h"
#include "measure/statistics.h"
#include <godbox/crc32c.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr double kPacedPassSeconds = 1.0;
constexpr std::uint32_t kPieceBytesMax = 64U << 10U;

// Pieces of `region` on the DRAM channel of its first byte, each with its own place in `memory`.
Result<std::vector<striping::RegionPiece>> pieces_on_one_channel(emulator::Box& box,
                                                                 const striping::Region& region,
                                                                 MutableSpan memory) {
  std::vector<striping::RegionPiece> pieces;
  std::optional<DramChannelId> wanted;
  RegionOffset offset;
  std::size_t used = 0;
  const auto found = for_each_dram_run(box, region.extents, [&](const striping::DramRun& run) {
    wanted = wanted.value_or(run.dram_channel);
    const std::size_t size = std::min(run.length_bytes, kPieceBytesMax);
    if (run.dram_channel == *wanted && used + size <= memory.size()) {
      pieces.push_back({offset, {memory.data() + used, size}});
      used += size;
    }
    offset += SizeBytes(run.length_bytes);
  });
  if (!found) {
    return found.error();
  }
  return pieces;
}

class OneChannelCase {
 public:
  OneChannelCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig)
      : environment_(environment), subject_(subject), rig_(std::move(rig)) {}

  Result<Rows> run(SizeBytes bytes) {
    Result<striping::Region> region = rig_->client().allocate(bytes * subject_.dram_channels);
    if (!region) {
      return region.error();
    }
    region_ = std::move(*region);
    const MutableSpan memory = environment_.user_memory().first(bytes.count());
    Result<std::vector<striping::RegionPiece>> pieces =
        pieces_on_one_channel(rig_->box(), region_, memory);
    if (!pieces) {
      return pieces.error();
    }
    pieces_ = std::move(*pieces);
    fill_pattern(memory, pattern());
    // Written first, so that there is something to read and to compare.
    if (const auto written = pass(WorkOp::write); written.failures > 0) {
      return Error(written.first_failure, "the region could not be written");
    }
    return measure_ops(environment_.plan(),
                       [this, memory](WorkOp op) { return measure(op, memory); });
  }

 private:
  std::span<const striping::RegionPiece> pieces_of(std::uint64_t operation) const {
    const std::size_t begin = operation * pieces_per_operation();
    return std::span(pieces_).subspan(begin,
                                      std::min(pieces_per_operation(), pieces_.size() - begin));
  }
  std::size_t pieces_per_operation() const {
    return std::max<std::size_t>(1, subject_.size.count() / kPieceBytesMax);
  }
  PatternId pattern() const { return {environment_.plan().seed, 0}; }
  std::uint64_t operations() const {
    return (pieces_.size() + pieces_per_operation() - 1) / pieces_per_operation();
  }

  LoopResult pass(WorkOp op) {
    return run_loop(rig_->client(), rig_->clock(),
                    {operations(), depth_for(environment_.plan(), subject_.size)},
                    [this, op](std::uint64_t operation, Done done) {
                      rig_->client().submit_region(op, region_, pieces_of(operation),
                                                   std::move(done));
                    });
  }

  Result<BenchRow> measure(WorkOp op, MutableSpan memory) {
    SizeBytes bytes;
    for (const striping::RegionPiece& piece : pieces_) {
      bytes += SizeBytes(piece.local.size_bytes);
    }
    BenchRow row = row_for(environment_, subject_, *rig_, op, bytes);
    row.depth = depth_for(environment_.plan(), subject_.size);
    const std::vector<std::uint64_t> before = counted_bytes(rig_->box());
    const auto done = run_repeats(
        environment_, bytes, [this, op](std::uint32_t) { return pass(op); }, row);
    if (!done) {
      return done.error();
    }
    row.dram_imbalance = imbalance(difference(counted_bytes(rig_->box()), before));
    const MutableSpan used = memory.first(bytes.count());
    spoil(used);
    if (const LoopResult read = pass(WorkOp::read); read.failures > 0) {
      return Error(read.first_failure, "the region could not be read back");
    }
    row.verification.bytes_checked = used.size();
    row.verification.wrong_bytes = count_wrong_bytes(used, pattern());
    row.verification.crc32c = crc32c(used);
    return row;
  }

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  striping::Region region_;
  std::vector<striping::RegionPiece> pieces_;
};

}  // namespace

Result<Rows> run_one_channel_case(Environment& environment, const BenchCase& subject) {
  const BenchPlan& plan = environment.plan();
  const Result<emulator::BoxConfig> config = config_for(plan, subject);
  if (!config) {
    return config.error();
  }
  // The region is that many times larger than what is read of it.
  SizeBytes bytes = plan.working_set / subject.dram_channels;
  if (plan.mode == emulator::TimingMode::paced) {
    const double paced =
        dram_channel_gb_per_s(plan.rates.read) / subject.time_scale * 1e9 * kPacedPassSeconds;
    bytes =
        SizeBytes(static_cast<std::uint64_t>(std::min(paced, static_cast<double>(bytes.count()))));
  }
  // Whole operations; check_sizes() saw to it that the working set holds one.
  bytes = subject.size * std::max<std::uint64_t>(1, bytes / subject.size);
  Result<std::unique_ptr<Rig>> rig =
      Rig::start(*config, {subject.transport, subject.lanes_per_eth_port, 1, false});
  if (!rig) {
    return rig.error();
  }
  return OneChannelCase(environment, subject, std::move(*rig)).run(bytes);
}

}  // namespace godbox::app
