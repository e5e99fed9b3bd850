// SPDX-License-Identifier: Apache-2.0
#include "lane_table.h"
#include <godbox/assert.h>
#include <godbox/ring_queue.h>
#include <godbox/striping/executor.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <utility>

namespace godbox::striping {

namespace {

constexpr std::size_t kPollMax = 64;
constexpr Duration kHeldPause = std::chrono::microseconds(50);  // between looks at a device
// While runs wait for a better lane than those that are free, the choice is looked at again so
// often.
constexpr Duration kRechoosePeriod = std::chrono::milliseconds(10);

// Foreground work is about until so long after its last batch has ended: a decoder that gets one
// block after the other shall not find the lanes full each time.
constexpr Duration kForegroundFor = std::chrono::milliseconds(10);
// What background can be owed at most by the lanes, for foreground work that went first.
constexpr std::uint64_t kBackgroundDueMax = 4 * std::uint64_t{kRunBytesMax};

// After these nothing that the session holds is worth another try.
bool ends_batch(Errc status) {
  return status == Errc::wrong_epoch || status == Errc::session_lost ||
         scope_of(status) == ErrcScope::device;
}

// An identifier that names a table's slot and which of its uses is meant.
std::uint64_t pack(std::uint32_t index, std::uint32_t generation) {
  return (std::uint64_t{generation} << 32U) | index;
}
std::uint32_t index_of(std::uint64_t id) { return static_cast<std::uint32_t>(id); }
std::uint32_t generation_of(std::uint64_t id) { return static_cast<std::uint32_t>(id >> 32U); }

enum class RunState : std::uint8_t { queued, in_flight, done };

struct Run {
  std::uint32_t slice_begin = 0, slice_count = 0;
  std::uint32_t bytes = 0;
  std::uint32_t queue = 0;
  WorkOp op = WorkOp::read;
  RunState state = RunState::queued;
  int attempts = 0;               // that ended with their lane
  std::optional<LaneId> probe{};  // the slow lane that it is to try
};

struct Batch {
  std::uint32_t generation = 1;
  bool active = false;
  bool finished = false;  // all runs are done, the callback is due
  bool expired = false;   // its deadline has passed; a device may have some of its bytes still
  std::span<const Transfer> transfers;
  TimePoint deadline{};
  TrafficClass traffic_class = TrafficClass::foreground;
  Executor::OnBatchDone on_done;
  Plan plan;
  std::vector<Run> runs;
  std::vector<Errc> statuses;  // per transfer: ok until something failed
  std::size_t runs_left = 0;   // queued or in flight
  Errc ending = Errc::ok;      // set: no run is started any more, and what is not done fails so
};

struct RunRef {
  std::uint32_t batch = 0;
  std::uint32_t run = 0;
};

// Runs that want one SuperNIC's lanes, foreground or background; when any lane will do, one queue
// of each.
struct Queue {
  std::optional<SuperNicId> super_nic;
  bool is_background = false;
  RingQueue<RunRef> runs;
  std::uint64_t bytes = 0;
};

// A posted request. Its WorkId names this slot and generation, so that a completion that comes
// after the lane was fenced and the run sent again finds nothing.
struct Flight {
  std::uint32_t generation = 1;
  bool active = false;
  bool is_fenced = false;  // its lane was, and a device may have its bytes until it completes
  LaneId lane;
  RunRef ref;
};

}  // namespace

struct Executor::Impl {
  Impl(Transport& transport_in, const Clock& clock_in, ExecutorOptions options_in)
      : transport(transport_in),
        clock(clock_in),
        options(std::move(options_in)),
        lanes(transport, {.bytes_in_flight_target = options.lane_bytes_in_flight,
                          .reopen_delay_min = options.reopen_delay_min,
                          .reopen_delay_max = options.reopen_delay_max,
                          .probes = options.policy == LanePolicy::any}) {
    planner.policy = options.policy;
    planner.super_nic_of = options.super_nic_of;
    lanes.refresh(clock.now());
  }

