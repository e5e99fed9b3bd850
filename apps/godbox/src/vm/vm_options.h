// SPDX-License-Identifier: Apache-2.0
//
// The options of the `vm` commands that describe what a VM shows of a box, and the plan that they
// make. Errors: config_invalid naming option, value and what is allowed; for an illegal topology
// every rule that it breaks.
#pragma once

#include "box/box_options.h"
#include "cli/cli11_fwd.h"
#include <godbox/emulator/vm/vm_plan.h>

#include <optional>
#include <string>

namespace godbox::app {

struct VmOptions {
  BoxOptions box;
  std::optional<std::string> form;  // without it the box's
  std::optional<std::string> granularity;
  bool behind_switches = false;
  std::string topology_file;
  std::string guest_memory = "1GiB";
  unsigned cpus = 2;
  std::optional<std::string> owner;     // without it bound
  std::optional<std::uint32_t> box_id;  // without it 0
  std::optional<unsigned> hot_plug_slots;
  std::optional<std::string> hot_plug_size;
};

void add_vm_options(CLI::App& command, VmOptions& options);
[[nodiscard]] Result<emulator::vm::VmConfig> build_vm_config(const VmOptions& options);
// Of the form, or of the topology in --topology FILE.
[[nodiscard]] Result<emulator::vm::VmPlan> build_vm_plan(const VmOptions& options);

}  // namespace godbox::app
