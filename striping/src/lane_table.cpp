// SPDX-License-Identifier: Apache-2.0
#include "lane_table.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace godbox::striping {

namespace {

double seconds(Duration duration) { return static_cast<double>(duration.count()) * 1e-9; }

// What is shorter makes no difference to a rate.
constexpr Duration kAwayMin = std::chrono::microseconds(100);

LaneId lane_id(std::size_t index) { return LaneId(static_cast<LaneId::rep>(index)); }

}  // namespace

void LaneRate::on_posted(LookTime at, bool was_idle) {
  if (was_idle) {
    begin_window(at);
    piled_up_bytes_ = 0;
  }
}

void LaneRate::on_completed(std::uint64_t bytes, LookTime at, double best) {
  window_bytes_ += bytes;
  piled_up_bytes_ -= std::min(piled_up_bytes_, bytes);
  const Duration at_most = at.now - window_begin_.now;
  const Duration at_least =
      std::clamp<Duration>(at.driven - window_begin_.driven, Duration(), at_most);
  const bool is_long_enough =
      piled_up_bytes_ > 0 ? at_least >= kSampleTimeMax : at_most >= kSampleTimeMin;
  if (window_bytes_ < kSampleBytesMin || !is_long_enough) {
    return;
  }
  const auto moved = static_cast<double>(window_bytes_);
  const double known = seconds_ > 0 ? measured() : best;
  const double took_s =
      known > 0 ? std::clamp(moved / known, seconds(at_least), seconds(at_most)) : seconds(at_most);
  const double older_weight = std::exp2(-seconds(at.now - measured_at_) / seconds(kHalfLife));
  bytes_ = bytes_ * older_weight + moved;
  seconds_ = seconds_ * older_weight + took_s;
  measured_at_ = at.now;
  begin_window(at);
}

bool LaneRate::is_known(TimePoint now, bool is_busy) const {
  return seconds_ > 0 && (is_busy || is_kept_ || now - measured_at_ <= kTrustedFor);
}

void LaneRate::set(std::uint64_t bytes, Duration took, TimePoint now) {
  bytes_ = static_cast<double>(bytes);
  seconds_ = seconds(took);
  measured_at_ = now;
}

double LaneRate::estimate(LookTime at, std::uint64_t bytes_in_flight, double best) const {
  const bool is_busy = bytes_in_flight > 0;
  double rate = is_known(at.now, is_busy) ? measured() : best;
  if (is_busy && at.driven > window_begin_.driven) {
    const double at_most = static_cast<double>(window_bytes_ + bytes_in_flight) /
                           seconds(at.driven - window_begin_.driven);
    rate = std::min(rate, at_most);
  }
  return rate;
}

LaneTable::LaneTable(Transport& transport, Options options)
    : transport_(transport), options_(options) {}

bool LaneTable::refresh(TimePoint now) {
  while (lanes_.size() < transport_.lane_count()) {
    lanes_.emplace_back();
    lanes_.back().reopen_delay = options_.reopen_delay_min;
  }
  waited_for_.reserve(lanes_.size());
  up_count_ = 0;
  bool reopened = false;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    lane.refused = false;
    lane.status = transport_.lane_status(lane_id(i));
    if (lane.status.state == LaneState::down) {
      lane.is_turned_away = lane.status.last_error == Errc::limit_exceeded;
      lane.is_slow = false;
      lane.probed_at.reset();
      lane.rate.forget(look(now));
      reopened |= tend_down_lane(lane_id(i), lane, now);
    }
    if (lane.status.state != LaneState::down) {
      lane.reopen_at = kNever;
    }
    up_count_ += lane.status.state == LaneState::up ? 1U : 0U;
  }
  if (wants_more_) {
    reopened |= open_more();
  }
  return reopened;
}

// The next lane of each Ethernet port that has one unopened, unless another of its lanes has not
// come up yet.
bool LaneTable::open_more() {
  wants_more_ = false;
  waited_for_.clear();
  for (const Lane& lane : lanes_) {
    const LaneState state = lane.status.state;
    if ((state == LaneState::connecting || state == LaneState::down) &&
        !is_waited_for(lane.status.eth_port)) {
      waited_for_.push_back(lane.status.eth_port);
    }
  }
  bool any = false;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    if (lane.status.state == LaneState::unopened && !is_waited_for(lane.status.eth_port)) {
      waited_for_.push_back(lane.status.eth_port);
      transport_.reopen(lane_id(i));
      lane.status = transport_.lane_status(lane_id(i));
      any = true;
    }
  }
  return any;
}

bool LaneTable::is_waited_for(EthPortId port) const {
  return std::find(waited_for_.begin(), waited_for_.end(), port) != waited_for_.end();
}

