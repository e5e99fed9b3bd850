// SPDX-License-Identifier: Apache-2.0
#include "twin/load_model.h"

#include "measure/statistics.h"
#include "twin/block_lru.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <queue>
#include <set>
#include <unordered_set>

namespace godbox::app {
namespace {

namespace model = emulator::model;

constexpr double kPsPerSecond = 1e12;
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();
constexpr double kBusyHosts = 0.7;
constexpr std::uint64_t kEventsBetweenLooks = 4096;  // at the clock
constexpr double kSecondsMax{model::BoxRun::kSecondsMax};

double seconds(std::uint64_t ps) { return static_cast<double>(ps) / kPsPerSecond; }

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

double compute_s(const LoadSpec& spec, const TraceRequest& request, std::uint64_t hits) {
  // The last token is computed always: it gives the first one of the answer.
  const double tokens = std::max(1.0, static_cast<double>(request.input_tokens));
  const double cached = std::min(static_cast<double>(hits * kTraceBlockTokens), tokens - 1);
  return spec.prefill.operations(tokens - cached, cached) / spec.host_operations_per_s;
}

double arrival_s(const LoadSpec& spec, const TraceRequest& request) {
  return static_cast<double>(request.at.count()) / 1e3 / spec.speed;
}

// Of a trace that check_times() lets through.
std::uint64_t arrival_ps(const LoadSpec& spec, const TraceRequest& request) {
  return static_cast<std::uint64_t>(static_cast<double>(request.at.count()) * 1e9 / spec.speed);
}

// What of a request takes too long, and what is allowed.
Error too_long(const Trace& trace, std::size_t index, std::string_view what) {
  const TraceRequest& request = trace[index];
  return {Errc::invalid_argument, fmt::format("{} {}: {}; allowed is at most {} s of virtual time",
                                              request.line > 0 ? "line" : "request",
                                              request.line > 0 ? request.line : index + 1, what,
                                              model::BoxRun::kSecondsMax)};
}

// Before anything is run: whether each request comes, and is computed, in the time there is.
Result<void> check_times(const LoadSpec& spec, const Trace& trace) {
  for (std::size_t i = 0; i < trace.size(); ++i) {
    const double at_s = arrival_s(spec, trace[i]);
    if (at_s > kSecondsMax) {
      return too_long(trace, i,
                      fmt::format("timestamp {} at --speed {:g} is {:.6g} s", trace[i].at.count(),
                                  spec.speed, at_s));
    }
    const double taken_s = compute_s(spec, trace[i], 0);
    if (taken_s > kSecondsMax) {
      return too_long(trace, i,
                      fmt::format("input_length {} takes a host {:.6g} s to compute",
                                  trace[i].input_tokens, taken_s));
    }
  }
  return {};
}

// When a host has computed a prompt.
struct Computed {
  std::uint64_t at_ps = 0;
  std::uint32_t host = 0;
  std::size_t request = 0;
  bool operator>(const Computed& other) const {
    return at_ps != other.at_ps ? at_ps > other.at_ps : host > other.host;
  }
};

struct EndsLater {
  bool operator()(const model::BoxCompletion& a, const model::BoxCompletion& b) const {
    return a.end_ps != b.end_ps ? a.end_ps > b.end_ps : a.id > b.id;
  }
};

// The events of a trace; without a box nothing is found, read or put.
class LoadRun {
 public:
  LoadRun(const LoadSpec& spec, const Trace& trace, model::BoxRun* box, Progress& progress,
          LoadFigures& figures)
      : spec_(spec),
        trace_(trace),
        box_(box),
        progress_(progress),
        figures_(figures),
        first_token_s_(box == nullptr ? figures.recomputed_s : figures.first_token_s),
        pool_(spec.pool_blocks),
        states_(trace.size()) {
    for (std::uint32_t host = 0; host < spec.box.hosts; ++host) {
      idle_.insert(host);
    }
    first_token_s_.resize(trace.size());
    figures.first_token_bounds.resize(trace.size());
  }

