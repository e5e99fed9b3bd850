// SPDX-License-Identifier: Apache-2.0
//
// The --wire option: Ethernet ports of this end, over which the program speaks RoCE by itself
// (godbox/app/roce_wires.h).
// Thread-safety: plain functions. Ownership: the texts are the caller's. Units: none. Errors: named
// at each call.
#pragma once

#include "cli/cli11_fwd.h"
#include <godbox/app/roce_wires.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {

void add_wire_option(CLI::App& command, std::vector<std::string>& wires);
// RoCE goes through wires, and nothing else does; `by` which options it is asked for. Errors:
// invalid_argument.
[[nodiscard]] Result<void> check_wires(const std::vector<std::string>& wires, bool is_roce,
                                       std::string_view by);
// nullptr where there are no texts. Errors: as RoceWires::open().
[[nodiscard]] Result<std::unique_ptr<RoceWires>> open_wires(const std::vector<std::string>& wires);

}  // namespace godbox::app
