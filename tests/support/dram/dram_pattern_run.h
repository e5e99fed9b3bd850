// SPDX-License-Identifier: Apache-2.0
//
// Gives the lines of a DramPattern to the engine of the timing model under the rules of
// tests/vectors/ramulator2/README.md: the same limits, the same arrivals, the same measures.
// Who includes it has emulator/src among its include folders. Thread-safety: none. Units: clocks of
// the pattern's device. Errors: patterns that it cannot run are assertions.
#pragma once

#include "model/dram/dram_engine.h"
#include <godbox/assert.h>
#include <godbox_test/dram_vectors.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace godbox::test {

struct DramPatternFigures {
  std::uint64_t lines = 0;
  std::int64_t end_clock = 0;
  double bytes_per_s = 0;
  double read_mean_clocks = 0;
  std::int64_t read_p50_clocks = 0;
  std::int64_t write_p50_clocks = 0;
  std::uint64_t row_hits = 0;
};

[[nodiscard]] inline emulator::model::DramSpec dram_spec_of(const DramPattern& pattern) {
  using namespace emulator::model;
  const DramVectorDevice& device = pattern.device;
  const auto clocks = [&](const char* name) {
    const auto found = device.timing_clocks.find(name);
    return static_cast<std::uint32_t>(found == device.timing_clocks.end() ? 0 : found->second);
  };
  const bool is_ddr5 = device.standard == "DDR5";
  DramSpec spec;
  spec.name = device.name;
  DramOrganization& org = spec.organization;
  org.standard = is_ddr5 ? DramStandard::ddr5 : DramStandard::ddr4;
  org.megatransfers_per_s = static_cast<std::uint32_t>(device.rate_mt_per_s);
  org.sub_channels = static_cast<std::uint32_t>(pattern.sub_channels);
  org.sub_channel_bits = static_cast<std::uint32_t>(device.bus_width_bits);
  org.ranks = static_cast<std::uint32_t>(pattern.ranks);
  org.bank_groups = static_cast<std::uint32_t>(device.bank_groups);
  org.banks_per_group = static_cast<std::uint32_t>(device.banks_per_group);
  org.rows = device.rows;
  org.row_bytes = static_cast<std::uint32_t>(device.lines_per_row * kDramLineBytes);
  DramTimings& t = spec.timings;
  t.burst = clocks("nBL");
  t.cl = clocks("nCL");
  t.cwl = clocks("nCWL");
  t.rcd = clocks("nRCD");
  t.rp = clocks("nRP");
  t.ras = clocks("nRAS");
  t.rc = clocks("nRC");
  t.ccd_s = clocks("nCCDS");
  t.ccd_l = clocks("nCCDL");
  t.ccd_s_wr = is_ddr5 ? clocks("nCCDS_WR") : t.ccd_s;
  t.ccd_l_wr = is_ddr5 ? clocks("nCCDL_WR") : t.ccd_l;
  t.rrd_s = clocks("nRRDS");
  t.rrd_l = clocks("nRRDL");
  t.faw = clocks("nFAW");
  t.wr = clocks("nWR");
  t.wtr_s = clocks("nWTRS");
  t.wtr_l = clocks("nWTRL");
  t.rtp = clocks("nRTP");
  t.ppd = is_ddr5 ? clocks("nPPD") : 1;
  t.rfc = clocks("nRFC");
  t.refi = clocks("nREFI");
  t.rank_switch = clocks("nCS");
  t.read_to_write = is_ddr5 ? 4 : 2;
  t.long_command = static_cast<std::uint32_t>(device.command_clocks.at("RD"));
  DramController& controller = spec.controller;
  controller.read_queue = static_cast<std::uint32_t>(pattern.read_queue);
  controller.write_queue = static_cast<std::uint32_t>(pattern.write_queue);
  controller.write_high = pattern.drain_above;
  controller.write_low = pattern.drain_below;
  controller.rule = SchedulerRule::oldest_ready;
  controller.row_policy = pattern.closes_rows ? RowPolicy::closed : RowPolicy::open;
  controller.stagger_refresh = pattern.staggers_refresh;
  controller.mapping = default_mapping(org);  // the places are the pattern's own
  return spec;
}

