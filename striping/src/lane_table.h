// SPDX-License-Identifier: Apache-2.0
//
// What the executor knows about its transport's lanes, and which of them takes the next run.
//
// Credits are the far side's limit per lane. On top of them:
//   * a lane holds about `bytes_in_flight_target`, less until its rate has been measured, so that
//   work
//     stays where a faster lane can still take it; two requests are always allowed, to cover the
//     delay between the end of one and the start of the next;
//   * a lane takes a run only if it would be done by the time when all lanes together are done, or
//     about as soon as the best lane: so the end of a batch never waits for the slowest lane.
// Rates are measured while a lane is busy. A lane not measured for a while counts as good as the
// best, so that one that has recovered is tried again. Thread-safety: the transport's thread.
// Units: bytes, seconds where a double.
#pragma once

#include <godbox/transport.h>

#include <optional>
#include <vector>

namespace godbox::striping {

// Measures what a lane moves while it is busy.
class LaneRate {
 public:
  // A sample covers at least so much, or it would measure delay rather than rate.
  static constexpr std::uint64_t kSampleBytesMin = std::uint64_t{256} << 10U;
  static constexpr Duration kSampleTimeMin = std::chrono::microseconds(100);
  // An idle lane's figure is trusted for so long.
  static constexpr Duration kTrustedFor = std::chrono::milliseconds(250);

  void on_posted(TimePoint now, bool was_idle);
  void on_completed(std::uint64_t bytes, TimePoint now);
  [[nodiscard]] bool is_known(TimePoint now, bool is_busy) const;
  // Bytes per second. `best` stands in where nothing is known; a lane that sits on its requests is
  // worth no more than if all of them ended now.
  [[nodiscard]] double estimate(TimePoint now, std::uint64_t bytes_in_flight, double best) const;
  [[nodiscard]] double measured() const { return bytes_per_second_; }

 private:
  double bytes_per_second_ = 0;  // 0: never measured
  TimePoint measured_at_{};
  TimePoint window_begin_{};
  std::uint64_t window_bytes_ = 0;
};

class LaneTable {
 public:
  // The bytes in flight of a lane whose rate is not known yet.
  static constexpr std::uint64_t kUnmeasuredBytes = std::uint64_t{1} << 20U;
  static constexpr std::uint32_t kRequestsInFlightMin = 2;
  // How much later than the best lane, and than all together, a lane may end: in runs of the best
  // lane, so that lanes which are alike but for noise all count.
  static constexpr double kLatenessMaxRuns = 1.0;

  struct Options {
    std::uint64_t bytes_in_flight_target = 0;
    Duration reopen_delay_min{};
    Duration reopen_delay_max{};
  };

  LaneTable(Transport& transport, Options options);

  // Reads all states; reopens what is down and due. True if it reopened a lane.
  bool refresh(TimePoint now);
  [[nodiscard]] std::size_t lane_count() const { return lanes_.size(); }
  [[nodiscard]] std::size_t up_count() const { return up_count_; }
  [[nodiscard]] bool is_up(LaneId lane) const;
  [[nodiscard]] TimePoint next_reopen() const;
  // The fewest bytes in flight that a lane that is up grants; nothing when none is up.
  [[nodiscard]] std::optional<std::uint64_t> bytes_granted_min() const;

  // On the lanes that are up, counting at most so many of each: what a slow lane sits on keeps no
  // other lane busy.
  [[nodiscard]] std::uint64_t bytes_in_flight(std::uint64_t most_per_lane) const;

  // The lane that takes a run of `bytes`, of those of `super_nic` while one of them is up.
  // `queued_bytes`: all that waits, this run included.
  [[nodiscard]] std::optional<LaneId> choose(std::optional<SuperNicId> super_nic,
                                             std::uint64_t bytes, std::uint64_t queued_bytes,
                                             TimePoint now);
  void on_posted(LaneId lane, std::uint64_t bytes, TimePoint now);
  void on_completed(LaneId lane, std::uint64_t bytes, bool ok, TimePoint now);
  // Not to be chosen before the next refresh(): post() refused.
  void on_refused(LaneId lane) { lanes_[lane.value()].refused = true; }

 private:
  struct Lane {
    LaneStatus status;
    LaneRate rate;
    bool refused = false;
    bool in_group = false;  // of the choose() under way
    double finish_s = 0;    // likewise: when the run would end there
    TimePoint reopen_at = kNever;
    Duration reopen_delay{};
  };

  [[nodiscard]] bool can_take(const Lane& lane, std::uint64_t bytes, TimePoint now) const;
  void select_group(std::optional<SuperNicId> super_nic);
  [[nodiscard]] double finish_limit(std::uint64_t bytes, std::uint64_t queued_bytes, TimePoint now);
  bool tend_down_lane(LaneId id, Lane& lane, TimePoint now);

  Transport& transport_;
  Options options_;
  std::vector<Lane> lanes_;
  std::size_t up_count_ = 0;
  std::size_t turn_ = 0;  // lanes equally loaded take turns
};

}  // namespace godbox::striping
