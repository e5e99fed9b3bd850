// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include "cli/log.h"
#include "commands/commands.h"
#include "measure/machine.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <exception>
#include <string>

namespace godbox::app {
namespace {

constexpr std::string_view kFooter = R"(Start here:
  godbox demo                              the whole story in under a minute
  godbox serve                             an 18 TiB box on this machine, until Ctrl-C
  godbox put hello README.md               ... and from another terminal
  godbox get hello -
  godbox status

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 3 no such object,
4 no box answers, 5 the name is there already, 6 no room, 7 the port or socket is in use.)";

}  // namespace

int run_program(int argc, const char* const* argv) {
  CLI::App program{
      "A memory godbox in software: every transfer striped over all DRAM channels "
      "and all Ethernet ports."};
  program.name("godbox");
  program.footer(std::string(kFooter));
  program.set_version_flag(
      "--version", fmt::format("godbox {} ({}, {})", version(), build_commit(), build_type()));
  bool verbose = false;
  program.add_flag("-v,--verbose", verbose, "Say more on standard error");
  program.require_subcommand(0, 1);  // none is told apart from an unknown one below
  // Said twice, the last one counts: a script can add to a list of its own.
  program.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);

  Action chosen;
  add_serve(program, chosen);
  add_status(program, chosen);
  add_object_commands(program, chosen);
  add_demo(program, chosen);
  add_bench(program, chosen);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool is_help = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
    program.exit(error);
    return static_cast<int>(is_help ? ExitCode::ok : ExitCode::usage);
  }
  set_up_log(verbose);
  if (!chosen) {
    spdlog::error("a subcommand is needed; `godbox --help` lists them");
    return static_cast<int>(ExitCode::usage);
  }
  try {
    return static_cast<int>(chosen());
  } catch (const std::exception& error) {
    // Only the machine itself can cause it: no memory, no thread.
    spdlog::critical("{}", error.what());
    return static_cast<int>(ExitCode::failure);
  }
}

}  // namespace godbox::app
