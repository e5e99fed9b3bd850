// SPDX-License-Identifier: Apache-2.0
//
// Racks for tests, and what holds in every run of one. Thread-safety: none.
#pragma once

#include <godbox/emulator/model/device_file.h>
#include <godbox/emulator/model/rack_run.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

namespace godbox::emulator::model::rack_tests {

using namespace godbox::literals;
using Catch::Approx;

inline constexpr BoxShape kEmfasys{9, 2, 4, Rate(100e9)};
inline constexpr BoxShape kAcf{1, 18, 32, Rate(12.5e9)};  // its ports are its bound

inline std::string_view emfasys_text() {
  const auto text = device_text("emfasys");
  REQUIRE(text.has_value());
  return *text;
}

inline const BoxModel& emfasys() {
  static const BoxModel model = parse_device(emfasys_text(), "emfasys").value();
  return model;
}

inline RackRunSpec spec(const BoxShape& box, const RackLoad& load) {
  static const BoxRates rates = box_rates(emfasys(), 64_KiB).value();
  RackRunSpec spec{.model = emfasys(),
                   .box = box,
                   .rates = rates,
                   .rack = parse_rack(emfasys_text(), "emfasys").value(),
                   .nics_per_host = 8,
                   .box_capacity = 18_TiB,
                   .load = load,
                   .loss = {}};
  if (spec.load.set.block.is_zero()) {
    spec.load.set.block = 20_MiB;
  }
  return spec;
}

inline RackFigures played(const RackRunSpec& spec) {
  auto figures = run_rack(spec);
  INFO((figures ? "" : figures.error().detail));
  REQUIRE(figures.has_value());
  return std::move(*figures);
}

inline double seconds(std::uint64_t ps) { return static_cast<double>(ps) * 1e-12; }
inline double time_s(const RackCompletion& one) { return seconds(one.end_ps - one.at_ps); }

inline const StageLoad& stage(const RackFigures& figures, std::string_view name, BoxFlow flow) {
  const auto found =
      std::find_if(figures.stages.begin(), figures.stages.end(),
                   [&](const StageLoad& load) { return load.name == name && load.flow == flow; });
  REQUIRE(found != figures.stages.end());
  return *found;
}

inline std::uint64_t count(const RackFigures& figures, RackOutcome outcome) {
  return static_cast<std::uint64_t>(
      std::count_if(figures.done.begin(), figures.done.end(),
                    [outcome](const RackCompletion& one) { return one.outcome == outcome; }));
}

// Every request ends once, and every stage works for each byte once.
inline void check_conserved(const RackFigures& figures, const RackRunSpec& wanted) {
  CHECK(figures.asked == wanted.load.requests);
  CHECK(figures.done.size() + figures.given_up == figures.asked);
  const double block = static_cast<double>(wanted.load.set.block.count());
  const double read = static_cast<double>(figures.bytes_read);
  const double written = static_cast<double>(figures.bytes_written);
  const double wasted =
      block * static_cast<double>(figures.moves.requests_retried + figures.given_up);
  const double read_least = block * static_cast<double>(count(figures, RackOutcome::found));
  const double written_least =
      block * static_cast<double>(count(figures, RackOutcome::put) + figures.moves.restored);
  CHECK((read >= read_least && read <= read_least + wasted));
  CHECK((written >= written_least && written <= written_least + wasted));
  for (const StageLoad& load : figures.stages) {
    INFO(load.name << ", " << to_string(load.flow));
    CHECK(load.busy_s <= load.count * seconds(figures.end_ps) * (1 + 1e-9));
    CHECK(load.busy_s_max <= seconds(figures.end_ps));
  }
  double of_boxes = 0;
  double requests = 0;
  for (const RackBoxLoad& box : figures.boxes) {
    of_boxes += static_cast<double>(box.bytes_read + box.bytes_written);
    requests += static_cast<double>(box.requests);
  }
  CHECK(of_boxes == Approx(read + written).epsilon(1e-9));
  CHECK(requests == static_cast<double>(figures.done.size()));
  std::map<RackPart, double> through;
  for (const RackSwitchLoad& one : figures.switches) {
    through[one.part] += one.bytes_read + one.bytes_written;
    CHECK(std::max(one.bytes_read, one.bytes_written) <=
          one.limited.bytes_per_second() * seconds(figures.end_ps) * 1.001);
  }
  for (const RackPart part : {RackPart::box_leaf, RackPart::host_leaf, RackPart::spine}) {
    CHECK(through[part] == Approx(read + written).epsilon(1e-9));
  }
  double bins = 0;
  for (std::size_t i = 0; i < figures.bin_bytes_read.size(); ++i) {
    bins += static_cast<double>(figures.bin_bytes_read[i] + figures.bin_bytes_written[i]);
  }
  CHECK(bins == Approx(read + written).epsilon(1e-9));
}

}  // namespace godbox::emulator::model::rack_tests
