// SPDX-License-Identifier: Apache-2.0
//
// What the commands connect with: a running box's address, and answers that say what to do.
#pragma once

#include "cli/cli11_fwd.h"
#include <godbox/app/roce_wires.h>
#include <godbox/connect.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace godbox::app {

struct BoxChoice {
  std::string address;             // empty: the default control socket
  double timeout_s = 60;           // of connecting and of each call
  std::string tenant;              // of the session
  std::vector<std::string> wires;  // roce: this end's Ethernet ports
};

// A session, and the wires that it stands on.
class OpenBox {
 public:
  OpenBox(std::unique_ptr<RoceWires> wires, std::unique_ptr<Connection> connection)
      : wires_(std::move(wires)), connection_(std::move(connection)) {}

  Connection& operator*() const { return *connection_; }
  Connection* operator->() const { return connection_.get(); }

 private:
  std::unique_ptr<RoceWires> wires_;  // nullptr: none
  std::unique_ptr<Connection> connection_;
};

// The --connect, --wire and --timeout options of every command that talks to a running box.
void add_connect_options(CLI::App& command, BoxChoice& choice);
// Errors: as godbox::connect, naming the address; those of the wires.
[[nodiscard]] Result<OpenBox> open_box(const BoxChoice& choice);
// The error of a call on a session: one that took too long says so, as io_error, because the box
// has not gone away as it has after connect_failed or session_lost.
[[nodiscard]] Error call_error(Connection& connection, const BoxChoice& choice, Error error);

}  // namespace godbox::app
