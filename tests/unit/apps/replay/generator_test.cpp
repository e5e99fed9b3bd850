// SPDX-License-Identifier: Apache-2.0
//
// Made-up traces beside what Mooncake published of its own (FAST'25).
#include "replay/generator.h"

#include "list_lru.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <algorithm>
#include <map>
#include <numeric>

namespace godbox::app {
namespace {

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

struct Published {
  TraceKind kind;
  std::size_t requests;
  std::uint64_t block_references;
  std::uint64_t unique_blocks;
  double mean_input_tokens;
  double mean_output_tokens;
  std::array<double, 3> input_tokens;  // 50, 90 and 99 of 100 are shorter
  double seconds;
  std::array<double, 3> hit_runs;            // blocks, of requests with hits
  std::array<double, 6> hit_shares_percent;  // of pools of kPools blocks
};
constexpr std::array<std::size_t, 6> kPools = {1000, 5000, 10000, 30000, 50000, SIZE_MAX};

constexpr Published kPublished[] = {{TraceKind::conversation,
                                     12031,
                                     288500,
                                     182790,
                                     12035,
                                     343,
                                     {6909, 27367, 85399},
                                     3537,
                                     {1, 26, 106},
                                     {4.5, 11.0, 21.1, 32.6, 35.5, 36.6}},
                                    {TraceKind::synthetic,
                                     3993,
                                     121877,
                                     43924,
                                     15325,
                                     149,
                                     {11587, 38596, 66456},
                                     1022,
                                     {34, 87, 149},
                                     {8.3, 27.9, 42.4, 62.4, 64.0, 64.0}}};

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values.at(static_cast<std::size_t>(share * static_cast<double>(values.size() - 1)));
}

double hit_share_percent(const Trace& trace, std::size_t blocks) {
  ListLru lru(blocks);
  std::uint64_t hits = 0;
  std::uint64_t references = 0;
  for (const TraceRequest& request : trace) {
    hits += lru.play(request.blocks);
    references += request.blocks.size();
  }
  return 100.0 * static_cast<double>(hits) / static_cast<double>(references);
}

std::vector<double> hit_runs(const Trace& trace) {
  ListLru lru(SIZE_MAX);
  std::vector<double> runs;
  for (const TraceRequest& request : trace) {
    if (const std::uint64_t run = lru.play(request.blocks); run > 0) {
      runs.push_back(static_cast<double>(run));
    }
  }
  return runs;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Of a Poisson process's counts 1; of what comes evenly near 0.
double variance_by_mean(const std::vector<double>& counts) {
  const double middle = mean(counts);
  double squares = 0;
  for (const double count : counts) {
    squares += (count - middle) * (count - middle);
  }
  return squares / static_cast<double>(counts.size()) / middle;
}

// Requests at each of the times at which there are any.
std::vector<double> counts_by_time(const Trace& trace) {
  std::map<std::chrono::milliseconds, double> counts;
  for (const TraceRequest& request : trace) {
    counts[request.at] += 1;
  }
  std::vector<double> values;
  values.reserve(counts.size());
  for (const auto& [at, count] : counts) {
    values.push_back(count);
  }
  return values;
}

// Of whole spans of so many seconds.
std::vector<double> counts_by(std::chrono::seconds span, const Trace& trace) {
  std::vector<double> counts(static_cast<std::size_t>(trace.back().at / span));
  for (const TraceRequest& request : trace) {
    const auto at = static_cast<std::size_t>(request.at / span);
    if (at < counts.size()) {
      counts[at] += 1;
    }
  }
  return counts;
}

}  // namespace

TEST_CASE("a made-up trace has the hit shares of the published one", "[unit]") {
  for (const Published& published : kPublished) {
    std::array<double, kPools.size()> sums{};
    constexpr int kSeeds = 4;
    for (int seed = 1; seed <= kSeeds; ++seed) {
      const Trace trace = generate_trace(published.kind, static_cast<std::uint64_t>(seed));
      for (std::size_t i = 0; i < kPools.size(); ++i) {
        const double share = hit_share_percent(trace, kPools[i]);
        INFO("kind " << static_cast<int>(published.kind) << ", seed " << seed << ", pool " << i);
        CHECK_THAT(share, WithinAbs(published.hit_shares_percent[i], seed == 1 ? 1.0 : 2.5));
        sums[i] += share;
      }
    }
    for (std::size_t i = 0; i < kPools.size(); ++i) {
      CHECK_THAT(sums[i] / kSeeds, WithinAbs(published.hit_shares_percent[i], 1.0));
    }
  }
}

TEST_CASE("a made-up trace has the requests of the published one", "[unit]") {
  for (const Published& published : kPublished) {
    const Trace trace = generate_trace(published.kind, 1);
    INFO("kind " << static_cast<int>(published.kind));
    CHECK_THAT(static_cast<double>(trace.size()),
               WithinRel(static_cast<double>(published.requests), 0.01));
    std::uint64_t references = 0;
    std::vector<double> input;
    double input_sum = 0;
    double output_sum = 0;
    for (const TraceRequest& request : trace) {
      references += request.blocks.size();
      input.push_back(request.input_tokens);
      input_sum += request.input_tokens;
      output_sum += request.output_tokens;
      // As many blocks as tokens fill.
      CHECK((request.input_tokens + kTraceBlockTokens - 1) / kTraceBlockTokens <=
            request.blocks.size());
    }
    CHECK_THAT(static_cast<double>(references),
               WithinRel(static_cast<double>(published.block_references), 0.03));
    CHECK_THAT(static_cast<double>(unique_blocks(trace)),
               WithinRel(static_cast<double>(published.unique_blocks), 0.03));
    const auto count = static_cast<double>(trace.size());
    CHECK_THAT(input_sum / count, WithinRel(published.mean_input_tokens, 0.03));
    CHECK_THAT(output_sum / count, WithinRel(published.mean_output_tokens, 0.05));
    const std::array<double, 3> shares = {0.5, 0.9, 0.99};
    const std::vector<double> runs = hit_runs(trace);
    for (std::size_t i = 0; i < shares.size(); ++i) {
      INFO("share " << shares[i]);
      CHECK_THAT(quantile(input, shares[i]), WithinRel(published.input_tokens[i], 0.1));
      CHECK_THAT(quantile(runs, shares[i]), WithinRel(published.hit_runs[i], 0.12));
    }
    CHECK(trace.front().at < std::chrono::seconds(10));
    CHECK_THAT(static_cast<double>(trace.back().at.count()) / 1000,
               WithinRel(published.seconds, 0.01));
    CHECK(std::is_sorted(trace.begin(), trace.end(),
                         [](const auto& a, const auto& b) { return a.at < b.at; }));
  }
}

// Published: 12,031 requests at 1,180 times 3 s apart, whose counts vary as 1.10 times their mean;
// 28 at one time, and 23 at most at all others. That one is no Poisson process's, and not made up.
// 5,606 come in the first half; over minutes, counts vary as 2.85 times their mean.
TEST_CASE("the requests of a made-up conversation come as coarse and uneven as published",
          "[unit]") {
  double fullest = 0;
  double of_minutes = 0;
  constexpr int kSeeds = 4;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    INFO("seed " << seed);
    const Trace trace = generate_trace(TraceKind::conversation, static_cast<std::uint64_t>(seed));
    const std::vector<double> counts = counts_by_time(trace);
    CHECK_THAT(static_cast<double>(counts.size()), WithinRel(1180.0, 0.005));
    CHECK_THAT(variance_by_mean(counts), WithinAbs(1.1, 0.15));
    const auto first_half =
        std::count_if(trace.begin(), trace.end(), [](const TraceRequest& request) {
          return request.at < std::chrono::milliseconds(1768500);
        });
    CHECK_THAT(static_cast<double>(first_half), WithinRel(5606.0, 0.03));
    of_minutes += variance_by_mean(counts_by(std::chrono::seconds(60), trace));
    fullest += *std::max_element(counts.begin(), counts.end());
    CHECK(std::all_of(trace.begin(), trace.end(),
                      [](const TraceRequest& request) { return request.at.count() % 3000 == 0; }));
  }
  CHECK_THAT(fullest / kSeeds, WithinRel(23.0, 0.1));
  CHECK_THAT(of_minutes / kSeeds, WithinAbs(2.85, 0.9));
}

