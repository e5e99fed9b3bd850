// SPDX-License-Identifier: Apache-2.0
#include "bench/environment.h"

#include "bench/plan_checks.h"
#include "box/wire_option.h"
#include <godbox/driver/machine_memory.h>
#include <godbox/emulator/pool_service.h>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace godbox::app {
namespace {

constexpr SizeBytes kWorkingSetMin = 4_MiB;     // of the ceilings: a chunk of theirs
constexpr SizeBytes kCeilingBufferMin = 1_MiB;  // a piece of the raw sockets
// Its patterns; --op is not for it.
constexpr std::size_t kLookupRows = 3;
// Healthy and small reads, and beside them those with a slow channel.
constexpr std::size_t kPacedRows = 3 + 1;
constexpr std::size_t kPacedSlowRows = 2;
constexpr std::uint64_t kCalibrationShare = 4;
constexpr int kBestOfPasses = 3;

SizeBytes calibration_bytes(SizeBytes working_set) {
  return std::max(working_set / kCalibrationShare, kWorkingSetMin);
}

// More of them would have no connection.
std::size_t server_threads_of(const BenchPlan& plan, const BenchCase& subject) {
  return std::min(plan.server_threads, subject.eth_ports);
}

std::size_t rows_of(const BenchPlan& plan, const BenchCase& one) {
  switch (one.workload) {
    case Workload::lookup:
      return kLookupRows;
    case Workload::port_fault:
    case Workload::incast:
      return 1;
    case Workload::paced:
      return kPacedRows + (one.paced.has_slow_channel ? kPacedSlowRows : 0);
    default:
      return plan.ops.size();
  }
}

std::size_t rows_of(const BenchPlan& plan) {
  std::size_t rows = 0;
  for (const BenchCase& one : plan.cases) {
    rows += rows_of(plan, one);
  }
  return rows;
}

// The rows of lookup move no bytes of the user's; the hosts of incast and a replay have memory of
// their own.
bool moves_bytes(const BenchCase& subject) {
  return subject.workload != Workload::lookup && subject.workload != Workload::incast &&
         subject.workload != Workload::replay;
}

}  // namespace

perf::Direction direction_of(WorkOp op) {
  return op == WorkOp::read ? perf::Direction::read : perf::Direction::write;
}

Environment::Environment(BenchPlan plan)
    : plan_(std::move(plan)),
      progress_("measuring", static_cast<double>(rows_of(plan_) * plan_.repeats)) {}

Result<std::unique_ptr<Environment>> Environment::create(BenchPlan plan) {
  if (const auto enough = check_memory(plan, driver::available_memory_bytes()); !enough) {
    return enough.error();
  }
  const bool is_used = std::any_of(plan.cases.begin(), plan.cases.end(), moves_bytes);
  std::unique_ptr<Environment> environment(new Environment(std::move(plan)));
  const SizeBytes size =
      is_used ? std::max(environment->plan_.working_set, kWorkingSetMin) : kWorkingSetMin;
  // A box that is elsewhere has no ceiling here.
  const bool has_ceilings = environment->plan_.connect.empty();
  Result<perf::MappedBuffer> pool = perf::MappedBuffer::memfd(has_ceilings ? size : kWorkingSetMin);
  if (!pool) {
    return pool.error();
  }
  environment->pool_ = std::move(*pool);
  Result<perf::MappedBuffer> user = perf::MappedBuffer::anonymous(size);
  if (!user) {
    return user.error();
  }
  environment->user_ = std::move(*user);
  Result<std::unique_ptr<RoceWires>> wires = open_wires(environment->plan_.wires);
  if (!wires) {
    return wires.error();
  }
  environment->wires_ = std::move(*wires);
  return environment;
}

perf::CeilingBuffers Environment::buffers(SizeBytes working_set) const {
  const std::size_t size =
      std::clamp<std::size_t>(working_set.count(), kCeilingBufferMin.count(), pool_.bytes().size());
  return {pool_.bytes().first(size), pool_.descriptor(), user_.bytes().first(size),
          pool_.is_huge()};
}

Result<perf::Ceiling*> Environment::ceiling_for(const BenchCase& subject, WorkOp op,
                                                SizeBytes working_set) {
  const std::size_t connections = std::size_t{subject.eth_ports} * subject.lanes_per_eth_port;
  const bool is_local = subject.transport == TransportKind::local;
  const std::size_t server_threads = server_threads_of(plan_, subject);
  const std::string key = is_local ? fmt::format("copy {} {}", to_string(op), working_set.count())
                                   : fmt::format("sockets {} {} {} {}", connections, server_threads,
                                                 to_string(op), working_set.count());
  auto& ceiling = ceilings_[key];
  if (ceiling) {
    return ceiling.get();
  }
  if (is_local) {
    ceiling = perf::make_copy_ceiling(buffers(working_set),
                                      {plan_.copy_threads, emulator::kLargeStripBytes, false});
  } else {
    auto sockets =
        perf::make_socket_ceiling(buffers(working_set), {connections, server_threads, false});
    if (!sockets) {
      return sockets.error();
    }
    ceiling = std::move(*sockets);
  }
  if (const auto done = ceiling->calibrate(direction_of(op), calibration_bytes(working_set));
      !done) {
    return done.error();
  }
  return ceiling.get();
}

Result<double> Environment::sendfile_rate(const BenchCase& subject) {
  const std::size_t connections = std::size_t{subject.eth_ports} * subject.lanes_per_eth_port;
  const auto ceiling = perf::make_socket_ceiling(
      buffers(plan_.working_set), {connections, server_threads_of(plan_, subject), true});
  if (!ceiling) {
    return ceiling.error();
  }
  return best_rate(**ceiling, perf::Direction::read);
}

Result<double> Environment::streaming_rate(WorkOp op) {
  const auto ceiling = perf::make_copy_ceiling(
      buffers(plan_.working_set), {plan_.copy_threads, emulator::kLargeStripBytes, true});
  return best_rate(*ceiling, direction_of(op));
}

Result<double> Environment::best_rate(perf::Ceiling& ceiling, perf::Direction direction) const {
  if (const auto done = ceiling.calibrate(direction, calibration_bytes(plan_.working_set)); !done) {
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

Result<std::unique_ptr<perf::PingPong>> Environment::ping_pong(
    const perf::PingPongOptions& options) const {
  return perf::PingPong::start(buffers(plan_.working_set), options);
}

Result<double> Environment::machine_rate(const BenchCase& subject) {
  const Result<perf::Ceiling*> ceiling = ceiling_for(subject, WorkOp::read, plan_.working_set);
  if (!ceiling) {
    return ceiling.error();
  }
  return (*ceiling)->measure(perf::Direction::read, calibration_bytes(plan_.working_set));
}

}  // namespace godbox::app