  Result<void> run() {
    while (true) {
      const std::uint64_t arrival =
          arrived_ == trace_.size() ? kNever : arrival_ps(spec_, trace_[arrived_]);
      const std::uint64_t computed = computed_.empty() ? kNever : computed_.top().at_ps;
      const std::uint64_t written = written_.empty() ? kNever : written_.top().end_ps;
      const std::uint64_t until = std::min({arrival, computed, written});
      const std::optional<model::BoxCompletion> moved =
          box_ == nullptr ? std::nullopt : box_->next(until, kEventsBetweenLooks);
      const bool is_on_its_way = box_ != nullptr && box_->is_on_its_way();
      if (Result<void> timely = check_limit(is_on_its_way ? box_->now_ps() : until); !timely) {
        return timely;
      }
      if (is_on_its_way) {
        continue;
      }
      if (moved) {
        if (Result<void> taken = take(*moved); !taken) {
          return taken;
        }
        continue;
      }
      if (until == kNever) {
        return {};
      }
      if (Result<void> done = step(until); !done) {
        return done;
      }
    }
  }

 private:
  Result<void> check_limit(std::uint64_t until_ps) {
    if (!spec_.deadline || std::chrono::steady_clock::now() <= *spec_.deadline) {
      return {};
    }
    const std::uint64_t last_ps = arrival_ps(spec_, trace_.back());
    return Error(
        Errc::cancelled,
        fmt::format("stopped at its limit of time: {} of {} requests, {:.0f} of {:.0f} s "
                    "of the trace; raise --limit or take fewer requests",
                    done_, trace_.size(), seconds(std::min(until_ps, last_ps)), seconds(last_ps)));
  }

  // What is written, arrives and is computed in one moment, and what idle hosts take then.
  Result<void> step(std::uint64_t now_ps) {
    while (!written_.empty() && written_.top().end_ps == now_ps) {
      keep(written_.top());
      written_.pop();
    }
    while (arrived_ < trace_.size() && arrival_ps(spec_, trace_[arrived_]) == now_ps) {
      waiting_.push_back(arrived_++);
    }
    while (!computed_.empty() && computed_.top().at_ps == now_ps) {
      const Computed one = computed_.top();
      computed_.pop();
      if (Result<void> done = finish(one); !done) {
        return done;
      }
    }
    while (!waiting_.empty() && !idle_.empty()) {
      const std::size_t request = waiting_.front();
      const std::uint32_t host = *idle_.begin();
      waiting_.pop_front();
      idle_.erase(idle_.begin());
      if (Result<void> begun = begin(request, host, now_ps); !begun) {
        return begun;
      }
    }
    return {};
  }

  Result<void> begin(std::size_t index, std::uint32_t host, std::uint64_t now_ps) {
    const TraceRequest& request = trace_[index];
    State& state = states_[index];
    state.host = host;
    state.begun_ps = now_ps;
    if (box_ != nullptr) {
      while (state.hits < request.blocks.size() && pool_.has(request.blocks[state.hits])) {
        ++state.hits;
      }
      // As in the real pool, a prompt's head counts as used after its tail.
      for (std::uint64_t i = state.hits; i-- > 0;) {
        pool_.touch(request.blocks[i]);
      }
      for (std::size_t i = state.hits; i < request.blocks.size(); ++i) {
        // Behind a missing block others may be there.
        if (!pool_.has(request.blocks[i]) && writing_.insert(request.blocks[i]).second) {
          state.fresh.push_back(request.blocks[i]);
        }
      }
      figures_.prefix_hits += state.hits;
    }
    if (state.hits == 0) {
      return compute(index, now_ps);
    }
    return move(index, state.hits, false, request.blocks.front(), now_ps);
  }

  Result<void> compute(std::size_t index, std::uint64_t now_ps) {
    const double taken_s = compute_s(spec_, trace_[index], states_[index].hits);
    if (seconds(now_ps) + taken_s > kSecondsMax) {
      return too_long(trace_, index,
                      fmt::format("its first token is there after {:.6g} s, as {} hosts take one "
                                  "prompt after the other",
                                  seconds(now_ps) + taken_s, spec_.box.hosts));
    }
    (box_ == nullptr ? figures_.recompute_s : figures_.compute_s) += taken_s;
    computed_.push({now_ps + static_cast<std::uint64_t>(taken_s * kPsPerSecond + 0.5),
                    states_[index].host, index});
    return {};
  }

  Result<void> finish(const Computed& one) {
    const std::uint64_t arrived_ps = arrival_ps(spec_, trace_[one.request]);
    first_token_s_[one.request] = seconds(one.at_ps - arrived_ps);
    figures_.first_token_bounds[one.request] = bound_of(one, arrived_ps);
    figures_.seconds = std::max(figures_.seconds, seconds(one.at_ps));
    ++done_;
    progress_.advance(1);
    idle_.insert(one.host);
    const std::vector<std::uint64_t>& fresh = states_[one.request].fresh;
    if (fresh.empty()) {
      return {};
    }
    return move(one.request, fresh.size(), true, fresh.front(), one.at_ps);
  }

