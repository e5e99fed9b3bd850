// SPDX-License-Identifier: Apache-2.0
//
// What a get in the foreground loses to what goes on behind it. Three clients, each a thread with
// lanes of its own, on one box: the foreground gets one block after the other; write-back puts
// blocks; prefetch gets large ones. Each repeat measures the foreground alone, then beside the two:
// once where each says its traffic class, once where all are foreground, in turn.
//   SLO       each get within the time that SGLang's default deadline (0.1 s per 1,024 tokens)
//             leaves it: a block is 16 tokens of Llama-3.1-8B, 2 MiB
//   leakage   the foreground's latency beside the others over its latency alone
//   total     what all three move together
#include "bench/plan_checks.h"
#include "bench/workloads.h"
#include "cli/json.h"
#include "measure/machine.h"
#include "measure/statistics.h"
#include <godbox/connect.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr SizeBytes kForegroundBlock = 2_MiB;
constexpr SizeBytes kWriteBackBlock = 5_MiB;  // of Llama-3.1-70B
constexpr SizeBytes kPrefetchBlock = 20_MiB;
static_assert(std::max({kForegroundBlock, kWriteBackBlock, kPrefetchBlock}) <= kMixedBlockMax);
constexpr double kSloUs = 0.1e6 * 16 / 1024;
constexpr std::uint64_t kForegroundGets = 200;  // of each part of a repeat
constexpr std::uint32_t kBackgroundDepth = 2;

// What the others do meanwhile.
enum class Beside : std::uint8_t { alone, unclassed, classed };
constexpr std::size_t kBesides = 3;

// How the next call is to be served.
using CallOptionsOf = std::function<striping::CallOptions()>;

// One client and its blocks, in the thread that made it.
struct Worker {
  std::unique_ptr<Connection> connection;
  BlockSet blocks;
  std::uint64_t cursor = 0;

  [[nodiscard]] const Clock& clock() const { return connection->network().clock(); }
  // Its session goes on only while it is driven.
  void drive_until(TimePoint until) const { connection->client().progress(until); }
  void drive() const { drive_until(TimePoint()); }

  Result<void> load() {
    for (std::uint64_t i = 0; i < blocks.count(); ++i) {
      blocks.renew(i);
      drive();
    }
    const LoopResult put = run_loop(connection->client(), clock(), {blocks.count(), 4},
                                    [this](std::uint64_t i, Done done) {
                                      blocks.start_put(connection->client(), i, 1, std::move(done));
                                    });
    if (put.failures > 0) {
      return Error(put.first_failure, "the blocks could not be put into the pool");
    }
    return {};
  }

  LoopResult get(std::uint64_t gets, std::uint32_t depth, const CallOptionsOf& options = {}) {
    LoopResult result =
        run_loop(connection->client(), clock(), {gets, depth}, [&](std::uint64_t i, Done done) {
          blocks.start_get(connection->client(), (cursor + i) % blocks.count(), 1, std::move(done),
                           options ? options() : striping::CallOptions());
        });
    cursor += gets;
    return result;
  }

  // All of them under new names; the old ones go.
  LoopResult put_all(const CallOptionsOf& options) {
    std::vector<std::string> replaced;
    for (std::uint64_t i = 0; i < blocks.count(); ++i) {
      replaced.push_back(blocks.renew(i));
      drive();
    }
    LoopResult result =
        run_loop(connection->client(), clock(), {blocks.count(), kBackgroundDepth},
                 [&](std::uint64_t i, Done done) {
                   blocks.start_put(connection->client(), i, 1, std::move(done), options());
                 });
    const Errc removed = remove_all(connection->client(), replaced);
    if (removed != Errc::ok && result.failures == 0) {
      result.failures = 1;
      result.first_failure = removed;
    }
    return result;
  }

