// SPDX-License-Identifier: Apache-2.0
//
// Figures as people read them. Sizes are binary (MiB), rates decimal (GB/s = 1e9 bytes per second).
#pragma once

#include <godbox/units.h>

#include <string>
#include <string_view>

namespace godbox::app {

[[nodiscard]] std::string format_size(SizeBytes size);        // "20 MiB", "1.07 MiB", "4000 B"
[[nodiscard]] std::string format_rate(double gb_per_s);       // "1.23 GB/s", "41.2 MB/s"
[[nodiscard]] std::string format_duration(double seconds);    // "1.5 s", "320 us"
[[nodiscard]] std::string format_count(std::uint64_t count);  // "10,000,000"
[[nodiscard]] std::string format_percent(double fraction);    // "88.9 %"

}  // namespace godbox::app
