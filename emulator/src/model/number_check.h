// SPDX-License-Identifier: Apache-2.0
//
// Whether a number is in its range, and what to say if it is not. Thread-safety: pure.
// Errors: config_invalid.
#pragma once

#include <godbox/result.h>

#include <fmt/format.h>

#include <string_view>

namespace godbox::emulator::model {

struct NumberCheck {
  std::string_view key;
  double value;
  double low;
  double high;
};
[[nodiscard]] inline Result<void> check(const NumberCheck& number) {
  if (!(number.value >= number.low && number.value <= number.high)) {
    return Error(Errc::config_invalid, fmt::format("{} = {}: allowed is {} to {}", number.key,
                                                   number.value, number.low, number.high));
  }
  return {};
}

}  // namespace godbox::emulator::model
