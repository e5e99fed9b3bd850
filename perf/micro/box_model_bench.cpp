// SPDX-License-Identifier: Apache-2.0
//
// How many strips a second of processor time the timing model's box takes, on one core: reads and
// writes of KV blocks by hosts that ask one after the other.
//
//   box_model_bench           half a second of each, five times
//   box_model_bench --small   a tenth as much, once: only shows that it runs
//   box_model_bench --json    for a program
// Exit status 1 below the bar, but for --small.
#include "processor_time.h"
#include <godbox/emulator/model/box_run.h>
#include <godbox/emulator/model/device_file.h>

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

constexpr std::uint32_t kHosts = 8;
constexpr double kStripsPerSecondMin = 5e6;

int fail(const godbox::Error& error) {
  fmt::print(stderr, "box_model_bench: {}\n", error.detail);
  return 1;
}

Result<model::BoxRunSpec> emfasys18() {
  const auto text = model::device_text("emfasys");
  const auto box = text ? model::parse_device(*text, "emfasys") : text.error();
  if (!box) {
    return box.error();
  }
  const auto rates = model::box_rates(*box, SizeBytes(65536));
  if (!rates) {
    return rates.error();
  }
  return model::BoxRunSpec{.model = *box,
                           .shape = {9, 2, 4, godbox::Rate(100e9)},
                           .hosts = kHosts,
                           .nics_per_host = 8,
                           .rates = *rates};
}

struct Round {
  std::uint64_t strips = 0;
  std::uint64_t end_ps = 0;
  double seconds = 0;
};

Result<Round> play(const model::BoxRunSpec& spec, bool is_write, std::uint64_t blocks) {
  const double begin = processor_seconds();
  auto run = model::BoxRun::make(spec);
  if (!run) {
    return run.error();
  }
  std::uint64_t asked = 0;
  const auto ask = [&](std::uint32_t host, std::uint64_t at_ps) {
    return run->submit({.id = host,
                        .at_ps = at_ps,
                        .size = SizeBytes(std::uint64_t{160} << 20U),
                        .is_write = is_write,
                        .host = host,
                        .first_channel = static_cast<std::uint32_t>(asked++)});
  };
  for (std::uint32_t host = 0; host < kHosts; ++host) {
    if (const auto taken = ask(host, 0); !taken) {
      return taken.error();
    }
  }
  while (const auto done = run->next(model::BoxRun::kSecondsMax * 1'000'000'000'000)) {
    if (asked < blocks) {
      const auto taken = ask(static_cast<std::uint32_t>(done->id), done->end_ps);
      if (!taken) {
        return taken.error();
      }
    }
  }
  const model::BoxLoadFigures figures = run->figures();
  return Round{figures.strips, figures.end_ps, processor_seconds() - begin};
}

// Whether it is as fast as it has to be.
Result<bool> measure(const model::BoxRunSpec& spec, bool is_write, bool is_small, bool is_json) {
  std::vector<double> speeds;
  Round last;
  for (int i = 0; i < (is_small ? 1 : 5); ++i) {
    const auto played = play(spec, is_write, is_small ? 100 : 1000);
    if (!played) {
      return played.error();
    }
    last = *played;
    speeds.push_back(static_cast<double>(last.strips) / last.seconds);
  }
  std::sort(speeds.begin(), speeds.end());
  const double median = speeds[speeds.size() / 2];
  const double bytes_per_s =
      static_cast<double>(last.strips) * 65536e12 / static_cast<double>(last.end_ps);
  const std::string_view flow = is_write ? "write" : "read";
  if (is_json) {
    fmt::print(
        "{{\"flow\": \"{}\", \"strips_per_s_median\": {:.0f}, \"strips_per_s_min\": {:.0f}, "
        "\"strips_per_s_max\": {:.0f}, \"strips_per_s_bar\": {:.0f}, \"modelled_bytes_per_s\": "
        "{:.6g}}}\n",
        flow, median, speeds.front(), speeds.back(), kStripsPerSecondMin, bytes_per_s);
  } else {
    fmt::print(
        "{}: {:.2f} M strips/s of one core (real; {:.2f} to {:.2f}; bar {:.0f}); modelled {:.1f} "
        "GB/s\n",
        flow, median / 1e6, speeds.front() / 1e6, speeds.back() / 1e6, kStripsPerSecondMin / 1e6,
        bytes_per_s / 1e9);
  }
  return is_small || median >= kStripsPerSecondMin;
}

}  // namespace

int main(int count, char** words) {
  const std::vector<std::string_view> arguments(words + 1, words + count);
  const auto has = [&arguments](std::string_view word) {
    return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
  };
  const Result<model::BoxRunSpec> spec = emfasys18();
  if (!spec) {
    return fail(spec.error());
  }
  bool is_fast = true;
  for (const bool is_write : {false, true}) {
    const Result<bool> measured = measure(*spec, is_write, has("--small"), has("--json"));
    if (!measured) {
      return fail(measured.error());
    }
    is_fast = *measured && is_fast;
  }
  if (!is_fast) {
    fmt::print(stderr, "box_model_bench: below the bar of {:.0f} M strips a second\n",
               kStripsPerSecondMin / 1e6);
  }
  return is_fast ? 0 : 1;
}
