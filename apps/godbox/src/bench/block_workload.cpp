// SPDX-License-Identifier: Apache-2.0
//
// A pass walks on through a set of blocks that is as large as the working set, so that neither side
// of a copy finds its bytes in a cache. A read is a whole get with its lookup; a write is a whole
// put (reserve, write, commit) under new names, while the blocks it replaces are still in the pool;
// they are removed after the timed part. In a box that is served elsewhere no block is left at the
// end, and names are of the session, as others may do the same there.
#include "bench/balance.h"
#include "bench/served_box.h"
#include "bench/timeline.h"
#include "bench/workloads.h"
#include "box/model_rate.h"
#include "cli/json.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
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
        memory_(environment.user_memory().first(data.count())),
        blocks_(memory_, {prefix(), subject.size, environment.plan().seed, 1}),
        batch_(environment.plan().batch),
        depth_(depth_for(environment.plan(), subject.size * batch_)) {
    operations_per_pass_ = std::min(blocks_.count() / batch_, kOperationsPerPassMax);
  }

  Result<Rows> run() {
    if (rig_->has_box()) {
      return measure_all();
    }
    // RDMA devices get to know it once, not for each request.
    if (auto announced = rig_->client().transport().register_memory(memory_); !announced) {
      return announced.error();
    }
    Result<Rows> rows = measure_all();
    const Errc removed = remove_blocks();
    if (rows && removed != Errc::ok) {
      return Error(removed, "the blocks could not be removed from the pool");
    }
    return rows;
  }

 private:
  std::string prefix() const {
    const std::string seed = std::to_string(environment_.plan().seed);
    return rig_->has_box()
               ? "bench/" + seed
               : fmt::format("bench/{:x}/{}", rig_->client().session().session.value(), seed);
  }

  Result<Rows> measure_all() {
    if (auto loaded = load(); !loaded) {
      return loaded.error();
    }
    return measure_ops(environment_.plan(), [this](WorkOp op) { return measure(op); });
  }

  // Those that were put, however far the measurement got.
  Errc remove_blocks() {
    std::vector<std::string> names;
    for (std::uint64_t i = 0; i < blocks_.count() && !blocks_.name(i).empty(); ++i) {
      names.emplace_back(blocks_.name(i));
    }
    return remove_all(rig_->client(), names);
  }

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
    if (!rig_->has_box()) {
      if (auto described = describe_box(rig_->client(), row); !described) {
        return described.error();
      }
    }
    const auto pass = [this, op, &row](std::uint32_t) {
      return op == WorkOp::read ? read_pass(row) : write_pass();
    };
    for (std::uint32_t i = 0; i < kWarmUpPasses && !row.is_emulated(); ++i) {
      if (const Result<LoopResult> done = pass(i); !done) {
        return done.error();
      }
    }
    const SizeBytes bytes = subject_.size * batch_ * operations_per_pass_;
    const auto repeat = [&] { return run_repeats(environment_, bytes, pass, row); };
    auto done = rig_->has_box() ? measure_here(repeat, row) : measure_there(repeat, row);
    if (!done) {
      return done.error();
    }
    if (auto finished = finish(row); !finished) {
      return finished.error();
    }
    return row;
  }

  // With what the box in this process counts meanwhile.
  Result<void> measure_here(const std::function<Result<void>()>& repeat, BenchRow& row) {
    const std::vector<std::uint64_t> before = counted_bytes(rig_->box());
    std::optional<Timeline> timeline;
    if (environment_.plan().timeline && subject_.transport == TransportKind::tcp) {
      timeline.emplace(rig_->box());
    }
    if (auto done = repeat(); !done) {
      return done;
    }
    if (timeline) {
      row.extra["timeline"] = timeline->finish();
    }
    if (subject_.transport == TransportKind::tcp) {
      row.dram_imbalance = imbalance(difference(counted_bytes(rig_->box()), before));
    }
    return {};
  }

  // With what a box elsewhere tells of itself.
  Result<void> measure_there(const std::function<Result<void>()>& repeat, BenchRow& row) {
    const Result<ServedBytes> before = served_bytes(rig_->client(), subject_.transport);
    if (!before) {
      return before.error();
    }
    if (auto done = repeat(); !done) {
      return done;
    }
    const Result<ServedBytes> after = served_bytes(rig_->client(), subject_.transport);
    if (!after) {
      return after.error();
    }
    describe_lanes(rig_->client(), row);
    row.dram_imbalance = imbalance(difference(after->dram_channels, before->dram_channels));
    const std::vector<std::uint64_t> ports = difference(after->eth_ports, before->eth_ports);
    row.extra["box"] = json_text(rig_->client().box().box_name);
    row.extra["port_bytes"] = boost::json::array(ports.begin(), ports.end());
    return {};
  }

  // The parts of a row that need no repeats.
  Result<void> finish(BenchRow& row) {
    if (auto checked = verify_all(row); !checked) {
      return checked;
    }
    if (!rig_->has_box()) {
      return {};
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
  MutableSpan memory_;
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
  const double bytes =
      model_gb_per_s(config, WorkOp::read) / subject.time_scale * 1e9 * kPacedPassSeconds;
  const double most = static_cast<double>(plan.working_set.count());
  const auto operations =
      static_cast<std::uint64_t>(std::min(bytes, most) / static_cast<double>(operation.count()));
  return operation * std::max<std::uint64_t>(operations, 1);
}

}  // namespace

Result<Rows> run_block_case(Environment& environment, const BenchCase& subject) {
  const BenchPlan& plan = environment.plan();
  if (!plan.connect.empty()) {
    RigClientOptions client = client_for(plan, subject);
    client.roce_interfaces = environment.roce_interfaces();
    Result<std::unique_ptr<Rig>> rig = Rig::attach(plan.connect, client);
    if (!rig) {
      return rig.error();
    }
    const std::uint64_t operation = subject.size.count() * plan.batch;
    return BlockCase(environment, subject, std::move(*rig),
                     plan.working_set / operation * operation)
        .run();
  }
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
