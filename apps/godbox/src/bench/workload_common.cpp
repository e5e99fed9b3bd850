// SPDX-License-Identifier: Apache-2.0
#include "bench/workloads.h"
#include "box/model_rate.h"
#include "box/shape.h"
#include "cli/json.h"
#include "measure/machine.h"
#include "measure/statistics.h"
#include <godbox/perf/l3_cache.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace godbox::app {
namespace {

constexpr SizeBytes kDramChannelSize{std::uint64_t{1} << 40U};
constexpr std::uint64_t kInFlightBytes = std::uint64_t{32} << 20U;
constexpr SizeBytes kCeilingPassMin{std::uint64_t{4} << 20U};
constexpr std::uint32_t kDepthMin = 2;
constexpr std::uint32_t kDepthMax = 64;

bool is_same_sweep(const BenchRow& a, const BenchRow& b) {
  return a.subject.workload == b.subject.workload && a.subject.sweep == b.subject.sweep &&
         a.op == b.op;
}

std::uint32_t swept_count(const BenchRow& row) {
  return row.subject.sweep == Sweep::dram_channels ? row.subject.dram_channels
                                                   : row.subject.eth_ports;
}

}  // namespace

Result<emulator::BoxConfig> config_for(const BenchPlan& plan, const BenchCase& subject) {
  Result<emulator::BoxConfig> config = emulator::preset("emfasys18");
  if (!config) {
    return config;
  }
  config->name = "bench";
  config->dram_channel_size = kDramChannelSize;
  config->eviction = emulator::EvictionPolicy::none;
  config->server_threads = plan.server_threads;
  config->mode = plan.mode;
  config->device_settings = plan.device_settings;
  config->eth_port_rate = plan.eth_port_rate;
  config->rates = plan.rates;
  config->time_scale = subject.time_scale;
  if (plan.over_dax) {
    config->memory = emulator::MemoryKind::device;
    config->memory_devices = plan.over_dax->devices;
    config->memory_coherence = plan.over_dax->coherence;
    config->dram_channel_size = plan.over_dax->dram_channel_size;
  }
  // A sweep over one resource must not be bounded by the other.
  for (emulator::StageRates* rates : {&config->rates->read, &config->rates->write}) {
    if (subject.sweep == Sweep::dram_channels) {
      rates->super_nic_path = Rate();
      rates->eth_port = Rate();
    } else if (subject.sweep == Sweep::eth_ports) {
      rates->dram_channel = Rate();
      rates->cxl_link = Rate();
      rates->super_nic_path = Rate();
    }
  }
  const Result<void> shaped =
      apply_shape({std::nullopt, subject.dram_channels, subject.eth_ports}, *config);
  if (!shaped) {
    return shaped.error();
  }
  return config;
}

RigClientOptions client_for(const BenchPlan& plan, const BenchCase& subject) {
  RigClientOptions client{subject.transport, subject.lanes_per_eth_port, plan.copy_threads,
                          subject.crc};
  client.eth_ports_max = plan.connect.empty() ? 0 : subject.eth_ports;
  return client;
}

Result<std::unique_ptr<Rig>> start_rig(const BenchPlan& plan, const BenchCase& subject,
                                       const RigClientOptions& client) {
  const Result<emulator::BoxConfig> config = config_for(plan, subject);
  if (!config) {
    return config.error();
  }
  return Rig::start(*config, client);
}

Result<Rows> measure_ops(const BenchPlan& plan,
                         const std::function<Result<BenchRow>(WorkOp)>& measure) {
  Rows rows;
  for (const WorkOp op : plan.ops) {
    Result<BenchRow> row = measure(op);
    if (!row) {
      return row.error();
    }
    rows.push_back(std::move(*row));
  }
  return rows;
}

BenchRow row_for(const Environment& environment, const BenchCase& subject, const Rig& rig,
                 WorkOp op, SizeBytes walked) {
  const BenchPlan& plan = environment.plan();
  BenchRow row;
  row.subject = subject;
  row.op = op;
  row.mode = plan.mode;
  row.time_scale = subject.time_scale;
  row.working_set = walked;
  row.is_cold = perf::is_cold(walked);
  row.batch = plan.batch;
  row.copy_threads = plan.copy_threads;
  row.server_threads = rig.server_threads();
  row.seed = plan.seed;
  row.device_settings = plan.device_settings;
  row.port_rate = plan.given_port_rate;
  if (plan.over_dax) {
    row.extra["target"] = kBoxDaxTarget;
  }
  return row;
}

std::uint32_t depth_for(const BenchPlan& plan, SizeBytes bytes_per_operation) {
  if (plan.depth > 0) {
    return plan.depth;
  }
  const std::uint64_t fitting =
      kInFlightBytes / std::max<std::uint64_t>(1, bytes_per_operation.count());
  return std::clamp(static_cast<std::uint32_t>(std::min<std::uint64_t>(fitting, kDepthMax)),
                    kDepthMin, kDepthMax);
}

