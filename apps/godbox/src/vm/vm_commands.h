// SPDX-License-Identifier: Apache-2.0
//
// The subcommands of `vm`, as commands.h has those of the program.
#pragma once

#include "cli/cli11_fwd.h"
#include "commands/commands.h"

namespace godbox::app {

void add_vm_plan(CLI::App& vm, Action& chosen);
// run, shell, stop, exec, status, attach, detach.
void add_vm_run_commands(CLI::App& vm, Action& chosen);

}  // namespace godbox::app