  Result<void> move(std::size_t index, std::uint64_t blocks, bool is_write,
                    std::uint64_t first_block, std::uint64_t now_ps) {
    // Where the pool has put a block is as good as chance, and the same each time.
    const std::uint64_t place = (first_block ^ spec_.seed) * 0x9E3779B97F4A7C15;
    return box_->submit({.id = index + 1,
                         .at_ps = now_ps,
                         .size = blocks * spec_.block,
                         .is_write = is_write,
                         .host = states_[index].host,
                         .first_channel = static_cast<std::uint32_t>(place >> 40U)});
  }

  static Bound bound_of(const std::optional<std::size_t>& stage) {
    return stage ? Bound{Bound::Kind::stage, static_cast<std::uint8_t>(*stage)}
                 : Bound{Bound::Kind::delay, 0};
  }
  [[nodiscard]] Bound bound_of(const Computed& one, std::uint64_t arrived_ps) const {
    const State& state = states_[one.request];
    const std::uint64_t wait_ps = state.begun_ps - arrived_ps;
    const std::uint64_t compute_ps = one.at_ps - state.begun_ps - state.load_ps;
    if (state.load_ps > std::max(wait_ps, compute_ps)) {
      return bound_of(state.load_bound);
    }
    return {wait_ps > compute_ps ? Bound::Kind::wait : Bound::Kind::compute, 0};
  }

  Result<void> take(const model::BoxCompletion& moved) {
    const double taken_s = seconds(moved.end_ps - moved.at_ps);
    figures_.seconds = std::max(figures_.seconds, seconds(moved.end_ps));
    if (!moved.is_write) {
      figures_.load_s.push_back(taken_s);
      states_[moved.id - 1].load_ps = moved.end_ps - moved.at_ps;
      states_[moved.id - 1].load_bound = moved.bound_by;
      return compute(moved.id - 1, moved.end_ps);
    }
    figures_.put_s.push_back(taken_s);
    figures_.put_bounds.push_back(bound_of(moved.bound_by));
    // It is told when its last strip comes to the DRAM, which may have others before it.
    written_.push(moved);
    return {};
  }

  // What is put is in the pool from the end of its write on.
  void keep(const model::BoxCompletion& written) {
    State& state = states_[written.id - 1];
    figures_.puts += state.fresh.size();
    for (auto block = state.fresh.rbegin(); block != state.fresh.rend(); ++block) {
      writing_.erase(*block);
      figures_.evictions += pool_.put(*block);
    }
    state.fresh = {};
  }

  struct State {
    std::uint32_t host = 0;
    std::uint64_t begun_ps = 0;  // a host has taken it
    std::uint64_t load_ps = 0;   // that its read took
    std::optional<std::size_t> load_bound;
    std::uint64_t hits = 0;
    std::vector<std::uint64_t> fresh;  // blocks that it puts
  };

