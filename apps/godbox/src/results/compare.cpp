// SPDX-License-Identifier: Apache-2.0
#include "results/compare.h"

#include "cli/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

namespace godbox::app {
namespace {

constexpr std::array<std::string_view, 5> kVerdicts{"same", "better", "worse", "only in A",
                                                    "only in B"};

// What names a row's subject; each with the word that stands before its value.
struct SubjectField {
  std::string_view field;
  std::string_view unit;
};
constexpr std::array<SubjectField, 26> kSubject{{{"channels", "channels"},
                                                 {"ports", "ports"},
                                                 {"lanes", "lanes"},
                                                 {"depth", "deep"},
                                                 {"batch", "a batch"},
                                                 {"copy_threads", "copy threads"},
                                                 {"server_threads", "server threads"},
                                                 {"working_set_bytes", "bytes of working set"},
                                                 {"keys", "keys"},
                                                 {"objects", "objects"},
                                                 {"pieces", "pieces"},
                                                 {"layers", "layers"},
                                                 {"hosts", "hosts"},
                                                 {"pattern", ""},
                                                 {"sweep", "swept"},
                                                 {"shape", ""},
                                                 {"class", ""},
                                                 {"box", ""},
                                                 {"target", ""},
                                                 {"device", "on"},
                                                 {"model", ""},
                                                 {"layout", ""},
                                                 {"path", ""},
                                                 {"fault", ""},
                                                 {"phase", ""},
                                                 {"seed", "as seed"}}};

struct Figure {
  std::string_view name;
  double value = 0;
  double spread = 0;
  bool is_latency = false;
};

std::optional<Figure> figure_of(const ResultRow& row) {
  const double median = row.number("gb_per_s_median").value_or(0);
  const double spread = median > 0 ? row.number("gb_per_s_mad").value_or(0) / median : 0;
  if (row.text("kind") == "emulated" && row.number("unscaled_gb_per_s").value_or(0) > 0) {
    return Figure{"unscaled_gb_per_s", *row.number("unscaled_gb_per_s"), spread, false};
  }
  if (median > 0) {
    return Figure{"gb_per_s_median", median, spread, false};
  }
  const double latency_us = row.number("p50_us").value_or(0);
  if (latency_us > 0) {
    return Figure{"p50_us", latency_us, 0, true};
  }
  return std::nullopt;
}

Verdict judge(double ratio, double threshold) {
  if (ratio < 1 - threshold) {
    return Verdict::worse;
  }
  return ratio > 1 + threshold ? Verdict::better : Verdict::same;
}

ComparedRow compare_rows(const std::string& subject, const Figure& a, const Figure& b,
                         double threshold) {
  ComparedRow row;
  row.subject = subject;
  row.figure = a.name;
  row.a = a.value;
  row.b = b.value;
  row.ratio = a.is_latency ? a.value / b.value : b.value / a.value;
  row.spread_a = a.spread;
  row.spread_b = b.spread;
  row.verdict = judge(row.ratio, threshold);
  return row;
}

// The n-th row of a subject.
using RowKey = std::pair<std::string, std::size_t>;
using RowMap = std::map<RowKey, Figure>;

RowMap by_subject(const ResultDocument& document, std::vector<RowKey>* order) {
  RowMap rows;
  std::map<std::string, std::size_t> seen;
  for (const ResultRow& row : document.rows()) {
    const std::optional<Figure> figure = figure_of(row);
    if (!figure) {
      continue;  // the model's own answers: nothing was measured
    }
    const std::string subject = subject_of(row);
    const RowKey key(subject, seen[subject]++);
    rows.emplace(key, *figure);
    if (order != nullptr) {
      order->push_back(key);
    }
  }
  return rows;
}

}  // namespace

std::string_view to_string(Verdict verdict) {
  return kVerdicts.at(static_cast<std::size_t>(verdict));
}

std::size_t Comparison::count(Verdict verdict) const {
  return static_cast<std::size_t>(std::count_if(
      rows.begin(), rows.end(), [&](const ComparedRow& row) { return row.verdict == verdict; }));
}

std::string subject_of(const ResultRow& row) {
  std::string subject = fmt::format("{} {} {} {}", row.text("workload"), row.text("transport"),
                                    row.text("op"), row.text("mode"));
  if (const auto size = row.number("size_bytes")) {
    subject += " " + format_size(SizeBytes(static_cast<std::uint64_t>(*size)));
  }
  const boost::json::value* const crc = row.fields().if_contains("crc");
  if (crc != nullptr && crc->is_bool()) {
    subject += crc->get_bool() ? ", CRC" : ", no CRC";
  }
  for (const SubjectField& part : kSubject) {
    // In the paced mode the working set follows from the time scale, which the machine chooses.
    const bool is_chosen = part.field == "working_set_bytes" && row.text("mode") == "paced";
    if (row.has(part.field) && !is_chosen) {
      subject += fmt::format(", {}{}{}", plain_text(row.fields().at(part.field)),
                             part.unit.empty() ? "" : " ", part.unit);
    }
  }
  return subject;
}

Comparison compare(const ResultDocument& a, const ResultDocument& b, double threshold) {
  std::vector<RowKey> order_a;
  std::vector<RowKey> order_b;
  const RowMap rows_a = by_subject(a, &order_a);
  const RowMap rows_b = by_subject(b, &order_b);
  Comparison comparison;
  for (const RowKey& key : order_a) {
    const Figure& figure = rows_a.at(key);
    const auto other = rows_b.find(key);
    if (other != rows_b.end() && other->second.name == figure.name) {
      comparison.rows.push_back(compare_rows(key.first, figure, other->second, threshold));
      continue;
    }
    comparison.rows.push_back({key.first, std::string(figure.name), figure.value, 0, 0,
                               figure.spread, 0, Verdict::only_in_a});
  }
  for (const RowKey& key : order_b) {
    if (!rows_a.contains(key)) {
      const Figure& figure = rows_b.at(key);
      comparison.rows.push_back({key.first, std::string(figure.name), 0, figure.value, 0, 0,
                                 figure.spread, Verdict::only_in_b});
    }
  }
  return comparison;
}

}  // namespace godbox::app
