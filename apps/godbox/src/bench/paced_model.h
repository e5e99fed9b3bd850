// SPDX-License-Identifier: Apache-2.0
//
// What the timing model says of the requests that `godbox bench --workload paced` sends: the same
// ones, in virtual time, strip by strip through BoxRun. The hosts' NICs are so many that they
// bound nothing, as the paced box has none. Figures are the box's own, before the time scale.
// Thread-safety: const calls are concurrent. Ownership: values. Units: in the names; all modelled.
// Errors: those of the model (config_invalid, invalid_argument).
#pragma once

#include <godbox/emulator/modelled_rates.h>

#include <span>
#include <vector>

namespace godbox::app {

struct ModelledRequest {
  SizeBytes size;
  bool is_write = false;
  std::uint32_t first_channel = 0;  // of its first strip; the others follow in turn
};

class PacedModel {
 public:
  // Of the box's device and shape; it takes a moment.
  [[nodiscard]] static Result<PacedModel> make(const emulator::BoxConfig& config);

  // These requests one after the other, `depth` of them under way.
  [[nodiscard]] Result<double> gb_per_s(std::span<const ModelledRequest> requests,
                                        std::uint32_t depth,
                                        std::vector<emulator::model::SlowChannel> slow = {}) const;
  // What each takes that begins at `at_ns` (never before the one ahead of it), in no order.
  [[nodiscard]] Result<std::vector<double>> times_ns(std::span<const ModelledRequest> requests,
                                                     std::span<const double> at_ns) const;

 private:
  explicit PacedModel(emulator::model::BoxRunSpec spec) : spec_(std::move(spec)) {}
  emulator::model::BoxRunSpec spec_;
};

}  // namespace godbox::app