  const LoadSpec& spec_;
  const Trace& trace_;
  model::BoxRun* box_;
  Progress& progress_;
  LoadFigures& figures_;
  std::vector<double>& first_token_s_;
  BlockLru pool_;
  std::vector<State> states_;
  std::unordered_set<std::uint64_t> writing_;
  std::priority_queue<model::BoxCompletion, std::vector<model::BoxCompletion>, EndsLater> written_;
  std::size_t arrived_ = 0;
  std::uint64_t done_ = 0;
  std::deque<std::size_t> waiting_;
  std::set<std::uint32_t> idle_;  // the first of them takes the next request
  std::priority_queue<Computed, std::vector<Computed>, std::greater<>> computed_;
};

// Of a stage's busier direction; none where the box has no such stage.
std::optional<double> busy_share(const LoadFigures& figures, std::string_view stage) {
  std::optional<double> busiest;
  for (const model::StageLoad& one : figures.box.stages) {
    if (one.name == stage && figures.seconds > 0) {
      busiest = std::max(busiest.value_or(0), one.busy_s / one.count / figures.seconds);
    }
  }
  return busiest;
}

std::optional<double> most_over_mean(const std::vector<std::uint64_t>& bytes) {
  const double times = imbalance(bytes);
  return times > 0 ? std::optional(times) : std::nullopt;
}

void add_stage_figures(const LoadFigures& figures, std::vector<NamedFigure>& named) {
  struct Stage {
    std::string_view figure;
    std::string_view name;
  };
  for (const Stage& stage :
       {Stage{"dram_busy_share", "DRAM channel"}, Stage{"link_busy_share", "CXL link"},
        Stage{"path_busy_share", "SuperNIC path"}, Stage{"port_busy_share", "Ethernet port"},
        Stage{"nic_busy_share", "host NIC"}, Stage{"pcie_busy_share", "host PCIe"}}) {
    named.push_back({stage.figure, "", busy_share(figures, stage.name)});
  }
  const bool has_time = figures.seconds > 0 && figures.hosts > 0;
  named.push_back({"gpu_busy_share", "",
                   has_time ? std::optional(figures.compute_s / figures.hosts / figures.seconds)
                            : std::nullopt});
  named.push_back({"channel_bytes_max_over_mean", "", most_over_mean(figures.box.channel_bytes)});
  named.push_back({"port_read_max_over_mean", "", most_over_mean(figures.box.port_bytes_read)});
  named.push_back(
      {"port_written_max_over_mean", "", most_over_mean(figures.box.port_bytes_written)});
}

}  // namespace

double LoadFigures::hit_share() const {
  return block_references == 0
             ? 0
             : static_cast<double>(prefix_hits) / static_cast<double>(block_references);
}

double LoadFigures::first_token_saved_share() const {
  const double without = sum(recomputed_s);
  return without > 0 ? 1 - sum(first_token_s) / without : 0;
}

double LoadFigures::throughput_factor() const {
  return compute_s + loading_s() > 0 ? recompute_s / (compute_s + loading_s()) : 0;
}

double LoadFigures::loading_s() const { return sum(load_s); }

std::uint32_t hosts_for(const LoadSpec& spec, const Trace& trace) {
  double work_s = 0;
  for (const TraceRequest& request : trace) {
    work_s += compute_s(spec, request, 0);
  }
  const double trace_s = std::max(seconds(arrival_ps(spec, trace.back())), 1.0);
  const double hosts = std::ceil(work_s / trace_s / kBusyHosts);
  return static_cast<std::uint32_t>(std::clamp(hosts, 1.0, double{model::kHostsMax}));
}

Result<LoadFigures> model_load(const LoadSpec& spec, const Trace& trace, Progress& progress) {
  if (const Result<void> timely = check_times(spec, trace); !timely) {
    return timely.error();
  }
  LoadSpec full = spec;
  if (full.box.hosts == 0) {
    full.box.hosts = hosts_for(spec, trace);
  }
  Result<model::BoxRun> box = model::BoxRun::make(full.box);
  if (!box) {
    return box.error();
  }
  LoadFigures figures;
  figures.hosts = full.box.hosts;
  figures.requests = trace.size();
  for (const TraceRequest& request : trace) {
    figures.block_references += request.blocks.size();
  }
  if (const Result<void> run = LoadRun(full, trace, nullptr, progress, figures).run(); !run) {
    return run.error();
  }
  figures.seconds = 0;
  if (const Result<void> run = LoadRun(full, trace, &*box, progress, figures).run(); !run) {
    return run.error();
  }
  figures.box = box->figures();
  return figures;
}

Result<double> lone_first_token_s(const LoadSpec& spec, std::uint32_t tokens, double found_share) {
  const auto hits = static_cast<std::uint64_t>(found_share * tokens / kTraceBlockTokens);
  double load_s = 0;
  if (hits > 0) {
    const model::BoxShape& shape = spec.box.shape;
    const auto moved = model::time_transfer(
        spec.box.model, shape,
        {hits * spec.block, shape.super_nics * shape.dram_channels_per_super_nic,
         shape.super_nics * shape.eth_ports_per_super_nic, spec.box.nics_per_host},
        spec.box.rates.read);
    if (!moved) {
      return moved.error();
    }
    load_s = moved->seconds;
  }
  return load_s + compute_s(spec, {.input_tokens = tokens}, hits);
}

namespace {

std::string name_of(const model::StageLoad& stage) {
  return stage.flow == model::BoxFlow::both
             ? std::string(stage.name)
             : fmt::format("{}, {}", stage.name, model::to_string(stage.flow));
}

std::string name_of(const Bound& bound, const LoadFigures& figures) {
  switch (bound.kind) {
    case Bound::Kind::wait:
      return "GPUs of the hosts, waited for";
    case Bound::Kind::compute:
      return "GPUs of the hosts, computing";
    case Bound::Kind::delay:
      return "delays of a first byte";
    case Bound::Kind::stage:
      break;
  }
  return name_of(figures.box.stages.at(bound.stage));
}

std::vector<Bottleneck> bottlenecks_of(std::string_view of, const std::vector<Bound>& bounds,
                                       const std::vector<double>& times_s,
                                       const LoadFigures& figures) {
  std::map<Bound, std::vector<double>> by_bound;
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    by_bound[bounds[i]].push_back(times_s[i]);
  }
  std::vector<Bottleneck> found;
  found.reserve(by_bound.size());
  for (auto& [bound, times] : by_bound) {
    found.push_back({of, name_of(bound, figures), std::move(times)});
  }
  std::stable_sort(found.begin(), found.end(), [](const Bottleneck& a, const Bottleneck& b) {
    return a.times_s.size() > b.times_s.size();
  });
  return found;
}

}  // namespace

