// SPDX-License-Identifier: Apache-2.0
//
// Text for XML, SVG and HTML pages that Godbox writes.
// Thread-safety: pure functions. Errors: none. Source: XML 1.0 (fifth edition), 2.2 and 2.4.
#pragma once

#include <string>
#include <string_view>

namespace godbox {

// For an element's text or a quoted attribute: markup is named, and control characters, which XML
// has no place for, become spaces.
[[nodiscard]] std::string escaped_markup(std::string_view text);

}  // namespace godbox
