// SPDX-License-Identifier: Apache-2.0
#include "vm/vm_commands.h"

#include <CLI/CLI.hpp>

namespace godbox::app {

void add_vm(CLI::App& program, Action& chosen) {
  CLI::App* const command = program.add_subcommand(
      "vm", "A virtual machine that sees the box's DRAM channels as CXL memory");
  command->require_subcommand(1);
  add_vm_plan(*command, chosen);
  add_vm_run_commands(*command, chosen);
}

}  // namespace godbox::app
