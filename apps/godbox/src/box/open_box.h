// SPDX-License-Identifier: Apache-2.0
//
// What the commands connect with: a running box's address, and answers that say what to do.
#pragma once

#include <godbox/connect.h>

#include <CLI/CLI.hpp>

#include <memory>
#include <string>

namespace godbox::app {

// The --connect option of every command that talks to a running box.
void add_connect_option(CLI::App& command, std::string& address);
// An empty address is the default control socket. Errors: as godbox::connect, naming the address.
[[nodiscard]] Result<std::unique_ptr<Connection>> open_box(const std::string& address);

}  // namespace godbox::app