bool LaneTable::tend_down_lane(LaneId id, Lane& lane, TimePoint now) {
  if (lane.reopen_at == kNever) {
    lane.reopen_at = now + lane.reopen_delay;
  }
  if (now < lane.reopen_at) {
    return false;
  }
  lane.reopen_delay = std::min(lane.reopen_delay * 2, options_.reopen_delay_max);
  lane.reopen_at = now + lane.reopen_delay;
  transport_.reopen(id);
  lane.status = transport_.lane_status(id);
  return true;
}

bool LaneTable::is_up(LaneId lane) const {
  return lane.value() < lanes_.size() && lanes_[lane.value()].status.state == LaneState::up;
}

Errc LaneTable::lost_with() const {
  const bool all =
      !lanes_.empty() && up_count_ == 0 &&
      std::all_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) {
        return lane.status.state == LaneState::down && lane.status.last_error == Errc::device_lost;
      });
  return all ? Errc::device_lost : Errc::ok;
}

Errc LaneTable::down_with() const {
  const bool any = std::any_of(lanes_.begin(), lanes_.end(),
                               [](const Lane& lane) { return lane.is_turned_away; });
  return any ? Errc::limit_exceeded : Errc::lane_closed;
}

TimePoint LaneTable::next_reopen() const {
  TimePoint next = kNever;
  for (const Lane& lane : lanes_) {
    next = std::min(next, lane.reopen_at);
  }
  return next;
}

std::optional<std::uint64_t> LaneTable::bytes_granted_min() const {
  std::optional<std::uint64_t> least;
  for (const Lane& lane : lanes_) {
    if (lane.status.state == LaneState::up) {
      least = std::min(least.value_or(std::numeric_limits<std::uint64_t>::max()),
                       lane.status.bytes_in_flight_max);
    }
  }
  return least;
}

std::uint64_t LaneTable::bytes_in_flight(std::uint64_t most_per_lane) const {
  std::uint64_t bytes = 0;
  for (const Lane& lane : lanes_) {
    if (lane.status.state == LaneState::up) {
      bytes += std::min(lane.status.bytes_in_flight, most_per_lane);
    }
  }
  return bytes;
}

bool LaneTable::can_take(const Lane& lane, std::uint64_t bytes, TimePoint now) const {
  const LaneStatus& status = lane.status;
  if (lane.refused || status.requests_in_flight >= status.requests_in_flight_max) {
    return false;
  }
  const bool idle = status.requests_in_flight == 0;
  const std::uint64_t after = status.bytes_in_flight + bytes;
  // An idle lane is asked even for more than it grants: only the transport knows whether it can.
  if (after > status.bytes_in_flight_max && !idle) {
    return false;
  }
  const std::uint64_t target = lane.rate.is_known(now, !idle)
                                   ? options_.bytes_in_flight_target
                                   : std::min(options_.bytes_in_flight_target, kUnmeasuredBytes);
  return status.requests_in_flight < kRequestsInFlightMin || after <= target;
}

void LaneTable::select_group(std::optional<SuperNicId> super_nic) {
  bool any = false;
  for (Lane& lane : lanes_) {
    lane.in_group =
        lane.status.state == LaneState::up && (!super_nic || lane.status.super_nic == *super_nic);
    any |= lane.in_group;
  }
  if (!any) {
    for (Lane& lane : lanes_) {
      lane.in_group = lane.status.state == LaneState::up;
    }
  }
}

double LaneTable::finish_limit(std::uint64_t bytes, std::uint64_t queued_bytes, TimePoint now) {
  double best = 0;
  for (const Lane& lane : lanes_) {
    if (lane.in_group && lane.rate.is_known(now, lane.status.bytes_in_flight > 0)) {
      best = std::max(best, lane.rate.measured());
    }
  }
  if (best <= 0) {
    best = 1;  // nothing is known: all lanes are alike, whatever the unit
  }
  double rate_of_all = 0;
  auto bytes_of_all = static_cast<double>(queued_bytes);
  double soonest_s = std::numeric_limits<double>::infinity();
  for (Lane& lane : lanes_) {
    if (!lane.in_group) {
      continue;
    }
    const double rate = lane.rate.estimate(look(now), lane.status.bytes_in_flight, best);
    lane.finish_s = static_cast<double>(lane.status.bytes_in_flight + bytes) / rate;
    if (!lane.refused) {
      soonest_s = std::min(soonest_s, lane.finish_s);
    }
    rate_of_all += rate;
    bytes_of_all += static_cast<double>(lane.status.bytes_in_flight);
  }
  const double slack_s = kLatenessMaxRuns * static_cast<double>(bytes) / best;
  return std::max(bytes_of_all / rate_of_all, soonest_s) + slack_s;
}

std::optional<LaneId> LaneTable::choose(std::optional<SuperNicId> super_nic, std::uint64_t bytes,
                                        std::uint64_t queued_bytes, TimePoint now) {
  return choose_of(super_nic, bytes, queued_bytes, false, now);
}

