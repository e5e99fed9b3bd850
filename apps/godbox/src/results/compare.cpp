// SPDX-License-Identifier: Apache-2.0
#include "results/compare.h"

#include "cli/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
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

// What a row may be about, the first that it has.
struct FigureField {
  std::string_view name;
  bool is_of_emulated_rows = false;
  bool is_latency = false;
};
constexpr std::array<FigureField, 3> kFigures{
    {{"unscaled_gb_per_s", true, false}, {"gb_per_s_median"}, {"p50_us", false, true}}};

// Of a machine, what its speed hangs on.
constexpr std::array<std::string_view, 3> kMachine{"cpu_model", "cores", "l3_cache_bytes"};

struct Figure {
  std::string_view name;
  double value = 0;
  double spread = 0;
  bool is_latency = false;
  std::string kind{};  // real, emulated
};

Error wrong(std::string_view why) { return {Errc::invalid_argument, std::string(why)}; }

Result<Figure> figure_of(const ResultRow& row) {
  if (row.number("wrong_bytes").value_or(0) != 0) {
    return wrong("wrong bytes were read, so its figures count for nothing");
  }
  const std::string kind = row.text("kind");
  for (const FigureField& field : kFigures) {
    if (!row.has(field.name) || (field.is_of_emulated_rows && kind != "emulated")) {
      continue;
    }
    const double value = row.number(field.name).value_or(0);
    if (!std::isfinite(value) || value <= 0) {
      return wrong(fmt::format("{} is {}, which is no number above 0", field.name,
                               plain_text(row.fields().at(field.name))));
    }
    const double median = row.number("gb_per_s_median").value_or(0);
    const double spread =
        field.is_latency || median <= 0 ? 0 : row.number("gb_per_s_mad").value_or(0) / median;
    return Figure{field.name, value, spread, field.is_latency, kind};
  }
  return wrong("it has neither gb_per_s_median nor p50_us");
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

Result<RowMap> by_subject(const ResultDocument& document, std::vector<RowKey>& order) {
  RowMap rows;
  std::map<std::string, std::size_t> seen;
  for (const ResultRow& row : document.rows()) {
    if (row.text("kind") == "modelled") {
      continue;  // the model's own answers: nothing was measured
    }
    const std::string subject = subject_of(row);
    const Result<Figure> figure = figure_of(row);
    if (!figure) {
      return wrong(fmt::format("{}: {}: {}", document.name(), subject, figure.error().detail));
    }
    const RowKey key(subject, seen[subject]++);
    rows.emplace(key, *figure);
    order.push_back(key);
  }
  return rows;
}

std::string machine_text(const ResultDocument& document, std::string_view field) {
  const boost::json::value* const machine = document.root().if_contains("machine");
  const boost::json::value* const value = machine != nullptr && machine->is_object()
                                              ? machine->get_object().if_contains(field)
                                              : nullptr;
  return value != nullptr ? plain_text(*value) : "unknown";
}

Result<void> check_same(std::string_view what, const ResultDocument& a, const std::string& of_a,
                        const ResultDocument& b, const std::string& of_b) {
  if (of_a == of_b) {
    return {};
  }
  return wrong(fmt::format("{} has {} \"{}\", {} \"{}\"; --force compares them all the same",
                           a.name(), what, of_a, b.name(), of_b));
}

Result<void> check_same_machine(const ResultDocument& a, const ResultDocument& b) {
  for (const std::string_view field : kMachine) {
    if (auto same = check_same(field, a, machine_text(a, field), b, machine_text(b, field));
        !same) {
      return same;
    }
  }
  return check_same("build_type", a, a.text("build_type"), b, b.text("build_type"));
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
    subject += " " + plain_size(*size);
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

Result<Comparison> compare(const ResultDocument& a, const ResultDocument& b,
                           const CompareOptions& options) {
  // A NaN is neither below nor above, and would make every row the same.
  if (!(options.threshold >= 0 && options.threshold <= 1)) {
    return wrong(fmt::format("--threshold: {:g} is no number from 0 to 100 (per cent)",
                             options.threshold * 100));
  }
  if (!options.across_machines) {
    if (auto same = check_same_machine(a, b); !same) {
      return same.error();
    }
  }
  std::vector<RowKey> order_a;
  std::vector<RowKey> order_b;
  const Result<RowMap> rows_a = by_subject(a, order_a);
  const Result<RowMap> rows_b = rows_a ? by_subject(b, order_b) : rows_a;
  if (!rows_a || !rows_b) {
    return rows_a ? rows_b.error() : rows_a.error();
  }
  Comparison comparison;
  for (const RowKey& key : order_a) {
    const Figure& figure = rows_a->at(key);
    const auto other = rows_b->find(key);
    if (other == rows_b->end()) {
      comparison.rows.push_back({key.first, std::string(figure.name), figure.value, 0, 0,
                                 figure.spread, 0, Verdict::only_in_a});
      continue;
    }
    if (other->second.name != figure.name || other->second.kind != figure.kind) {
      return wrong(fmt::format("{}: {}: {} ({}) is to be compared with {} ({})", b.name(),
                               key.first, other->second.name, other->second.kind, figure.name,
                               figure.kind));
    }
    comparison.rows.push_back(compare_rows(key.first, figure, other->second, options.threshold));
  }
  for (const RowKey& key : order_b) {
    if (!rows_a->contains(key)) {
      const Figure& figure = rows_b->at(key);
      comparison.rows.push_back({key.first, std::string(figure.name), 0, figure.value, 0, 0,
                                 figure.spread, Verdict::only_in_b});
    }
  }
  return comparison;
}

}  // namespace godbox::app
