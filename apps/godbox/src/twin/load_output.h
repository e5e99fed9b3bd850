// SPDX-License-Identifier: Apache-2.0
//
// A modelled load as JSON (docs/model.md, "godbox-model-replay-1") and as text. The same choice and
// trace give the same bytes. Thread-safety: pure, but for printing.
#pragma once

#include "twin/load_choice.h"
#include "twin/published.h"

#include <boost/json.hpp>

#include <span>
#include <string>

namespace godbox::app {

struct LoadResult {
  LoadChoice choice;
  LoadSpec spec;
  LoadFigures figures;
  std::vector<PublishedRow> published;
};

[[nodiscard]] boost::json::object to_json(const LoadResult& result);
// "in step" or "per strip".
[[nodiscard]] std::string_view fidelity(const LoadSpec& spec);
// A number, or null where there is no sample.
[[nodiscard]] boost::json::value value_json(const NamedFigure& named);
void print_load(const LoadResult& result);
// {"super_nics": 9, ...}: what the load was asked of.
[[nodiscard]] boost::json::object box_json(const LoadChoice& choice, const LoadSpec& spec);

// Of stages that were at work for so long.
[[nodiscard]] boost::json::array stages_json(std::span<const emulator::model::StageLoad> stages,
                                             double seconds);
[[nodiscard]] std::string stage_table(std::span<const emulator::model::StageLoad> stages,
                                      double seconds);
// "9 SuperNICs, 18 DRAM channels, 36 ports of 800 Gb/s"
[[nodiscard]] std::string box_text(const emulator::model::BoxShape& shape);

}  // namespace godbox::app
