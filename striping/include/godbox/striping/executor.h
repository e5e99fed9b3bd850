// SPDX-License-Identifier: Apache-2.0
//
// Runs plans over a Transport: keeps each lane busy within its credits, re-sends the work of a dead
// lane on the others after it is fenced, ends batches at their deadline. A slow or dead lane costs
// its own share and nothing else, because credits are per lane, lanes take work when they have
// credit, and the end of a batch goes to the lanes that will be done with it first. Thread-safety:
// the transport's thread. Ownership: a batch's transfers, lists and memory belong to the executor
// until its callback runs; after that no byte of them is touched: where a device is not through
// with them (Transport::requests_held()), a batch ends after its deadline. Callbacks may call back
// into the executor. Warm, nothing is allocated per run. Units: bytes, TimePoints. Errors per
// transfer: crc_mismatch, key_revoked, ... from the request; the lane's error after kRunAttemptsMax
// attempts; deadline_exceeded; when no lane is up at the deadline lane_closed, or limit_exceeded
// if there is no room for one, in the box or on the way there. wrong_epoch, session_lost and
// device_lost end the whole batch; transfers that were done stay ok. Once all lanes are down with
// device_lost, none comes back, and each batch ends so at once.
#pragma once

#include <godbox/clock.h>
#include <godbox/striping/planner.h>
#include <godbox/transport.h>

#include <functional>
#include <memory>
#include <vector>

namespace godbox::striping {

using BatchId = Id<struct BatchIdTag, std::uint64_t>;

inline constexpr std::uint64_t kLaneBytesInFlight = std::uint64_t{4} << 20U;

struct ExecutorOptions {
  LanePolicy policy = LanePolicy::any;
  std::function<Result<SuperNicId>(PoolAddress)> super_nic_of{};  // affine
  Duration reopen_delay_min = std::chrono::milliseconds(10);      // doubled per failure up to max
  // Short enough for a port that is back to carry its share within a second.
  Duration reopen_delay_max = std::chrono::milliseconds(400);
  // What a lane holds at most while it is measured (two requests always): 4 ms at 1 GB/s.
  std::uint64_t lane_bytes_in_flight = kLaneBytesInFlight;
};

struct ExecutorCounters {
  std::uint64_t runs_posted = 0;
  std::uint64_t runs_resent = 0;
  std::uint64_t lanes_fenced = 0;
  std::uint64_t batches_expired = 0;
  std::uint64_t bytes_done = 0;  // of runs that ended well, read and written
};

class Executor {
 public:
  static constexpr std::size_t kBatchesMax = 4096;
  static constexpr int kRunAttemptsMax = 8;
  // One status per transfer of the batch, in order. Called exactly once.
  using OnBatchDone = std::function<void(std::span<const Errc> statuses)>;

  Executor(Transport& transport, const Clock& clock, ExecutorOptions options);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Errors: queue_full (kBatchesMax), invalid_argument (a traffic class that is none), and those of
  // make_plan; then `on_done` is not called. It runs in progress(), cancel() or the destructor
  // (cancelled).
  [[nodiscard]] Result<BatchId> submit(std::span<const Transfer> transfers, TimePoint deadline,
                                       OnBatchDone on_done,
                                       TrafficClass traffic_class = TrafficClass::foreground);
  // Ends the batch with `cancelled`, fencing the lanes that hold its requests; waits for a device
  // that still moves its bytes.
  void cancel(BatchId batch);
  // Takes completions, posts what has credit, expires batches, reopens lanes. True if it did
  // anything.
  bool progress();
  // Before progress(), whoever drives it was not there for so long: neither called it nor waited
  // for the network. What has completed meanwhile says nothing of how fast a lane is.
  void on_away(Duration away);
  // When progress() has something to do even without an event (deadline, lane reopening).
  [[nodiscard]] TimePoint next_deadline() const;
  [[nodiscard]] std::size_t batches_in_flight() const;
  [[nodiscard]] const ExecutorCounters& counters() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::striping
