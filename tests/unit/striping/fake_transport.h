// SPDX-License-Identifier: Apache-2.0
//
// A scripted Transport on a manual clock: lanes with a rate, a delay and credits, which can stall,
// die, refuse to come back, and tell of their ends late. Moves real bytes between requests and a
// flat pool at the moment a request ends, so that a test sees what was touched and when.
#pragma once

#include <godbox/clock.h>
#include <godbox/crc32c.h>
#include <godbox/transport.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

namespace godbox::test {

class FakeTransport final : public Transport {
 public:
  struct Lane {
    LaneStatus status;
    double bytes_per_second = 1e9;
    Duration delay = std::chrono::microseconds(50);
    bool stalled = false;  // takes requests and never ends them
    bool reopen_works = true;
    LaneState reopens_to = LaneState::up;  // connecting: nobody answers
    int reopens = 0;
    std::uint64_t bytes_done = 0;
    std::uint32_t requests_max_seen = 0;
    std::uint64_t bytes_max_seen = 0;
    TimePoint busy_until{};
  };

  FakeTransport(ManualClock& clock, std::size_t lane_count, std::size_t pool_bytes = 0)
      : clock_(clock), lanes(lane_count), pool(pool_bytes) {
    for (Lane& lane : lanes) {
      lane.status.state = LaneState::up;
      lane.status.requests_in_flight_max = 64;
      lane.status.bytes_in_flight_max = std::uint64_t{32} << 20U;
    }
  }

  [[nodiscard]] std::string_view name() const override { return shown_name; }
  [[nodiscard]] bool checks_keys() const override { return shown_name != "local"; }
  [[nodiscard]] std::size_t lane_count() const override { return lanes.size(); }
  [[nodiscard]] LaneStatus lane_status(LaneId lane) const override {
    return lanes.at(lane.value()).status;
  }
  [[nodiscard]] Result<void> register_memory(MutableSpan) override { return {}; }
  void deregister_memory(MutableSpan) override {}

  [[nodiscard]] Errc post(LaneId id, const WorkRequest& request) override {
    Lane& lane = lanes.at(id.value());
    LaneStatus& status = lane.status;
    if (status.state != LaneState::up) {
      return Errc::lane_closed;
    }
    if (status.requests_in_flight >= status.requests_in_flight_max ||
        (status.requests_in_flight > 0 &&
         status.bytes_in_flight + request.total_bytes > status.bytes_in_flight_max)) {
      ++credit_overruns;
      return Errc::queue_full;
    }
    status.requests_in_flight += 1;
    status.bytes_in_flight += request.total_bytes;
    lane.requests_max_seen = std::max(lane.requests_max_seen, status.requests_in_flight);
    lane.bytes_max_seen = std::max(lane.bytes_max_seen, status.bytes_in_flight);
    const TimePoint begin = std::max(clock_.now(), lane.busy_until);
    lane.busy_until =
        begin + Duration(static_cast<std::int64_t>(static_cast<double>(request.total_bytes) * 1e9 /
                                                   lane.bytes_per_second));
    posted.push_back({id, request, lane.stalled ? kNever : lane.busy_until + lane.delay});
    ++posts;
    return Errc::ok;
  }

  [[nodiscard]] std::size_t poll(std::span<Completion> out) override {
    end_due();
    std::size_t count = 0;
    while (count < out.size() && !completions.empty()) {
      out[count++] = completions.front();
      completions.pop_front();
    }
    return count;
  }
  bool progress() override { return false; }

  void fence(LaneId id) override {
    ++fences;
    close(id, Errc::lane_fenced);
  }
  void reopen(LaneId id) override {
    Lane& lane = lanes.at(id.value());
    lane.reopens += 1;
    reopen_times.push_back(clock_.now());
    if (lane.reopen_works) {
      lane.status.state = lane.reopens_to;
      lane.stalled = false;
      lane.busy_until = clock_.now();
    }
  }

  // The lane's requests end with `reason`, and it is down.
  void close(LaneId id, Errc reason) {
    for (auto it = posted.begin(); it != posted.end();) {
      if (it->lane != id) {
        ++it;
        continue;
      }
      (keep_fenced_late ? late : completions).push_back({it->request.id, id, reason});
      it = posted.erase(it);
    }
    Lane& lane = lanes.at(id.value());
    lane.status.state = LaneState::down;
    lane.status.requests_in_flight = 0;
    lane.status.bytes_in_flight = 0;
    lane.status.last_error = reason;
  }

  [[nodiscard]] TimePoint next_event() const {
    TimePoint next = completions.empty() ? kNever : clock_.now();
    for (const Posted& one : posted) {
      next = std::min(next, one.due);
    }
    return next;
  }

  struct Posted {
    LaneId lane;
    WorkRequest request;
    TimePoint due;
  };

 private:
  ManualClock& clock_;

 public:
  std::string_view shown_name = "fake";
  std::vector<Lane> lanes;
  std::vector<std::byte> pool;  // offset in any slab: index. Empty: no bytes move
  std::function<Errc(const Posted&)> outcome;
  bool keep_fenced_late = false;  // closed requests' completions go to `late` instead
  std::deque<Completion> completions;
  std::deque<Completion> late;
  std::vector<Posted> posted;
  std::vector<TimePoint> reopen_times;
  int posts = 0;
  int fences = 0;
  int credit_overruns = 0;

 private:
  void end_due() {
    while (true) {
      const auto next = std::min_element(posted.begin(), posted.end(),
                                         [](auto& a, auto& b) { return a.due < b.due; });
      if (next == posted.end() || next->due > clock_.now()) {
        return;
      }
      const Posted one = *next;
      posted.erase(next);
      Lane& lane = lanes.at(one.lane.value());
      lane.status.requests_in_flight -= 1;
      lane.status.bytes_in_flight -= one.request.total_bytes;
      Errc status = outcome ? outcome(one) : Errc::ok;
      if (status == Errc::ok) {
        lane.bytes_done += one.request.total_bytes;
        status = move_bytes(one.request);
      }
      completions.push_back({one.request.id, one.lane, status});
    }
  }

  Errc move_bytes(const WorkRequest& request) {
    if (pool.empty()) {
      return Errc::ok;
    }
    std::vector<std::byte> stream;
    if (request.op == WorkOp::write) {
      for (const LocalSegment& piece : request.local) {
        stream.insert(stream.end(), piece.data, piece.data + piece.size_bytes);
      }
    }
    std::size_t at = 0;
    for (const RemoteSegment& segment : request.remote) {
      std::byte* place = pool.data() + segment.address.offset.count();
      if (request.op == WorkOp::write) {
        std::memcpy(place, stream.data() + at, segment.length_bytes);
        at += segment.length_bytes;
      } else {
        stream.insert(stream.end(), place, place + segment.length_bytes);
      }
    }
    at = 0;
    for (CrcBlock& block : request.crc) {
      const std::uint32_t crc = crc32c(ConstSpan(stream).subspan(at, block.length_bytes));
      at += block.length_bytes;
      if (request.op == WorkOp::write) {
        block.crc32c = crc;
      } else if (block.crc32c != crc) {
        return Errc::crc_mismatch;
      }
    }
    at = 0;
    for (const LocalSegment& piece : request.local) {
      if (request.op == WorkOp::read && piece.size_bytes > 0) {
        std::memcpy(piece.data, stream.data() + at, piece.size_bytes);
      }
      at += piece.size_bytes;
    }
    return Errc::ok;
  }
};

}  // namespace godbox::test