class DramPatternRun {
 public:
  explicit DramPatternRun(const DramPattern& pattern, bool is_idle = false)
      : pattern_(pattern), is_idle_(is_idle) {
    emulator::model::DramSpec spec = dram_spec_of(pattern);
    spec.timings.refi = is_idle ? 0 : spec.timings.refi;
    for (std::uint64_t i = 0; i < pattern.sub_channels; ++i) {
      halves_.push_back(std::make_unique<Half>(spec));
    }
    DramStream stream(pattern.stream);
    const std::uint64_t lines =
        is_idle ? std::min(kDramIdleLines, pattern.stream.lines) : pattern.stream.lines;
    for (std::uint64_t i = 0; i < lines; ++i) {
      lines_.push_back(line_of(stream.next()));
    }
    arrivals_.resize(lines);
    clocks_.resize(lines);
  }

  [[nodiscard]] DramPatternFigures run() {
    play();
    return figures();
  }

  // The simulation alone; once. The lines were made before, and the figures come after.
  void play() {
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      give(static_cast<std::uint32_t>(i));
    }
    for (const auto& half : halves_) {
      while (half->engine.queued() != 0) {
        run_to_access(*half, emulator::model::kCycleNever);
      }
    }
  }
  [[nodiscard]] DramPatternFigures figures() const {
    DramPatternFigures result;
    result.lines = lines_.size();
    result.end_clock = end_;
    result.bytes_per_s = static_cast<double>(result.lines * kDramLineBytes) * 1e12 /
                         (static_cast<double>(end_) * static_cast<double>(pattern_.device.tck_ps));
    std::array<std::vector<Cycle>, 2> clocks;  // of reads, of writes
    double sum = 0;
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      clocks[lines_[i].is_write ? 1 : 0].push_back(clocks_[i]);
      sum += lines_[i].is_write ? 0 : static_cast<double>(clocks_[i]);
    }
    result.read_mean_clocks = clocks[0].empty() ? 0 : sum / static_cast<double>(clocks[0].size());
    result.read_p50_clocks = median(clocks[0]);
    result.write_p50_clocks = median(clocks[1]);
    for (const auto& half : halves_) {
      result.row_hits += half->engine.counters().row_hits;
    }
    return result;
  }

 private:
  using Cycle = emulator::model::Cycle;
  struct Line {
    emulator::model::DramPlace place;
    std::uint8_t half = 0;
    bool is_write = false;
  };
  // A queue of few.
  class Cycles {
   public:
    [[nodiscard]] bool empty() const { return begin_ == end_; }
    [[nodiscard]] Cycle front() const { return ring_[begin_ % ring_.size()]; }
    [[nodiscard]] Cycle back() const { return ring_[(end_ - 1) % ring_.size()]; }
    void pop_front() { ++begin_; }
    void push_back(Cycle cycle) {
      GODBOX_ASSERT(end_ - begin_ < ring_.size());
      ring_[end_++ % ring_.size()] = cycle;
    }

   private:
    std::array<Cycle, 1024> ring_{};
    std::uint32_t begin_ = 0;
    std::uint32_t end_ = 0;
  };
  struct Half {
    explicit Half(const emulator::model::DramSpec& spec) : engine(spec) {}
    emulator::model::DramEngine engine;
    std::array<std::uint64_t, 2> in_flight{};  // reads, writes
    std::array<Cycles, 2> leaving{};           // when those that were issued leave
  };

  [[nodiscard]] Line line_of(const DramLine& line) const {
    const DramPlace place = dram_place(line.address_bytes, pattern_.mapping);
    const auto at = [&](DramField field) { return place[static_cast<std::size_t>(field)]; };
    const auto groups = static_cast<std::uint32_t>(pattern_.device.bank_groups);
    const auto banks = static_cast<std::uint32_t>(pattern_.device.banks_per_group);
    const std::uint32_t bank =
        (at(DramField::rank) * groups + at(DramField::bank_group)) * banks + at(DramField::bank);
    return {.place = {bank, at(DramField::row)},
            .half = static_cast<std::uint8_t>(at(DramField::sub_channel)),
            .is_write = line.is_write};
  }

  auto on_access(Half& half) {
    return [this, &half](std::uint32_t tag, bool is_write, Cycle issued, Cycle data_end) {
      end_ = std::max(end_, data_end);
      half.leaving[is_write ? 1 : 0].push_back(is_write && !is_idle_ ? issued : data_end);
      clocks_[tag] = data_end - arrivals_[tag];
    };
  }
  bool run_to_access(Half& half, Cycle until) {
    return half.engine.run_to_access(until, on_access(half));
  }
  void leave(Half& half) {
    for (std::size_t d = 0; d < 2; ++d) {
      while (!half.leaving[d].empty() && half.leaving[d].front() <= front_) {
        half.leaving[d].pop_front();
        --half.in_flight[d];
      }
    }
  }
  [[nodiscard]] bool is_held(Half& half, bool is_write) {
    leave(half);
    const DramInjection& limits = pattern_.injection;
    if (is_idle_ || limits.lines_in_flight != 0) {
      std::uint64_t all = 0;
      for (const auto& other : halves_) {
        leave(*other);
        all += other->in_flight[0] + other->in_flight[1];
      }
      return all >= (is_idle_ ? 1 : limits.lines_in_flight);
    }
    const std::uint64_t limit = is_write ? limits.writes_in_flight : limits.reads_in_flight;
    return (limit != 0 && half.in_flight[is_write ? 1 : 0] >= limit) ||
           !half.engine.has_room(is_write);
  }
  // Until the next time at which a line of the half may leave it or its queue.
  void wait(Half& half) {
    Cycle next = emulator::model::kCycleNever;
    for (const auto& queue : half.leaving) {
      next = queue.empty() ? next : std::min(next, queue.front());
    }
    if (half.in_flight[0] + half.in_flight[1] == 0) {
      return;
    }
    if (half.engine.queued() != 0 && run_to_access(half, next)) {
      for (const auto& queue : half.leaving) {
        next = queue.empty() ? next : std::min(next, queue.front());
      }
      if (pattern_.injection.interval_clocks != 0 && !is_idle_) {  // room in the queue is enough
        next = last_issued(half);
      }
    }
    front_ = std::max(front_, next);
  }
  [[nodiscard]] static Cycle last_issued(const Half& half) {
    Cycle last = 0;
    if (!half.leaving[1].empty()) {
      last = half.leaving[1].back();
    }
    if (!half.leaving[0].empty()) {
      last = std::max(last, half.leaving[0].back() - half.engine.read_data_end(0));
    }
    return last;
  }
  void give(std::uint32_t tag) {
    const DramInjection& injection = pattern_.injection;
    const bool is_write = lines_[tag].is_write;
    Half& half = *halves_[lines_[tag].half];
    Cycle arrival = -1;
    if (injection.interval_clocks != 0 && !is_idle_) {
      arrival = static_cast<Cycle>(tag / injection.burst_lines * injection.interval_clocks);
      front_ = std::max(front_, arrival);
      half.engine.run(front_ + 1, on_access(half));
    }
    while (is_held(half, is_write)) {
      for (const auto& other : halves_) {
        if (other.get() == &half || is_idle_ || injection.lines_in_flight != 0) {
          wait(*other);
        }
      }
    }
    if (is_idle_ && tag != 0) {
      front_ += kDramIdleGapClocks;
    }
    arrivals_[tag] = arrival >= 0 ? arrival : front_;
    half.engine.run(front_ + 1, on_access(half));  // no command in the clock of an arrival
    half.engine.submit(lines_[tag].place, is_write, tag, front_ + 1);
    ++half.in_flight[is_write ? 1 : 0];
  }
  [[nodiscard]] static std::int64_t median(std::vector<Cycle>& values) {
    if (values.empty()) {
      return 0;
    }
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
  }

  const DramPattern& pattern_;
  bool is_idle_;
  std::vector<std::unique_ptr<Half>> halves_;
  std::vector<Line> lines_;
  std::vector<Cycle> arrivals_;  // of each line
  std::vector<Cycle> clocks_;    // ... from there to its last data
  Cycle front_ = 0;
  Cycle end_ = 0;
};

}  // namespace godbox::test
