// SPDX-License-Identifier: Apache-2.0
#include <godbox/rdma/unfenced_lanes.h>

#include <algorithm>

namespace godbox::rdma {

void UnfencedLanes::add(wire::LaneToken lane, std::shared_ptr<void> connection) {
  lanes_.push_back({lane, std::move(connection)});
}

bool UnfencedLanes::on_answered(const void* connection) {
  return std::erase_if(lanes_, [connection](const Unfenced& each) {
           return each.connection != nullptr && each.connection.get() == connection;
         }) > 0;
}

void UnfencedLanes::progress() {
  if (lanes_.empty()) {
    return;
  }
  const TimePoint now = clock_.now();
  for (const auto& [lane, status] : std::exchange(*answers_, {})) {
    if (status == Errc::ok) {
      std::erase_if(lanes_, [lane = lane](const Unfenced& each) { return each.lane == lane; });
    } else if (const auto found = std::ranges::find(lanes_, lane, &Unfenced::lane);
               found != lanes_.end()) {
      found->ask_at = now + kFencePause;
    }
  }
  for (Unfenced& each : lanes_) {
    if (ask_ && each.ask_at <= now) {
      each.ask_at = kNever;
      ask_(each.lane, [answers = answers_, lane = each.lane](Errc status) {
        answers->push_back({lane, status});
      });
    }
  }
}

}  // namespace godbox::rdma
