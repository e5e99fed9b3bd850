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
// best. One that was much slower than the best does not (`probes`): as long as the others have
// room its figure stands, and from time to time one short run, the probe, is sent over it to learn
// whether it has recovered; so a slow port spoils few requests, and each of them little.
// Background (godbox/traffic_class.h) may be held to a share of each lane, so that what is to come
// finds it short; one request is always allowed.
// Lanes that are unopened are opened when those that are open have more to do than to cover the
// delay between two requests: one more to each Ethernet port at a time. A port where one is on its
// way, or down, gets no more until that is up; so one that never answers costs the others nothing,
// and is not asked for more than it has been.
// Thread-safety: the transport's thread. Units: bytes, seconds where a double.
#pragma once

#include <godbox/transport.h>

#include <optional>
#include <vector>

namespace godbox::striping {

// When something was seen, and by another clock, which stands still while the client's caller does
// something else: what was seen after that may have happened at any time of it.
struct LookTime {
  TimePoint now;
  TimePoint driven;
};

// Measures what a lane moves while it is busy.
class LaneRate {
 public:
  // A sample covers at least so much, or it would measure delay rather than rate.
  static constexpr std::uint64_t kSampleBytesMin = std::uint64_t{256} << 10U;
  static constexpr Duration kSampleTimeMin = std::chrono::microseconds(100);
  // And waits for what piled up while the caller was away, at most so long.
  static constexpr Duration kSampleTimeMax = std::chrono::milliseconds(20);
  // What was measured counts half as much so much later.
  static constexpr Duration kHalfLife = std::chrono::milliseconds(10);
  // An idle lane's figure is trusted for so long.
  static constexpr Duration kTrustedFor = std::chrono::milliseconds(250);

  void on_posted(LookTime at, bool was_idle);
  // `best`: of all lanes, 0 where none is known; not looked at once the lane was measured. How long
  // a sample took is known as far as the caller was not away; within that it is what was known of
  // the lane, or else of the best.
  void on_completed(std::uint64_t bytes, LookTime at, double best);
  // The caller was away, and these were in flight: some of them have piled up.
  void on_away(std::uint64_t bytes_in_flight) { piled_up_bytes_ = bytes_in_flight; }
  [[nodiscard]] bool is_known(TimePoint now, bool is_busy) const;
  // Bytes per second. `best` stands in where nothing is known; a lane that sits on its requests is
  // worth no more than if all of them ended now.
  [[nodiscard]] double estimate(LookTime at, std::uint64_t bytes_in_flight, double best) const;
  [[nodiscard]] double measured() const { return seconds_ > 0 ? bytes_ / seconds_ : 0; }
  // The figure of an idle lane stands, however old.
  void keep(bool is_kept) { is_kept_ = is_kept; }
  // What a probe found: the figure from now on.
  void set(std::uint64_t bytes, Duration took, TimePoint now);
  // Nothing is known any more; what is measured next begins now.
  void forget(LookTime at) {
    *this = LaneRate();
    begin_window(at);
  }

 private:
  void begin_window(LookTime at) {
    window_begin_ = at;
    window_bytes_ = 0;
  }

  // What was moved in how long, what is older with less weight. So what piled up while the process
  // stood still, and is then taken all at once, counts together with that pause.
  double bytes_ = 0;
  double seconds_ = 0;  // 0: never measured
  TimePoint measured_at_{};
  LookTime window_begin_{};
  std::uint64_t window_bytes_ = 0;
  std::uint64_t piled_up_bytes_ = 0;
  bool is_kept_ = false;
};

class LaneTable {
 public:
  // The bytes in flight of a lane whose rate is not known yet.
  static constexpr std::uint64_t kUnmeasuredBytes = std::uint64_t{1} << 20U;
  static constexpr std::uint32_t kRequestsInFlightMin = 2;
  // How much later than the best lane, and than all together, a lane may end: in runs of the best
  // lane, so that lanes which are alike but for noise all count.
  static constexpr double kLatenessMaxRuns = 1.0;
  // Below this share of the best lane's rate a lane is slow. A probe has found one that is so no
  // more if it shows this share, beside the delay that any request has: small ones show little
  // else.
  static constexpr double kSlowShare = 0.5;
  static constexpr double kRecoveredShare = 0.25;
  static constexpr Duration kProbeDelay = std::chrono::microseconds(300);
  // Between the probes of a lane: rare enough that fewer than one in a hundred requests meets one
  // where there are more than 170 a second, often enough to be back in use within a second. While
  // so many bytes wait for each lane a probe delays nobody, and the lane is missed more.
  static constexpr Duration kProbePeriod = std::chrono::milliseconds(600);
  static constexpr Duration kBusyProbePeriod = std::chrono::milliseconds(200);
  static constexpr std::uint64_t kBusyBytesPerLane = std::uint64_t{1} << 20U;

