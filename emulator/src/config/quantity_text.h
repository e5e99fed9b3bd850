// SPDX-License-Identifier: Apache-2.0
//
// Quantities as people write them: a number, at most one space, a unit. Strict, because "256 mb"
// that silently means something else is worse than an error. parse_size and parse_rate, which
// box_config.h declares, are implemented beside parse_duration.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <string_view>

namespace godbox::emulator {

inline constexpr std::string_view kSizeForm = "a size such as \"256MiB\", \"1 TiB\" or \"4096\"";
inline constexpr std::string_view kRateForm = "a rate such as \"44.8GB/s\" or \"100Gbit/s\"";
inline constexpr std::string_view kDurationForm = "a time such as \"30s\", \"500ms\" or \"2min\"";

// "500ms", "30 s", "2min", "1h". Error: config_invalid.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);

}  // namespace godbox::emulator
