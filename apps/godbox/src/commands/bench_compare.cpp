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
          {"verdict", to_string(row.verdict)}};
}

void print_document(const Comparison& comparison, const ResultDocument& a, const ResultDocument& b,
                    const CompareCommand& command) {
  boost::json::array rows;
  for (const ComparedRow& row : comparison.rows) {
    rows.push_back(to_json(row));
  }
  print_json(stdout,
             boost::json::object{{"schema", kSchema},
                                 {"a", {{"file", command.a}, {"commit", a.text("commit")}}},
                                 {"b", {{"file", command.b}, {"commit", b.text("commit")}}},
                                 {"threshold", rounded(command.threshold_percent / 100, 4)},
                                 {"worse", comparison.count(Verdict::worse)},
                                 {"better", comparison.count(Verdict::better)},
                                 {"only_in_a", comparison.count(Verdict::only_in_a)},
                                 {"only_in_b", comparison.count(Verdict::only_in_b)},
                                 {"rows", std::move(rows)}},
             false);
}

std::string value_text(double value, const ComparedRow& row) {
  return row.figure == "p50_us" ? format_duration(value * 1e-6) : format_rate(value);
}

void print_table(const Comparison& comparison) {
  using enum Table::Align;
  Table table({{"subject", left},
               {"A", right},
               {"B", right},
               {"ratio", right},
               {"spread", right},
               {"verdict", left}});
  for (const ComparedRow& row : comparison.rows) {
    table.add({row.subject, row.verdict == Verdict::only_in_b ? "-" : value_text(row.a, row),
               row.verdict == Verdict::only_in_a ? "-" : value_text(row.b, row),
               is_in_both(row) ? fmt::format("{:.3f}", row.ratio) : "-",
               fmt::format("{:.3f} {:.3f}", row.spread_a, row.spread_b),
               std::string(to_string(row.verdict))});
  }
  fmt::print("{}", table.render());
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
  const std::size_t worse = comparison->count(Verdict::worse);
  const std::size_t gone = comparison->count(Verdict::only_in_a);
  const std::size_t compared =
      worse + comparison->count(Verdict::better) + comparison->count(Verdict::same);
  if (compared == 0 && gone == 0) {
    return fail("bench compare",
                Error(Errc::invalid_argument,
                      fmt::format("{} and {} have no row of one subject", command.a, command.b)));
  }
  const std::string summary = fmt::format(
      "bench compare: {} of {} rows are worse by more than {:g} %{}", worse, compared,
      command.threshold_percent, gone == 0 ? "" : fmt::format("; {} of A's are not in B", gone));
  if (worse > 0 || gone > 0) {
    spdlog::error("{}", summary);
    return ExitCode::worse;
  }
  spdlog::info("{}", summary);
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
      "p50_us where a row has no rate. Both runs should be of one machine, and alternate.");
  compare->callback([command, &chosen] { chosen = [command] { return run_compare(*command); }; });
}

}  // namespace godbox::app
