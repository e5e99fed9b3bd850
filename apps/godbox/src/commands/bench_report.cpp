// SPDX-License-Identifier: Apache-2.0
#include "cli/log.h"
#include "commands/commands.h"
#include "report/report.h"
#include "results/document.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

namespace godbox::app {
namespace {

struct ReportCommand {
  std::string result;
  std::string output;
};

// A result may be that of hours.
Result<void> check_not_the_result(const ReportCommand& command) {
  std::error_code ignored;
  if (std::filesystem::equivalent(command.result, command.output, ignored)) {
    return Error(
        Errc::invalid_argument,
        fmt::format("--output: {} is the result itself; give another file", command.output));
  }
  return {};
}

ExitCode run_report(const ReportCommand& command) {
  const Result<ResultDocument> document = ResultDocument::read(command.result);
  if (!document) {
    return fail("bench report", document.error());
  }
  if (const Result<void> other = check_not_the_result(command); !other) {
    return fail("bench report", other.error());
  }
  if (const Result<void> written = write_report(render_report(*document), command.output);
      !written) {
    return fail("bench report", written.error());
  }
  spdlog::info("bench report: {}", command.output);
  return ExitCode::ok;
}

}  // namespace

void add_bench_report(CLI::App& bench, Action& chosen) {
  auto command = std::make_shared<ReportCommand>();
  CLI::App* const report =
      bench.add_subcommand("report", "Make an HTML report with plots of a result of bench --json");
  report
      ->add_option("result", command->result,
                   "What `godbox bench --json` printed; -: standard input")
      ->required();
  report->add_option("-o,--output", command->output, "The HTML file; it needs no other file")
      ->required();
  report->callback([command, &chosen] { chosen = [command] { return run_report(*command); }; });
}

}  // namespace godbox::app
