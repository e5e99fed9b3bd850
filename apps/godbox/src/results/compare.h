// SPDX-License-Identifier: Apache-2.0
//
// Two documents of results, row beside row. Rows are of one subject when all that was asked for is
// the same; what is compared is the figure that the row is about: the rate (of emulated rows times
// their time scale, because that is chosen by the machine), or where a row has none the median
// latency. Pure. Errors: invalid_argument, naming the document, the row and the figure: what was
// measured on another machine or with another kind of build, a row with wrong bytes, or one whose
// figure is not above 0 (a run that stalled is no row that has nothing to compare).
#pragma once

#include "results/document.h"

#include <string>
#include <vector>

namespace godbox::app {

enum class Verdict : std::uint8_t { same, better, worse, only_in_a, only_in_b };
[[nodiscard]] std::string_view to_string(Verdict verdict);

struct ComparedRow {
  std::string subject;  // "block tcp read 4 MiB ..."
  std::string figure;   // "gb_per_s_median", "unscaled_gb_per_s", "p50_us"
  double a = 0;
  double b = 0;
  double ratio = 0;     // b / a, of latencies a / b: above 1 is better in any case
  double spread_a = 0;  // MAD over median; 0 where it is not known
  double spread_b = 0;
  Verdict verdict = Verdict::same;
};

struct Comparison {
  std::vector<ComparedRow> rows;
  // Worse and better are rows that differ by more than the threshold.
  [[nodiscard]] std::size_t count(Verdict verdict) const;
};

struct CompareOptions {
  double threshold = 0.1;        // a share, from 0 to 1: 0.1 for 10 %
  bool across_machines = false;  // and across kinds of builds
};

// What a row was asked to measure, as one text; equal for equal subjects.
[[nodiscard]] std::string subject_of(const ResultRow& row);

// Where a subject has several rows they are compared in their order. A row that only A has is a
// finding: what can no longer be measured may have become as slow as it likes.
[[nodiscard]] Result<Comparison> compare(const ResultDocument& a, const ResultDocument& b,
                                         const CompareOptions& options);

}  // namespace godbox::app
