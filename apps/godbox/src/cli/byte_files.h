// SPDX-License-Identifier: Apache-2.0
//
// Whole files as bytes; "-" is standard input or output. Errors: io_error, too_large, naming the
// file.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <string>
#include <vector>

namespace godbox::app {

// Of configurations and what else people write.
inline constexpr SizeBytes kTextFileBytesMax{std::uint64_t{16} << 20U};

// At most `limit`: of what has more, no more is read.
[[nodiscard]] Result<std::vector<std::byte>> read_file(const std::string& path, SizeBytes limit);
[[nodiscard]] Result<std::string> read_text_file(const std::string& path);
// A regular file is replaced by a temporary one beside it when all is written, and keeps its mode:
// on an error (a full disk) the old one is as it was. Anything else (a device, a pipe, a link) is
// written in place.
[[nodiscard]] Result<void> write_file(const std::string& path, ConstSpan bytes);

}  // namespace godbox::app