  // Every block once more, into memory that holds something else.
  Result<Verification> read_all() {
    for (std::uint64_t i = 0; i < blocks.count(); ++i) {
      blocks.spoil_memory(i);
      drive();
    }
    cursor = 0;
    const LoopResult read = get(blocks.count(), kBackgroundDepth);
    if (read.failures > 0) {
      return Error(read.first_failure, "the blocks could not be read once more");
    }
    Verification verification;
    for (std::uint64_t i = 0; i < blocks.count(); ++i) {
      blocks.verify(i, verification);
      drive();
    }
    return verification;
  }
};

Result<Worker> make_worker(const Rig& rig, MutableSpan memory, std::string_view name,
                           SizeBytes block, std::uint64_t seed) {
  Result<std::unique_ptr<Connection>> connection = rig.connect_another();
  if (!connection) {
    return connection.error();
  }
  const std::size_t whole = memory.size() / block.count() * block.count();
  Worker worker{std::move(*connection),
                BlockSet(memory.first(whole), {fmt::format("mixed/{}", name), block, seed, 1})};
  if (auto loaded = worker.load(); !loaded) {
    return loaded.error();
  }
  return worker;
}

// A thread that moves blocks while it is wanted.
class Background {
 public:
  Background(const Rig& rig, MutableSpan memory, TrafficClass traffic_class, SizeBytes block,
             std::uint64_t seed)
      : class_(traffic_class), block_(block) {
    thread_ = std::jthread([this, &rig, memory, seed](const std::stop_token& stop) {
      Result<Worker> worker = make_worker(rig, memory, name(), block_, seed);
      if (!worker) {
        return fail(worker.error().code);
      }
      is_ready_.store(true);
      while (!stop.stop_requested()) {
        beside_.load() == Beside::alone ? idle(*worker) : step(*worker);
      }
      if (is_to_read_all_.load()) {
        verification_ = worker->read_all();
      }
    });
  }

  [[nodiscard]] std::string_view name() const { return to_string(class_); }
  [[nodiscard]] WorkOp op() const {
    return class_ == TrafficClass::write_back ? WorkOp::write : WorkOp::read;
  }
  [[nodiscard]] SizeBytes block() const { return block_; }
  [[nodiscard]] bool is_ready() const { return is_ready_.load(); }
  [[nodiscard]] Errc failure() const { return failure_.load(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_.load(); }
  void want(Beside beside) { beside_.store(beside); }
  // Ends it, with a last read of all its blocks. Once.
  [[nodiscard]] Result<Verification> finish() {
    is_to_read_all_.store(true);
    thread_.request_stop();
    thread_.join();
    return verification_;
  }

 private:
  void step(Worker& worker) {
    const CallOptionsOf options = [this] {
      const bool is_classed = beside_.load() == Beside::classed;
      return striping::CallOptions{is_classed ? class_ : TrafficClass::foreground};
    };
    const LoopResult result = op() == WorkOp::write
                                  ? worker.put_all(options)
                                  : worker.get(kBackgroundDepth, kBackgroundDepth, options);
    if (result.failures > 0) {
      return fail(result.first_failure);
    }
    bytes_ += block_.count() * result.latencies_us.size();
  }

  static void idle(Worker& worker) {
    worker.drive_until(worker.clock().now() + std::chrono::milliseconds(2));
  }

  void fail(Errc status) {
    failure_.store(status);
    beside_.store(Beside::alone);
    is_ready_.store(true);
  }

  TrafficClass class_;
  SizeBytes block_;
  std::atomic<bool> is_ready_{false};
  std::atomic<Beside> beside_{Beside::alone};
  std::atomic<Errc> failure_{Errc::ok};
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<bool> is_to_read_all_{false};
  Result<Verification> verification_ = Verification();  // the thread's, until it has ended
  std::jthread thread_;                                 // last: it uses all of the above
};

class MixedCase {
 public:
  MixedCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig)
      : environment_(environment), subject_(subject), rig_(std::move(rig)) {}

