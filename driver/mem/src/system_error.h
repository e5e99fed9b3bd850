// SPDX-License-Identifier: Apache-2.0
//
// errno of a failed system call on memory, as an Error that says what was tried on what.
#pragma once

#include <godbox/result.h>

#include <string_view>

namespace godbox::driver {

// The named code for `error_number` as memory, file and mapping calls use it.
[[nodiscard]] Errc memory_errc(int error_number);
// "cannot <action> <object>: <the system's text>"
[[nodiscard]] Error memory_error(std::string_view action, std::string_view object,
                                 int error_number);

}  // namespace godbox::driver
