// SPDX-License-Identifier: Apache-2.0
//
// Two documents of results, row beside row. Rows are of one subject when all that was asked for is
// the same; what is compared is the figure that the row is about: the rate, or where a row has none
// the median latency; and beside it what else the row has that can only be better or worse, such
// as the longest latencies. Those vary more from run to run, and may lose more before they are
// worse. Of emulated rows rates are times their time scale and latencies divided by it, because it
// is chosen by the machine. Pure. Errors: invalid_argument, naming the document, the row and the
// figure: what was measured on another machine or with another kind of build, a row with wrong
// bytes, or a figure that is not above 0 (a run that stalled is no row without one).
#pragma once

#include "results/document.h"

#include <string>
#include <vector>

namespace godbox::app {

enum class Verdict : std::uint8_t { same, better, worse, only_in_a, only_in_b };
[[nodiscard]] std::string_view to_string(Verdict verdict);

struct ComparedRow {
  std::string subject;  // "block tcp read 4 MiB ..."
  std::string figure;   // "gb_per_s_median", "unscaled_gb_per_s", "p50_us", "p99_us"
  double a = 0;
  double b = 0;
  double ratio = 0;     // b / a, of latencies a / b: above 1 is better in any case
  double spread_a = 0;  // MAD over median; 0 where it is not known
  double spread_b = 0;
  double threshold = 0;    // it may be worse by so much
  bool is_beside = false;  // no figure that the row is about, but one beside it
  Verdict verdict = Verdict::same;
};

struct Comparison {
  std::vector<ComparedRow> rows;
  // Worse and better are figures that differ by more than their threshold: those that rows are
  // about, and those beside them.
  [[nodiscard]] std::size_t count(Verdict verdict) const;
  [[nodiscard]] std::size_t count_beside(Verdict verdict) const;
};

struct CompareOptions {
  double threshold = 0.1;        // a share, from 0 to 1: 0.1 for 10 %; of figures beside, more
  bool across_machines = false;  // and across kinds of builds
};

// What a row was asked to measure, as one text; equal for equal subjects.
[[nodiscard]] std::string subject_of(const ResultRow& row);

// Where a subject has several rows they are compared in their order. A row, or a figure beside,
// that only A has is a finding: what can no longer be measured may have become as slow as it likes.
[[nodiscard]] Result<Comparison> compare(const ResultDocument& a, const ResultDocument& b,
                                         const CompareOptions& options);

}  // namespace godbox::app
