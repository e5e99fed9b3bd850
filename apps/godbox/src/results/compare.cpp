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
constexpr std::array<SubjectField, 34> kSubject{{{"channels", "channels"},
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
                                                 {"path_asked", "asked for"},
                                                 {"pool_memory", ""},
                                                 {"fault", ""},
                                                 {"phase", ""},
                                                 {"part", ""},
                                                 {"traffic", ""},
                                                 {"trace", ""},
                                                 {"requests", "requests"},
                                                 {"device_settings", "set"},
                                                 {"port_rate_gbit_per_s", "Gbit/s a port"},
                                                 {"seed", "as seed"}}};

enum class Better : std::uint8_t { higher, lower };

struct FigureField {
  std::string_view name;
  Better better = Better::higher;
  double thresholds = 1;             // by so many of them it may be worse
  bool is_of_emulated_rows = false;  // and of no others
  bool is_stretched = false;         // in emulated rows by their time scale
};

// What a row may be about, the first that it has.
constexpr std::array<FigureField, 3> kFigures{
    {{.name = "unscaled_gb_per_s", .is_of_emulated_rows = true},
     {.name = "gb_per_s_median"},
     {.name = "p50_us", .better = Better::lower, .is_stretched = true}}};

// What it may have beside that. No ratios of two measured figures, such as leakage: they are worse,
// too, when what they are measured against is better. Jain's fairness may be worse by no more than
// a rate: its whole range is narrow. Tails are a few operations' figures.
constexpr double kMedianThresholds = 3;
constexpr double kTailThresholds = 5;
constexpr std::array<FigureField, 6> kFiguresBeside{{
    {.name = "p99_us",
     .better = Better::lower,
     .thresholds = kTailThresholds,
     .is_stretched = true},
    {.name = "layer_0_us",
     .better = Better::lower,
     .thresholds = kMedianThresholds,
     .is_stretched = true},
    {.name = "jain_median"},
    {.name = "alone_gb_per_s_median", .thresholds = kMedianThresholds},
    {.name = "alone_p99_us", .better = Better::lower, .thresholds = kTailThresholds},
    {.name = "recovery_s_max", .better = Better::lower, .thresholds = kTailThresholds},
}};

// Of a machine, what its speed hangs on.
constexpr std::array<std::string_view, 3> kMachine{"cpu_model", "cores", "l3_cache_bytes"};

struct Figure {
  const FigureField* field = nullptr;
  double value = 0;
  double spread = 0;
};

struct RowFigures {
  std::string kind;  // real, emulated
  Figure first;
  std::vector<Figure> beside;
};

Error wrong(std::string_view why) { return {Errc::invalid_argument, std::string(why)}; }

Result<Figure> figure_of(const ResultRow& row, const FigureField& field) {
  const double value = row.number(field.name).value_or(0);
  if (!std::isfinite(value) || value <= 0) {
    return wrong(fmt::format("{} is {}, which is no number above 0", field.name,
                             plain_text(row.fields().at(field.name))));
  }
  const double scale = row.number("time_scale").value_or(1);
  const bool is_stretched = field.is_stretched && row.text("kind") == "emulated" && scale > 0;
  return Figure{&field, is_stretched ? value / scale : value};
}

Result<Figure> first_figure_of(const ResultRow& row) {
  for (const FigureField& field : kFigures) {
    if (!row.has(field.name) || (field.is_of_emulated_rows && row.text("kind") != "emulated")) {
      continue;
    }
    Result<Figure> figure = figure_of(row, field);
    const double median = row.number("gb_per_s_median").value_or(0);
    if (figure && field.better == Better::higher && median > 0) {
      figure->spread = row.number("gb_per_s_mad").value_or(0) / median;
    }
    return figure;
  }
  return wrong("it has neither gb_per_s_median nor p50_us");
}

Result<RowFigures> figures_of(const ResultRow& row) {
  if (row.number("wrong_bytes").value_or(0) != 0) {
    return wrong("wrong bytes were read, so its figures count for nothing");
  }
  const Result<Figure> first = first_figure_of(row);
  if (!first) {
    return first.error();
  }
  RowFigures figures{row.text("kind"), *first, {}};
  for (const FigureField& field : kFiguresBeside) {
    if (!row.has(field.name)) {
      continue;
    }
    const Result<Figure> figure = figure_of(row, field);
    if (!figure) {
      return figure.error();
    }
    figures.beside.push_back(*figure);
  }
  return figures;
}

