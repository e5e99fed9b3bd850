// SPDX-License-Identifier: Apache-2.0
#include "box/open_box.h"

#include "box/wire_option.h"
#include <godbox/emulator/box_config.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace godbox::app {

namespace {

constexpr double kTimeoutMinS = 0.1;
constexpr double kTimeoutMaxS = 86400;

}  // namespace

void add_connect_options(CLI::App& command, BoxChoice& choice) {
  command.add_option("--connect", choice.address,
                     "The box: unix:PATH, local:PATH, or tcp:, verbs: (RDMA), roce: (over --wire), "
                     "dax: with HOST:PORT (default: the control socket)");
  add_wire_option(command, choice.wires);
  command
      .add_option("--timeout", choice.timeout_s, "Seconds that connecting and each call may take")
      ->capture_default_str()
      ->check(CLI::Range(kTimeoutMinS, kTimeoutMaxS));
}

Result<OpenBox> open_box(const BoxChoice& choice) {
  const std::string where =
      choice.address.empty() ? "unix:" + emulator::default_control_socket() : choice.address;
  if (const Result<void> checked =
          check_wires(choice.wires, where.starts_with("roce:"), "--connect roce:HOST:PORT");
      !checked) {
    return checked.error();
  }
  Result<std::unique_ptr<RoceWires>> wires = open_wires(choice.wires);
  if (!wires) {
    return wires.error();
  }
  ConnectOptions options;
  if (*wires != nullptr) {
    options.roce_interfaces = (*wires)->interfaces();
  }
  options.client.tenant = choice.tenant;
  options.client.timeout =
      std::chrono::duration_cast<Duration>(std::chrono::duration<double>(choice.timeout_s));
  options.client.lease = options.client.timeout;  // the box cuts it to its longest
  options.lane_reply_timeout = std::max(options.lane_reply_timeout, options.client.timeout);
  Result<std::unique_ptr<Connection>> connection = connect(where, options);
  if (!connection && connection.error().code == Errc::connect_failed) {
    return Error(
        Errc::connect_failed,
        fmt::format("no box answers at {}; `godbox serve` starts one", connection.error().detail));
  }
  if (!connection) {
    return connection.error();
  }
  return OpenBox(std::move(*wires), std::move(*connection));
}

Error call_error(Connection& connection, const BoxChoice& choice, Error error) {
  if (error.code == Errc::session_lost) {
    return {error.code, "the box has ended, or has not heard of this program for too long"};
  }
  if (error.code != Errc::deadline_exceeded || !connection.client().is_open()) {
    return error;
  }
  return {
      Errc::io_error,
      fmt::format("{}{}not done within {:g} s (--timeout); the session with the box still stands",
                  error.detail, error.detail.empty() ? "" : ": ", choice.timeout_s)};
}

}  // namespace godbox::app
