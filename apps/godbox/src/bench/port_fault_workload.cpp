// SPDX-License-Identifier: Apache-2.0
//
// What a faulty Ethernet port costs. A paced box that only its ports limit serves gets, every byte
// of which is compared; then something is wrong with one of its ports. Of each repeat:
//   healthy | faulty | healed: the rate of as many gets in flight as fill the lanes, and how soon
//   the port carries its share again;
//   healthy | faulty: the latency of gets at half of the healthy rate (open loop).
// The ceiling of a row is the healthy rate of the same repeat.
#include "bench/workloads.h"
#include "cli/json.h"
#include "measure/machine.h"
#include "measure/repeated_load.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <deque>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kBlocks = 64;

// Left out of each phase's figures, but of a flapping port's rates; it has figures of its own.
constexpr Duration kSettle = milliseconds(300);
constexpr Duration kPhase = milliseconds(2000);
constexpr Duration kLatencyPhase = milliseconds(4000);
constexpr std::int64_t kFlapsPerPhase = 2;
constexpr double kHalfLoad = 0.5;
// A port carries its share again at the end of the first stretch in which it carried this much.
constexpr Duration kShareWindow = milliseconds(200);
constexpr Duration kShareStep = milliseconds(10);
constexpr double kShareCarried = 0.9;
constexpr Duration kRecoveryMax = milliseconds(5000);
// When the rate after healing is measured.
constexpr Duration kHealedAfter = milliseconds(1000);

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

// What one repeat found.
struct Outcome {
  double healthy_gb_per_s = 0, faulty_gb_per_s = 0, healed_gb_per_s = 0;
  std::optional<double> settling_gb_per_s{};  // in the first 0.3 s of the fault; not of a flapping
  Duration recovery{};
};

