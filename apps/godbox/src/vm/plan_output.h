// SPDX-License-Identifier: Apache-2.0
//
// A plan as tables for people and as JSON for programs (docs/vm.md has the fields).
// Thread-safety: pure functions. Errors: none.
#pragma once

#include <godbox/emulator/vm/vm_plan.h>

#include <boost/json.hpp>

#include <string>
#include <vector>

namespace godbox::app {

[[nodiscard]] std::string plan_text(const emulator::vm::VmPlan& plan);
[[nodiscard]] boost::json::object plan_json(const emulator::vm::VmPlan& plan);
// QEMU's arguments with the file names channel-0, channel-1, ... for what backs the channels.
[[nodiscard]] std::vector<std::string> example_arguments(const emulator::vm::VmPlan& plan);

}  // namespace godbox::app
