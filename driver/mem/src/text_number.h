// SPDX-License-Identifier: Apache-2.0
//
// Numbers in the small text files of /proc and /sys. Thread-safety: any thread. Errors: nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace godbox::driver {

// The number on a file's first line; nothing for "max" or a file that is not there.
[[nodiscard]] std::optional<std::uint64_t> read_number(const std::string& path);
// The number behind `key` in a file of "key number" lines.
[[nodiscard]] std::optional<std::uint64_t> read_keyed_number(const std::string& path,
                                                             std::string_view key);

}  // namespace godbox::driver
