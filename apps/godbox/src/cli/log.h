// SPDX-License-Identifier: Apache-2.0
//
// What the program says besides its results: one line each on stderr, "godbox: ..." .
#pragma once

#include "cli/exit_code.h"

#include <string_view>

namespace godbox::app {

// Once, before anything is logged. `verbose`: debug lines with a time stamp.
void set_up_log(bool verbose);
// Logs "what: message" and says with which code to end.
[[nodiscard]] ExitCode fail(std::string_view what, const Error& error);

}  // namespace godbox::app
