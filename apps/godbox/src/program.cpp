// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include "cli/log.h"
#include "commands/commands.h"
#include "measure/machine.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace godbox::app {
namespace {

constexpr std::string_view kFooter = R"(Start here:
  godbox demo                              the whole story in under a minute
  godbox serve                             an 18 TiB box on this machine, until Ctrl-C
  godbox put hello README.md               ... and from another terminal
  godbox get hello -
  godbox status

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 3 no such object,
4 no box answers, 5 the name is there already, 6 no room, 7 the port or socket is in use,
8 a figure is worse than before (bench compare).)";

// What a command printed may still fail to arrive (a full disk, a closed pipe).
ExitCode check_output(ExitCode code) {
  errno = 0;
  const bool is_flushed = std::fflush(stdout) == 0;
  if (is_flushed && std::ferror(stdout) == 0) {
    return code;
  }
  const std::error_code reason(errno, std::generic_category());
  spdlog::error("cannot write to standard output{}{}", reason ? ": " : "",
                reason ? reason.message() : "");
  return code == ExitCode::ok ? ExitCode::failure : code;
}

// What was closed by whoever started the program would be the number of the next file or socket
// that it opens, into which its messages would go: of a served box a DRAM channel's. So that number
// is taken, by what can be neither read from nor written to as it is used.
bool take_closed_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) < 0) {
      // The lowest number that is free: this one, as those below are taken.
      if (::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY) != descriptor) {
        return false;
      }
    }
  }
  return true;
}

std::string subcommand_names(const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* const command : program.get_subcommands({})) {
    names.push_back(command->get_name());
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

// What is wrong with a number: CLI11 takes "nan" to be in every range, and wraps what 64 bits do
// not hold. Empty: nothing.
std::string why_no_number(const std::string& text, bool is_whole) {
  if (!is_whole) {
    return std::isfinite(std::strtod(text.c_str(), nullptr))
               ? std::string()
               : fmt::format("\"{}\" is no finite number", text);
  }
  errno = 0;
  static_cast<void>(std::strtoull(text.c_str(), nullptr, 0));
  const bool is_wrapped = errno == ERANGE || text.find('-') != std::string::npos;
  return is_wrapped ? fmt::format("\"{}\" is no whole number from 0 to 2^64 - 1", text)
                    : std::string();
}

// For every option of a number, those of subcommands too.
void refuse_odd_numbers(CLI::App& command) {
  for (CLI::Option* const option : command.get_options()) {
    const std::string type = option->get_type_name();
    const bool is_whole = type.starts_with("UINT");
    if (is_whole || type.starts_with("FLOAT")) {
      option->check([is_whole](const std::string& text) { return why_no_number(text, is_whole); },
                    "");
    }
  }
  for (CLI::App* const subcommand : command.get_subcommands({})) {
    refuse_odd_numbers(*subcommand);
  }
}

}  // namespace

int run_program(int argc, const char* const* argv) {
  if (!take_closed_streams()) {
    spdlog::error("a standard stream is closed, and /dev/null cannot be opened in its place");
    return static_cast<int>(ExitCode::failure);
  }
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
  add_replay(program, chosen);
  add_model(program, chosen);
  add_vm(program, chosen);
  add_pool(program, chosen);
  add_cxl(program, chosen);
  refuse_odd_numbers(program);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool is_help = error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
    // Through stdio, whose errors check_output() sees with their reason.
    std::ostringstream results;
    std::ostringstream messages;
    program.exit(error, results, messages);
    std::fputs(results.str().c_str(), stdout);
    std::fputs(messages.str().c_str(), stderr);
    set_up_log(verbose);
    if (!is_help && !chosen && program.get_subcommands().empty()) {
      spdlog::error("the subcommands are: {}", subcommand_names(program));
    }
    return static_cast<int>(check_output(is_help ? ExitCode::ok : ExitCode::usage));
  }
  set_up_log(verbose);
  if (!chosen) {
    spdlog::error("a subcommand is needed: {}", subcommand_names(program));
    return static_cast<int>(ExitCode::usage);
  }
  try {
    return static_cast<int>(check_output(chosen()));
  } catch (const std::system_error& error) {
    // What is too long for a buffer is written, and found not to be, at once.
    const bool is_output = std::ferror(stdout) != 0;
    spdlog::error("{}{}", is_output ? "cannot write to standard output: " : "",
                  is_output ? error.code().message() : error.what());
    return static_cast<int>(ExitCode::failure);
  } catch (const std::exception& error) {
    // Only the machine itself can cause it: no memory, no thread.
    spdlog::critical("{}", error.what());
    return static_cast<int>(ExitCode::failure);
  }
}

}  // namespace godbox::app
