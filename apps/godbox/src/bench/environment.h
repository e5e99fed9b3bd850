// SPDX-License-Identifier: Apache-2.0
//
// What all cases of one bench run share: the user's memory, the ceilings and the progress bar.
// Thread-safety: one thread. Units: GB/s.
#pragma once

#include "bench/bench_options.h"
#include "cli/progress.h"
#include <godbox/app/roce_wires.h>
#include <godbox/perf/ceiling.h>
#include <godbox/perf/mapped_buffer.h>
#include <godbox/perf/ping_pong.h>

#include <map>
#include <memory>
#include <string>

namespace godbox::app {

[[nodiscard]] perf::Direction direction_of(WorkOp op);

class Environment {
 public:
  // Errors: invalid_argument (more memory than there is), io_error; those of the plan's wires.
  [[nodiscard]] static Result<std::unique_ptr<Environment>> create(BenchPlan plan);

  [[nodiscard]] const BenchPlan& plan() const { return plan_; }
  [[nodiscard]] MutableSpan user_memory() const { return user_.bytes(); }
  [[nodiscard]] Progress& progress() { return progress_; }
  // Of the plan's wires.
  [[nodiscard]] std::vector<RoceInterface> roce_interfaces() const {
    return wires_ == nullptr ? std::vector<RoceInterface>() : wires_->interfaces();
  }

  // The ceiling that belongs to a case and walks through so many bytes on each side (at least a
  // piece of its own, at most the plan's), calibrated for the direction; made once and kept.
  [[nodiscard]] Result<perf::Ceiling*> ceiling_for(const BenchCase& subject, WorkOp op,
                                                   SizeBytes working_set);
  // What stands beside the ceiling, the best of a few passes: reads over TCP when the server sends
  // by sendfile; local copies by non-temporal stores.
  [[nodiscard]] Result<double> sendfile_rate(const BenchCase& subject);
  [[nodiscard]] Result<double> streaming_rate(WorkOp op);
  // A round trip of raw sockets with as many bytes as one access of remote memory has.
  [[nodiscard]] Result<std::unique_ptr<perf::PingPong>> ping_pong(
      const perf::PingPongOptions& options) const;
  // What the raw sockets of this case do, once: for choosing a time scale.
  [[nodiscard]] Result<double> machine_rate(const BenchCase& subject);

 private:
  explicit Environment(BenchPlan plan);
  [[nodiscard]] perf::CeilingBuffers buffers(SizeBytes working_set) const;
  [[nodiscard]] Result<double> best_rate(perf::Ceiling& ceiling, perf::Direction direction) const;

  BenchPlan plan_;
  std::unique_ptr<RoceWires> wires_;  // nullptr: none
  perf::MappedBuffer pool_;
  perf::MappedBuffer user_;
  std::map<std::string, std::unique_ptr<perf::Ceiling>> ceilings_;
  Progress progress_;
};

}  // namespace godbox::app
