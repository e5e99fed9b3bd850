// SPDX-License-Identifier: Apache-2.0
#include "box/open_box.h"

#include <godbox/emulator/box_config.h>

#include <fmt/format.h>

namespace godbox::app {

void add_connect_option(CLI::App& command, std::string& address) {
  command.add_option("--connect", address,
                     "The box: unix:PATH, local:PATH (mapped memory) or tcp:HOST:PORT (default: "
                     "the local control socket)");
}

Result<std::unique_ptr<Connection>> open_box(const std::string& address) {
  const std::string where =
      address.empty() ? "unix:" + emulator::default_control_socket() : address;
  Result<std::unique_ptr<Connection>> connection = connect(where);
  if (!connection && connection.error().code == Errc::connect_failed) {
    return Error(Errc::connect_failed,
                 fmt::format("no box answers at {} ({}); `godbox serve` starts one", where,
                             connection.error().detail));
  }
  if (!connection) {
    return Error(connection.error().code, fmt::format("{}: {}", where, connection.error().detail));
  }
  return connection;
}

}  // namespace godbox::app
