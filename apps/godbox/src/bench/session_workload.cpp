// SPDX-License-Identifier: Apache-2.0
//
// "The time to move a 100 GB file": what this machine takes for the working set, and what the
// modelled boxes take for 100 GB, by their slowest stage.
#include "bench/workloads.h"
#include "box/model_rate.h"
#include "box/shape.h"
#include "cli/json.h"
#include "measure/statistics.h"
#include <godbox/emulator/modelled_rates.h>

#include <algorithm>
#include <array>

namespace godbox::app {
namespace {

constexpr double kFileGb = 100;
constexpr std::array<std::string_view, 3> kBoxes{"emfasys18", "emfasys28", "acf1"};
constexpr std::array<std::uint32_t, 4> kFewerChannels{1, 2, 9, 18};

bool is_same(const BenchCase& a, const BenchCase& b) {
  return a.workload == b.workload && a.transport == b.transport && a.size == b.size &&
         a.dram_channels == b.dram_channels && a.eth_ports == b.eth_ports &&
         a.lanes_per_eth_port == b.lanes_per_eth_port && a.crc == b.crc;
}

// The model's rows stand once in a run.
bool is_first_session(const BenchPlan& plan, const BenchCase& subject) {
  const auto first = std::find_if(plan.cases.begin(), plan.cases.end(), [](const BenchCase& one) {
    return one.workload == Workload::session;
  });
  return first != plan.cases.end() && is_same(*first, subject);
}

BenchRow modelled_row(const emulator::BoxConfig& config, std::string_view box) {
  BenchRow row;
  row.subject.workload = Workload::session;
  row.subject.dram_channels = config.dram_channels();
  row.subject.eth_ports = config.eth_ports();
  row.subject.size = SizeBytes(static_cast<std::uint64_t>(kFileGb * 1e9));
  row.is_modelled = true;
  row.mode = emulator::TimingMode::paced;
  const double rate = model_gb_per_s(config, WorkOp::read);
  row.extra["box"] = box;
  row.extra["modelled_gb_per_s"] = figure(rate);
  row.extra["modelled_seconds"] = figure(kFileGb / rate, 4);
  return row;
}

Result<Rows> modelled_rows() {
  Rows rows;
  for (const std::string_view box : kBoxes) {
    const Result<emulator::BoxConfig> whole = emulator::preset(std::string(box));
    if (!whole) {
      return whole.error();
    }
    std::vector<std::uint32_t> counts(kFewerChannels.begin(), kFewerChannels.end());
    std::erase_if(counts, [&](std::uint32_t count) { return count >= whole->dram_channels(); });
    counts.push_back(whole->dram_channels());
    for (const std::uint32_t channels : counts) {
      emulator::BoxConfig config = *whole;
      const std::uint32_t eth_ports = config.eth_ports();
      if (auto shaped = apply_shape({std::nullopt, channels, eth_ports}, config); !shaped) {
        return shaped.error();
      }
      if (auto settled = emulator::settle_rates(config); !settled) {
        return settled.error();
      }
      rows.push_back(modelled_row(config, box));
    }
  }
  return rows;
}

}  // namespace

Result<Rows> run_session_case(Environment& environment, const BenchCase& subject) {
  Result<Rows> rows = run_block_case(environment, subject);
  if (!rows) {
    return rows;
  }
  for (BenchRow& row : *rows) {
    const double rate = summarise(row.gb_per_s).median * row.time_scale;
    row.extra["seconds"] = figure(static_cast<double>(row.working_set.count()) / 1e9 / rate, 4);
    row.extra["seconds_of_100_gb"] = figure(kFileGb / rate, 4);
  }
  if (is_first_session(environment.plan(), subject)) {
    Result<Rows> modelled = modelled_rows();
    if (!modelled) {
      return modelled;
    }
    std::move(modelled->begin(), modelled->end(), std::back_inserter(*rows));
  }
  return rows;
}

}  // namespace godbox::app
