// SPDX-License-Identifier: Apache-2.0
#include "bench/environment.h"

#include "measure/machine.h"
#include <godbox/emulator/pool_service.h>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace godbox::app {
namespace {

constexpr SizeBytes kWorkingSetMin = 4_MiB;  // of the ceilings: a chunk of theirs
constexpr std::uint64_t kCalibrationShare = 4;
constexpr int kBestOfPasses = 3;

SizeBytes calibration_bytes(const BenchPlan& plan) {
  return std::max(plan.working_set / kCalibrationShare, kWorkingSetMin);
}

}  // namespace

perf::Direction direction_of(WorkOp op) {
  return op == WorkOp::read ? perf::Direction::read : perf::Direction::write;
}

Environment::Environment(BenchPlan plan)
    : plan_(std::move(plan)),
      progress_("measuring",
                static_cast<double>(plan_.cases.size() * plan_.ops.size() * plan_.repeats)) {
  // Four caches' worth, because a walk over less leaves some of it in the cache for the next pass.
  is_cold_ = plan_.working_set >= describe_machine().l3_cache * 4;
}

Result<std::unique_ptr<Environment>> Environment::create(BenchPlan plan) {
  std::unique_ptr<Environment> environment(new Environment(std::move(plan)));
  const SizeBytes size = std::max(environment->plan_.working_set, kWorkingSetMin);
  Result<perf::MappedBuffer> pool = perf::MappedBuffer::memfd(size);
  if (!pool) {
    return pool.error();
  }
  environment->pool_ = std::move(*pool);
  Result<perf::MappedBuffer> user = perf::MappedBuffer::anonymous(size);
  if (!user) {
    return user.error();
  }
  environment->user_ = std::move(*user);
  return environment;
}

perf::CeilingBuffers Environment::buffers() const {
  return {pool_.bytes(), pool_.descriptor(), user_.bytes(), pool_.is_huge()};
}

Result<perf::Ceiling*> Environment::ceiling_for(const BenchCase& subject, WorkOp op) {
  const std::size_t connections = std::size_t{subject.eth_ports} * subject.lanes_per_eth_port;
  const bool is_local = subject.transport == TransportKind::local;
  const std::string key = is_local ? fmt::format("copy {}", to_string(op))
                                   : fmt::format("sockets {} {}", connections, to_string(op));
  auto& ceiling = ceilings_[key];
  if (ceiling) {
    return ceiling.get();
  }
  if (is_local) {
    ceiling =
        perf::make_copy_ceiling(buffers(), {plan_.copy_threads, emulator::kLargeStripBytes, false});
  } else {
    auto sockets = perf::make_socket_ceiling(buffers(), {connections, plan_.server_threads, false});
    if (!sockets) {
      return sockets.error();
    }
    ceiling = std::move(*sockets);
  }
  if (const auto done = ceiling->calibrate(direction_of(op), calibration_bytes(plan_)); !done) {
    return done.error();
  }
  return ceiling.get();
}

Result<double> Environment::sendfile_rate(const BenchCase& subject) {
  const std::size_t connections = std::size_t{subject.eth_ports} * subject.lanes_per_eth_port;
  const auto ceiling =
      perf::make_socket_ceiling(buffers(), {connections, plan_.server_threads, true});
  if (!ceiling) {
    return ceiling.error();
  }
  return best_rate(**ceiling, perf::Direction::read);
}

Result<double> Environment::streaming_rate(WorkOp op) {
  const auto ceiling =
      perf::make_copy_ceiling(buffers(), {plan_.copy_threads, emulator::kLargeStripBytes, true});
  return best_rate(*ceiling, direction_of(op));
}

Result<double> Environment::best_rate(perf::Ceiling& ceiling, perf::Direction direction) const {
  if (const auto done = ceiling.calibrate(direction, calibration_bytes(plan_)); !done) {
    return done.error();
  }
  double best = 0;
  for (int pass = 0; pass < kBestOfPasses; ++pass) {
    const Result<double> rate = ceiling.measure(direction, plan_.working_set);
    if (!rate) {
      return rate.error();
    }
    best = std::max(best, *rate);
  }
  return best;
}

Result<double> Environment::machine_rate(const BenchCase& subject) {
  const Result<perf::Ceiling*> ceiling = ceiling_for(subject, WorkOp::read);
  if (!ceiling) {
    return ceiling.error();
  }
  return (*ceiling)->measure(perf::Direction::read, calibration_bytes(plan_));
}

}  // namespace godbox::app
