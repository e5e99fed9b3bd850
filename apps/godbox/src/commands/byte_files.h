// SPDX-License-Identifier: Apache-2.0
//
// Whole files as bytes; "-" is standard input or output. Errors: io_error, not_found, naming the
// file.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <string>
#include <vector>

namespace godbox::app {

[[nodiscard]] Result<std::vector<std::byte>> read_file(const std::string& path);
// Through a temporary file beside it, so that no half-written file stands under the name.
[[nodiscard]] Result<void> write_file(const std::string& path, ConstSpan bytes);

}  // namespace godbox::app
