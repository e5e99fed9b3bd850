// SPDX-License-Identifier: Apache-2.0
//
// A sweep as JSON (docs/model.md, "godbox-model-sweep-1") and as text. The same choice and trace
// give the same bytes. Thread-safety: pure, but for printing.
#pragma once

#include "twin/sweep.h"

#include <boost/json.hpp>

namespace godbox::app {

[[nodiscard]] boost::json::object to_json(const SweepResult& result);
void print_sweep(const SweepResult& result);
// "super-nics=3 port-gbit=400"
[[nodiscard]] std::string point_text(const SweepResult& result, std::size_t point);
// "llama-3.1-70b in bf16", or "varied" for what is.
[[nodiscard]] std::string model_text(const SweepResult& result);
// In the figure's unit: "1.2 s", "4.5 GB/s", "36.5 %".
[[nodiscard]] std::string figure_text(const NamedFigure& figure);

}  // namespace godbox::app
