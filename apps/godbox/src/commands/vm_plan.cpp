// SPDX-License-Identifier: Apache-2.0
#include "cli/byte_files.h"
#include "cli/json.h"
#include "cli/log.h"
#include "vm/plan_output.h"
#include "vm/vm_commands.h"
#include "vm/vm_options.h"
#include <godbox/emulator/vm/plan_svg.h>
#include <godbox/emulator/vm/qemu_command.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>
#include <string>

namespace godbox::app {
namespace {

struct PlanOptions {
  VmOptions vm;
  bool json = false;
  bool qemu = false;
  std::string svg_file;
};

constexpr std::string_view kFooter = R"(Examples:
  godbox vm plan                                   9 x 2 x 1 TiB, a region per DRAM channel
  godbox vm plan --form super-nics --switches      a region per SuperNIC, behind a switch each
  godbox vm plan --preset emfasys28 --form widest  16 + 8 + 4 channels
  godbox vm plan --topology mine.toml              is it legal? docs/vm.md has the format
  godbox vm plan --svg plan.svg                    a picture of it
  godbox vm plan --qemu                            the CXL part of QEMU's command line
Nothing is started. An illegal topology is answered with every rule it breaks, and exit code 2.)";

ExitCode run_plan(const PlanOptions& options) {
  const Result<emulator::vm::VmPlan> plan = build_vm_plan(options.vm);
  if (!plan) {
    return fail("vm plan", plan.error());
  }
  if (!options.svg_file.empty()) {
    const std::string svg = emulator::vm::plan_svg(*plan);
    const Result<void> written = write_file(options.svg_file, std::as_bytes(std::span(svg)));
    if (!written) {
      return fail("vm plan", written.error());
    }
  }
  if (options.json) {
    print_json(stdout, plan_json(*plan), false);
  } else if (options.qemu) {
    fmt::print("{}", emulator::vm::shell_text("qemu-system-x86_64", example_arguments(*plan)));
  } else if (options.svg_file != "-") {
    fmt::print("{}", plan_text(*plan));
  }
  return ExitCode::ok;
}

}  // namespace

void add_vm_plan(CLI::App& vm, Action& chosen) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* const command = vm.add_subcommand(
      "plan", "Check a topology against the rules of CXL, Linux and QEMU, and show it");
  add_vm_options(*command, options->vm);
  CLI::Option* const json = command->add_flag("--json", options->json,
                                              "Print the plan as JSON; docs/vm.md has the fields");
  command->add_flag("--qemu", options->qemu, "Print the CXL part of QEMU's command line")
      ->excludes(json);
  command->add_option("--svg", options->svg_file, "Draw the plan into this file");
  command->footer(std::string(kFooter));
  command->callback([options, &chosen] { chosen = [options] { return run_plan(*options); }; });
}

}  // namespace godbox::app
