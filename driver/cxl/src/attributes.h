// SPDX-License-Identifier: Apache-2.0
//
// Single values of sysfs files. Thread-safety: as the tree. Errors: device_missing where the file
// is not there (any more), io_error naming path and content where it does not hold such a value.
#pragma once

#include <godbox/driver/cxl_tree.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::driver {

inline constexpr std::string_view kCxlDevices = "/sys/bus/cxl/devices/";
inline constexpr std::string_view kDaxDevices = "/sys/bus/dax/devices/";
inline constexpr std::string_view kMemoryBlocks = "/sys/devices/system/memory/";

// Decimal, or hexadecimal with 0x; `base` 16 needs no 0x. Nothing for anything else.
[[nodiscard]] std::optional<std::uint64_t> parse_unsigned(std::string_view text, int base = 10);
[[nodiscard]] std::optional<int> parse_signed(std::string_view text);
// "1,3" as its parts.
[[nodiscard]] std::vector<std::string> split(std::string_view text, char separator);
[[nodiscard]] std::string last_part(std::string_view path);

[[nodiscard]] Result<std::uint64_t> read_unsigned(const CxlTree& tree, const std::string& path,
                                                  int base = 10);
// Nothing where there is no such file or no value in it: attributes differ between kernels.
[[nodiscard]] std::optional<std::uint64_t> read_optional(const CxlTree& tree,
                                                         const std::string& path);
// A node's number; nothing for -1 and where there is none.
[[nodiscard]] std::optional<int> read_node(const CxlTree& tree, const std::string& path);
// The name of what a link leads to; empty where there is none.
[[nodiscard]] std::string link_name(const CxlTree& tree, const std::string& path);

}  // namespace godbox::driver
