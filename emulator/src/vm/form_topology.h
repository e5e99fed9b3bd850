// SPDX-License-Identifier: Apache-2.0
//
// The topology that shows a box in one of the forms. It is drawn whether or not it is legal: the
// check says what is wrong with it. Thread-safety: pure functions. Units: bytes.
// Errors: config_invalid where no topology of that form can be drawn.
#pragma once

#include <godbox/emulator/vm/vm_plan.h>

#include <vector>

namespace godbox::emulator::vm {

struct FormTopology {
  cxl::Topology topology;
  std::vector<DramChannelId> channel_of_device;
  std::vector<HotPlugSlot> hot_plug_slots;
};

[[nodiscard]] Result<FormTopology> draw_form(const VmConfig& config, SizeBytes granularity);

}  // namespace godbox::emulator::vm