std::vector<Bottleneck> bottlenecks(const LoadFigures& figures) {
  std::vector<Bottleneck> all =
      bottlenecks_of("first token", figures.first_token_bounds, figures.first_token_s, figures);
  for (Bottleneck& put : bottlenecks_of("put", figures.put_bounds, figures.put_s, figures)) {
    all.push_back(std::move(put));
  }
  return all;
}

std::vector<Busy> busy_parts(const LoadFigures& figures) {
  std::vector<Busy> parts;
  if (!(figures.seconds > 0)) {
    return parts;
  }
  const auto share = [&figures](double busy_s, std::uint32_t count) {
    return busy_s / count / figures.seconds;
  };
  for (const model::StageLoad& stage : figures.box.stages) {
    parts.push_back({name_of(stage), share(stage.busy_s, stage.count)});
  }
  parts.push_back({"GPUs of the hosts", share(figures.compute_s, figures.hosts)});
  std::stable_sort(parts.begin(), parts.end(),
                   [](const Busy& a, const Busy& b) { return a.share > b.share; });
  return parts;
}

std::vector<NamedFigure> named_figures(const LoadFigures& figures) {
  const auto most = [](const std::vector<std::uint64_t>& seconds) {
    return seconds.empty() ? 0.0
                           : static_cast<double>(*std::max_element(seconds.begin(), seconds.end()));
  };
  const auto rate = [&figures](std::uint64_t bytes) {
    return figures.seconds > 0 ? static_cast<double>(bytes) / figures.seconds : 0;
  };
  using Value = std::optional<double>;
  const auto mean = [](const std::vector<double>& values) {
    return values.empty() ? Value() : sum(values) / static_cast<double>(values.size());
  };
  const auto place = [](const std::vector<double>& values, double percent) {
    return values.empty() ? Value() : percentile(values, percent);
  };
  std::vector<NamedFigure> named{
      {"read_bytes_per_s", "bytes/s", rate(figures.box.bytes_read), true},
      {"read_bytes_per_s_peak", "bytes/s", most(figures.box.second_bytes_read), true},
      {"write_bytes_per_s", "bytes/s", rate(figures.box.bytes_written), true},
      {"write_bytes_per_s_peak", "bytes/s", most(figures.box.second_bytes_written), true},
      {"hit_share", "", figures.block_references > 0 ? figures.hit_share() : Value(), true},
      {"first_token_saved_share", "", figures.first_token_saved_share(), true},
      {"throughput_factor", "", figures.throughput_factor(), true},
      {"first_token_mean_s", "s", mean(figures.first_token_s)},
      {"first_token_p50_s", "s", place(figures.first_token_s, 50)},
      {"first_token_p99_s", "s", place(figures.first_token_s, 99)},
      {"first_token_p999_s", "s", place(figures.first_token_s, 99.9)},
      {"recomputed_mean_s", "s", mean(figures.recomputed_s)},
      {"recomputed_p50_s", "s", place(figures.recomputed_s, 50)},
      {"recomputed_p99_s", "s", place(figures.recomputed_s, 99)},
      {"recomputed_p999_s", "s", place(figures.recomputed_s, 99.9)},
      {"load_mean_s", "s", mean(figures.load_s)},
      {"load_p50_s", "s", place(figures.load_s, 50)},
      {"load_p99_s", "s", place(figures.load_s, 99)},
      {"load_p999_s", "s", place(figures.load_s, 99.9)},
      {"put_mean_s", "s", mean(figures.put_s)},
      {"put_p50_s", "s", place(figures.put_s, 50)},
      {"put_p99_s", "s", place(figures.put_s, 99)},
      {"put_p999_s", "s", place(figures.put_s, 99.9)},
      {"seconds", "s", figures.seconds},
  };
  add_stage_figures(figures, named);
  return named;
}

}  // namespace godbox::app
