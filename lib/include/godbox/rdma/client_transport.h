// SPDX-License-Identifier: Apache-2.0
//
// What every transport over RDMA does with its lanes (client_lane.h), whoever moves the bytes. CRCs
// are made and compared here.
// Fencing: the queue pair is destroyed, after which nothing at this end touches memory of its
// requests. Where WRITEs were under way, posts of WRITEs are answered queue_full on all lanes until
// the box, asked over the control connection, has said that it takes no more of them, so that no
// late one meets what was written after it.
// Thread-safety: one thread. Ownership: the clock outlives it; a kind of transport ends its lanes
// (end_lanes()) before what they stand on. Units: in each name. Errors: those of Transport.
#pragma once

#include <godbox/rdma/client_lane.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace godbox::rdma {

// `LaneOf`: a kind of ClientLane, with progress(): true, if there was something to do.
template <typename LaneOf>
class ClientTransport : public Transport {
 public:
  ClientTransport(const ClientTransport&) = delete;
  ClientTransport& operator=(const ClientTransport&) = delete;

  std::size_t lane_count() const final { return lanes_.size(); }
  LaneStatus lane_status(LaneId lane) const final { return lanes_.at(lane.value())->status(); }
  Errc post(LaneId lane, const WorkRequest& request) final {
    const Errc status =
        lane_status(lane).state == LaneState::up ? check_work_request(request) : Errc::lane_closed;
    const bool has_to_wait = request.op == WorkOp::write && !unfenced_.empty();
    return status != Errc::ok ? status
           : has_to_wait      ? Errc::queue_full
                              : lanes_[lane.value()]->post(request);
  }
  std::size_t poll(std::span<Completion> out) final {
    std::size_t count = 0;
    for (const auto& lane : lanes_) {
      std::deque<Completion>& done = lane->completions();
      for (; count < out.size() && !done.empty(); ++count) {
        out[count] = done.front();
        done.pop_front();
      }
    }
    return count;
  }
  void fence(LaneId lane) final { lanes_.at(lane.value())->fence(); }
  void reopen(LaneId lane) final { lanes_.at(lane.value())->open(); }

 protected:
  ClientTransport(AskForFence ask_for_fence, const Clock& clock)
      : unfenced_(std::move(ask_for_fence), clock) {}

  [[nodiscard]] const std::vector<std::unique_ptr<LaneOf>>& lanes() const { return lanes_; }
  [[nodiscard]] UnfencedLanes& unfenced() { return unfenced_; }
  void add_lane(std::unique_ptr<LaneOf> lane) {
    lanes_.push_back(std::move(lane));
    lanes_.back()->open();
  }
  void end_lanes() {
    lanes_.clear();
    unfenced_.clear();
  }
  bool progress_lanes() {
    bool is_busy = false;
    for (const auto& lane : lanes_) {
      is_busy = lane->progress() || is_busy;
    }
    unfenced_.progress();
    return is_busy;
  }
  // --- What is under way whose end no event of the network tells of. ---
  [[nodiscard]] bool has_requests() const {
    return std::ranges::any_of(lanes_, [](const auto& lane) { return lane->has_requests(); });
  }
  // A lane connects, or is to be fenced.
  [[nodiscard]] bool is_waiting() const {
    return !unfenced_.empty() ||
           std::ranges::any_of(lanes_, [](const auto& lane) { return lane->is_connecting(); });
  }

 private:
  UnfencedLanes unfenced_;
  std::vector<std::unique_ptr<LaneOf>> lanes_;
};

}  // namespace godbox::rdma
