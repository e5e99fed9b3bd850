// SPDX-License-Identifier: Apache-2.0
//
// The program: parses the command line, runs the subcommand, gives the exit code.
#pragma once

namespace godbox::app {

[[nodiscard]] int run_program(int argc, const char* const* argv);

}  // namespace godbox::app
