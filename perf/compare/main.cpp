// SPDX-License-Identifier: Apache-2.0
//
// godbox_compare: the same values, threads and loop for Redis, Valkey, memcached and Godbox. See
// docs/compare.md; the servers are started by perf/compare/run.py.
#include "cli/json.h"
#include "compare_options.h"
#include "contest.h"
#include "measure/statistics.h"
#include <godbox/perf/mapped_buffer.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

namespace {

using namespace godbox;
using namespace godbox::compare;
namespace json = boost::json;

bool takes_part(const Contestant& contestant, KvOp op) {
  return contestant.ops.empty() ||
         std::find(contestant.ops.begin(), contestant.ops.end(), op) != contestant.ops.end();
}

json::object row_of(const Contestant& contestant, KvOp op, const Pass& pass) {
  const double gb = static_cast<double>(pass.bytes) / 1e9;
  const auto server =
      pass.server_cpu_seconds ? app::figure(*pass.server_cpu_seconds / gb) : json::value(nullptr);
  return {{"contestant", contestant.name},
          {"op", to_string(op)},
          {"connections", contestant.connections},
          {"eth_ports", contestant.eth_ports},
          {"in_flight", contestant.in_flight},
          {"batch", contestant.batch},
          {"bytes", pass.bytes},
          {"seconds", app::figure(pass.seconds)},
          {"gb_per_s", app::figure(gb / pass.seconds)},
          {"p50_us", app::figure(app::percentile(pass.latencies_us, 50))},
          {"p99_us", app::figure(app::percentile(pass.latencies_us, 99))},
          {"client_cpu_seconds_per_gb", app::figure(pass.client_cpu_seconds / gb)},
          {"server_cpu_seconds_per_gb", server}};
}

class Contest {
 public:
  Contest(const CompareOptions& options, const Values& values)
      : options_(options), values_(values) {}

  Result<void> run() {
    for (std::size_t repeat = 0; repeat < options_.repeats; ++repeat) {
      for (const KvOp op : options_.ops) {
        for (const Contestant& contestant : options_.contestants) {
          if (!takes_part(contestant, op)) {
            continue;
          }
          Result<Pass> pass =
              run_pass(contestant, values_,
                       {op, options_.threads, options_.pass_bytes / options_.size, false});
          if (!pass) {
            return pass.error();
          }
          rows_.push_back(row_of(contestant, op, *pass));
        }
      }
    }
    return options_.verify ? verify() : Result<void>();
  }

  [[nodiscard]] json::object document() const {
    return {{"schema", "godbox-compare-pass-1"},
            {"size_bytes", values_.size.count()},
            {"working_set_bytes", values_.count() * values_.size.count()},
            {"threads", options_.threads},
            {"seed", values_.seed},
            {"bytes_checked", bytes_checked_},
            {"wrong_bytes", wrong_bytes_},
            {"rows", rows_}};
  }
  [[nodiscard]] bool is_right() const { return wrong_bytes_ == 0; }

 private:
  Result<void> verify() {
    for (const KvOp op : {KvOp::get, KvOp::read}) {
      const bool is_wanted =
          std::find(options_.ops.begin(), options_.ops.end(), op) != options_.ops.end();
      for (const Contestant& contestant : options_.contestants) {
        if (!is_wanted || !takes_part(contestant, op) || contestant.reuse) {
          continue;
        }
        fill(values_);  // a region is written from them when its client connects
        const Result<Pass> pass =
            run_pass(contestant, values_, {op, options_.threads, whole_passes(), true});
        if (!pass) {
          return pass.error();
        }
        bytes_checked_ += pass->bytes;
        wrong_bytes_ += count_wrong(values_);
      }
    }
    return {};
  }
  // Every thread's share once, whatever the division leaves over.
  [[nodiscard]] std::uint64_t whole_passes() const {
    return (values_.count() / options_.threads + 1) * options_.threads;
  }

  const CompareOptions& options_;
  const Values& values_;
  json::array rows_;
  std::uint64_t bytes_checked_ = 0;
  std::uint64_t wrong_bytes_ = 0;
};

int fail(const Error& error) {
  fmt::print(stderr, "godbox_compare: {}\n", error.message());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const Result<CompareOptions> options =
      parse_compare_options(std::vector<std::string>(argv + 1, argv + argc));
  if (!options) {
    fmt::print(stderr, "godbox_compare: {}\n", options.error().detail);
    return 2;
  }
  if (options->help) {
    fmt::print("{}\n", compare_usage());
    return 0;
  }
  const std::uint64_t count = options->working_set / options->size;
  const Result<perf::MappedBuffer> memory = perf::MappedBuffer::anonymous(options->size * count);
  if (!memory) {
    return fail(memory.error());
  }
  const Values values{memory->bytes(), options->size, options->seed};
  fill(values);
  Contest contest(*options, values);
  if (const Result<void> done = contest.run(); !done) {
    return fail(done.error());
  }
  app::print_json(stdout, contest.document(), false);
  return contest.is_right() ? 0 : 1;
}
