// SPDX-License-Identifier: Apache-2.0
//
// Lanes at the box of which WRITEs are unanswered though their connection has ended here: the box
// may take some of those WRITEs yet. Each is asked to be fenced, again and again, until the box has
// said that it takes no more of them, or until the far side of the connection has answered by
// itself; what is kept of the connection goes then.
// Thread-safety: one thread, but that answers may come when this is gone. Ownership: the clock
// outlives it. Units: Durations. Errors: none; a fence that fails is asked for once more.
#pragma once

#include <godbox/clock.h>
#include <godbox/rdma/client_options.h>

#include <memory>
#include <utility>
#include <vector>

namespace godbox::rdma {

class UnfencedLanes {
 public:
  // Without a way to ask, far sides alone are waited for.
  UnfencedLanes(AskForFence ask, const Clock& clock) : ask_(std::move(ask)), clock_(clock) {}

  [[nodiscard]] bool empty() const { return lanes_.empty(); }
  // `connection`: kept for as long as the lane is here; null where there is nothing to keep.
  void add(wire::LaneToken lane, std::shared_ptr<void> connection = nullptr);
  // The far side of it has answered. False: it is of no lane here.
  bool on_answered(const void* connection);
  // Takes the box's answers, and asks for the fences that are due.
  void progress();
  // Nobody waits for them any more.
  void clear() { lanes_.clear(); }

 private:
  struct Unfenced {
    wire::LaneToken lane;
    std::shared_ptr<void> connection;
    TimePoint ask_at{};  // kNever: the box is asked
  };
  struct Answer {
    wire::LaneToken lane;
    Errc status = Errc::ok;
  };

  AskForFence ask_;
  const Clock& clock_;
  std::vector<Unfenced> lanes_;
  std::shared_ptr<std::vector<Answer>> answers_ = std::make_shared<std::vector<Answer>>();
};

}  // namespace godbox::rdma
