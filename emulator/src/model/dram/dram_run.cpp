// SPDX-License-Identifier: Apache-2.0
#include "model/dram/address_decoder.h"
#include "model/dram/line_source.h"
#include "model/histogram.h"
#include <godbox/emulator/model/dram_run.h>

#include <fmt/format.h>

#include <deque>
#include <memory>

namespace godbox::emulator::model {
namespace {

// One sub-channel under load: its engine, who is in it, and what is measured of them.
class LoadedSubChannel {
 public:
  LoadedSubChannel(const DramSpec& spec, std::uint32_t window)
      : engine_(spec), cycle_ns_(spec.organization.cycle_ns()), window_(window) {
    for (std::size_t i = 0; i < free_tags_.size(); ++i) {
      free_tags_[i] = static_cast<std::uint32_t>(i);
    }
  }

  // The line arrived at `arrival_ns`; it waits until the queue has room for it. Lines of a
  // sub-channel are given in the order of their arrival. Lines without an arrival come as soon as
  // they are taken.
  void take(const DramPlace& place, bool is_write, double arrival_ns) {
    front_ = std::max(front_, static_cast<Cycle>(std::ceil(arrival_ns / cycle_ns_)));
    run(front_);
    while (!engine_.has_room(is_write) || is_window_full()) {
      wait();
    }
    const Cycle arrival =
        arrival_ns < 0 ? front_ : static_cast<Cycle>(std::ceil(arrival_ns / cycle_ns_));
    note_queue(front_);
    const std::uint32_t tag = free_tags_[--free_tag_count_];
    stamps_[tag] = {arrival, front_};
    engine_.submit(place, is_write, tag, front_);
    in_flight_ += 1;
  }

  void finish() {
    while (engine_.queued() != 0) {
      run_to_access();
    }
  }

  [[nodiscard]] const DramCounters& counters() const { return engine_.counters(); }
  [[nodiscard]] const Histogram& reads() const { return reads_; }
  [[nodiscard]] double end_ns() const { return static_cast<double>(end_) * cycle_ns_; }
  [[nodiscard]] double queued_area() const { return area_ * cycle_ns_; }
  [[nodiscard]] double waited_ns() const { return static_cast<double>(waited_) * cycle_ns_; }

 private:
  struct Stamp {
    Cycle arrival = 0;
    Cycle submitted = 0;
  };
  static constexpr std::size_t kTags = std::size_t{2} * kQueueEntriesMax;

  void accessed(std::uint32_t tag, bool is_write, Cycle issued, Cycle data_end) {
    note_queue(issued, 1);
    free_tags_[free_tag_count_++] = tag;
    waited_ += issued - stamps_[tag].submitted;
    end_ = std::max(end_, data_end);
    if (window_ != 0) {
      leaving_.push_back(data_end);
    }
    if (!is_write) {
      reads_.add(static_cast<double>(data_end - stamps_[tag].arrival) * cycle_ns_);
    }
  }
  void run(Cycle until) {
    engine_.run(until, [this](std::uint32_t tag, bool is_write, Cycle issued, Cycle data_end) {
      accessed(tag, is_write, issued, data_end);
    });
  }
  Cycle run_to_access() {
    Cycle at = 0;
    engine_.run_to_access(
        kCycleNever, [this, &at](std::uint32_t tag, bool is_write, Cycle issued, Cycle data_end) {
          accessed(tag, is_write, issued, data_end);
          at = issued;
        });
    return at;
  }

  [[nodiscard]] bool is_window_full() {
    while (!leaving_.empty() && leaving_.front() <= front_) {
      leaving_.pop_front();
      --in_flight_;
    }
    return window_ != 0 && in_flight_ >= window_;
  }
  void wait() {
    if (window_ != 0 && !leaving_.empty()) {
      front_ = std::max(front_, leaving_.front());
      run(front_);
      return;
    }
    front_ = std::max(front_, run_to_access());
  }
  // The number in the queues was the same since the last time it changed. `left`: has just gone.
  void note_queue(Cycle at, std::uint32_t left = 0) {
    area_ += static_cast<double>(engine_.queued() + left) * static_cast<double>(at - last_change_);
    last_change_ = at;
  }

