// SPDX-License-Identifier: Apache-2.0
//
// What the timing model says of a load, a sweep of loads, a rack, or single transfers, as one HTML
// file like the report of a bench (report.h). Pure.
#pragma once

#include "twin/load_output.h"
#include "twin/rack_output.h"
#include "twin/sweep.h"
#include "twin/transfer.h"

#include <string>

namespace godbox::app {

[[nodiscard]] std::string render_report(const LoadResult& result);
[[nodiscard]] std::string render_report(const SweepResult& result);
[[nodiscard]] std::string render_report(const RackResult& result);
// Of a table: rates by DRAM channels and ports. Of one transfer: where its time goes.
[[nodiscard]] std::string render_report(const TransferResult& result);

}  // namespace godbox::app