  Result<Rows> run() {
    const MutableSpan memory = environment_.user_memory();
    const std::size_t third = memory.size() / kMixedClients;
    const std::uint64_t seed = environment_.plan().seed;
    Result<Worker> foreground =
        make_worker(*rig_, memory.first(third), "foreground", kForegroundBlock, seed);
    if (!foreground) {
      return foreground.error();
    }
    Background write_back(*rig_, memory.subspan(third, third), TrafficClass::write_back,
                          kWriteBackBlock, seed + 1);
    Background prefetch(*rig_, memory.subspan(2 * third, third), TrafficClass::prefetch,
                        kPrefetchBlock, seed + 2);
    Background* const others[] = {&write_back, &prefetch};
    if (auto measured = measure(*foreground, others); !measured) {
      return measured.error();
    }
    for (Background* other : others) {
      other->want(Beside::alone);
    }
    Rows rows;
    rows.push_back(foreground_row(*foreground));
    if (auto verified = add_verification(foreground->read_all(), rows.back()); !verified) {
      return verified.error();
    }
    for (std::size_t i = 0; i < std::size(others); ++i) {
      rows.push_back(background_row(*others[i], i));
      if (auto verified = add_verification(others[i]->finish(), rows.back()); !verified) {
        return verified.error();
      }
    }
    return rows;
  }

 private:
  static Result<void> add_verification(const Result<Verification>& read, BenchRow& row) {
    if (!read) {
      return read.error();
    }
    row.verification = *read;
    return {};
  }

  Result<void> measure(Worker& foreground, std::span<Background* const> others) {
    while (std::any_of(others.begin(), others.end(), [](auto* one) { return !one->is_ready(); })) {
      foreground.drive_until(foreground.clock().now() + std::chrono::milliseconds(2));
    }
    for (std::uint32_t repeat = 0; repeat < environment_.plan().repeats; ++repeat) {
      // Which of the two comes first, alternates.
      const bool is_even = repeat % 2 == 0;
      for (const Beside beside : {Beside::alone, is_even ? Beside::unclassed : Beside::classed,
                                  is_even ? Beside::classed : Beside::unclassed}) {
        if (auto measured = measure_beside(beside, foreground, others); !measured) {
          return measured;
        }
      }
      totals_ratio_.push_back(of(Beside::classed).totals.back() /
                              of(Beside::unclassed).totals.back());
      environment_.progress().advance(1);
    }
    return {};
  }

  Result<void> measure_beside(Beside beside, Worker& foreground,
                              std::span<Background* const> others) {
    for (Background* other : others) {
      other->want(beside);
    }
    settle(foreground);
    std::vector<std::uint64_t> before;
    for (const Background* other : others) {
      before.push_back(other->bytes());
    }
    const LoopResult result = foreground.get(kForegroundGets, 1);
    if (const Errc failure = first_failure(result, others); failure != Errc::ok) {
      return Error(failure, "foreground, write-back or prefetch failed");
    }
    Part& part = of(beside);
    part.latencies_us.insert(part.latencies_us.end(), result.latencies_us.begin(),
                             result.latencies_us.end());
    const auto rate_of = [&result](auto bytes) {
      return static_cast<double>(bytes) / result.seconds / 1e9;
    };
    part.rates.push_back(rate_of((kForegroundBlock * kForegroundGets).count()));
    part.totals.push_back(part.rates.back());
    for (std::size_t i = 0; i < others.size(); ++i) {
      part.background_rates[i].push_back(rate_of(others[i]->bytes() - before[i]));
      part.totals.back() += part.background_rates[i].back();
    }
    return {};
  }

  // What was begun before the other part of the repeat is let end.
  static void settle(Worker& foreground) { (void)foreground.get(kForegroundGets / 10, 1); }

  static Errc first_failure(const LoopResult& result, std::span<Background* const> others) {
    if (result.failures > 0) {
      return result.first_failure;
    }
    for (const Background* other : others) {
      if (other->failure() != Errc::ok) {
        return other->failure();
      }
    }
    return Errc::ok;
  }

  // What was measured over all repeats while the others did one thing.
  struct Part {
    std::vector<double> latencies_us;  // the foreground's
    std::vector<double> rates;         // GB/s, one per repeat
    std::array<std::vector<double>, 2> background_rates;
    std::vector<double> totals;
  };
  [[nodiscard]] Part& of(Beside beside) { return parts_[static_cast<std::size_t>(beside)]; }

