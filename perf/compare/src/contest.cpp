// SPDX-License-Identifier: Apache-2.0
#include "contest.h"

#include "godbox_client.h"
#include "measure/machine.h"
#include "measure/pattern.h"
#include "plain_client.h"
#include <godbox/assert.h>

#include <fmt/format.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <thread>
#include <utility>

#include <time.h>

namespace godbox::compare {
namespace {

using SteadyClock = std::chrono::steady_clock;

// In nanoseconds where /proc/PID/stat has hundredths of a second; threads that ended are in it.
std::optional<double> cpu_seconds_of(pid_t process) {
  clockid_t clock = 0;
  timespec used{};
  if (process == 0 || ::clock_getcpuclockid(process, &clock) != 0 ||
      ::clock_gettime(clock, &used) != 0) {
    return std::nullopt;
  }
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

MutableSpan value_of(const Values& values, std::uint64_t object) {
  return values.memory.subspan(object * values.size.count(), values.size.count());
}

// As redis-benchmark names its keys, so that it finds what was set here.
std::string name_of(std::uint64_t object) { return fmt::format("key:{:012}", object); }

// The objects of one thread, one after the other and from the beginning again.
class Share {
 public:
  Share(const Values& values, std::size_t thread, std::size_t threads)
      : first_(values.count() * thread / threads),
        count_(values.count() * (thread + 1) / threads - first_) {
    GODBOX_ASSERT(count_ > 0);
    names_.reserve(count_);
    for (std::uint64_t i = 0; i < count_; ++i) {
      names_.push_back(name_of(first_ + i));
    }
    const std::uint64_t size = values.size.count();
    memory_ = values.memory.subspan(first_ * size, count_ * size);
    for (std::uint64_t i = 0; i < count_; ++i) {
      objects_.push_back({names_[i], value_of(values, first_ + i), RegionOffset(i * size)});
    }
  }
  // Up to `count` neighbours from the n-th on.
  [[nodiscard]] std::span<const KvObject> objects(std::uint64_t n, std::uint64_t count) const {
    const std::uint64_t at = n % count_;
    return std::span(objects_).subspan(at, std::min(count, count_ - at));
  }
  [[nodiscard]] MutableSpan memory() const { return memory_; }
  [[nodiscard]] std::uint64_t count() const { return count_; }

 private:
  std::uint64_t first_;
  std::uint64_t count_;
  std::vector<std::string> names_;
  std::vector<KvObject> objects_;
  MutableSpan memory_;
};

struct LoopOptions {
  KvOp op;
  std::uint64_t objects;
  std::uint64_t batch;
  std::uint64_t calls_in_flight;
  bool reuse;
};

// The one loop of all contestants.
class Loop {
 public:
  Loop(KvClient& client, const Share& share, const LoopOptions& options)
      : client_(client), share_(share), options_(options), begun_(options.calls_in_flight) {
    for (std::uint32_t slot = 0; slot < options.calls_in_flight; ++slot) {
      free_.push_back(slot);
    }
    batch_.resize(options.batch);
  }

  Result<void> run(std::uint64_t first) {
    next_ = first;
    const std::uint64_t end = first + options_.objects;
    while (!failure_ && (next_ < end || free_.size() < begun_.size())) {
      while (!failure_ && next_ < end && !free_.empty()) {
        start(share_.objects(next_, std::min(options_.batch, end - next_)));
      }
      if (free_.size() < begun_.size()) {
        client_.progress();
      }
    }
    // What is still under way uses our memory.
    while (free_.size() < begun_.size()) {
      client_.progress();
    }
    return failure_ ? Result<void>(*failure_) : Result<void>();
  }

  [[nodiscard]] std::vector<double> take_latencies() { return std::move(latencies_us_); }

 private:
  void start(std::span<const KvObject> objects) {
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    next_ += objects.size();
    if (options_.reuse) {
      objects = with_memory_of(slot, objects);
    }
    begun_[slot] = SteadyClock::now();
    client_.submit(options_.op, objects, [this, slot](const Result<void>& result) {
      const std::chrono::duration<double, std::micro> took = SteadyClock::now() - begun_[slot];
      latencies_us_.push_back(took.count());
      free_.push_back(slot);
      if (!result && !failure_) {
        failure_ = result.error();
      }
    });
  }

  // The same names; of the memory the part that belongs to this slot.
  std::span<const KvObject> with_memory_of(std::uint32_t slot, std::span<const KvObject> objects) {
    for (std::size_t i = 0; i < objects.size(); ++i) {
      batch_[i] = objects[i];
      batch_[i].memory = share_.objects(slot * options_.batch + i, 1).front().memory;
    }
    return std::span(batch_).first(objects.size());
  }

  KvClient& client_;
  const Share& share_;
  const LoopOptions options_;
  std::vector<KvObject> batch_;
  std::vector<SteadyClock::time_point> begun_;
  std::vector<std::uint32_t> free_;
  std::uint64_t next_ = 0;
  std::vector<double> latencies_us_;
  std::optional<Error> failure_;
};

Result<std::unique_ptr<KvClient>> connect(const Contestant& contestant, KvOp op,
                                          const Share& share) {
  if (contestant.kind == Kind::godbox) {
    GodboxClientOptions options;
    options.lanes_per_eth_port = static_cast<std::uint32_t>(contestant.connections);
    options.eth_ports_max = static_cast<std::uint32_t>(contestant.eth_ports);
    options.region = op == KvOp::read ? ConstSpan(share.memory()) : ConstSpan();
    const bool is_local = contestant.address.starts_with("local:");
    return GodboxClient::connect((is_local ? "" : "tcp:") + contestant.address, options);
  }
  const Result<StreamAddress> address = StreamAddress::parse("tcp:" + contestant.address);
  if (!address) {
    return address.error();
  }
  PlainClientOptions options;
  options.protocol =
      contestant.kind == Kind::resp2 ? PlainProtocol::resp2 : PlainProtocol::memcached_meta;
  options.connections = contestant.connections;
  return PlainClient::connect(*address, options);
}

struct Worker {
  Result<void> result;
  std::vector<double> latencies_us;
  SteadyClock::time_point begin;
  SteadyClock::time_point end;
};

// Connects and warms its connections up, then takes part in what is measured: from the second
// barrier (at the first the processor times are read) to the third.
void work(const Contestant& contestant, const Values& values, const PassOptions& options,
          std::size_t thread, std::barrier<>& steps, Worker& worker) {
  const Share share(values, thread, options.threads);
  LoopOptions loop_options{};
  loop_options.op = options.op;
  loop_options.reuse = contestant.reuse;
  loop_options.batch = std::min<std::uint64_t>(contestant.batch, share.count());
  loop_options.calls_in_flight = std::max<std::uint64_t>(
      1, std::min<std::uint64_t>(contestant.in_flight, share.count()) / loop_options.batch);
  loop_options.objects = loop_options.calls_in_flight * loop_options.batch;
  Result<std::unique_ptr<KvClient>> client = connect(contestant, options.op, share);
  worker.result = client ? Result<void>() : client.error();
  if (client) {
    if (options.spoil) {
      app::spoil(share.memory());
    }
    // What the timed part reaches last.
    const std::uint64_t warm_up = share.count() - std::min(share.count(), loop_options.objects);
    worker.result = Loop(**client, share, loop_options).run(warm_up);
  }
  steps.arrive_and_wait();
  steps.arrive_and_wait();
  worker.begin = SteadyClock::now();
  if (worker.result) {
    loop_options.objects = options.objects / options.threads;
    Loop loop(**client, share, loop_options);
    worker.result = loop.run(0);
    worker.latencies_us = loop.take_latencies();
  }
  worker.end = SteadyClock::now();
  steps.arrive_and_wait();
}

// From the first thread's begin to the last one's end, by their own clocks: this thread may be
// woken late.
double seconds_of(const std::vector<Worker>& workers) {
  SteadyClock::time_point begin = workers.front().begin;
  SteadyClock::time_point end = workers.front().end;
  for (const Worker& worker : workers) {
    begin = std::min(begin, worker.begin);
    end = std::max(end, worker.end);
  }
  return std::chrono::duration<double>(end - begin).count();
}

}  // namespace

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::resp2:
      return "resp2";
    case Kind::memcached:
      return "memcached";
    case Kind::godbox:
      break;
  }
  return "godbox";
}

