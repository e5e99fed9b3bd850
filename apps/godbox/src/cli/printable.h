// SPDX-License-Identifier: Apache-2.0
//
// Somebody's bytes on a terminal. Pure. Errors: none.
#pragma once

#include <string>
#include <string_view>

namespace godbox::app {

// With \xNN for the control characters among them, which would be commands to it: C0, DEL, and C1
// in UTF-8.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace godbox::app
