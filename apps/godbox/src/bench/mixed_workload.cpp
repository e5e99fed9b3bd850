// SPDX-License-Identifier: Apache-2.0
//
// What a get in the foreground loses to what goes on behind it. Three clients, each a thread with
// lanes of its own, on one box: the foreground gets one block after the other; write-back puts
// blocks; prefetch gets large ones. Each repeat measures the foreground alone, then beside the two.
//   SLO       each get within the time that SGLang's default deadline (0.1 s per 1,024 tokens)
//             leaves it: a block is 16 tokens of Llama-3.1-8B, 2 MiB
//   leakage   the foreground's latency beside the others over its latency alone
#include "bench/workloads.h"
#include "cli/json.h"
#include "measure/machine.h"
#include "measure/statistics.h"
#include <godbox/connect.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr SizeBytes kForegroundBlock = 2_MiB;
constexpr SizeBytes kWriteBackBlock = 5_MiB;  // of Llama-3.1-70B
constexpr SizeBytes kPrefetchBlock = 20_MiB;
constexpr double kSloUs = 0.1e6 * 16 / 1024;
constexpr std::uint64_t kForegroundGets = 200;  // of each half of a repeat
constexpr std::uint32_t kBackgroundDepth = 2;

// One client and its blocks, in the thread that made it.
struct Worker {
  std::unique_ptr<Connection> connection;
  BlockSet blocks;
  std::uint64_t cursor = 0;

  [[nodiscard]] const Clock& clock() const { return connection->network().clock(); }

