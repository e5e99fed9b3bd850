// SPDX-License-Identifier: Apache-2.0
//
// Many hosts want the same block at once: each host is a client of its own (session, lanes,
// network, thread, memory) and gets one hot block again and again for a while. Of each repeat: one
// host alone, another one each time, then all of them. The ceiling of the row is the rate of the
// host that was alone in the same repeat. Afterwards each host gets the block once more and
// compares every byte.
#include "bench/plan_checks.h"
#include "bench/workloads.h"
#include "cli/json.h"
#include "measure/machine.h"
#include "measure/pattern.h"
#include "measure/statistics.h"
#include <godbox/connect.h>
#include <godbox/crc32c.h>
#include <godbox/perf/mapped_buffer.h>

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr Duration kStart = std::chrono::milliseconds(20);    // until all threads run
constexpr Duration kSettle = std::chrono::milliseconds(300);  // left out of a phase's figures
constexpr Duration kPhase = std::chrono::milliseconds(3000);
constexpr Duration kPatience = std::chrono::seconds(120);
constexpr std::string_view kHotName = "bench/hot";

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

class Host {
 public:
  static Result<std::unique_ptr<Host>> connect(const StreamAddress& address,
                                               const BenchCase& subject, PatternId pattern) {
    ConnectOptions options;
    options.client.crc = subject.crc;
    options.client.timeout = kPatience;
    options.lane_reply_timeout = kPatience;
    options.lanes_per_eth_port = subject.lanes_per_eth_port;
    options.busy_poll = Duration();  // there are more hosts than CPUs
    Result<std::unique_ptr<Connection>> made = godbox::connect(address.to_string(), options);
    if (!made) {
      return made.error();
    }
    Result<perf::MappedBuffer> memory =
        perf::MappedBuffer::anonymous(subject.size * kPlacesPerHost);
    if (!memory) {
      return memory.error();
    }
    return std::make_unique<Host>(std::move(*made), std::move(*memory), subject.size, pattern);
  }

  Host(std::unique_ptr<Connection> connection, perf::MappedBuffer memory, SizeBytes size,
       PatternId pattern)
      : connection_(std::move(connection)),
        memory_(std::move(memory)),
        size_(size.count()),
        pattern_(pattern) {}

  [[nodiscard]] striping::Client& client() { return connection_->client(); }
  [[nodiscard]] TimePoint now() const { return connection_->network().clock().now(); }

  // From `begin` on, all hosts at once: gets the block again and again, or, not active, only keeps
  // its session. What it gets in kPhase after kSettle counts.
  void run_phase(TimePoint begin, bool is_active) {
    run_until(begin, false);
    run_until(begin + kSettle, is_active);
    const std::uint64_t before = client().counters().bytes_done;
    const TimePoint counted_from = now();
    latencies_us_.clear();
    run_until(counted_from + kPhase, is_active);
    bytes_ = client().counters().bytes_done - before;
    gb_per_s_ = static_cast<double>(bytes_) / seconds(now() - counted_from) / 1e9;
    while (is_busy_) {
      client().progress(now() + kSettle);
    }
  }

  Result<void> put() {
    fill_pattern(place(), pattern_);
    const LocalSegment from{place().data(), size_};
    const striping::PutItem item{kHotName, {&from, 1}, SizeBytes()};
    const Errc status = client().put({&item, 1})[0];
    return status == Errc::ok ? Result<void>()
                              : Error(status, "the hot block could not be put into the pool");
  }

  Errc verify(Verification& verification) {
    spoil(place());
    const LocalSegment into{place().data(), size_};
    const striping::GetItem item{kHotName, {&into, 1}};
    const Errc status = client().get({&item, 1})[0];
    verification.bytes_checked += size_;
    verification.wrong_bytes += count_wrong_bytes(place(), pattern_);
    verification.crc32c = crc32c(place(), verification.crc32c);
    return status;
  }

  // Of the last phase.
  [[nodiscard]] double gb_per_s() const { return gb_per_s_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] const std::vector<double>& latencies_us() const { return latencies_us_; }
  [[nodiscard]] Errc first_failure() const { return first_failure_; }

 private:
  void run_until(TimePoint until, bool is_active) {
    while (now() < until) {
      if (is_active && !is_busy_ && first_failure_ == Errc::ok) {
        begin_get();
      }
      client().progress(until);
    }
  }

  [[nodiscard]] MutableSpan place() { return memory_.bytes().subspan(place_ * size_, size_); }

  void begin_get() {
    place_ = (place_ + 1) % kPlacesPerHost;
    const LocalSegment into{place().data(), size_};
    const striping::GetItem item{kHotName, {&into, 1}};
    is_busy_ = true;
    client().submit_get({&item, 1}, [this, begin = now()](std::span<const Errc> statuses) {
      is_busy_ = false;
      latencies_us_.push_back(std::chrono::duration<double, std::micro>(now() - begin).count());
      first_failure_ = first_failure_ == Errc::ok ? statuses[0] : first_failure_;
    });
  }

