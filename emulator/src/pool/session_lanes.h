// SPDX-License-Identifier: Apache-2.0
//
// The lanes of one session, as far as fencing has to know them: which are open, and how many writes
// each has in progress.
// Thread-safety: none of its own (PoolService's lock). Errors: named at each call.
#pragma once

#include <godbox/wire.h>

#include <vector>

namespace godbox::emulator {

class SessionLanes {
 public:
  static constexpr std::size_t kLanesMax = 2048;

  // Errors: limit_exceeded.
  [[nodiscard]] Result<wire::LaneToken> join();
  void leave(wire::LaneToken lane);
  [[nodiscard]] bool is_open(wire::LaneToken lane) const;
  // True when no write over the lane is in progress, and none can begin.
  [[nodiscard]] bool fence(wire::LaneToken lane);
  void begin_write(wire::LaneToken lane);  // is_open()
  void end_write(wire::LaneToken lane);    // ignored when the lane has left
  [[nodiscard]] bool is_empty() const { return lanes_.empty(); }

 private:
  struct Lane {
    wire::LaneToken token;
    std::uint32_t writes = 0;
    bool is_fenced = false;
  };
  [[nodiscard]] Lane* find(wire::LaneToken lane);

  std::vector<Lane> lanes_;  // those that have not left
  std::uint32_t last_token_ = 0;
};

}  // namespace godbox::emulator
