// SPDX-License-Identifier: Apache-2.0
#include "pool/session_lanes.h"

#include <godbox/assert.h>

#include <algorithm>

namespace godbox::emulator {

Result<wire::LaneToken> SessionLanes::join() {
  if (lanes_.size() >= kLanesMax || last_token_ == UINT32_MAX) {
    return Error(Errc::limit_exceeded, "the session has too many lanes");
  }
  lanes_.push_back({wire::LaneToken(++last_token_)});
  return lanes_.back().token;
}

void SessionLanes::leave(wire::LaneToken lane) {
  std::erase_if(lanes_, [lane](const Lane& one) { return one.token == lane; });
}

bool SessionLanes::is_open(wire::LaneToken lane) const {
  return std::any_of(lanes_.begin(), lanes_.end(),
                     [lane](const Lane& one) { return one.token == lane && !one.is_fenced; });
}

bool SessionLanes::fence(wire::LaneToken lane) {
  Lane* const found = find(lane);
  if (found == nullptr) {
    return true;
  }
  found->is_fenced = true;
  return found->writes == 0;
}

void SessionLanes::begin_write(wire::LaneToken lane) {
  Lane* const found = find(lane);
  GODBOX_ASSERT(found != nullptr && !found->is_fenced);
  ++found->writes;
}

void SessionLanes::end_write(wire::LaneToken lane) {
  if (Lane* const found = find(lane); found != nullptr) {
    --found->writes;
  }
}

SessionLanes::Lane* SessionLanes::find(wire::LaneToken lane) {
  const auto found = std::find_if(lanes_.begin(), lanes_.end(),
                                  [lane](const Lane& one) { return one.token == lane; });
  return found == lanes_.end() ? nullptr : &*found;
}

}  // namespace godbox::emulator
