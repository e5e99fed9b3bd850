// SPDX-License-Identifier: Apache-2.0
//
// What a decoder waits for: the pages of a prompt, layer by layer. Each page of a layer is an
// object of its own; each layer is one get of all its pages, and all layers are asked for at once,
// the first one first. What counts is when layer 0 is there, that layers come in order, and that
// the last one comes no later for it.
#include "bench/balance.h"
#include "bench/workloads.h"
#include "cli/json.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

class LayersCase {
 public:
  LayersCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig)
      : environment_(environment),
        subject_(subject),
        rig_(std::move(rig)),
        layers_(environment.plan().layers),
        pages_(
            std::max<std::uint64_t>(environment.plan().working_set / (subject.size * layers_), 1)),
        blocks_(environment.user_memory().first((subject.size * pages_ * layers_).count()),
                {fmt::format("layers/{}", environment.plan().seed), subject.size,
                 environment.plan().seed, 1}) {}

  Result<Rows> run() {
    if (auto loaded = load(); !loaded) {
      return loaded.error();
    }
    BenchRow row =
        row_for(environment_, subject_, *rig_, WorkOp::read, subject_.size * blocks_.count());
    row.depth = layers_;
    row.batch = static_cast<std::uint32_t>(pages_);
    done_us_.assign(layers_, {});
    if (!row.is_emulated()) {
      (void)pass();
      inversions_ = 0;
      done_us_.assign(layers_, {});
    }
    const std::vector<std::uint64_t> before = counted_bytes(rig_->box());
    if (auto done = run_repeats(
            environment_, subject_.size * blocks_.count(),
            [this](std::uint32_t) -> Result<LoopResult> { return pass(); }, row);
        !done) {
      return done.error();
    }
    if (!row.is_local()) {
      row.dram_imbalance = imbalance(difference(counted_bytes(rig_->box()), before));
    }
    add_figures(row);
    if (auto checked = verify(row); !checked) {
      return checked.error();
    }
    Rows rows;
    rows.push_back(std::move(row));
    return rows;
  }

 private:
  Result<void> load() {
    for (std::uint64_t i = 0; i < blocks_.count(); ++i) {
      blocks_.renew(i);
    }
    const LoopResult put = run_loop(
        rig_->client(), rig_->clock(), {layers_, 4}, [this](std::uint64_t layer, Done done) {
          blocks_.start_put(rig_->client(), layer * pages_, pages_, std::move(done));
        });
    if (put.failures > 0) {
      return Error(put.first_failure, "the pages could not be put into the pool");
    }
    return {};
  }

  LoopResult pass() {
    const TimePoint begin = rig_->clock().now();
    std::uint64_t next = 0;
    return run_loop(
        rig_->client(), rig_->clock(), {layers_, layers_},
        [&, begin](std::uint64_t layer, Done done) {
          const auto finish = [&, layer, done = std::move(done)](Errc status) {
            const Duration took = rig_->clock().now() - begin;
            done_us_[layer].push_back(std::chrono::duration<double, std::micro>(took).count());
            inversions_ += layer < next ? 1U : 0U;
            next = std::max(next, layer + 1);
            done(status);
          };
          blocks_.start_get(rig_->client(), layer * pages_, pages_, finish);
        });
  }

  void add_figures(BenchRow& row) const {
    std::vector<double> shares;
    boost::json::array medians;
    for (std::size_t repeat = 0; repeat < done_us_.front().size(); ++repeat) {
      shares.push_back(done_us_.front()[repeat] * layers_ / done_us_.back()[repeat]);
    }
    for (const std::vector<double>& of_layer : done_us_) {
      medians.push_back(figure(percentile(of_layer, 50), 4));
    }
    row.extra["layers"] = layers_;
    row.extra["layer_bytes"] = (subject_.size * pages_).count();
    row.extra["layer_0_us"] = figure(percentile(done_us_.front(), 50), 4);
    row.extra["last_layer_us"] = figure(percentile(done_us_.back(), 50), 4);
    row.extra["layer_0_of_even_share"] = figure(summarise(shares).median, 4);
    row.extra["layers_out_of_order"] = inversions_;
    row.extra["layer_done_us"] = std::move(medians);
  }

  Result<void> verify(BenchRow& row) {
    for (std::uint64_t i = 0; i < blocks_.count(); ++i) {
      blocks_.spoil_memory(i);
    }
    if (const LoopResult read = pass(); read.failures > 0) {
      return Error(read.first_failure, "the pages could not be read back");
    }
    for (std::uint64_t i = 0; i < blocks_.count(); ++i) {
      blocks_.verify(i, row.verification);
    }
    return {};
  }

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  std::uint32_t layers_;
  std::uint64_t pages_;                       // of one layer
  BlockSet blocks_;                           // the pages, those of layer 0 in front
  std::vector<std::vector<double>> done_us_;  // by layer, by repeat: since the pass began
  std::uint64_t inversions_ = 0;              // layers that came behind a later one
};

}  // namespace

Result<Rows> run_layers_case(Environment& environment, const BenchCase& subject) {
  const BenchPlan& plan = environment.plan();
  Result<std::unique_ptr<Rig>> rig = start_rig(plan, subject, client_for(plan, subject));
  if (!rig) {
    return rig.error();
  }
  return LayersCase(environment, subject, std::move(*rig)).run();
}

}  // namespace godbox::app