  // --- Batches ---
  Result<BatchId> submit(std::span<const Transfer> transfers, TimePoint deadline,
                         OnBatchDone on_done, TrafficClass traffic_class);
  void end_batch(std::uint32_t slot, Errc status);
  void deliver(std::uint32_t slot);
  bool deliver_finished();
  void cancel(std::uint32_t slot, TimePoint now);
  std::uint32_t take_slot();
  std::uint32_t queue_for(SuperNicId super_nic, TrafficClass traffic_class);
  [[nodiscard]] bool is_foreground_about(TimePoint now) const;

  // --- Runs ---
  void enqueue(RunRef ref, bool first);
  void run_done(RunRef ref);
  void fail_run(RunRef ref, Errc status);
  void settle(RunRef ref, LaneId lane, Errc status);
  void retry_after_lane_error(RunRef ref, LaneId lane, Errc status);
  void split(RunRef ref);
  void keep_crcs(Batch& batch, const Run& run);
  bool is_pointless(const Batch& batch, const Run& run) const;

  // --- Lanes ---
  bool take_completions(TimePoint now);
  void complete(const Completion& completion, TimePoint now);
  bool expire(TimePoint now);
  bool end_if_lost();
  void fence(LaneId lane);
  void end_fenced(RunRef ref);
  void fence_lanes_of_ending(const std::vector<std::uint32_t>& slots);
  void fence_suspects();
  bool post_queued(TimePoint now);
  bool post_due_background(TimePoint now);
  std::optional<LaneId> choose_lane(const Queue& queue, std::uint64_t bytes, TimePoint now);
  void count_shares(const Queue& queue, std::uint64_t bytes);
  bool post_front(Queue& queue, TimePoint now);
  [[nodiscard]] std::uint64_t bytes_ahead(TrafficClass traffic_class) const;
  std::uint32_t take_flight(LaneId lane, RunRef ref);
  void release_flight(std::uint32_t index);
  void forget_queued(std::uint32_t slot);

  Transport& transport;
  const Clock& clock;
  ExecutorOptions options;
  LaneTable lanes;
  PlannerOptions planner;
  ExecutorCounters counters;

  std::vector<std::unique_ptr<Batch>> batches;
  std::vector<std::uint32_t> free_batches;
  std::size_t batches_active = 0;
  RingQueue<std::uint32_t> finished;     // slots whose callback is due
  TimePoint earliest_deadline = kNever;  // not after the true one

