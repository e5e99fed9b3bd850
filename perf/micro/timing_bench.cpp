// SPDX-License-Identifier: Apache-2.0
//
// What the paced box's timing model costs a request: one admit() with a deadline, as a door asks
// it, by how many DRAM channels the request touches; at half load, so that it waits for some.
//
//   timing_bench           a million requests of each, five times; fails above its bar
//   timing_bench --small   a thousandth as many, once: only shows that it runs
//   timing_bench --json    for a program
#include "processor_time.h"
#include <godbox/emulator/modelled_rates.h>
#include <godbox/emulator/timing.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <vector>

namespace {

using namespace godbox;
using namespace godbox::emulator;

constexpr double kBarNs = 200;
constexpr std::uint64_t kStripBytes = 4096;
constexpr double kTimeScale = 100;

int fail(const Error& error) {
  fmt::print(stderr, "timing_bench: {}\n", error.detail);
  return 1;
}

Result<BoxConfig> paced_emfasys18() {
  Result<BoxConfig> config = preset("emfasys18");
  if (!config) {
    return config;
  }
  config->mode = TimingMode::paced;
  config->time_scale = kTimeScale;
  if (const Result<void> settled = settle_rates(*config); !settled) {
    return settled.error();
  }
  return config;
}

struct Round {
  double ns_per_request = 0;
  std::uint64_t hash = 0;  // of all answers
};

Round ask(const BoxConfig& config, std::uint32_t channels, std::uint64_t requests) {
  PortFaults port_faults(config.eth_ports());
  ChannelFaults channel_faults(config.dram_channels());
  const auto timing = make_paced_timing(config, &port_faults, &channel_faults);
  // Each begins at another channel.
  std::vector<std::vector<DramChannelLoad>> loads(config.dram_channels());
  for (std::uint32_t first = 0; first < loads.size(); ++first) {
    for (std::uint32_t i = 0; i < channels; ++i) {
      const std::uint32_t channel = (first * channels + i) % config.dram_channels();
      loads[first].push_back({DramChannelId(static_cast<std::uint16_t>(channel)), kStripBytes});
    }
  }
  const double channel_ns =
      kStripBytes * 1e9 * kTimeScale / config.rates->read.cxl_link.bytes_per_second();
  const auto distance =
      Duration(static_cast<std::int64_t>(channel_ns * channels / config.dram_channels() * 2));
  TimePoint now(std::chrono::hours(1));
  Round round;
  const double begin = perf::processor_seconds();
  for (std::uint64_t i = 0; i < requests; ++i) {
    const TimedTransfer transfer{
        .op = WorkOp::read,
        .eth_port = EthPortId(static_cast<std::uint16_t>(i % config.eth_ports())),
        .total_bytes = kStripBytes * channels,
        .dram_channels = loads[i % loads.size()],
        .latest = now + std::chrono::seconds(1)};
    const TimePoint done = timing->admit(transfer, now);
    round.hash = round.hash * 31 + static_cast<std::uint64_t>((done - now).count());
    now += distance;
  }
  round.ns_per_request = (perf::processor_seconds() - begin) * 1e9 / static_cast<double>(requests);
  return round;
}

}  // namespace

int main(int count, char** words) {
  const std::vector<std::string_view> arguments(words + 1, words + count);
  const auto has = [&arguments](std::string_view word) {
    return std::find(arguments.begin(), arguments.end(), word) != arguments.end();
  };
  const bool is_small = has("--small");
  for (const std::string_view word : arguments) {
    if (word != "--small" && word != "--json") {
      fmt::print(stderr, "timing_bench: \"{}\"; usage: timing_bench [--small] [--json]\n", word);
      return 2;
    }
  }
  bool is_above = false;
  const Result<BoxConfig> config = paced_emfasys18();
  if (!config) {
    return fail(config.error());
  }
  for (const std::uint32_t channels : {1U, 4U, 16U, 18U}) {
    std::vector<double> times;
    Round last;
    for (int i = 0; i < (is_small ? 1 : 5); ++i) {
      last = ask(*config, channels, is_small ? 1000 : 1'000'000);
      times.push_back(last.ns_per_request);
    }
    std::sort(times.begin(), times.end());
    const double median = times[times.size() / 2];
    is_above |= !is_small && median > kBarNs;
    if (has("--json")) {
      fmt::print(
          "{{\"channels\": {}, \"ns_per_request_median\": {:.1f}, \"ns_per_request_min\": {:.1f}, "
          "\"ns_per_request_max\": {:.1f}, \"bar_ns\": {:.0f}, \"result_hash\": \"{:016x}\"}}\n",
          channels, median, times.front(), times.back(), kBarNs, last.hash);
    } else {
      fmt::print(
          "{:2} DRAM channels: {:.0f} ns a request (real, processor time; {:.0f} to {:.0f}; bar "
          "{:.0f} ns); hash {:016x}\n",
          channels, median, times.front(), times.back(), kBarNs, last.hash);
    }
  }
  if (is_above) {
    fmt::print(stderr, "timing_bench: above the bar of {:.0f} ns\n", kBarNs);
  }
  return is_above ? 1 : 0;
}
