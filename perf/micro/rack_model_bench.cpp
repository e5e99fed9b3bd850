// SPDX-License-Identifier: Apache-2.0
//
// How long the timing model takes for a rack, on one core: a million requests for blocks of 160 MiB
// from 64 hosts to 8 boxes, one of which is lost on the way. The bar is kSecondsMax of processor
// time, "minutes"; above it the program fails.
//
//   rack_model_bench           the million
//   rack_model_bench --small   ten thousand of them, without a bar: only shows that it runs
//   rack_model_bench --json    for a program
#include "processor_time.h"
#include <godbox/emulator/model/device_file.h>
#include <godbox/emulator/model/rack_run.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <vector>

namespace {

namespace model = godbox::emulator::model;
using godbox::Result;
using godbox::SizeBytes;
using godbox::perf::processor_seconds;

constexpr double kSecondsMax = 300;
constexpr std::uint64_t kRequests = 1'000'000;
constexpr std::uint64_t kRequestsSmall = 10'000;

int fail(const godbox::Error& error) {
  fmt::print(stderr, "rack_model_bench: {}\n", error.detail);
  return 1;
}

Result<model::RackRunSpec> emfasys18(std::uint64_t requests) {
  const auto text = model::device_text("emfasys");
  const auto box = text ? model::parse_device(*text, "emfasys") : text.error();
  const auto rack = text ? model::parse_rack(*text, "emfasys") : text.error();
  if (!box || !rack) {
    return box ? rack.error() : box.error();
  }
  const auto rates = model::box_rates(*box, SizeBytes(65536));
  if (!rates) {
    return rates.error();
  }
  return model::RackRunSpec{.model = *box,
                            .box = {9, 2, 4, godbox::Rate(100e9)},
                            .rates = *rates,
                            .rack = *rack,
                            .nics_per_host = 8,
                            .box_capacity = SizeBytes(std::uint64_t{18} << 40U),
                            .load = {.set = {.block = SizeBytes(std::uint64_t{160} << 20U),
                                             .hot_blocks = 1000,
                                             .hot_copies = 4},
                                     .requests = requests,
                                     .load = 0.6,
                                     .read_share = 0.7,
                                     .zipf = 0.9,
                                     .recompute_s = 0.023},
                            .loss = {.part = model::RackPart::box, .index = 5, .at_s = 0.1}};
}

}  // namespace

int main(int count, char** words) {
  const std::vector<std::string_view> arguments(words + 1, words + count);
  const auto has = [&arguments](std::string_view word) {
    return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
  };
  const bool is_small = has("--small");
  const auto spec = emfasys18(is_small ? kRequestsSmall : kRequests);
  if (!spec) {
    return fail(spec.error());
  }
  const double begin = processor_seconds();
  const auto figures = model::run_rack(*spec);
  const double taken_s = processor_seconds() - begin;
  if (!figures) {
    return fail(figures.error());
  }
  const double virtual_s = static_cast<double>(figures->end_ps) * 1e-12;
  const double pieces_per_s = static_cast<double>(figures->pieces) / taken_s;
  if (has("--json")) {
    fmt::print(
        "{{\"requests\": {}, \"pieces\": {}, \"processor_s\": {:.3f}, \"processor_s_max\": {:.0f}, "
        "\"pieces_per_s\": {:.0f}, \"modelled_s\": {:.6g}, \"modelled_read_bytes_per_s\": "
        "{:.6g}}}\n",
        figures->asked, figures->pieces, taken_s, kSecondsMax, pieces_per_s, virtual_s,
        static_cast<double>(figures->bytes_read) / virtual_s);
  } else {
    fmt::print(
        "{} requests, {:.1f} M pieces: {:.1f} s of one core (real; the bar is {:.0f} s), {:.2f} M "
        "pieces/s; modelled {:.1f} s of {:.0f} GB/s read\n",
        figures->asked, static_cast<double>(figures->pieces) / 1e6, taken_s, kSecondsMax,
        pieces_per_s / 1e6, virtual_s, static_cast<double>(figures->bytes_read) / virtual_s / 1e9);
  }
  if (!is_small && taken_s > kSecondsMax) {
    fmt::print(stderr, "rack_model_bench: {:.0f} s is above the bar of {:.0f} s\n", taken_s,
               kSecondsMax);
    return 1;
  }
  return 0;
}
