// SPDX-License-Identifier: Apache-2.0
//
// The latency of one page of remote memory: a region whose key the client holds, so that a page is
// one request and one reply. Each pass walks on through the region. Beside it, in turn with it:
// over TCP a ping-pong of raw sockets whose messages have as many bytes as godbox's own, both with
// their far ends on other processors than their near ends; over local the copy itself.
#include "bench/workloads.h"
#include "cli/json.h"
#include "measure/machine.h"
#include "measure/processor_split.h"
#include "measure/statistics.h"
#include <godbox/crc32c.h>
#include <godbox/wire.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::uint64_t kPagesPerPassMax = 2000;
constexpr SizeBytes kBlock{std::uint64_t{1} << 20U};
// A request or reply beside its page: a header, and in a request the place of the page.
constexpr std::size_t kRequestBytes = wire::kHeaderBytes + sizeof(wire::Segment);

class RemotePageCase {
 public:
  RemotePageCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig,
                 const ProcessorSplit* split)
      : environment_(environment),
        subject_(subject),
        rig_(std::move(rig)),
        split_(split),
        pages_(environment.plan().working_set / subject.size),
        memory_(environment.user_memory().first((subject.size * pages_).count())),
        pages_per_pass_(std::min(pages_, kPagesPerPassMax)) {}

  Result<Rows> run() {
    Result<striping::Region> region = rig_->client().allocate(SizeBytes(memory_.size()));
    if (!region) {
      return region.error();
    }
    region_ = std::move(*region);
    fill_pattern(memory_, pattern());
    if (auto written = move_all(WorkOp::write); !written) {
      return written.error();
    }
    return measure_ops(environment_.plan(), [this](WorkOp op) { return measure(op); });
  }

 private:
  PatternId pattern() const { return {environment_.plan().seed, 0}; }

  Result<void> move_all(WorkOp op) {
    std::vector<striping::RegionPiece> all;
    for (std::uint64_t at = 0; at < memory_.size(); at += kBlock.count()) {
      const std::size_t size = std::min<std::size_t>(kBlock.count(), memory_.size() - at);
      all.push_back({RegionOffset(at), {memory_.data() + at, size}});
    }
    const Errc status = op == WorkOp::write ? rig_->client().write(region_, all)
                                            : rig_->client().read(region_, all);
    if (status != Errc::ok) {
      return Error(status, "the region could not be written or read back");
    }
    return {};
  }

  LoopResult pass(WorkOp op) {
    LoopResult result =
        run_loop(rig_->client(), rig_->clock(), {pages_per_pass_, depth()},
                 [this, op](std::uint64_t operation, Done done) {
                   const std::uint64_t at = (cursor_ + operation) % pages_ * subject_.size.count();
                   const striping::RegionPiece piece{RegionOffset(at),
                                                     {memory_.data() + at, subject_.size.count()}};
                   rig_->client().submit_region(op, region_, {&piece, 1}, std::move(done));
                 });
    cursor_ += pages_per_pass_;
    return result;
  }

  std::uint32_t depth() const { return std::max(environment_.plan().depth, 1U); }

  Result<BenchRow> measure(WorkOp op) {
    BenchRow row = row_for(environment_, subject_, *rig_, op, SizeBytes(memory_.size()));
    row.depth = depth();
    if (const LoopResult warm = pass(op); warm.failures > 0) {
      return Error(warm.first_failure, "the first pages failed");
    }
    const Result<void> done = row.is_local() ? beside_copies(op, row) : beside_ping_pong(op, row);
    if (!done) {
      return done.error();
    }
    spoil(memory_);
    if (auto read = move_all(WorkOp::read); !read) {
      return read.error();
    }
    row.verification.bytes_checked = memory_.size();
    row.verification.wrong_bytes = count_wrong_bytes(memory_, pattern());
    row.verification.crc32c = crc32c(memory_);
    return row;
  }

  Result<void> beside_copies(WorkOp op, BenchRow& row) {
    return run_repeats(
        environment_, subject_.size * pages_per_pass_,
        [this, op](std::uint32_t) -> Result<LoopResult> { return pass(op); }, row);
  }

  Result<void> beside_ping_pong(WorkOp op, BenchRow& row) {
    const bool is_read = op == WorkOp::read;
    const std::size_t page = subject_.size.count();
    const perf::PingPongOptions sizes{
        .request_bytes = is_read ? kRequestBytes : kRequestBytes + page,
        .reply_bytes = is_read ? wire::kHeaderBytes + page : wire::kHeaderBytes};
    split_->begin_far_end();
    const auto ping_pong = environment_.ping_pong(sizes);
    split_->end_far_end();
    if (!ping_pong) {
      return ping_pong.error();
    }
    std::vector<double> ratios;
    std::vector<double> medians;
    for (std::uint32_t repeat = 0; repeat < environment_.plan().repeats; ++repeat) {
      const Result<std::vector<double>> round_trips = best_round_trips(**ping_pong, row);
      if (!round_trips) {
        return round_trips.error();
      }
      const double least = percentile(*round_trips, 50);
      const LoopResult result = pass(op);
      if (result.failures > 0) {
        return Error(result.first_failure, "pages failed");
      }
      medians.push_back(least);
      ratios.push_back(percentile(result.latencies_us, 50) / least);
      add(result, seconds_of(*round_trips), row);
      environment_.progress().advance(1);
    }
    row.ceiling_kind = "ping-pong";
    row.ceiling_variant =
        "send and recv, 1 connection, messages of godbox's sizes, the better of a client that "
        "blocks and one that spins";
    row.extra["processors"] = split_->is_apart() ? "apart" : "shared";
    row.extra["ping_pong_p50_us"] = figure(summarise(medians).median, 4);
    row.extra["of_ping_pong_p50"] = figure(summarise(ratios).median, 4);
    row.extra["of_ping_pong_p50_min"] = figure(summarise(ratios).min, 4);
    row.extra["of_ping_pong_p50_max"] = figure(summarise(ratios).max, 4);
    return {};
  }

  // Of a client that blocks and one that looks for its reply, the one with the lower median.
  Result<std::vector<double>> best_round_trips(perf::PingPong& ping_pong, BenchRow& row) const {
    std::vector<double> best;
    double best_cpu_seconds = 0;
    for (const auto wait : {perf::PingPong::Wait::block, perf::PingPong::Wait::spin}) {
      const double cpu_begin = cpu_seconds_used();
      Result<std::vector<double>> round_trips = ping_pong.measure(pages_per_pass_, wait);
      if (!round_trips) {
        return round_trips;
      }
      if (best.empty() || percentile(*round_trips, 50) < percentile(best, 50)) {
        best = std::move(*round_trips);
        best_cpu_seconds = cpu_seconds_used() - cpu_begin;
      }
    }
    row.ceiling_cpu_seconds += best_cpu_seconds;
    return best;
  }

  static double seconds_of(std::span<const double> round_trips_us) {
    double sum_us = 0;
    for (const double one : round_trips_us) {
      sum_us += one;
    }
    return sum_us * 1e-6;
  }

  void add(const LoopResult& result, double ceiling_seconds, BenchRow& row) const {
    const auto bytes = static_cast<double>((subject_.size * pages_per_pass_).count());
    row.gb_per_s.push_back(bytes / result.seconds / 1e9);
    row.ceiling_gb_per_s.push_back(bytes / ceiling_seconds / 1e9);
    row.cpu_seconds += result.cpu_seconds;
    row.bytes_moved += (subject_.size * pages_per_pass_).count();
    row.latencies_us.insert(row.latencies_us.end(), result.latencies_us.begin(),
                            result.latencies_us.end());
  }

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  const ProcessorSplit* split_;  // tcp
  std::uint64_t pages_;
  MutableSpan memory_;
  std::uint64_t pages_per_pass_;
  std::uint64_t cursor_ = 0;  // pages walked so far
  striping::Region region_;
};

}  // namespace

Result<Rows> run_remote_page_case(Environment& environment, const BenchCase& subject) {
  const BenchPlan& plan = environment.plan();
  std::optional<ProcessorSplit> split;
  if (subject.transport == TransportKind::tcp) {
    split.emplace();
    split->begin_far_end();
  }
  Result<std::unique_ptr<Rig>> rig = start_rig(
      plan, subject, {subject.transport, subject.lanes_per_eth_port, plan.copy_threads, false});
  if (split) {
    split->end_far_end();
  }
  if (!rig) {
    return rig.error();
  }
  return RemotePageCase(environment, subject, std::move(*rig), split ? &*split : nullptr).run();
}

}  // namespace godbox::app