  Result<void> load() {
    for (std::uint64_t i = 0; i < blocks.count(); ++i) {
      blocks.renew(i);
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

  LoopResult get(std::uint64_t gets, std::uint32_t depth) {
    LoopResult result =
        run_loop(connection->client(), clock(), {gets, depth}, [this](std::uint64_t i, Done done) {
          blocks.start_get(connection->client(), (cursor + i) % blocks.count(), 1, std::move(done));
        });
    cursor += gets;
    return result;
  }

  // All of them under new names; the old ones go.
  LoopResult put_all() {
    std::vector<std::string> replaced;
    for (std::uint64_t i = 0; i < blocks.count(); ++i) {
      replaced.push_back(blocks.renew(i));
    }
    LoopResult result = run_loop(connection->client(), clock(), {blocks.count(), kBackgroundDepth},
                                 [this](std::uint64_t i, Done done) {
                                   blocks.start_put(connection->client(), i, 1, std::move(done));
                                 });
    const Errc removed = remove_all(connection->client(), replaced);
    if (removed != Errc::ok && result.failures == 0) {
      result.failures = 1;
      result.first_failure = removed;
    }
    return result;
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
  Background(const Rig& rig, MutableSpan memory, std::string_view name, WorkOp op, SizeBytes block,
             std::uint64_t seed)
      : name_(name), op_(op), block_(block) {
    thread_ = std::jthread([this, &rig, memory, seed](const std::stop_token& stop) {
      Result<Worker> worker = make_worker(rig, memory, name_, block_, seed);
      if (!worker) {
        return fail(worker.error().code);
      }
      is_ready_.store(true);
      while (!stop.stop_requested()) {
        is_wanted_.load() ? step(*worker) : idle(*worker);
      }
    });
  }

  [[nodiscard]] std::string_view name() const { return name_; }
  [[nodiscard]] WorkOp op() const { return op_; }
  [[nodiscard]] SizeBytes block() const { return block_; }
  [[nodiscard]] bool is_ready() const { return is_ready_.load(); }
  [[nodiscard]] Errc failure() const { return failure_.load(); }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_.load(); }
  void want(bool is_wanted) { is_wanted_.store(is_wanted); }

 private:
  void step(Worker& worker) {
    const LoopResult result =
        op_ == WorkOp::write ? worker.put_all() : worker.get(kBackgroundDepth, kBackgroundDepth);
    if (result.failures > 0) {
      return fail(result.first_failure);
    }
    bytes_ += block_.count() * result.latencies_us.size();
  }

  // Its session goes on only while it is driven.
  static void idle(Worker& worker) {
    worker.connection->client().progress(worker.clock().now() + std::chrono::milliseconds(2));
  }

  void fail(Errc status) {
    failure_.store(status);
    is_wanted_.store(false);
    is_ready_.store(true);
  }

  std::string name_;
  WorkOp op_;
  SizeBytes block_;
  std::atomic<bool> is_ready_{false};
  std::atomic<bool> is_wanted_{false};
  std::atomic<Errc> failure_{Errc::ok};
  std::atomic<std::uint64_t> bytes_{0};
  std::jthread thread_;  // last: it uses all of the above
};

class MixedCase {
 public:
  MixedCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig)
      : environment_(environment), subject_(subject), rig_(std::move(rig)) {}

  Result<Rows> run() {
    const MutableSpan memory = environment_.user_memory();
    const std::size_t third = memory.size() / 3;
    const std::uint64_t seed = environment_.plan().seed;
    Result<Worker> foreground =
        make_worker(*rig_, memory.first(third), "foreground", kForegroundBlock, seed);
    if (!foreground) {
      return foreground.error();
    }
    Background write_back(*rig_, memory.subspan(third, third), "write-back", WorkOp::write,
                          kWriteBackBlock, seed + 1);
    Background prefetch(*rig_, memory.subspan(2 * third, third), "prefetch", WorkOp::read,
                        kPrefetchBlock, seed + 2);
    Background* const others[] = {&write_back, &prefetch};
    if (auto measured = measure(*foreground, others); !measured) {
      return measured.error();
    }
    Rows rows;
    rows.push_back(foreground_row(*foreground));
    for (const Background* other : others) {
      rows.push_back(background_row(*other));
    }
    return rows;
  }

 private:
  Result<void> measure(Worker& foreground, std::span<Background* const> others) {
    while (std::any_of(others.begin(), others.end(), [](auto* one) { return !one->is_ready(); })) {
      foreground.connection->client().progress(foreground.clock().now() +
                                               std::chrono::milliseconds(2));
    }
    for (std::uint32_t repeat = 0; repeat < environment_.plan().repeats; ++repeat) {
      for (const bool is_mixed : {false, true}) {
        for (Background* other : others) {
          other->want(is_mixed);
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
        add(result, is_mixed);
        for (std::size_t i = 0; is_mixed && i < others.size(); ++i) {
          const auto moved = static_cast<double>(others[i]->bytes() - before[i]);
          background_rates_[i].push_back(moved / result.seconds / 1e9);
        }
      }
      environment_.progress().advance(1);
    }
    return {};
  }

  // What was begun before the other half of the repeat is let end.
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

  void add(const LoopResult& result, bool is_mixed) {
    std::vector<double>& latencies = is_mixed ? mixed_us_ : alone_us_;
    latencies.insert(latencies.end(), result.latencies_us.begin(), result.latencies_us.end());
    const auto bytes = static_cast<double>((kForegroundBlock * kForegroundGets).count());
    (is_mixed ? mixed_rates_ : alone_rates_).push_back(bytes / result.seconds / 1e9);
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
    row.gb_per_s = mixed_rates_;
    row.latencies_us = mixed_us_;
    row.extra["class"] = "foreground";
    row.extra["alone_gb_per_s_median"] = figure(summarise(alone_rates_).median);
    row.extra["alone_p50_us"] = figure(percentile(alone_us_, 50));
    row.extra["alone_p99_us"] = figure(percentile(alone_us_, 99));
    row.extra["leakage_p50"] = figure(percentile(mixed_us_, 50) / percentile(alone_us_, 50), 4);
    row.extra["leakage_p99"] = figure(percentile(mixed_us_, 99) / percentile(alone_us_, 99), 4);
    row.extra["slo_us"] = figure(kSloUs);
    row.extra["slo_attainment"] = figure(within_slo(mixed_us_), 4);
    row.extra["slo_attainment_alone"] = figure(within_slo(alone_us_), 4);
    for (std::uint64_t i = 0; i < foreground.blocks.count(); ++i) {
      foreground.blocks.spoil_memory(i);
    }
    foreground.cursor = 0;
    (void)foreground.get(foreground.blocks.count(), kBackgroundDepth);
    for (std::uint64_t i = 0; i < foreground.blocks.count(); ++i) {
      foreground.blocks.verify(i, row.verification);
    }
    return row;
  }

  BenchRow background_row(const Background& other) {
    BenchCase subject = subject_;
    subject.size = other.block();
    const SizeBytes share(environment_.user_memory().size() / 3);
    BenchRow row =
        row_for(environment_, subject, *rig_, other.op(), other.block() * (share / other.block()));
    row.depth = kBackgroundDepth;
    row.gb_per_s = background_rates_[other.name() == "prefetch" ? 1 : 0];
    row.extra["class"] = other.name();
    return row;
  }

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  std::vector<double> alone_us_, mixed_us_;
  std::vector<double> alone_rates_, mixed_rates_;  // GB/s, one per repeat
  std::array<std::vector<double>, 2> background_rates_;
};

}  // namespace

Result<Rows> run_mixed_case(Environment& environment, const BenchCase& subject) {
  Result<std::unique_ptr<Rig>> rig =
      start_rig(environment.plan(), subject, client_for(environment.plan(), subject));
  if (!rig) {
    return rig.error();
  }
  return MixedCase(environment, subject, std::move(*rig)).run();
}

}  // namespace godbox::app
