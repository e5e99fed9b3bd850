// SPDX-License-Identifier: Apache-2.0
//
// A modelled rack as JSON (docs/model.md, "godbox-model-rack-1") and as text. The same choice gives
// the same bytes. Thread-safety: pure, but for printing.
#pragma once

#include "twin/load_output.h"
#include "twin/rack_choice.h"

#include <boost/json.hpp>

#include <vector>

namespace godbox::app {

// Seconds that requests took, from when their host asked.
struct RackTimes {
  std::vector<double> read;  // of what was found
  std::vector<double> put;
  std::vector<double> recomputed;   // reads of what no box had
  std::vector<double> read_before;  // that ended before the loss; without one all
  std::vector<double> read_after;   // that came after it was noticed
  std::vector<double> disturbed;    // all that had to send something again
};

struct RackResult {
  RackChoice choice;
  emulator::model::RackRunSpec spec;
  emulator::model::RackFigures figures;
  RackTimes times;

  // Above 0, also when nothing that was asked for ended.
  [[nodiscard]] double seconds() const;
  // The part of the time that the busier direction of a switch's links to the other tier is.
  [[nodiscard]] double busy_share(const emulator::model::RackSwitchLoad& one) const;
  [[nodiscard]] double notice_s() const;  // of the run
};
[[nodiscard]] RackTimes times_of(const emulator::model::RackRunSpec& spec,
                                 const emulator::model::RackFigures& figures);

// Everything that has one number.
[[nodiscard]] std::vector<NamedFigure> named_figures(const RackResult& result);
// The most loaded box, over the mean of those that were not lost.
[[nodiscard]] double imbalance(const emulator::model::RackFigures& figures);
// "box 5 at 3.2 s", "port 17 of box 5 at 3.2 s", "nothing".
[[nodiscard]] std::string loss_text(const emulator::model::RackLoss& loss);

[[nodiscard]] boost::json::object to_json(const RackResult& result);
void print_rack(const RackResult& result);

}  // namespace godbox::app
