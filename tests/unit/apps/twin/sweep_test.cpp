// SPDX-License-Identifier: Apache-2.0
//
// Knees of curves whose knee is known by hand, and of curves that have none.
#include "twin/sweep.h"

#include <catch2/catch_test_macros.hpp>

#include <optional>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

using Curve = std::vector<std::pair<double, double>>;

TEST_CASE("a knee is the point that is farthest from the line between the ends", "[unit][model]") {
  // Distances of the ends' line: 0, 0.4, 0.5, 0.4, 0.2, 0.
  const Curve full{{1, 0}, {2, 6}, {3, 9}, {4, 10}, {5, 10}, {6, 10}};
  CHECK(knee_of(full, true) == 2);
  // 1/x between 1 and 16 has it at 4, by its derivative.
  Curve falling;
  for (int x = 1; x <= 16; ++x) {
    falling.emplace_back(x, 100.0 / x);
  }
  CHECK(knee_of(falling, false) == 3);
  // More of it is worth nothing at once.
  CHECK(knee_of({{1, 8}, {2, 4}, {3, 4.1}, {10, 4}}, false) == 1);
}

TEST_CASE("a straight line has no knee, nor has one with noise", "[unit][model]") {
  // Doubles put some of these points above the line.
  Curve line;
  Curve noisy;
  for (int i = 1; i <= 50; ++i) {
    line.emplace_back(i / 10.0, i / 10.0 * 7.3e9);
    noisy.emplace_back(i, i + (i % 2 == 0 ? 1 : 0));
  }
  CHECK(knee_of(line, true) == std::nullopt);
  CHECK(knee_of(noisy, true) == std::nullopt);
  // As near to a line as 4 %, and as 6 %.
  CHECK(knee_of({{0, 0}, {1, 0.54}, {2, 1}}, true) == std::nullopt);
  CHECK(knee_of({{0, 0}, {1, 0.56}, {2, 1}}, true) == 1);
}

TEST_CASE("a curve that gets worse on its way, or does not change, has no knee", "[unit][model]") {
  CHECK(knee_of({{1, 0}, {2, 9}, {3, 2}, {4, 3}}, true) == std::nullopt);
  CHECK(knee_of({{1, 9}, {2, 3}, {3, 6}, {4, 3}}, false) == std::nullopt);
  CHECK(knee_of({{1, 1}, {2, 4}, {3, 5}}, false) == std::nullopt);
  CHECK(knee_of({{1, 100}, {2, 101}, {3, 101}}, true) == std::nullopt);
  CHECK(knee_of({{1, 1}, {2, 9}}, true) == std::nullopt);
  // By as little as queues do by chance it has one still.
  CHECK(knee_of({{1, 0}, {2, 9}, {3, 8.9}, {4, 9}}, true) == 1);
}

TEST_CASE("a figure without a sample has no value", "[unit][model]") {
  LoadFigures figures;
  figures.first_token_s = {1, 2};
  SweepPoint point;
  point.figures = named_figures(figures);
  CHECK(value_of(point, "first_token_p99_s") == 2.0);
  for (const auto* const name : {"load_p50_s", "load_mean_s", "put_p999_s", "hit_share"}) {
    INFO(name);
    CHECK(value_of(point, name) == std::nullopt);
  }
}

}  // namespace
}  // namespace godbox::app