std::optional<LaneId> LaneTable::choose_sparing(std::optional<SuperNicId> super_nic,
                                                std::uint64_t bytes, std::uint64_t queued_bytes,
                                                TimePoint now) {
  return choose_of(super_nic, bytes, queued_bytes, true, now);
}

std::optional<LaneId> LaneTable::choose_of(std::optional<SuperNicId> super_nic, std::uint64_t bytes,
                                           std::uint64_t queued_bytes, bool is_sparing,
                                           TimePoint now) {
  if (up_count_ == 0) {
    return std::nullopt;
  }
  select_group(super_nic);
  const double limit_s = finish_limit(bytes, queued_bytes, now);
  std::optional<std::size_t> chosen;
  for (std::size_t step = 0; step < lanes_.size(); ++step) {
    const std::size_t i = (turn_ + step) % lanes_.size();
    const Lane& lane = lanes_[i];
    if (lane.in_group && lane.finish_s <= limit_s && can_take(lane, bytes, now) &&
        !(is_sparing && is_share_full(lane, bytes)) &&
        (!chosen || lane.status.bytes_in_flight < lanes_[*chosen].status.bytes_in_flight)) {
      chosen = i;
    }
  }
  if (!chosen) {
    return std::nullopt;
  }
  return lane_id(*chosen);
}

void LaneTable::on_posted(LaneId id, std::uint64_t bytes, TrafficClass traffic_class,
                          TimePoint now) {
  Lane& lane = lanes_[id.value()];
  lane.background_bytes += is_background(traffic_class) ? bytes : 0;
  lane.rate.on_posted(look(now), lane.status.requests_in_flight == 0);
  lane.status.requests_in_flight += 1;
  lane.status.bytes_in_flight += bytes;
  wants_more_ |= lane.status.requests_in_flight > kRequestsInFlightMin;
  turn_ = (id.value() + std::size_t{1}) % lanes_.size();
}

void LaneTable::on_completed(LaneId id, std::uint64_t bytes, TrafficClass traffic_class, bool ok,
                             TimePoint now) {
  if (id.value() >= lanes_.size()) {
    return;
  }
  Lane& lane = lanes_[id.value()];
  lane.background_bytes -= is_background(traffic_class) ? bytes : 0;
  if (!ok) {
    lane.probed_at.reset();
    return;
  }
  lane.reopen_delay = options_.reopen_delay_min;
  if (lane.probed_at) {
    end_probe(lane, bytes, now);
    return;
  }
  const bool is_measured = lane.rate.measured() > 0;  // else it is as good as the best
  lane.rate.on_completed(bytes, look(now), is_measured ? 0 : best_measured());
  if (options_.probes) {
    judge(lane, now);
  }
}

void LaneTable::on_away(Duration away) {
  if (away < kAwayMin) {
    return;
  }
  away_ += away;
  for (Lane& lane : lanes_) {
    lane.rate.on_away(lane.status.bytes_in_flight);
  }
}

double LaneTable::best_measured() const {
  double best = 0;
  for (const Lane& lane : lanes_) {
    best = std::max(best, lane.rate.measured());
  }
  return best;
}

void LaneTable::judge(Lane& lane, TimePoint now) {
  const bool was_slow = lane.is_slow;
  lane.is_slow = lane.rate.measured() > 0 && lane.rate.measured() < best_measured() * kSlowShare;
  lane.rate.keep(lane.is_slow);
  if (lane.is_slow && !was_slow) {
    lane.probe_last = now;
  }
}

void LaneTable::end_probe(Lane& lane, std::uint64_t bytes, TimePoint now) {
  const Duration took =
      std::max<Duration>(look(now).driven - *lane.probed_at, std::chrono::nanoseconds(1));
  const double allowed_s = static_cast<double>(bytes) / (best_measured() * kRecoveredShare);
  lane.probed_at.reset();
  if (seconds(took) <= allowed_s + seconds(kProbeDelay)) {
    lane.is_slow = false;
    lane.rate.forget(look(now));
  } else {
    lane.rate.set(bytes, took, now);
    lane.probe_last = now;
  }
}

std::optional<LaneId> LaneTable::plan_probe(TimePoint now, std::uint64_t bytes_ahead) {
  const bool is_busy = bytes_ahead >= up_count_ * kBusyBytesPerLane;
  const Duration period = is_busy ? kBusyProbePeriod : kProbePeriod;
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    if (lane.is_slow && now - lane.probe_last >= period && lane.status.state == LaneState::up &&
        lane.status.requests_in_flight == 0) {
      lane.probe_last = now;
      return lane_id(i);
    }
  }
  return std::nullopt;
}

bool LaneTable::take_probe(LaneId id, TimePoint now) {
  Lane& lane = lanes_[id.value()];
  const bool is_wanted = lane.is_slow && lane.status.state == LaneState::up &&
                         lane.status.requests_in_flight == 0 && !lane.refused;
  if (is_wanted) {
    lane.probed_at = look(now).driven;
  }
  return is_wanted;
}

}  // namespace godbox::striping
