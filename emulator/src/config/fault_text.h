// SPDX-License-Identifier: Apache-2.0
//
// The parts that faults of ports and of channels have in common as people write them.
// Thread-safety: pure functions. Units: shares of 1. Errors: nullopt.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace godbox::emulator {

// "10%": above 0% and below 100%, as a share.
[[nodiscard]] std::optional<double> parse_percent(std::string_view text);

struct NumberedText {
  std::uint16_t number = 0;
  std::string_view rest;
};
// "3=slow:10%".
[[nodiscard]] std::optional<NumberedText> parse_number_and(std::string_view text);

}  // namespace godbox::emulator