  std::vector<Queue> queues;
  std::size_t queue_turn = 0;
  std::uint64_t background_due_bytes = 0;  // what foreground has sent since it waits earns it
  std::size_t foreground_batches = 0;
  TimePoint foreground_until{};  // with none of them active
  TimePoint rechoose_at = kNever;
  std::vector<Flight> flights;
  std::vector<std::uint32_t> free_flights;
  std::vector<LaneId> suspects;  // gave an error that ends a lane, and are still up
  std::vector<std::uint32_t> scratch_slots;
  std::vector<LaneId> scratch_lanes;
  bool has_news = false;  // submitted or cancelled since the last progress()
  bool closing = false;
};

Result<BatchId> Executor::Impl::submit(std::span<const Transfer> transfers, TimePoint deadline,
                                       OnBatchDone on_done, TrafficClass traffic_class) {
  GODBOX_ASSERT(on_done != nullptr);
  if (!is_traffic_class(traffic_class)) {
    return Error(Errc::invalid_argument,
                 fmt::format("traffic class {} is none", static_cast<unsigned>(traffic_class)));
  }
  if (closing) {
    return Error(Errc::cancelled, "the executor is being destroyed");
  }
  if (batches_active >= kBatchesMax) {
    return Error(Errc::queue_full, "too many batches are in flight");
  }
  const std::uint32_t slot = take_slot();
  Batch& batch = *batches[slot];
  planner.lane_count = lanes.up_count() > 0 ? lanes.up_count() : lanes.lane_count();
  const TimePoint now = clock.now();
  const bool gives_way = is_background(traffic_class) && is_foreground_about(now);
  const std::uint64_t run_bytes_max = gives_way ? kBusyRunBytesMax : kRunBytesMax;
  planner.run_bytes_max = static_cast<std::uint32_t>(
      std::min(lanes.bytes_granted_min().value_or(run_bytes_max), run_bytes_max));
  planner.bytes_ahead = bytes_ahead(traffic_class);
  const std::optional<LaneId> probe = lanes.plan_probe(now, planner.bytes_ahead);
  planner.probe_first = probe.has_value();
  const Result<void> planned = make_plan(transfers, planner, batch.plan);
  if (!planned) {
    free_batches.push_back(slot);
    return planned.error();
  }
  batch.active = true;
  batch.finished = false;
  batch.expired = false;
  batch.transfers = transfers;
  batch.deadline = deadline;
  batch.traffic_class = traffic_class;
  batch.on_done = std::move(on_done);
  batch.ending = Errc::ok;
  batch.statuses.assign(transfers.size(), Errc::ok);
  batch.runs.clear();
  batch.runs_left = batch.plan.runs.size();
  batches_active += 1;
  foreground_batches += is_background(traffic_class) ? 0U : 1U;
  has_news = true;
  earliest_deadline = std::min(earliest_deadline, deadline);
  for (const PlannedRun& planned_run : batch.plan.runs) {
    batch.runs.push_back({.slice_begin = planned_run.slice_begin,
                          .slice_count = planned_run.slice_count,
                          .bytes = planned_run.total_bytes,
                          .queue = queue_for(planned_run.super_nic, traffic_class),
                          .op = planned_run.op});
    if (batch.runs.size() == 1 && planned_run.total_bytes <= kRunBytesMin) {
      batch.runs.front().probe = probe;
    }
    enqueue({.batch = slot, .run = static_cast<std::uint32_t>(batch.runs.size() - 1)}, false);
  }
  if (batch.runs_left == 0) {
    batch.finished = true;
    finished.push_back(slot);
  }
  return BatchId(pack(slot, batch.generation));
}

// Queued or in flight, as far as it keeps lanes busy that the next batch of this class may use: of
// `affine` that is not known, as each SuperNIC has its own.
std::uint64_t Executor::Impl::bytes_ahead(TrafficClass traffic_class) const {
  if (options.policy == LanePolicy::affine) {
    return 0;
  }
  std::uint64_t bytes = lanes.bytes_in_flight(kBusyRunBytesMax);
  for (const Queue& queue : queues) {
    bytes += queue.is_background && !is_background(traffic_class) ? 0 : queue.bytes;
  }
  return bytes;
}

std::uint32_t Executor::Impl::take_slot() {
  if (free_batches.empty()) {
    batches.push_back(std::make_unique<Batch>());
    return static_cast<std::uint32_t>(batches.size() - 1);
  }
  const std::uint32_t slot = free_batches.back();
  free_batches.pop_back();
  return slot;
}

bool Executor::Impl::is_foreground_about(TimePoint now) const {
  return foreground_batches > 0 || now < foreground_until;
}

std::uint32_t Executor::Impl::queue_for(SuperNicId super_nic, TrafficClass traffic_class) {
  std::optional<SuperNicId> wanted;
  if (options.policy == LanePolicy::affine) {
    wanted = super_nic;
  }
  for (std::uint32_t i = 0; i < queues.size(); ++i) {
    if (queues[i].super_nic == wanted && queues[i].is_background == is_background(traffic_class)) {
      return i;
    }
  }
  queues.emplace_back();
  queues.back().super_nic = wanted;
  queues.back().is_background = is_background(traffic_class);
  return static_cast<std::uint32_t>(queues.size() - 1);
}

// No run of the batch is started any more; those in flight end by themselves or by a fence.
void Executor::Impl::end_batch(std::uint32_t slot, Errc status) {
  Batch& batch = *batches[slot];
  if (batch.finished) {
    return;
  }
  if (batch.ending == Errc::ok) {
    batch.ending = status;
  }
  forget_queued(slot);
  for (std::uint32_t i = 0; i < batch.runs.size(); ++i) {
    if (batch.runs[i].state == RunState::queued) {
      fail_run({.batch = slot, .run = i}, batch.ending);
    }
  }
}

void Executor::Impl::forget_queued(std::uint32_t slot) {
  for (Queue& queue : queues) {
    queue.runs.remove_if([&](const RunRef& ref) {
      if (ref.batch != slot) {
        return false;
      }
      queue.bytes -= batches[slot]->runs[ref.run].bytes;
      return true;
    });
  }
}

void Executor::Impl::deliver(std::uint32_t slot) {
  Batch& batch = *batches[slot];
  if (!batch.on_done) {
    return;  // its callback is running right now
  }
  batches_active -= 1;
  if (!is_background(batch.traffic_class)) {
    foreground_batches -= 1;
    foreground_until = clock.now() + kForegroundFor;
  }
  OnBatchDone on_done = std::exchange(batch.on_done, nullptr);
  const TimePoint before = clock.now();
  on_done(batch.statuses);
  lanes.on_away(clock.now() - before);
  batch.active = false;
  batch.generation += 1;
  batch.transfers = {};
  free_batches.push_back(slot);
}

bool Executor::Impl::deliver_finished() {
  bool any = false;
  while (!finished.empty()) {
    const std::uint32_t slot = finished.front();
    finished.pop_front();
    deliver(slot);
    any = true;
  }
  return any;
}

void Executor::Impl::cancel(std::uint32_t slot, TimePoint now) {
  has_news = true;
  take_completions(now);
  fence_suspects();
  end_batch(slot, Errc::cancelled);
  scratch_slots.assign(1, slot);
  fence_lanes_of_ending(scratch_slots);
  while (!batches[slot]->finished) {  // a device has some of its bytes
    if (!transport.progress()) {
      std::this_thread::sleep_for(std::min<Duration>(transport.poll_pause(), kHeldPause));
    }
    take_completions(now);
  }
  finished.remove_if([slot](std::uint32_t other) { return other == slot; });
  deliver(slot);
}

void Executor::Impl::enqueue(RunRef ref, bool first) {
  Run& run = batches[ref.batch]->runs[ref.run];
  run.state = RunState::queued;
  Queue& queue = queues[run.queue];
  queue.bytes += run.bytes;
  if (first) {
    queue.runs.push_front(ref);
  } else {
    queue.runs.push_back(ref);
  }
}

void Executor::Impl::run_done(RunRef ref) {
  Batch& batch = *batches[ref.batch];
  batch.runs[ref.run].state = RunState::done;
  batch.runs_left -= 1;
  if (batch.runs_left == 0) {
    batch.finished = true;
    finished.push_back(ref.batch);
  }
}

void Executor::Impl::fail_run(RunRef ref, Errc status) {
  Batch& batch = *batches[ref.batch];
  const Run& run = batch.runs[ref.run];
  for (std::uint32_t i = 0; i < run.slice_count; ++i) {
    Errc& transfer = batch.statuses[batch.plan.slices[run.slice_begin + i].transfer];
    if (transfer == Errc::ok) {
      transfer = status;
    }
  }
  run_done(ref);
}

// A run that is not in flight any more ended with `status`.
void Executor::Impl::settle(RunRef ref, LaneId lane, Errc status) {
  Batch& batch = *batches[ref.batch];
  Run& run = batch.runs[ref.run];
  if (status == Errc::ok) {
    keep_crcs(batch, run);
    run_done(ref);
  } else if (batch.ending != Errc::ok) {
    fail_run(ref, batch.ending);
  } else if (ends_batch(status)) {
    fail_run(ref, status);
    end_batch(ref.batch, status);
  } else if (scope_of(status) == ErrcScope::lane) {
    retry_after_lane_error(ref, lane, status);
  } else if (run.slice_count > 1) {
    split(ref);
  } else {
    fail_run(ref, status);
  }
}

void Executor::Impl::retry_after_lane_error(RunRef ref, LaneId lane, Errc status) {
  // Work may be sent again only when nothing of it moves on its old lane.
  if (transport.lane_status(lane).state == LaneState::up) {
    suspects.push_back(lane);
  }
  Run& run = batches[ref.batch]->runs[ref.run];
  run.attempts += 1;
  if (run.attempts >= kRunAttemptsMax) {
    fail_run(ref, status);
    return;
  }
  counters.runs_resent += 1;
  enqueue(ref, true);
}

// A request of several slices failed for one of them, nobody knows which: each goes alone now.
void Executor::Impl::split(RunRef ref) {
  Batch& batch = *batches[ref.batch];
  const Run whole = batch.runs[ref.run];
  for (std::uint32_t i = whole.slice_count; i-- > 0;) {
    const std::uint32_t slice = whole.slice_begin + i;
    Run part{.slice_begin = slice,
             .slice_count = 1,
             .bytes = batch.plan.slices[slice].total_bytes,
             .queue = whole.queue,
             .op = whole.op};
    std::uint32_t index = ref.run;
    if (i > 0) {
      index = static_cast<std::uint32_t>(batch.runs.size());
      batch.runs.push_back(part);
      batch.runs_left += 1;
    } else {
      batch.runs[index] = part;
    }
    enqueue({.batch = ref.batch, .run = index}, true);
  }
}

void Executor::Impl::keep_crcs(Batch& batch, const Run& run) {
  if (run.op != WorkOp::write) {
    return;
  }
  for (std::uint32_t i = 0; i < run.slice_count; ++i) {
    const PlannedSlice& slice = batch.plan.slices[run.slice_begin + i];
    for (std::uint32_t block = 0; block < slice.crc_count; ++block) {
      batch.transfers[slice.transfer].crc32c[slice.crc_home + block] =
          batch.plan.crc[slice.crc_begin + block].crc32c;
    }
  }
}

// True when all transfers that the run serves have failed already.
bool Executor::Impl::is_pointless(const Batch& batch, const Run& run) const {
  for (std::uint32_t i = 0; i < run.slice_count; ++i) {
    if (batch.statuses[batch.plan.slices[run.slice_begin + i].transfer] == Errc::ok) {
      return false;
    }
  }
  return true;
}

std::uint32_t Executor::Impl::take_flight(LaneId lane, RunRef ref) {
  std::uint32_t index = 0;
  if (free_flights.empty()) {
    index = static_cast<std::uint32_t>(flights.size());
    flights.emplace_back();
  } else {
    index = free_flights.back();
    free_flights.pop_back();
  }
  Flight& flight = flights[index];
  flight.active = true;
  flight.is_fenced = false;
  flight.lane = lane;
  flight.ref = ref;
  return index;
}

void Executor::Impl::release_flight(std::uint32_t index) {
  flights[index].active = false;
  flights[index].generation += 1;
  free_flights.push_back(index);
}

bool Executor::Impl::take_completions(TimePoint now) {
  std::array<Completion, kPollMax> completions;
  bool any = false;
  std::size_t count = 0;
  do {
    count = transport.poll(completions);
    for (std::size_t i = 0; i < count; ++i) {
      complete(completions[i], now);
    }
    any |= count > 0;
  } while (count == completions.size());
  return any;
}

void Executor::Impl::complete(const Completion& completion, TimePoint now) {
  const std::uint32_t index = index_of(completion.id.value());
  if (index >= flights.size() || !flights[index].active ||
      flights[index].generation != generation_of(completion.id.value())) {
    return;  // of an attempt that was fenced; its run has gone elsewhere or ended
  }
  const Flight flight = flights[index];
  release_flight(index);
  const Run& run = batches[flight.ref.batch]->runs[flight.ref.run];
  if (flight.is_fenced && completion.status == Errc::lane_fenced) {
    end_fenced(flight.ref);
    return;
  }
  if (!flight.is_fenced) {
    lanes.on_completed(flight.lane, run.bytes, batches[flight.ref.batch]->traffic_class,
                       completion.status == Errc::ok, now);
  }
  counters.bytes_done += completion.status == Errc::ok ? run.bytes : 0;
  settle(flight.ref, flight.lane, completion.status);
}

// Ends all requests of a lane: now, or, where a device has some of them, as they complete.
void Executor::Impl::fence(LaneId lane) {
  transport.fence(lane);
  lanes.on_fenced(lane);
  counters.lanes_fenced += 1;
  const bool is_held = transport.requests_held(lane) > 0;
  has_news |= is_held;  // those that are not held have completed
  for (std::uint32_t i = 0; i < flights.size(); ++i) {
    if (!flights[i].active || flights[i].lane != lane) {
      continue;
    }
    if (is_held) {
      flights[i].is_fenced = true;
      continue;
    }
    const RunRef ref = flights[i].ref;
    release_flight(i);
    end_fenced(ref);
  }
}

// Nobody touches the run's bytes. If its batch goes on it is queued again, at the front.
void Executor::Impl::end_fenced(RunRef ref) {
  if (batches[ref.batch]->ending != Errc::ok) {
    fail_run(ref, batches[ref.batch]->ending);
  } else {
    counters.runs_resent += 1;
    enqueue(ref, true);
  }
}

void Executor::Impl::fence_suspects() {
  while (!suspects.empty()) {
    const LaneId lane = suspects.back();
    suspects.pop_back();
    if (transport.lane_status(lane).state == LaneState::up) {
      fence(lane);
    }
  }
}

void Executor::Impl::fence_lanes_of_ending(const std::vector<std::uint32_t>& slots) {
  scratch_lanes.clear();
  for (const Flight& flight : flights) {
    if (flight.active && !flight.is_fenced &&
        std::find(slots.begin(), slots.end(), flight.ref.batch) != slots.end() &&
        std::find(scratch_lanes.begin(), scratch_lanes.end(), flight.lane) == scratch_lanes.end()) {
      scratch_lanes.push_back(flight.lane);
    }
  }
  for (const LaneId lane : scratch_lanes) {
    fence(lane);
  }
}

bool Executor::Impl::expire(TimePoint now) {
  if (now < earliest_deadline) {
    return false;
  }
  scratch_slots.clear();
  earliest_deadline = kNever;
  for (std::uint32_t slot = 0; slot < batches.size(); ++slot) {
    const Batch& batch = *batches[slot];
    if (!batch.active || batch.finished || batch.expired) {
      continue;
    }
    if (batch.deadline <= now) {
      batches[slot]->expired = true;
      scratch_slots.push_back(slot);
    } else {
      earliest_deadline = std::min(earliest_deadline, batch.deadline);
    }
  }
  const Errc status = lanes.up_count() == 0 ? lanes.down_with() : Errc::deadline_exceeded;
  for (const std::uint32_t slot : scratch_slots) {
    end_batch(slot, status);
    counters.batches_expired += 1;
  }
  fence_lanes_of_ending(scratch_slots);
  return !scratch_slots.empty();
}

// What no lane will ever serve again ends now and not at its deadline.
bool Executor::Impl::end_if_lost() {
  const Errc lost = lanes.lost_with();
  if (lost == Errc::ok) {
    return false;
  }
  bool any = false;
  for (std::uint32_t slot = 0; slot < batches.size(); ++slot) {
    if (batches[slot]->active && !batches[slot]->finished) {
      end_batch(slot, lost);
      any = true;
    }
  }
  return any;
}

bool Executor::Impl::post_queued(TimePoint now) {
  bool any = false;
  bool waiting = false;
  for (const bool is_background : {false, true}) {
    for (std::size_t step = 0; step < queues.size(); ++step) {
      Queue& queue = queues[(queue_turn + step) % queues.size()];
      if (queue.is_background != is_background) {
        continue;
      }
      any |= post_due_background(now);
      while (!queue.runs.empty() && post_front(queue, now)) {
        any = true;
        static_cast<void>(post_due_background(now));
      }
      waiting |= !queue.runs.empty();
    }
  }
  queue_turn += 1;
  rechoose_at = waiting && lanes.up_count() > 0 ? now + kRechoosePeriod : kNever;
  return any;
}

// Background that has waited for its share goes before foreground.
bool Executor::Impl::post_due_background(TimePoint now) {
  bool any = false;
  for (std::size_t step = 0; background_due_bytes > 0 && step < queues.size(); ++step) {
    Queue& queue = queues[(queue_turn + step) % queues.size()];
    while (queue.is_background && !queue.runs.empty() &&
           batches[queue.runs.front().batch]->runs[queue.runs.front().run].bytes <=
               background_due_bytes &&
           post_front(queue, now)) {
      any = true;
    }
  }
  return any;
}

std::optional<LaneId> Executor::Impl::choose_lane(const Queue& queue, std::uint64_t bytes,
                                                  TimePoint now) {
  return queue.is_background && is_foreground_about(now)
             ? lanes.choose_sparing(queue.super_nic, bytes, queue.bytes, now)
             : lanes.choose(queue.super_nic, bytes, queue.bytes, now);
}

// `bytes` of the queue have been sent.
void Executor::Impl::count_shares(const Queue& queue, std::uint64_t bytes) {
  const bool is_waiting = std::any_of(queues.begin(), queues.end(), [](const Queue& other) {
    return other.is_background && other.bytes > 0;
  });
  if (!is_waiting) {
    background_due_bytes = 0;
  } else if (queue.is_background) {
    background_due_bytes -= std::min(background_due_bytes, bytes);
  } else {
    background_due_bytes =
        std::min(background_due_bytes + bytes / (kBackgroundShare - 1), kBackgroundDueMax);
  }
}

// Posts the queue's first run, or finds it need not be. False when no lane takes it now.
bool Executor::Impl::post_front(Queue& queue, TimePoint now) {
  const RunRef ref = queue.runs.front();
  Batch& batch = *batches[ref.batch];
  Run& run = batch.runs[ref.run];
  if (is_pointless(batch, run)) {
    queue.runs.pop_front();
    queue.bytes -= run.bytes;
    run_done(ref);
    return true;
  }
  while (true) {
    std::optional<LaneId> lane = std::exchange(run.probe, std::nullopt);
    if (!lane || !lanes.take_probe(*lane, now)) {
      lane = choose_lane(queue, run.bytes, now);
    }
    if (!lane) {
      return false;
    }
    const std::uint32_t flight = take_flight(*lane, ref);
    const WorkId id(pack(flight, flights[flight].generation));
    WorkRequest request = batch.plan.request(id, run.op, run.slice_begin, run.slice_count);
    request.deadline = batch.deadline;
    request.traffic_class = batch.traffic_class;
    const Errc posted = transport.post(*lane, request);
    if (posted == Errc::ok) {
      run.state = RunState::in_flight;
      lanes.on_posted(*lane, run.bytes, batch.traffic_class, now);
      counters.runs_posted += 1;
    } else {
      release_flight(flight);
      if (posted == Errc::queue_full || scope_of(posted) == ErrcScope::lane) {
        lanes.on_refused(*lane);
        continue;
      }
    }
    queue.runs.pop_front();
    queue.bytes -= run.bytes;
    count_shares(queue, run.bytes);
    if (posted != Errc::ok) {
      settle(ref, *lane, posted);
    }
    return true;
  }
}

Executor::Executor(Transport& transport, const Clock& clock, ExecutorOptions options)
    : impl_(std::make_unique<Impl>(transport, clock, std::move(options))) {}

Executor::~Executor() {
  impl_->closing = true;
  const TimePoint now = impl_->clock.now();
  for (std::uint32_t slot = 0; slot < impl_->batches.size(); ++slot) {
    if (impl_->batches[slot]->active) {
      impl_->cancel(slot, now);
    }
  }
}

Result<BatchId> Executor::submit(std::span<const Transfer> transfers, TimePoint deadline,
                                 OnBatchDone on_done, TrafficClass traffic_class) {
  return impl_->submit(transfers, deadline, std::move(on_done), traffic_class);
}

void Executor::cancel(BatchId batch) {
  const std::uint32_t slot = index_of(batch.value());
  if (slot < impl_->batches.size() && impl_->batches[slot]->active &&
      impl_->batches[slot]->generation == generation_of(batch.value())) {
    impl_->cancel(slot, impl_->clock.now());
  }
}

bool Executor::progress() {
  const TimePoint now = impl_->clock.now();
  impl_->has_news = false;
  bool any = impl_->take_completions(now);
  impl_->fence_suspects();
  any |= impl_->lanes.refresh(now);
  any |= impl_->end_if_lost();
  any |= impl_->expire(now);
  any |= impl_->post_queued(now);
  any |= impl_->deliver_finished();
  return any;
}

void Executor::on_away(Duration away) { impl_->lanes.on_away(away); }

TimePoint Executor::next_deadline() const {
  if (impl_->has_news || !impl_->finished.empty()) {
    return impl_->clock.now();
  }
  return std::min({impl_->earliest_deadline, impl_->lanes.next_reopen(), impl_->rechoose_at});
}

std::size_t Executor::batches_in_flight() const { return impl_->batches_active; }

const ExecutorCounters& Executor::counters() const { return impl_->counters; }

}  // namespace godbox::striping
