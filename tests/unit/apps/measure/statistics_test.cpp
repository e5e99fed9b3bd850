// SPDX-License-Identifier: Apache-2.0
#include "measure/statistics.h"

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <vector>

using namespace godbox::app;

TEST_CASE("a summary of an odd number of values", "[unit]") {
  const Summary summary = summarise(std::array{7.0, 1.0, 3.0, 100.0, 4.0});
  CHECK(summary.count == 5);
  CHECK(summary.median == 4);
  CHECK(summary.min == 1);
  CHECK(summary.max == 100);
  CHECK(summary.mad == 3);  // deviations 3 3 1 96 0
}

TEST_CASE("a summary of an even number of values takes the middle of the two middle ones",
          "[unit]") {
  const Summary summary = summarise(std::array{4.0, 1.0, 3.0, 2.0});
  CHECK(summary.median == 2.5);
  CHECK(summary.mad == 1);  // deviations 1.5 1.5 0.5 0.5
}

TEST_CASE("no values give zeros, one value gives itself", "[unit]") {
  CHECK(summarise({}).count == 0);
  CHECK(summarise({}).median == 0);
  CHECK(percentile({}, 99) == 0);
  CHECK(summarise(std::array{2.5}).median == 2.5);
  CHECK(summarise(std::array{2.5}).mad == 0);
  CHECK(percentile(std::array{2.5}, 1) == 2.5);
}

TEST_CASE("percentiles are values that were measured, by nearest rank", "[unit]") {
  std::vector<double> values;
  for (int i = 100; i > 0; --i) {
    values.push_back(i);
  }
  CHECK(percentile(values, 50) == 50);
  CHECK(percentile(values, 99) == 99);
  CHECK(percentile(values, 100) == 100);
  CHECK(percentile(values, 0.1) == 1);
  CHECK(percentile(std::array{15.0, 20.0, 35.0, 40.0, 50.0}, 40) == 20);
}

TEST_CASE("a percentile that is a whole rank is that rank", "[unit]") {
  for (const int thousands : {1, 2, 3, 5, 7, 10, 100}) {
    std::vector<double> values;
    for (int i = 1; i <= 1000 * thousands; ++i) {
      values.push_back(i);
    }
    for (int tenths = 1; tenths <= 1000; ++tenths) {
      INFO(thousands << " thousand values, " << tenths / 10.0 << " %");
      CHECK(percentile(values, tenths / 10.0) == tenths * thousands);
    }
    const int rank = 999 * thousands + (thousands + 9) / 10;
    CHECK(percentile(values, 99.91) == rank);
  }
}