void fill(const Values& values) {
  for (std::uint64_t i = 0; i < values.count(); ++i) {
    app::fill_pattern(value_of(values, i), {values.seed, i});
  }
}

std::uint64_t count_wrong(const Values& values) {
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < values.count(); ++i) {
    wrong += app::count_wrong_bytes(value_of(values, i), {values.seed, i});
  }
  return wrong;
}

Result<Pass> run_pass(const Contestant& contestant, const Values& values,
                      const PassOptions& options) {
  GODBOX_ASSERT(options.threads > 0 && values.count() >= options.threads);
  std::barrier steps(static_cast<std::ptrdiff_t>(options.threads + 1));
  std::vector<Worker> workers(options.threads);
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < options.threads; ++thread) {
    threads.emplace_back(
        [&, thread] { work(contestant, values, options, thread, steps, workers[thread]); });
  }
  steps.arrive_and_wait();
  const std::optional<double> server_begin = cpu_seconds_of(contestant.server);
  const double client_begin = app::cpu_seconds_used();
  steps.arrive_and_wait();
  steps.arrive_and_wait();
  Pass pass;
  pass.seconds = seconds_of(workers);
  pass.client_cpu_seconds = app::cpu_seconds_used() - client_begin;
  if (const auto server_end = cpu_seconds_of(contestant.server); server_begin && server_end) {
    pass.server_cpu_seconds = *server_end - *server_begin;
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (Worker& worker : workers) {
    if (!worker.result) {
      return Error(worker.result.error().code,
                   fmt::format("{}: {}", contestant.name, worker.result.error().detail));
    }
    pass.latencies_us.insert(pass.latencies_us.end(), worker.latencies_us.begin(),
                             worker.latencies_us.end());
  }
  pass.bytes = options.objects / options.threads * options.threads * values.size.count();
  return pass;
}

}  // namespace godbox::compare
