// SPDX-License-Identifier: Apache-2.0
//
// The subcommands. Each add_* registers one with its options and, when the command line chooses it,
// sets `chosen` to what has to run.
#pragma once

#include "cli/cli11_fwd.h"
#include "cli/exit_code.h"

#include <functional>

namespace godbox::app {

using Action = std::function<ExitCode()>;

void add_serve(CLI::App& program, Action& chosen);
void add_status(CLI::App& program, Action& chosen);
void add_object_commands(CLI::App& program, Action& chosen);  // put, get, ls, rm
void add_demo(CLI::App& program, Action& chosen);
void add_bench(CLI::App& program, Action& chosen);
void add_bench_report(CLI::App& bench, Action& chosen);   // of a result
void add_bench_compare(CLI::App& bench, Action& chosen);  // of two results
void add_replay(CLI::App& program, Action& chosen);
void add_model(CLI::App& program, Action& chosen);     // time-table, explain, curve, device
void add_model_load(CLI::App& model, Action& chosen);  // replay, sweep, rack
void add_vm(CLI::App& program, Action& chosen);        // plan, run, exec ...
void add_pool(CLI::App& program, Action& chosen);      // bind, unbind, list, seal, drop
void add_cxl(CLI::App& program, Action& chosen);       // status, up, down

}  // namespace godbox::app
