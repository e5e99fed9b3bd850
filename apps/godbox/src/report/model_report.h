// SPDX-License-Identifier: Apache-2.0
//
// A modelled load, or a sweep of such, as one HTML file like the report of a bench (report.h).
// Pure.
#pragma once

#include "twin/load_output.h"
#include "twin/sweep.h"

#include <string>

namespace godbox::app {

[[nodiscard]] std::string render_report(const LoadResult& result);
[[nodiscard]] std::string render_report(const SweepResult& result);

}  // namespace godbox::app