class PortFaultCase {
 public:
  PortFaultCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig)
      : environment_(environment),
        subject_(subject),
        rig_(std::move(rig)),
        blocks_(memory_for(environment, subject), {fmt::format("bench/{}", environment.plan().seed),
                                                   subject.size, environment.plan().seed, 1}),
        depth_(depth_for(environment.plan(), subject.size)),
        port_(static_cast<EthPortId::rep>(subject.eth_ports / 2)),
        load_(rig_->client(), rig_->clock(), gets()) {}

  Result<Rows> run() {
    if (auto loaded = load(); !loaded) {
      return loaded.error();
    }
    BenchRow row =
        row_for(environment_, subject_, *rig_, WorkOp::read, subject_.size * blocks_.count());
    row.depth = depth_;
    row.ceiling_kind = "healthy";
    const std::uint64_t resent = rig_->client().counters().runs_resent;
    for (std::uint32_t repeat = 0; repeat < environment_.plan().repeats; ++repeat) {
      if (auto measured = measure(row, environment_.plan().seed + repeat); !measured) {
        return measured.error();
      }
      environment_.progress().advance(1);
    }
    if (auto verified = verify_all(row); !verified) {
      return verified.error();
    }
    add_extra(row);
    row.extra["runs_resent"] = rig_->client().counters().runs_resent - resent;
    Rows rows;
    rows.push_back(std::move(row));
    return rows;
  }

 private:
  static MutableSpan memory_for(const Environment& environment, const BenchCase& subject) {
    const MutableSpan memory = environment.user_memory();
    return memory.first(std::min<std::size_t>(memory.size(), subject.size.count() * kBlocks));
  }

  // Every byte is compared as it arrives.
  RepeatedOperation gets() {
    return {blocks_.count(),
            [this](std::uint64_t index, TimePoint /*due*/, Done done) {
              blocks_.spoil_memory(index);
              blocks_.start_get(rig_->client(), index, 1, std::move(done));
            },
            [this](std::uint64_t index) { blocks_.verify(index, arrived_); }};
  }

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

  // What arrived under load was compared then; once more in order, so that there is a hash.
  Result<void> verify_all(BenchRow& row) {
    load_.drain();
    for (std::uint64_t i = 0; i < blocks_.count(); ++i) {
      blocks_.spoil_memory(i);
    }
    const LoopResult read = run_loop(rig_->client(), rig_->clock(), {blocks_.count(), depth_},
                                     [this](std::uint64_t index, Done done) {
                                       blocks_.start_get(rig_->client(), index, 1, std::move(done));
                                     });
    if (read.failures > 0) {
      return Error(read.first_failure, "a block could not be read");
    }
    for (std::uint64_t i = 0; i < blocks_.count(); ++i) {
      blocks_.verify(i, row.verification);
    }
    row.verification.bytes_checked += arrived_.bytes_checked;
    row.verification.wrong_bytes += arrived_.wrong_bytes;
    return {};
  }

  [[nodiscard]] TimePoint now() const { return rig_->clock().now(); }
  [[nodiscard]] Duration fault_phase() const {
    return std::max<Duration>(kPhase, subject_.fault.period * 2 * kFlapsPerPhase);
  }
  Result<void> set_fault(const emulator::PortFault& fault) {
    return rig_->box().set_port_fault(port_, fault);
  }

  // GB/s of payload over so long, with as many gets in flight as fill the lanes.
  double rate_over(Duration length) {
    const std::uint64_t before = rig_->client().counters().bytes_done;
    const TimePoint begin = now();
    load_.run_closed(depth_, begin + length);
    const double moved = static_cast<double>(rig_->client().counters().bytes_done - before);
    return moved / seconds(now() - begin) / 1e9;
  }

  [[nodiscard]] std::uint64_t port_bytes() const {
    return rig_->box().eth_port_door(port_).counters().bytes_sent.load();
  }

  // How long it takes from now until the port carries its share of the healthy rate.
  Duration recovery_time(double healthy_gb_per_s) {
    const double share = healthy_gb_per_s * 1e9 / subject_.eth_ports;
    std::deque<std::pair<TimePoint, std::uint64_t>> samples;
    const TimePoint healed = now();
    while (now() < healed + kRecoveryMax) {
      samples.emplace_back(now(), port_bytes());
      while (samples.back().first - samples.front().first > kShareWindow) {
        samples.pop_front();
      }
      const Duration window = samples.back().first - samples.front().first;
      const double bytes = static_cast<double>(samples.back().second - samples.front().second);
      if (window >= kShareWindow - 2 * kShareStep &&
          bytes / seconds(window) >= share * kShareCarried) {
        break;
      }
      load_.run_closed(depth_, now() + kShareStep);
    }
    return now() - healed;
  }

  Result<Outcome> measure_rates() {
    Outcome outcome;
    static_cast<void>(rate_over(kSettle));
    outcome.healthy_gb_per_s = rate_over(kPhase);
    if (auto set = set_fault(subject_.fault); !set) {
      return set.error();
    }
    if (subject_.fault.period == Duration()) {
      outcome.settling_gb_per_s = rate_over(kSettle);
    }
    outcome.faulty_gb_per_s = rate_over(fault_phase());
    if (auto set = set_fault({}); !set) {
      return set.error();
    }
    const TimePoint healed = now();
    outcome.recovery = recovery_time(outcome.healthy_gb_per_s);
    load_.run_closed(depth_, healed + kHealedAfter);
    outcome.healed_gb_per_s = rate_over(kPhase / 2);
    return outcome;
  }

  // Both halves of a repeat see gets begin at the same times.
  Result<void> measure_latencies(double healthy_gb_per_s, std::uint64_t seed) {
    const double per_second =
        healthy_gb_per_s * 1e9 / static_cast<double>(subject_.size.count()) * kHalfLoad;
    for (const bool is_faulty : {false, true}) {
      load_.drain();
      static_cast<void>(load_.take_latencies_us());
      if (auto set = set_fault(is_faulty ? subject_.fault : emulator::PortFault{}); !set) {
        return set;
      }
      run_half_load(per_second, seed, kSettle, settling_us_[is_faulty ? 1 : 0]);
      run_half_load(per_second, seed, kLatencyPhase, half_load_us_[is_faulty ? 1 : 0]);
    }
    return set_fault({});
  }

  // Adds the latencies of the gets that were due in so long, however long they take.
  void run_half_load(double per_second, std::uint64_t seed, Duration length,
                     std::vector<double>& latencies_us) {
    load_.run_open(per_second, seed, now() + length);
    load_.drain();
    const std::vector<double> more = load_.take_latencies_us();
    latencies_us.insert(latencies_us.end(), more.begin(), more.end());
  }

  Result<void> measure(BenchRow& row, std::uint64_t seed) {
    const double cpu_begin = cpu_seconds_used();
    const std::uint64_t bytes_begin = rig_->client().counters().bytes_done;
    const Result<Outcome> outcome = measure_rates();
    if (!outcome) {
      return outcome.error();
    }
    row.cpu_seconds += cpu_seconds_used() - cpu_begin;
    row.bytes_moved += rig_->client().counters().bytes_done - bytes_begin;
    row.gb_per_s.push_back(outcome->faulty_gb_per_s);
    row.ceiling_gb_per_s.push_back(outcome->healthy_gb_per_s);
    outcomes_.push_back(*outcome);
    if (auto measured = measure_latencies(outcome->healthy_gb_per_s, seed); !measured) {
      return measured;
    }
    if (load_.first_failure() != Errc::ok) {
      return Error(load_.first_failure(), "a block could not be read");
    }
    return {};
  }

  void add_extra(BenchRow& row) const {
    std::vector<double> healed_shares;
    double recovery_s = 0;
    double settling_share = std::numeric_limits<double>::infinity();  // null where there is none
    for (const Outcome& outcome : outcomes_) {
      if (outcome.settling_gb_per_s) {
        settling_share =
            std::min(settling_share, *outcome.settling_gb_per_s / outcome.healthy_gb_per_s);
      }
      healed_shares.push_back(outcome.healed_gb_per_s / outcome.healthy_gb_per_s);
      recovery_s = std::max(recovery_s, seconds(outcome.recovery));
    }
    row.latencies_us = half_load_us_[1];
    const double healthy_p99 = percentile(half_load_us_[0], 99);
    const double faulty_p99 = percentile(half_load_us_[1], 99);
    row.extra["fault"] = to_string(subject_.fault);
    row.extra["faulty_port"] = port_.value();
    row.extra["half_load_operations_healthy"] = half_load_us_[0].size();
    row.extra["half_load_p50_us_healthy"] = figure(percentile(half_load_us_[0], 50));
    row.extra["half_load_p99_us_healthy"] = figure(healthy_p99);
    row.extra["half_load_p99_us_faulty"] = figure(faulty_p99);
    row.extra["half_load_p99_factor"] = figure(faulty_p99 / healthy_p99, 4);
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();  // null
    for (const bool is_faulty : {false, true}) {
      const std::vector<double>& took_us = settling_us_[is_faulty ? 1 : 0];
      const std::string_view when = is_faulty ? "faulty" : "healthy";
      row.extra[fmt::format("settling_operations_{}", when)] = took_us.size();
      row.extra[fmt::format("settling_p99_us_{}", when)] =
          figure(took_us.empty() ? kNone : percentile(took_us, 99));
    }
    row.extra["settling_share_min"] = figure(settling_share);
    row.extra["recovery_s_max"] = figure(recovery_s, 4);
    row.extra["healed_share"] = figure(summarise(healed_shares).median, 4);
  }

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  BlockSet blocks_;
  std::uint32_t depth_;
  EthPortId port_;
  Verification arrived_;
  RepeatedLoad load_;
  std::vector<Outcome> outcomes_;
  std::array<std::vector<double>, 2> half_load_us_;  // healthy, faulty
  std::array<std::vector<double>, 2> settling_us_;   // before them, in the first 0.3 s
};

}  // namespace

Result<Rows> run_port_fault_case(Environment& environment, const BenchCase& subject) {
  Result<std::unique_ptr<Rig>> rig =
      start_rig(environment.plan(), subject, client_for(environment.plan(), subject));
  if (!rig) {
    return rig.error();
  }
  return PortFaultCase(environment, subject, std::move(*rig)).run();
}

}  // namespace godbox::app