Verdict judge(double ratio, double threshold) {
  if (ratio < 1 - threshold) {
    return Verdict::worse;
  }
  return ratio > 1 + threshold ? Verdict::better : Verdict::same;
}

// nullptr for what a document has not.
ComparedRow compare_figures(const std::string& subject, const Figure* a, const Figure* b,
                            double threshold) {
  const FigureField& field = *(a != nullptr ? a : b)->field;
  ComparedRow row;
  row.subject = subject;
  row.figure = field.name;
  row.a = a != nullptr ? a->value : 0;
  row.b = b != nullptr ? b->value : 0;
  row.spread_a = a != nullptr ? a->spread : 0;
  row.spread_b = b != nullptr ? b->spread : 0;
  row.threshold = threshold * field.thresholds;
  if (a == nullptr || b == nullptr) {
    row.verdict = a != nullptr ? Verdict::only_in_a : Verdict::only_in_b;
    return row;
  }
  row.ratio = field.better == Better::lower ? row.a / row.b : row.b / row.a;
  row.verdict = judge(row.ratio, row.threshold);
  return row;
}

const Figure* find_figure(const std::vector<Figure>& figures, const FigureField& field) {
  const auto found = std::find_if(figures.begin(), figures.end(),
                                  [&](const Figure& figure) { return figure.field == &field; });
  return found != figures.end() ? &*found : nullptr;
}

void compare_beside(const std::string& subject, const RowFigures& a, const RowFigures& b,
                    double threshold, std::vector<ComparedRow>& rows) {
  for (const FigureField& field : kFiguresBeside) {
    const Figure* const of_a = find_figure(a.beside, field);
    const Figure* const of_b = find_figure(b.beside, field);
    if (of_a != nullptr || of_b != nullptr) {
      rows.push_back(compare_figures(subject, of_a, of_b, threshold));
      rows.back().is_beside = true;
    }
  }
}

// The n-th row of a subject.
using RowKey = std::pair<std::string, std::size_t>;
using RowMap = std::map<RowKey, RowFigures>;

Result<RowMap> by_subject(const ResultDocument& document, std::vector<RowKey>& order) {
  RowMap rows;
  std::map<std::string, std::size_t> seen;
  for (const ResultRow& row : document.rows()) {
    if (row.text("kind") == "modelled") {
      continue;  // the model's own answers: nothing was measured
    }
    const std::string subject = subject_of(row);
    Result<RowFigures> figures = figures_of(row);
    if (!figures) {
      return wrong(fmt::format("{}: {}: {}", document.name(), subject, figures.error().detail));
    }
    const RowKey key(subject, seen[subject]++);
    rows.emplace(key, std::move(*figures));
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

std::size_t count_of(const std::vector<ComparedRow>& rows, Verdict verdict, bool is_beside) {
  return static_cast<std::size_t>(
      std::count_if(rows.begin(), rows.end(), [&](const ComparedRow& row) {
        return row.verdict == verdict && row.is_beside == is_beside;
      }));
}

}  // namespace

std::string_view to_string(Verdict verdict) {
  return kVerdicts.at(static_cast<std::size_t>(verdict));
}

std::size_t Comparison::count(Verdict verdict) const { return count_of(rows, verdict, false); }

std::size_t Comparison::count_beside(Verdict verdict) const {
  return count_of(rows, verdict, true);
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
    const RowFigures& of_a = rows_a->at(key);
    const auto found = rows_b->find(key);
    if (found == rows_b->end()) {
      comparison.rows.push_back(
          compare_figures(key.first, &of_a.first, nullptr, options.threshold));
      continue;
    }
    const RowFigures& of_b = found->second;
    if (of_b.first.field != of_a.first.field || of_b.kind != of_a.kind) {
      return wrong(fmt::format("{}: {}: {} ({}) is to be compared with {} ({})", b.name(),
                               key.first, of_b.first.field->name, of_b.kind, of_a.first.field->name,
                               of_a.kind));
    }
    comparison.rows.push_back(
        compare_figures(key.first, &of_a.first, &of_b.first, options.threshold));
    compare_beside(key.first, of_a, of_b, options.threshold, comparison.rows);
  }
  for (const RowKey& key : order_b) {
    if (!rows_a->contains(key)) {
      comparison.rows.push_back(
          compare_figures(key.first, nullptr, &rows_b->at(key).first, options.threshold));
    }
  }
  return comparison;
}

}  // namespace godbox::app
