// SPDX-License-Identifier: Apache-2.0
#include "host.h"
#include "runs.h"

#include <boost/json/array.hpp>
#include <fmt/format.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

namespace godbox::inference {
namespace {

constexpr std::uint32_t kQuestion = 7;  // no conversation of the first host's

class ReuseRun {
 public:
  ReuseRun(const Plan& plan, Report& report)
      : plan_(plan),
        options_(plan.options),
        report_(report),
        weights_(plan.geometry, options_.seed),
        nodes_(plan.nodes.empty() ? std::vector{kNodeZero} : plan.nodes) {}

  Result<void> go() {
    begin(plan_, weights_, "reuse", report_);
    if (Result<void> done = expect(); !done) {
      return done;
    }
    if (Result<void> done = without_pool(); !done) {
      return done;
    }
    boost::json::array doors;
    for (const std::string& address : options_.addresses) {
      Result<boost::json::object> door = through(address);
      if (!door) {
        return door.error();
      }
      doors.push_back(std::move(*door));
    }
    if (options_.addresses.empty()) {
      report_.say("no --connect: no prefix is reused");
    }
    report_.figures()["doors"] = std::move(doors);
    return {};
  }

 private:
  [[nodiscard]] std::size_t prefix_blocks() const {
    return options_.prefix_tokens / PagedCache::kBlockTokens;
  }

  Result<std::unique_ptr<Host>> make_host(std::span<const driver::NumaNodeId> nodes,
                                          const Doors& doors = {}) {
    return Host::create(plan_, weights_, nodes,
                        std::size_t{options_.prompt_tokens} + options_.output_tokens, doors);
  }

  Result<void> expect() {
    Result<std::unique_ptr<Host>> host = make_host(std::array{kNodeZero});
    if (!host) {
      return host.error();
    }
    Sequence sequence(make_prompt(plan_, kQuestion));
    if (Result<double> done = decode((*host)->engine(), sequence, options_.output_tokens); !done) {
      return done.error();
    }
    expected_ = expected_of(sequence);
    return {};
  }

  // The whole prompt computed, and what is left of it where the prefix is in the cache already: no
  // pool is faster than that.
  Result<void> without_pool() {
    Result<std::unique_ptr<Host>> host = make_host(nodes_);
    if (!host) {
      return host.error();
    }
    Engine& engine = (*host)->engine();
    Sequence sequence(make_prompt(plan_, kQuestion));
    Spread question;
    for (std::uint32_t repeat = 0; repeat < options_.repeats; ++repeat) {
      for (Spread* const of : {&cold_, &question}) {
        Engine::rewind(sequence, of == &cold_ ? 0 : prefix_blocks() * PagedCache::kBlockTokens);
        const Result<double> first = decode(engine, sequence, 1);
        if (!first) {
          return first.error();
        }
        of->add(*first);
      }
    }
    const Result<std::string> where = check_placement(**host, nodes_, report_);
    if (!where) {
      return where.error();
    }
    say_first("all computed", cold_);
    say_first("prefix in the cache", question);
    report_.figures()["placement"] = *where;
    report_.figures()["first_token_s"] = {{"computed", cold_.figures()},
                                          {"prefix_cached", question.figures()}};
    return {};
  }

  Result<boost::json::object> through(const std::string& address) {
    Result<std::unique_ptr<Host>> host = make_host(nodes_, {.spill_to = {}, .fetch_from = address});
    if (!host) {
      return host.error();
    }
    Engine& engine = (*host)->engine();
    const PoolCounters& pool = (*host)->fetch_from()->counters();
    Spread reused;
    std::optional<Sequence> sequence;
    for (std::uint32_t repeat = 0; repeat < options_.repeats; ++repeat) {
      if (sequence) {
        engine.release(*sequence);
      }
      sequence.emplace(make_prompt(plan_, kQuestion));
      const Result<double> first = decode(engine, *sequence, 1);
      if (!first) {
        return first.error();
      }
      reused.add(*first);
    }
    if (Result<double> rest = decode(engine, *sequence, options_.output_tokens - 1); !rest) {
      return rest.error();
    }
    const std::string what = "prefix from " + address;
    const std::size_t before = report_.problems().size();
    compare(report_, what, *sequence, expected_);
    const std::uint64_t wanted = std::uint64_t{options_.repeats} * prefix_blocks();
    report_.require(
        pool.blocks_fetched == wanted && pool.blocks_failed.empty(),
        fmt::format("{}: {} blocks fetched, not {}", what, pool.blocks_fetched, wanted));
    report_.require(reused.median() < cold_.median(), what + ": no faster than computing it");
    say_first(what, reused);
    return boost::json::object{{"address", address},
                               {"first_token_s", reused.figures()},
                               {"of_computed", reused.median() / cold_.median()},
                               {"blocks_fetched", pool.blocks_fetched},
                               {"equal", report_.problems().size() == before}};
  }

  void say_first(const std::string& what, const Spread& seconds) {
    report_.say(fmt::format(
        "  {:<32} first token after {} (median of {}, {} to {}), {:.3f} of all "
        "computed",
        what, seconds_text(seconds.median()), seconds.samples.size(), seconds_text(seconds.least()),
        seconds_text(seconds.most()), seconds.median() / cold_.median()));
  }

  const Plan& plan_;
  const Options& options_;
  Report& report_;
  Weights weights_;
  std::vector<driver::NumaNodeId> nodes_;
  Expected expected_;
  Spread cold_;  // of the whole prompt computed
};

}  // namespace

Result<void> run_reuse(const Plan& plan, Report& report) { return ReuseRun(plan, report).go(); }

}  // namespace godbox::inference
