// SPDX-License-Identifier: Apache-2.0
//
// What somebody who mistyped a name probably meant.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace godbox::emulator {

// The known name with the smallest edit distance, if it is near enough to be a typing mistake;
// empty otherwise.
[[nodiscard]] std::string_view nearest_name(std::string_view mistyped,
                                            std::span<const std::string_view> known);
// ", did you mean \"x\"?" or nothing.
[[nodiscard]] std::string suggestion(std::string_view mistyped,
                                     std::span<const std::string_view> known);

}  // namespace godbox::emulator
