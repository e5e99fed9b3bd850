// SPDX-License-Identifier: Apache-2.0
//
// The scenes of the demo. Each brings up its boxes, moves KV blocks of a real model through them,
// checks every byte, tells what happened and adds its findings. Errors: of the boxes, the clients
// and their operations; they end the demo.
#pragma once

#include "demo/story.h"
#include <godbox/perf/mapped_buffer.h>
#include <godbox/result.h>

#include <functional>

namespace godbox::app {

// What all scenes share.
struct Stage {
  Story& story;
  perf::MappedBuffer memory;    // the GPU host's side
  double machine_gb_per_s = 0;  // raw sockets of this machine
  SizeBytes block;              // one KV block of the model
  std::uint32_t layers = 0;     // a block lies in memory as one page per layer
  std::uint64_t seed = 1;
};

// How much of the machine the largest emulated box may need: the rest is for checking, and for the
// neighbours, who may take most of a machine away after it was measured.
inline constexpr double kMachineShare = 0.2;

// Where a ratio must be: too much is as wrong as too little.
struct Bounds {
  double min = 0;
  double max = 0;
  [[nodiscard]] static constexpr Bounds around(double ideal) { return {ideal * 0.9, ideal * 1.1}; }
  [[nodiscard]] constexpr bool hold(double value) const { return value >= min && value <= max; }
};

// The shape of the model, then raw sockets.
[[nodiscard]] Result<void> prepare(Stage& stage);
// Sets machine_gb_per_s. Real: what the raw sockets of this machine carry right now.
[[nodiscard]] Result<void> measure_machine(Stage& stage);
// Story::play for a scene whose boxes are scaled to the machine, which is measured anew before the
// scene is shown again.
[[nodiscard]] Result<void> play_measured(Stage& stage, const std::function<Result<void>()>& scene);
[[nodiscard]] Result<void> show_channels(Stage& stage);
// Ports as the bottleneck; then, on the box with nine ports, one lost under load and a prefix
// reused. Plays its scenes itself.
[[nodiscard]] Result<void> show_ports(Stage& stage);

}  // namespace godbox::app