  DramEngine engine_;
  double cycle_ns_;
  std::uint32_t window_;
  std::uint32_t in_flight_ = 0;
  std::size_t free_tag_count_ = kTags;
  std::array<std::uint32_t, kTags> free_tags_{};
  Cycle front_ = 0;
  Cycle end_ = 0;
  Cycle last_change_ = 0;
  Cycle waited_ = 0;
  double area_ = 0;
  Histogram reads_;
  std::array<Stamp, kTags> stamps_{};
  std::deque<Cycle> leaving_;
};

DramFigures figures_of(const DramSpec& spec,
                       const std::vector<std::unique_ptr<LoadedSubChannel>>& parts) {
  DramFigures result;
  Histogram reads;
  double bus_busy_ns = 0;
  double area = 0;
  double waited_ns = 0;
  for (const auto& part : parts) {
    const DramCounters& counted = part->counters();
    result.lines += counted.reads + counted.writes;
    result.row_hits += counted.row_hits;
    result.row_misses += counted.row_misses;
    result.row_conflicts += counted.row_conflicts;
    result.activates += counted.activates;
    result.refreshes += counted.refreshes;
    result.turnarounds += counted.turnarounds;
    result.elapsed_ns = std::max(result.elapsed_ns, part->end_ns());
    bus_busy_ns += static_cast<double>(counted.bus_busy) * spec.organization.cycle_ns();
    area += part->queued_area();
    waited_ns += part->waited_ns();
    reads.add(part->reads());
  }
  if (result.elapsed_ns > 0) {
    result.delivered =
        Rate(static_cast<double>(result.lines * kLine.count()) * 1e9 / result.elapsed_ns);
    result.efficiency =
        result.delivered.bytes_per_second() / spec.organization.peak().bytes_per_second();
    result.bus_utilisation = bus_busy_ns / result.elapsed_ns / static_cast<double>(parts.size());
    result.queued_mean = area / result.elapsed_ns;
    result.queued_by_little = waited_ns / result.elapsed_ns;
  }
  result.read_mean_ns = reads.mean();
  result.read_p50_ns = reads.quantile(0.5);
  result.read_p99_ns = reads.quantile(0.99);
  result.read_max_ns = reads.max();
  return result;
}

}  // namespace

Result<void> validate(const DramLoad& load, SizeBytes capacity) {
  if (!(load.read_share >= 0 && load.read_share <= 1)) {
    return Error(Errc::config_invalid,
                 fmt::format("load.read_share = {}: allowed is 0 to 1", load.read_share));
  }
  if (load.streams == 0 || load.streams > LineSource::kStreamsMax) {
    return Error(Errc::config_invalid, fmt::format("load.streams = {}: allowed is 1 to {}",
                                                   load.streams, LineSource::kStreamsMax));
  }
  if (load.footprint > capacity || (!load.footprint.is_zero() && load.footprint < kLine)) {
    return Error(Errc::config_invalid,
                 fmt::format("load.footprint = {} bytes: allowed is {} to {}",
                             load.footprint.count(), kLine.count(), capacity.count()));
  }
  if (load.stride < kLine || !(load.stride % kLine).is_zero()) {
    return Error(Errc::config_invalid,
                 fmt::format("load.stride = {} bytes: allowed are multiples of {}",
                             load.stride.count(), kLine.count()));
  }
  return {};
}

Result<DramFigures> run_dram(const DramSpec& spec, const DramLoad& load) {
  if (const Result<void> valid = validate(spec); !valid) {
    return valid.error();
  }
  if (const Result<void> valid = validate(load, spec.organization.capacity()); !valid) {
    return valid.error();
  }
  std::vector<std::unique_ptr<LoadedSubChannel>> parts;
  for (std::uint32_t i = 0; i < spec.organization.sub_channels; ++i) {
    parts.push_back(std::make_unique<LoadedSubChannel>(spec, load.window));
  }
  const AddressDecoder decoder(spec);
  LineSource source(load, decoder.line_count());
  const double gap_ns = load.offered > Rate() ? static_cast<double>(kLine.count()) * 1e9 /
                                                    load.offered.bytes_per_second()
                                              : 0;
  double arrival_ns = -1;
  for (std::uint64_t i = 0; i < load.lines; ++i) {
    const LineSource::Line line = source.next();
    if (gap_ns > 0) {
      arrival_ns = std::max(arrival_ns, 0.0) + source.random().exponential(gap_ns);
    }
    const DecodedLine decoded = decoder.decode(line.number);
    parts[decoded.sub_channel]->take(decoded.place, line.is_write, arrival_ns);
  }
  for (const auto& part : parts) {
    part->finish();
  }
  return figures_of(spec, parts);
}

}  // namespace godbox::emulator::model
