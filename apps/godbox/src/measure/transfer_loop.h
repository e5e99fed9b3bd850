// SPDX-License-Identifier: Apache-2.0
//
// Keeps a number of operations of a client in flight and measures each and all.
// Units: seconds, microseconds from an operation's submission to its callback.
#pragma once

#include <godbox/striping/client.h>

#include <functional>
#include <vector>

namespace godbox::app {

using Done = std::function<void(Errc)>;
// Starts operation `index`; calls `done` once, now or inside the client's progress().
using StartOperation = std::function<void(std::uint64_t index, Done done)>;

struct LoopOptions {
  std::uint64_t operations = 0;
  std::uint32_t depth = 1;  // in flight at most
};

struct LoopResult {
  double seconds = 0;
  double cpu_seconds = 0;  // of the whole process
  std::vector<double> latencies_us;
  Errc first_failure = Errc::ok;
  std::uint64_t failures = 0;
};

[[nodiscard]] LoopResult run_loop(striping::Client& client, const Clock& clock,
                                  const LoopOptions& options, const StartOperation& start);

}  // namespace godbox::app
