// SPDX-License-Identifier: Apache-2.0
#include "box/wire_option.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace godbox::app {

void add_wire_option(CLI::App& command, std::vector<std::string>& wires) {
  command
      .add_option("--wire", wires,
                  "roce: an Ethernet port of this end, ADDRESS/BITS[,mtu=BYTES]@WIRE, written as "
                  "serve --roce writes one; repeatable")
      ->allow_extra_args(false);  // what comes next may be a name
}

Result<void> check_wires(const std::vector<std::string>& wires, bool is_roce, std::string_view by) {
  if (is_roce && wires.empty()) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} needs --wire: an Ethernet port of this end, such as "
                             "10.0.2.9/24,mtu=4200@dgram:SOCKET,PEER-SOCKET",
                             by));
  }
  if (!is_roce && !wires.empty()) {
    return Error(Errc::invalid_argument,
                 fmt::format("--wire: \"{}\" does nothing; it is for {}", wires.front(), by));
  }
  return {};
}

Result<std::unique_ptr<RoceWires>> open_wires(const std::vector<std::string>& wires) {
  return wires.empty() ? Result<std::unique_ptr<RoceWires>>(nullptr)
                       : RoceWires::open(wires, "--wire");
}

}  // namespace godbox::app
