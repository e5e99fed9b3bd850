// SPDX-License-Identifier: Apache-2.0
//
// A pass walks on through a set of blocks that is as large as the working set, so that neither side
// of a copy finds its bytes in a cache. A read is a whole get with its lookup; a write is a whole
// put (reserve, write, commit) under new names, while the blocks it replaces are still in the pool;
// they are removed after the timed part.
#include "bench/balance.h"
#include "bench/timeline.h"
#include "bench/workloads.h"
#include "box/model_rate.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::uint64_t kOperationsPerPassMax = 20000;
constexpr double kPacedPassSeconds = 1.0;
constexpr std::size_t kBalanceSamples = 64;
constexpr std::uint32_t kWarmUpPasses = 1;

class BlockCase {
 public:
  BlockCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig,
            SizeBytes data)
      : environment_(environment),
        subject_(subject),
        rig_(std::move(rig)),
        blocks_(environment.user_memory().first(data.count()),
                {fmt::format("bench/{}", environment.plan().seed), subject.size,
                 environment.plan().seed, 1}),
        batch_(environment.plan().batch),
        depth_(depth_for(environment.plan(), subject.size * batch_)) {
    operations_per_pass_ = std::min(blocks_.count() / batch_, kOperationsPerPassMax);
  }

  Result<Rows> run() {
    if (auto loaded = load(); !loaded) {
      return loaded.error();
    }
    return measure_ops(environment_.plan(), [this](WorkOp op) { return measure(op); });
  }

 private:
  // Puts every block once, so that each pass begins with the whole set in the pool.
  Result<void> load() {
    for (std::uint64_t i = 0; i < blocks_.count(); ++i) {
      blocks_.renew(i);
    }
    const LoopResult loaded =
        run_loop(rig_->client(), rig_->clock(), {blocks_.count(), depth_},
                 [this](std::uint64_t index, Done done) {
                   blocks_.start_put(rig_->client(), index, 1, std::move(done));
                 });
    if (loaded.failures > 0) {
      return Error(loaded.first_failure, "the blocks could not be put into the pool");
    }
    return {};
  }

  Result<BenchRow> measure(WorkOp op) {
    BenchRow row = row_for(environment_, subject_, *rig_, op, subject_.size * blocks_.count());
    row.depth = depth_;
    const auto pass = [this, op, &row](std::uint32_t) {
      return op == WorkOp::read ? read_pass(row) : write_pass();
    };
    for (std::uint32_t i = 0; i < kWarmUpPasses && !row.is_emulated(); ++i) {
      if (const Result<LoopResult> done = pass(i); !done) {
        return done.error();
      }
    }
    const std::vector<std::uint64_t> before = counted_bytes(rig_->box());
    std::optional<Timeline> timeline;
    if (environment_.plan().timeline && subject_.transport == TransportKind::tcp) {
      timeline.emplace(rig_->box());
    }
    const SizeBytes bytes = subject_.size * batch_ * operations_per_pass_;
    if (auto done = run_repeats(environment_, bytes, pass, row); !done) {
      return done.error();
    }
    if (timeline) {
      row.extra["timeline"] = timeline->finish();
    }
    if (subject_.transport == TransportKind::tcp) {
      row.dram_imbalance = imbalance(difference(counted_bytes(rig_->box()), before));
    }
    if (auto done = finish(row); !done) {
      return done.error();
    }
    return row;
  }

  // The parts of a row that need no repeats.
  Result<void> finish(BenchRow& row) {
    if (auto checked = verify_all(row); !checked) {
      return checked;
    }
    if (auto done = add_other_rates(row); !done) {
      return done;
    }
    return add_block_balance(row);
  }

  Result<void> add_other_rates(BenchRow& row) {
    const bool is_local = subject_.transport == TransportKind::local;
    if (row.is_emulated() || (!is_local && row.op == WorkOp::write)) {
      return {};
    }
    const Result<double> rate =
        is_local ? environment_.streaming_rate(row.op) : environment_.sendfile_rate(subject_);
    if (!rate) {
      return rate.error();
    }
    (is_local ? row.streaming_gb_per_s : row.sendfile_gb_per_s) = *rate;
    return {};
  }

  std::uint64_t first_block(std::uint64_t operation) const {
    return (cursor_ + operation) % (blocks_.count() / batch_) * batch_;
  }

  Result<LoopResult> read_pass(BenchRow& row) {
    const bool verify = environment_.plan().verify;
    if (verify) {
      for_blocks_of_pass([this](std::uint64_t i) { blocks_.spoil_memory(i); });
    }
    LoopResult result = run_loop(rig_->client(), rig_->clock(), {operations_per_pass_, depth_},
                                 [this](std::uint64_t operation, Done done) {
                                   blocks_.start_get(rig_->client(), first_block(operation), batch_,
                                                     std::move(done));
                                 });
    if (verify) {
      for_blocks_of_pass([&](std::uint64_t i) { blocks_.verify(i, row.verification); });
    }
    cursor_ += operations_per_pass_;
    return result;
  }

  Result<LoopResult> write_pass() {
    std::vector<std::string> replaced;
    for_blocks_of_pass([&](std::uint64_t i) { replaced.push_back(blocks_.renew(i)); });
    LoopResult result = run_loop(rig_->client(), rig_->clock(), {operations_per_pass_, depth_},
                                 [this](std::uint64_t operation, Done done) {
                                   blocks_.start_put(rig_->client(), first_block(operation), batch_,
                                                     std::move(done));
                                 });
    cursor_ += operations_per_pass_;
    if (result.failures > 0) {
      return result;
    }
    if (const Errc removed = remove_all(rig_->client(), replaced); removed != Errc::ok) {
      return Error(removed, "blocks that were replaced could not be removed");
    }
    if (subject_.transport == TransportKind::local) {
      // A session that maps the pool holds the space of what it put until it ends.
      if (auto again = rig_->reconnect(); !again) {
        return again.error();
      }
    }
    return result;
  }

  template <class Visit>
  void for_blocks_of_pass(Visit visit) {
    for (std::uint64_t operation = 0; operation < operations_per_pass_; ++operation) {
      for (std::uint64_t i = 0; i < batch_; ++i) {
        visit(first_block(operation) + i);
      }
    }
  }

  // Reads the whole set once more and compares every byte.
  Result<void> verify_all(BenchRow& row) {
    for (std::uint64_t i = 0; i < blocks_.count(); ++i) {
      blocks_.spoil_memory(i);
    }
    const LoopResult read = run_loop(rig_->client(), rig_->clock(), {blocks_.count(), depth_},
                                     [this](std::uint64_t index, Done done) {
                                       blocks_.start_get(rig_->client(), index, 1, std::move(done));
                                     });
    if (read.failures > 0) {
      return Error(read.first_failure, "the blocks could not be read back for comparison");
    }
    row.verification.crc32c = 0;  // of this pass, whatever --verify checked before
    for (std::uint64_t i = 0; i < blocks_.count(); ++i) {
      blocks_.verify(i, row.verification);
    }
    return {};
  }

  Result<void> add_block_balance(BenchRow& row) {
    std::vector<std::string_view> names;
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(blocks_.count(), kBalanceSamples); ++i) {
      names.push_back(blocks_.name(i));
    }
    Result<striping::Lookup> found = rig_->client().lookup(names);
    if (!found) {
      return found.error();
    }
    double worst = 0;
    for (const striping::FoundObject& object : found->objects) {
      const auto bytes = bytes_by_layout(
          rig_->box(), std::span(found->extents).subspan(object.extent_begin, object.extent_count));
      if (!bytes) {
        return bytes.error();
      }
      worst = std::max(worst, imbalance(*bytes));
    }
    rig_->client().release(*found);
    row.block_imbalance_max = worst;
    return {};
  }

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  BlockSet blocks_;
  std::uint32_t batch_;
  std::uint32_t depth_;
  std::uint64_t operations_per_pass_ = 0;
  std::uint64_t cursor_ = 0;  // operations walked so far
};

// The whole working set, or in the paced mode what the model moves in a second.
SizeBytes data_size(const BenchPlan& plan, const BenchCase& subject,
                    const emulator::BoxConfig& config) {
  const SizeBytes operation = subject.size * plan.batch;
  if (plan.mode == emulator::TimingMode::free) {
    return plan.working_set / operation.count() * operation.count();
  }
  const double bytes = model_gb_per_s(config) / subject.time_scale * 1e9 * kPacedPassSeconds;
  const double most = static_cast<double>(plan.working_set.count());
  const auto operations =
      static_cast<std::uint64_t>(std::min(bytes, most) / static_cast<double>(operation.count()));
  return operation * std::max<std::uint64_t>(operations, 1);
}

}  // namespace

Result<Rows> run_block_case(Environment& environment, const BenchCase& subject) {
  const BenchPlan& plan = environment.plan();
  const Result<emulator::BoxConfig> config = config_for(plan, subject);
  if (!config) {
    return config.error();
  }
  Result<std::unique_ptr<Rig>> rig = Rig::start(*config, client_for(plan, subject));
  if (!rig) {
    return rig.error();
  }
  return BlockCase(environment, subject, std::move(*rig), data_size(plan, subject, *config)).run();
}

}  // namespace godbox::app
