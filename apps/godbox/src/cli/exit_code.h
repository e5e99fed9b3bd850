// SPDX-License-Identifier: Apache-2.0
//
// Exit codes of the program. Scripts rely on them: they never change meaning (docs/cli.md).
#pragma once

#include <godbox/result.h>

namespace godbox::app {

enum class ExitCode : int {
  ok = 0,
  failure = 1,         // anything without a code of its own
  usage = 2,           // the command line or the configuration is wrong
  not_found = 3,       // a name is not in the pool
  unreachable = 4,     // no box answers at that address, or it went away
  already_exists = 5,  // a name is in the pool already; nothing was changed
  no_room = 6,         // the pool, its memory or a limit of it is used up
  in_use = 7,          // another server has the port or the socket
  worse = 8,           // bench compare: a figure is worse by more than its threshold, or gone
};

[[nodiscard]] ExitCode exit_code_for(Errc code);

}  // namespace godbox::app
