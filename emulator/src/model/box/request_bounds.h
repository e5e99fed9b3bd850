// SPDX-License-Identifier: Apache-2.0
//
// Which stage of a box holds a request longest. In a row of queues with constant service the wait
// is that at the slowest of them (Friedman 1965), so each stage is looked at as if it were the only
// one: what was asked of it before, and the request's own bytes. That with the latest end is what
// bounds the request; where the delays of its first byte are longer than that, no stage does.
// Thread-safety: none. Ownership: values. Units: in the names. Errors: none.
#pragma once

#include "model/box/box_stage.h"

#include <array>
#include <optional>
#include <vector>

namespace godbox::emulator::model {

class RequestBounds {
 public:
  struct Shape {
    std::uint32_t channels = 1;
    std::uint32_t channels_per_super_nic = 1;
    std::uint32_t ports_per_super_nic = 1;
    std::uint32_t hosts = 1;
    std::uint32_t nics_per_host = 1;
    std::uint64_t strip_bytes = 1;
  };
  // Of one of each stage, by is_write.
  using PsPerByte = std::array<std::array<double, 2>, kStages>;

  RequestBounds(const Shape& shape, const PsPerByte& ps_per_byte);
  // This channel and its link take so many times as long as the others.
  void set_slowness(std::uint32_t channel, double slowness) { slowness_[channel] = slowness; }

  // Books what comes to the box at `at_ps`. `delay_ps`: of its first byte, there and back.
  [[nodiscard]] std::optional<StageIndex> book(const BoxRequest& request, std::uint64_t at_ps,
                                               std::uint64_t delay_ps);

 private:
  // What ends last so far.
  struct Latest {
    std::uint64_t end_ps = 0;
    std::optional<StageIndex> stage;
  };
  void book(StageIndex stage, std::size_t member, double work_ps, std::uint64_t at_ps,
            Latest& latest);
  [[nodiscard]] std::uint64_t bytes_of(const BoxRequest& request, std::uint32_t channel) const;

  Shape shape_;
  PsPerByte ps_per_byte_;
  std::vector<double> slowness_;                          // by channel
  std::array<std::vector<std::uint64_t>, kStages> free_;  // when each has done what was asked of it
};

}  // namespace godbox::emulator::model
