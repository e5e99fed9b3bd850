// SPDX-License-Identifier: Apache-2.0
//
// The scenes of the demo. Each brings up its boxes, moves KV blocks of a real model through them,
// checks every byte, tells what happened and adds its findings. Errors: of the boxes, the clients
// and their operations; they end the demo.
#pragma once

#include "demo/story.h"
#include <godbox/perf/mapped_buffer.h>
#include <godbox/result.h>

namespace godbox::app {

// What all scenes share.
struct Stage {
  Story& story;
  perf::MappedBuffer memory;    // the GPU host's side
  double machine_gb_per_s = 0;  // raw sockets of this machine, measured at the start
  SizeBytes block;              // one KV block of the model
  std::uint32_t layers = 0;     // a block lies in memory as one page per layer
  std::uint64_t seed = 1;
};

// How much of the machine the largest emulated box may need: the rest is for checking and noise.
inline constexpr double kMachineShare = 0.35;

// Raw sockets first, then the shape of the model.
[[nodiscard]] Result<void> prepare(Stage& stage);
[[nodiscard]] Result<void> show_channels(Stage& stage);
// Ports as the bottleneck; then, on the box with nine ports, one lost under load and a prefix
// reused.
[[nodiscard]] Result<void> show_ports(Stage& stage);

}  // namespace godbox::app