  [[nodiscard]] double leakage(Beside beside, double percent) {
    return percentile(of(beside).latencies_us, percent) /
           percentile(of(Beside::alone).latencies_us, percent);
  }

  static double within_slo(const std::vector<double>& latencies_us) {
    const auto within = std::count_if(latencies_us.begin(), latencies_us.end(),
                                      [](double took) { return took <= kSloUs; });
    return static_cast<double>(within) / static_cast<double>(latencies_us.size());
  }

  BenchRow foreground_row(Worker& foreground) {
    BenchCase subject = subject_;
    subject.size = kForegroundBlock;
    BenchRow row = row_for(environment_, subject, *rig_, WorkOp::read,
                           kForegroundBlock * foreground.blocks.count());
    row.gb_per_s = of(Beside::classed).rates;
    row.latencies_us = of(Beside::classed).latencies_us;
    row.extra["class"] = "foreground";
    for (const auto& [name, part] :
         {std::pair("alone", of(Beside::alone)), std::pair("unclassed", of(Beside::unclassed))}) {
      row.extra[fmt::format("{}_gb_per_s_median", name)] = figure(summarise(part.rates).median);
      row.extra[fmt::format("{}_p50_us", name)] = figure(percentile(part.latencies_us, 50));
      row.extra[fmt::format("{}_p99_us", name)] = figure(percentile(part.latencies_us, 99));
      row.extra[fmt::format("slo_attainment_{}", name)] = figure(within_slo(part.latencies_us), 4);
    }
    row.extra["leakage_p50"] = figure(leakage(Beside::classed, 50), 4);
    row.extra["leakage_p99"] = figure(leakage(Beside::classed, 99), 4);
    row.extra["leakage_p50_unclassed"] = figure(leakage(Beside::unclassed, 50), 4);
    row.extra["leakage_p99_unclassed"] = figure(leakage(Beside::unclassed, 99), 4);
    row.extra["slo_us"] = figure(kSloUs);
    row.extra["slo_attainment"] = figure(within_slo(row.latencies_us), 4);
    row.extra["total_gb_per_s_median"] = figure(summarise(of(Beside::classed).totals).median);
    row.extra["total_of_unclassed"] = figure(summarise(totals_ratio_).median, 4);
    return row;
  }

  BenchRow background_row(const Background& other, std::size_t index) {
    BenchCase subject = subject_;
    subject.size = other.block();
    const SizeBytes share(environment_.user_memory().size() / kMixedClients);
    BenchRow row =
        row_for(environment_, subject, *rig_, other.op(), other.block() * (share / other.block()));
    row.depth = kBackgroundDepth;
    row.gb_per_s = of(Beside::classed).background_rates[index];
    row.extra["class"] = other.name();
    row.extra["unclassed_gb_per_s_median"] =
        figure(summarise(of(Beside::unclassed).background_rates[index]).median);
    return row;
  }

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  std::array<Part, kBesides> parts_;  // by Beside
  std::vector<double> totals_ratio_;  // with classes over without, one per repeat
};

// The box is in this process, so that a lost session or a deadline says that the machine is too
// busy for the threads here, and not that no box answers, which has an exit code of its own.
Error as_failure(const Error& error) {
  if (error.code != Errc::session_lost && error.code != Errc::deadline_exceeded) {
    return error;
  }
  return {Errc::io_error, fmt::format("{}: {}; this machine had too little time for all threads",
                                      to_string(error.code), error.detail)};
}

}  // namespace

Result<Rows> run_mixed_case(Environment& environment, const BenchCase& subject) {
  Result<std::unique_ptr<Rig>> rig =
      start_rig(environment.plan(), subject, client_for(environment.plan(), subject));
  if (!rig) {
    return rig.error();
  }
  Result<Rows> rows = MixedCase(environment, subject, std::move(*rig)).run();
  if (!rows) {
    return as_failure(rows.error());
  }
  return rows;
}

}  // namespace godbox::app