  struct Options {
    std::uint64_t bytes_in_flight_target = 0;
    Duration reopen_delay_min{};
    Duration reopen_delay_max{};
    bool probes = false;  // slow lanes are tried by probes, which take_probe() sends
  };

  LaneTable(Transport& transport, Options options);

  // Reads all states; reopens what is down and due. True if it reopened a lane.
  bool refresh(TimePoint now);
  [[nodiscard]] std::size_t lane_count() const { return lanes_.size(); }
  [[nodiscard]] std::size_t up_count() const { return up_count_; }
  [[nodiscard]] bool is_up(LaneId lane) const;
  // device_lost when all lanes are down for that reason, so that none comes back; else ok.
  [[nodiscard]] Errc lost_with() const;
  // What a transfer that finds no lane up ends with: limit_exceeded when there was no room for one,
  // in the box or on the way there, the last time it was tried; else lane_closed.
  [[nodiscard]] Errc down_with() const;
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
  // The same for background work, of which each lane shall hold at most its share.
  [[nodiscard]] std::optional<LaneId> choose_sparing(std::optional<SuperNicId> super_nic,
                                                     std::uint64_t bytes,
                                                     std::uint64_t queued_bytes, TimePoint now);
  // A slow and idle lane whose next probe is due, now planned for; with so many bytes ahead.
  [[nodiscard]] std::optional<LaneId> plan_probe(TimePoint now, std::uint64_t bytes_ahead);
  // True when the lane is still slow and idle: the run to be posted on it is its probe.
  [[nodiscard]] bool take_probe(LaneId lane, TimePoint now);
  void on_posted(LaneId lane, std::uint64_t bytes, TrafficClass traffic_class, TimePoint now);
  void on_completed(LaneId lane, std::uint64_t bytes, TrafficClass traffic_class, bool ok,
                    TimePoint now);
  // The client's caller did something else for so long; or a callback did.
  void on_away(Duration away);
  void on_fenced(LaneId lane) { lanes_[lane.value()].background_bytes = 0; }
  // Not to be chosen before the next refresh(): post() refused.
  void on_refused(LaneId lane) {
    lanes_[lane.value()].refused = true;
    lanes_[lane.value()].probed_at.reset();  // it was not sent
  }

 private:
  struct Lane {
    LaneStatus status;
    LaneRate rate;
    bool refused = false;
    bool is_turned_away = false;         // limit_exceeded, when it was last seen down
    bool in_group = false;               // of the choose() under way
    double finish_s = 0;                 // likewise: when the run would end there
    std::uint64_t background_bytes = 0;  // in flight
    TimePoint reopen_at = kNever;
    Duration reopen_delay{};
    bool is_slow = false;
    TimePoint probe_last{};              // planned or ended, or when it was found slow
    std::optional<TimePoint> probed_at;  // a probe is under way; by the clock of the driven
  };

  [[nodiscard]] LookTime look(TimePoint now) const { return {now, now - away_}; }
  [[nodiscard]] bool can_take(const Lane& lane, std::uint64_t bytes, TimePoint now) const;
  [[nodiscard]] bool is_share_full(const Lane& lane, std::uint64_t bytes) const {
    return lane.background_bytes > 0 &&
           lane.background_bytes + bytes > options_.bytes_in_flight_target / kBackgroundShare;
  }
  [[nodiscard]] std::optional<LaneId> choose_of(std::optional<SuperNicId> super_nic,
                                                std::uint64_t bytes, std::uint64_t queued_bytes,
                                                bool is_sparing, TimePoint now);
  void select_group(std::optional<SuperNicId> super_nic);
  [[nodiscard]] double finish_limit(std::uint64_t bytes, std::uint64_t queued_bytes, TimePoint now);
  bool open_more();
  [[nodiscard]] bool is_waited_for(EthPortId port) const;
  bool tend_down_lane(LaneId id, Lane& lane, TimePoint now);
  [[nodiscard]] double best_measured() const;
  void judge(Lane& lane, TimePoint now);
  void end_probe(Lane& lane, std::uint64_t bytes, TimePoint now);

  Transport& transport_;
  Options options_;
  std::vector<Lane> lanes_;
  std::size_t up_count_ = 0;
  Duration away_{};                    // all in all
  bool wants_more_ = false;            // unopened lanes would have something to do
  std::vector<EthPortId> waited_for_;  // of the open_more() under way; room for a port per lane
  std::size_t turn_ = 0;               // lanes equally loaded take turns
};

}  // namespace godbox::striping