  std::unique_ptr<Connection> connection_;
  perf::MappedBuffer memory_;
  std::size_t size_;
  std::size_t place_ = 0;  // where the last get goes
  PatternId pattern_;
  double gb_per_s_ = 0;
  std::uint64_t bytes_ = 0;
  std::vector<double> latencies_us_;
  Errc first_failure_ = Errc::ok;
  bool is_busy_ = false;
};

// 1 when all are alike, 1/n when one has everything.
double jain_index(const std::vector<double>& shares) {
  double sum = 0;
  double squares = 0;
  for (const double share : shares) {
    sum += share;
    squares += share * share;
  }
  return squares > 0 ? sum * sum / (static_cast<double>(shares.size()) * squares) : 0;
}

class IncastCase {
 public:
  IncastCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig)
      : environment_(environment), subject_(subject), rig_(std::move(rig)) {}

  Result<Rows> run() {
    if (auto connected = connect_hosts(); !connected) {
      return connected.error();
    }
    BenchRow row =
        row_for(environment_, subject_, *rig_, WorkOp::read, subject_.size * (1 + kPlacesPerHost));
    row.ceiling_kind = "best-host";
    for (std::uint32_t repeat = 0; repeat < environment_.plan().repeats; ++repeat) {
      const double alone = run_phase(repeat % hosts_.size());
      const double cpu_begin = cpu_seconds_used();
      const double all = run_phase(std::nullopt);
      if (auto failed = first_failure(); failed != Errc::ok) {
        return Error(failed, "the hot block could not be read");
      }
      row.cpu_seconds += cpu_seconds_used() - cpu_begin;
      row.ceiling_gb_per_s.push_back(alone);
      row.gb_per_s.push_back(all);
      take_shares(row);
      environment_.progress().advance(1);
    }
    for (const std::unique_ptr<Host>& host : hosts_) {
      if (const Errc status = host->verify(row.verification); status != Errc::ok) {
        return Error(status, "the hot block could not be read");
      }
    }
    add_extra(row);
    Rows rows;
    rows.push_back(std::move(row));
    return rows;
  }

 private:
  Result<void> connect_hosts() {
    const PatternId pattern{environment_.plan().seed, 1};
    const std::vector<StreamAddress>& ports = rig_->eth_port_addresses();
    for (std::uint32_t i = 0; i < subject_.hosts; ++i) {
      Result<std::unique_ptr<Host>> host =
          Host::connect(ports[i % ports.size()], subject_, pattern);
      if (!host) {
        return host.error();
      }
      hosts_.push_back(std::move(*host));
    }
    return hosts_.front()->put();
  }

  // One host alone, or all; GB/s of those that were active.
  double run_phase(std::optional<std::size_t> alone) {
    const TimePoint begin = rig_->clock().now() + kStart;
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      threads.emplace_back([&host = *hosts_[i], begin, is_active = !alone || *alone == i] {
        host.run_phase(begin, is_active);
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    rig_->client().progress(rig_->clock().now());  // keeps its session
    double rate = 0;
    for (const std::unique_ptr<Host>& host : hosts_) {
      rate += host->gb_per_s();
    }
    return rate;
  }

  [[nodiscard]] Errc first_failure() const {
    for (const std::unique_ptr<Host>& host : hosts_) {
      if (host->first_failure() != Errc::ok) {
        return host->first_failure();
      }
    }
    return Errc::ok;
  }

  void take_shares(BenchRow& row) {
    std::vector<double> shares;
    for (const std::unique_ptr<Host>& host : hosts_) {
      shares.push_back(host->gb_per_s());
      row.bytes_moved += host->bytes();
      row.latencies_us.insert(row.latencies_us.end(), host->latencies_us().begin(),
                              host->latencies_us().end());
    }
    fairness_.push_back(jain_index(shares));
  }

  void add_extra(BenchRow& row) const {
    const Summary alone = summarise(row.ceiling_gb_per_s);
    const Summary fairness = summarise(fairness_);
    row.extra["hosts"] = hosts_.size();
    row.extra["jain_median"] = figure(fairness.median, 4);
    row.extra["jain_min"] = figure(fairness.min, 4);
    row.extra["best_host_gb_per_s"] = figure(alone.max);
    row.extra["aggregate_over_best_host"] = figure(summarise(row.gb_per_s).median / alone.max, 4);
  }

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<double> fairness_;  // per repeat
};

}  // namespace

Result<Rows> run_incast_case(Environment& environment, const BenchCase& subject) {
  Result<std::unique_ptr<Rig>> rig =
      start_rig(environment.plan(), subject, {TransportKind::tcp, 1, 1, subject.crc});
  if (!rig) {
    return rig.error();
  }
  return IncastCase(environment, subject, std::move(*rig)).run();
}

}  // namespace godbox::app
