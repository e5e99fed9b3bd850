// SPDX-License-Identifier: Apache-2.0
//
// What the timing model (docs/model.md) says of a box: the service times of its paced mode, and of
// what a VM is told of its channels. They are those of BoxRun and of time_transfer().
// Thread-safety: pure functions, but for a device that is a file. Ownership: values. Units: in the
// types; all figures are modelled. Errors: config_invalid, naming what is allowed.
#pragma once

#include <godbox/emulator/box_config.h>
#include <godbox/emulator/model/box_run.h>

namespace godbox::emulator {

// Strips for which the detailed DRAM is asked what it delivers, as `godbox model` does.
inline constexpr SizeBytes kTimedStrip{std::uint64_t{64} << 10U};

// The device of the configuration with its settings.
[[nodiscard]] Result<model::BoxModel> device_of(const BoxConfig& config);
[[nodiscard]] model::BoxShape shape_of(const BoxConfig& config);
// Of one of each stage of the box; it takes a moment.
[[nodiscard]] Result<PacedRates> modelled_rates(const BoxConfig& config);
// Sets config.rates by the model where nobody has set them.
[[nodiscard]] Result<void> settle_rates(BoxConfig& config);

}  // namespace godbox::emulator