namespace {

// What the ceiling of a row walks through. A set of blocks is the plan's but for less than one
// operation, and shares the plan's ceilings.
SizeBytes ceiling_set(const BenchPlan& plan, const BenchRow& row) {
  return row.subject.workload == Workload::one_channel ? row.working_set : plan.working_set;
}

// What a row's passes stand beside: a ceiling of this machine, in the paced mode the model, or
// nothing.
class Yardstick {
 public:
  static Result<Yardstick> make(Environment& environment, BenchRow& row) {
    const BenchPlan& plan = environment.plan();
    Yardstick yardstick;
    if (!plan.connect.empty()) {
      return yardstick;  // this machine has nothing to hold a box elsewhere to
    }
    if (plan.mode == emulator::TimingMode::free) {
      const Result<perf::Ceiling*> ceiling =
          environment.ceiling_for(row.subject, row.op, ceiling_set(plan, row));
      if (!ceiling) {
        return ceiling.error();
      }
      yardstick.ceiling_ = *ceiling;
      row.ceiling_kind = yardstick.ceiling_->name();
      row.ceiling_variant = yardstick.ceiling_->variant();
      return yardstick;
    }
    const Result<emulator::BoxConfig> config = config_for(plan, row.subject);
    if (!config) {
      return config.error();
    }
    yardstick.model_ = row.subject.workload == Workload::one_channel
                           ? dram_channel_gb_per_s(plan.rates.of(row.op))
                           : model_gb_per_s(*config, row.op);
    row.ceiling_kind = "model";
    return yardstick;
  }

  Result<void> measure(SizeBytes bytes, BenchRow& row) const {
    if (row.ceiling_kind.empty()) {
      return {};
    }
    if (ceiling_ == nullptr) {
      row.ceiling_gb_per_s.push_back(model_ / row.time_scale);
      return {};
    }
    const double cpu_begin = cpu_seconds_used();
    // Never less than a chunk of the ceiling's, whose size the processor time has to be cut to.
    const SizeBytes moved = std::max(bytes, kCeilingPassMin);
    const Result<double> rate = ceiling_->measure(direction_of(row.op), moved);
    if (!rate) {
      return rate.error();
    }
    const double share = static_cast<double>(bytes.count()) / static_cast<double>(moved.count());
    row.ceiling_cpu_seconds += (cpu_seconds_used() - cpu_begin) * share;
    row.ceiling_gb_per_s.push_back(*rate);
    return {};
  }

 private:
  perf::Ceiling* ceiling_ = nullptr;
  double model_ = 0;
};

}  // namespace

Result<void> add_pass(const Result<LoopResult>& result, SizeBytes bytes, BenchRow& row) {
  if (!result) {
    return result.error();
  }
  if (result->failures > 0) {
    return Error(result->first_failure, fmt::format("{} of {} operations failed", result->failures,
                                                    result->latencies_us.size()));
  }
  row.gb_per_s.push_back(static_cast<double>(bytes.count()) / result->seconds / 1e9);
  row.cpu_seconds += result->cpu_seconds;
  row.bytes_moved += bytes.count();
  row.latencies_us.insert(row.latencies_us.end(), result->latencies_us.begin(),
                          result->latencies_us.end());
  return {};
}

Result<void> run_repeats(Environment& environment, SizeBytes bytes_per_pass, const Pass& pass,
                         BenchRow& row) {
  const Result<Yardstick> yardstick = Yardstick::make(environment, row);
  if (!yardstick) {
    return yardstick.error();
  }
  for (std::uint32_t repeat = 0; repeat < environment.plan().repeats; ++repeat) {
    if (auto measured = yardstick->measure(bytes_per_pass, row); !measured) {
      return measured;
    }
    if (auto added = add_pass(pass(repeat), bytes_per_pass, row); !added) {
      return added;
    }
    environment.progress().advance(1);
  }
  return {};
}

void add_proportionality(Rows& rows) {
  for (BenchRow& row : rows) {
    const auto one = std::find_if(rows.begin(), rows.end(), [&](const BenchRow& other) {
      return is_same_sweep(row, other) && swept_count(other) == 1;
    });
    if (row.subject.workload != Workload::scaling || one == rows.end()) {
      continue;
    }
    const double median = summarise(row.gb_per_s).median;
    const double ideal = summarise(one->gb_per_s).median * swept_count(row);
    const double model = summarise(row.ceiling_gb_per_s).median;
    row.extra["sweep"] = row.subject.sweep == Sweep::dram_channels ? "channels" : "ports";
    row.extra["proportionality_error_percent"] = figure((median / ideal - 1) * 100, 3);
    // Null against a model without limits.
    row.extra["model_error_percent"] =
        figure(std::isfinite(model) ? (median / model - 1) * 100 : model, 3);
  }
}

}  // namespace godbox::app