// Published: Poisson, 3.9 a second.
TEST_CASE("the requests of a made-up synthetic trace come as a Poisson process's", "[unit]") {
  constexpr int kSeeds = 4;
  double of_half_minutes = 0;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    INFO("seed " << seed);
    const Trace trace = generate_trace(TraceKind::synthetic, static_cast<std::uint64_t>(seed));
    const std::vector<double> counts = counts_by(std::chrono::seconds(1), trace);
    CHECK_THAT(mean(counts), WithinRel(3.9, 0.02));
    CHECK_THAT(variance_by_mean(counts), WithinAbs(1.0, 0.2));
    of_half_minutes += variance_by_mean(counts_by(std::chrono::seconds(30), trace));
    std::vector<double> gaps;
    for (std::size_t i = 1; i < trace.size(); ++i) {
      gaps.push_back(static_cast<double>((trace[i].at - trace[i - 1].at).count()));
    }
    // Exponential: as far spread as they are long.
    CHECK_THAT(variance_by_mean(gaps) / mean(gaps), WithinAbs(1.0, 0.15));
  }
  CHECK_THAT(of_half_minutes / kSeeds, WithinAbs(1.0, 0.4));
}

TEST_CASE("a seed gives one trace, another seed another", "[unit]") {
  for (const Published& published : kPublished) {
    const Trace first = generate_trace(published.kind, 5);
    const Trace again = generate_trace(published.kind, 5);
    REQUIRE(first.size() == again.size());
    for (std::size_t i = 0; i < first.size(); ++i) {
      REQUIRE(first[i].blocks == again[i].blocks);
      REQUIRE(first[i].at == again[i].at);
    }
    CHECK(generate_trace(published.kind, 6)[0].input_tokens != first[0].input_tokens);
  }
  CHECK(*parse_trace_kind("synthetic") == TraceKind::synthetic);
  CHECK_FALSE(parse_trace_kind("toolagent").has_value());
}

}  // namespace godbox::app
