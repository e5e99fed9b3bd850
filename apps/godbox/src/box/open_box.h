// SPDX-License-Identifier: Apache-2.0
//
// What the commands connect with: a running box's address, and answers that say what to do.
#pragma once

#include "cli/cli11_fwd.h"
#include <godbox/connect.h>

#include <memory>
#include <string>

namespace godbox::app {

struct BoxChoice {
  std::string address;    // empty: the default control socket
  double timeout_s = 60;  // of connecting and of each call
  std::string tenant;     // of the session
};

// The --connect and --timeout options of every command that talks to a running box.
void add_connect_options(CLI::App& command, BoxChoice& choice);
// Errors: as godbox::connect, naming the address.
[[nodiscard]] Result<std::unique_ptr<Connection>> open_box(const BoxChoice& choice);
// The error of a call on a session: one that took too long says so, as io_error, because the box
// has not gone away as it has after connect_failed or session_lost.
[[nodiscard]] Error call_error(Connection& connection, const BoxChoice& choice, Error error);

}  // namespace godbox::app
