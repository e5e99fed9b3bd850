// SPDX-License-Identifier: Apache-2.0
//
// A modelled load, a sweep of such, or a modelled rack, as one HTML file like the report of a bench
// (report.h). Pure.
#pragma once

#include "twin/load_output.h"
#include "twin/rack_output.h"
#include "twin/sweep.h"

#include <string>

namespace godbox::app {

[[nodiscard]] std::string render_report(const LoadResult& result);
[[nodiscard]] std::string render_report(const SweepResult& result);
[[nodiscard]] std::string render_report(const RackResult& result);

}  // namespace godbox::app
