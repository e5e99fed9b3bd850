// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"
#include "cli/json.h"
#include "cli/log.h"
#include "cli/table.h"
#include "commands/commands.h"
#include "results/compare.h"
#include "results/document.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <string>

namespace godbox::app {
namespace {

constexpr std::string_view kSchema = "godbox-compare-1";
constexpr double kThresholdPercent = 10;

struct CompareCommand {
  std::string a;
  std::string b;
  double threshold_percent = kThresholdPercent;
  bool force = false;
  bool json = false;
};

bool is_in_both(const ComparedRow& row) {
  return row.verdict != Verdict::only_in_a && row.verdict != Verdict::only_in_b;
}

boost::json::object to_json(const ComparedRow& row) {
  const bool has_a = row.verdict != Verdict::only_in_b;
  const bool has_b = row.verdict != Verdict::only_in_a;
  return {{"subject", row.subject},
          {"figure", row.figure},
          {"a", has_a ? figure(row.a) : boost::json::value(nullptr)},
          {"b", has_b ? figure(row.b) : boost::json::value(nullptr)},
          {"ratio", has_a && has_b ? figure(row.ratio, 4) : boost::json::value(nullptr)},
          {"spread_a", figure(row.spread_a, 3)},
          {"spread_b", figure(row.spread_b, 3)},
          {"threshold", rounded(row.threshold, 4)},
          {"beside", row.is_beside},
          {"verdict", to_string(row.verdict)}};
}

void print_document(const Comparison& comparison, const ResultDocument& a, const ResultDocument& b,
                    const CompareCommand& command) {
  boost::json::array rows;
  for (const ComparedRow& row : comparison.rows) {
    rows.push_back(to_json(row));
  }
  boost::json::object beside{{"worse", comparison.count_beside(Verdict::worse)},
                             {"better", comparison.count_beside(Verdict::better)},
                             {"only_in_a", comparison.count_beside(Verdict::only_in_a)},
                             {"only_in_b", comparison.count_beside(Verdict::only_in_b)}};
  print_json(stdout,
             boost::json::object{{"schema", kSchema},
                                 {"a", {{"file", command.a}, {"commit", a.text("commit")}}},
                                 {"b", {{"file", command.b}, {"commit", b.text("commit")}}},
                                 {"threshold", rounded(command.threshold_percent / 100, 4)},
                                 {"worse", comparison.count(Verdict::worse)},
                                 {"better", comparison.count(Verdict::better)},
                                 {"only_in_a", comparison.count(Verdict::only_in_a)},
                                 {"only_in_b", comparison.count(Verdict::only_in_b)},
                                 {"beside", std::move(beside)},
                                 {"rows", std::move(rows)}},
             false);
}

std::string value_text(double value, const ComparedRow& row) {
  if (row.figure.ends_with("_us")) {
    return format_duration(value * 1e-6);
  }
  if (row.figure.ends_with("_s_max")) {
    return format_duration(value);
  }
  const bool is_rate = row.figure.find("gb_per_s") != std::string::npos;
  return is_rate ? format_rate(value) : fmt::format("{:.3f}", value);
}

void print_table(const Comparison& comparison) {
  using enum Table::Align;
  Table table({{"subject", left},
               {"figure", left},
               {"A", right},
               {"B", right},
               {"ratio", right},
               {"spread", right},
               {"verdict", left}});
  for (const ComparedRow& row : comparison.rows) {
    table.add({row.subject, row.figure,
               row.verdict == Verdict::only_in_b ? "-" : value_text(row.a, row),
               row.verdict == Verdict::only_in_a ? "-" : value_text(row.b, row),
               is_in_both(row) ? fmt::format("{:.3f}", row.ratio) : "-",
               fmt::format("{:.3f} {:.3f}", row.spread_a, row.spread_b),
               std::string(to_string(row.verdict))});
  }
  fmt::print("{}", table.render());
}

std::size_t count_in_both(const Comparison& comparison, bool is_beside) {
  return static_cast<std::size_t>(std::count_if(
      comparison.rows.begin(), comparison.rows.end(),
      [&](const ComparedRow& row) { return is_in_both(row) && row.is_beside == is_beside; }));
}

// "1 of 2 rows are worse by more than 10 %, 0 of 3 other figures by more than their thresholds".
std::string summary_of(const Comparison& comparison, const CompareCommand& command) {
  std::string summary =
      fmt::format("{} of {} rows are worse by more than {:g} %", comparison.count(Verdict::worse),
                  count_in_both(comparison, false), command.threshold_percent);
  if (const std::size_t beside = count_in_both(comparison, true); beside > 0) {
    summary += fmt::format(", {} of {} other figures by more than their thresholds",
                           comparison.count_beside(Verdict::worse), beside);
  }
  const std::size_t gone =
      comparison.count(Verdict::only_in_a) + comparison.count_beside(Verdict::only_in_a);
  return gone == 0 ? summary : fmt::format("{}; {} of A's are not in B", summary, gone);
}

ExitCode run_compare(const CompareCommand& command) {
  const Result<ResultDocument> a = ResultDocument::read(command.a);
  const Result<ResultDocument> b = a ? ResultDocument::read(command.b) : a;
  if (!a || !b) {
    return fail("bench compare", a ? b.error() : a.error());
  }
  const Result<Comparison> comparison = compare(
      *a, *b, {.threshold = command.threshold_percent / 100, .across_machines = command.force});
  if (!comparison) {
    return fail("bench compare", comparison.error());
  }
  command.json ? print_document(*comparison, *a, *b, command) : print_table(*comparison);
  const std::size_t worse =
      comparison->count(Verdict::worse) + comparison->count_beside(Verdict::worse);
  const std::size_t gone =
      comparison->count(Verdict::only_in_a) + comparison->count_beside(Verdict::only_in_a);
  if (count_in_both(*comparison, false) == 0 && gone == 0) {
    return fail("bench compare",
                Error(Errc::invalid_argument,
                      fmt::format("{} and {} have no row of one subject", command.a, command.b)));
  }
  const std::string summary = summary_of(*comparison, command);
  if (worse > 0 || gone > 0) {
    spdlog::error("bench compare: {}", summary);
    return ExitCode::worse;
  }
  spdlog::info("bench compare: {}", summary);
  return ExitCode::ok;
}

}  // namespace

void add_bench_compare(CLI::App& bench, Action& chosen) {
  auto command = std::make_shared<CompareCommand>();
  CLI::App* const compare = bench.add_subcommand(
      "compare",
      "Compare two results of bench --json, row by row; exit code 8 if one got worse or is gone");
  compare->add_option("a", command->a, "The one before")->required();
  compare->add_option("b", command->b, "The one after")->required();
  compare
      ->add_option("--threshold", command->threshold_percent,
                   "Per cent of a median by which a row may be worse")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100.0));
  compare->add_flag("--force", command->force,
                    "Compare what other machines or other kinds of builds measured, too");
  compare->add_flag("--json", command->json, "Print one JSON object (docs/bench.md)");
  compare->footer(
      "Compared are the medians of the repeats: rates (of emulated rows times their time scale), "
      "or\n"
      "p50_us where a row has no rate. Beside them: p99_us, layer_0_us, Jain's fairness, the\n"
      "foreground alone and the time of recovery, which may be worse by one to five thresholds\n"
      "(docs/bench.md). Both runs should be of one machine, and alternate.");
  compare->callback([command, &chosen] { chosen = [command] { return run_compare(*command); }; });
}

}  // namespace godbox::app
