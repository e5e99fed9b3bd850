// SPDX-License-Identifier: Apache-2.0
//
// A document of results as one HTML file: plots with their tables, and every row. It refers to
// nothing outside of itself, so it can be opened from a disk or sent in a mail. Thread-safety: pure
// but for the file. Errors: io_error, invalid_argument naming the path.
#pragma once

#include "results/document.h"

#include <string>

namespace godbox::app {

[[nodiscard]] std::string render_report(const ResultDocument& document);
// As write_file() does (cli/byte_files.h): a regular file changes when all of it is written.
[[nodiscard]] Result<void> write_report(const std::string& html, const std::string& path);
// Whether a file can be made there.
[[nodiscard]] Result<void> check_report_path(const std::string& path);

}  // namespace godbox::app
