// SPDX-License-Identifier: Apache-2.0
#include "measure/transfer_loop.h"

#include "measure/machine.h"
#include <godbox/assert.h>

#include <utility>

namespace godbox::app {
namespace {

// The longest wait for an event; operations end by their own deadlines.
constexpr Duration kWaitMax = std::chrono::milliseconds(100);

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

class Loop {
 public:
  Loop(striping::Client& client, const Clock& clock, const LoopOptions& options,
       const StartOperation& start)
      : client_(client), clock_(clock), options_(options), start_(start) {
    GODBOX_ASSERT(options.depth > 0);
    slots_.resize(options.depth);
    for (std::uint32_t slot = options.depth; slot > 0; --slot) {
      free_.push_back(slot - 1);
    }
    result_.latencies_us.reserve(options.operations);
  }

  LoopResult run() {
    const double cpu_begin = cpu_seconds_used();
    const TimePoint begin = clock_.now();
    while (finished_ < options_.operations) {
      while (!free_.empty() && started_ < options_.operations) {
        start_next();
      }
      if (finished_ < options_.operations) {
        client_.progress(clock_.now() + kWaitMax);
      }
    }
    result_.seconds = seconds(clock_.now() - begin);
    result_.cpu_seconds = cpu_seconds_used() - cpu_begin;
    return std::move(result_);
  }

 private:
  void start_next() {
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    slots_[slot] = clock_.now();
    // Two words: std::function keeps them without allocating.
    start_(started_++, [this, slot](Errc status) { finish(slot, status); });
  }

  void finish(std::uint32_t slot, Errc status) {
    result_.latencies_us.push_back(seconds(clock_.now() - slots_[slot]) * 1e6);
    free_.push_back(slot);
    ++finished_;
    if (status != Errc::ok) {
      ++result_.failures;
      result_.first_failure = result_.first_failure == Errc::ok ? status : result_.first_failure;
    }
  }

  striping::Client& client_;
  const Clock& clock_;
  const LoopOptions options_;
  const StartOperation& start_;
  std::vector<TimePoint> slots_;  // when the operation in it began
  std::vector<std::uint32_t> free_;
  std::uint64_t started_ = 0;
  std::uint64_t finished_ = 0;
  LoopResult result_;
};

}  // namespace

LoopResult run_loop(striping::Client& client, const Clock& clock, const LoopOptions& options,
                    const StartOperation& start) {
  return Loop(client, clock, options, start).run();
}

}  // namespace godbox::app
