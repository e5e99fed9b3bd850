// SPDX-License-Identifier: Apache-2.0
#include "box/model_rate.h"
#include "cli/format.h"
#include "cli/json.h"
#include "demo/block_mover.h"
#include "demo/scenes.h"
#include <godbox/emulator/modelled_rates.h>

#include <fmt/format.h>

#include <array>
#include <memory>
#include <utility>

namespace godbox::app {
namespace {

constexpr std::array<std::uint32_t, 3> kChannelCounts{1, 9, 18};
constexpr std::uint32_t kEthPorts = 9;
constexpr double kSecondsOnOneChannel = 2.5;
constexpr std::uint64_t kBlocksMin = 1;  // on a slow machine one takes long enough

struct Bar {
  std::uint32_t channels = 0;
  double store_gb_per_s = 0;
  double load_gb_per_s = 0;
};

Result<Bar> measure(Stage& stage, std::uint32_t channels, const emulator::PacedRates& rates,
                    double time_scale, std::uint64_t blocks) {
  Result<emulator::BoxConfig> config = demo_box(channels, kEthPorts, rates, time_scale);
  if (!config) {
    return config.error();
  }
  const auto mover = BlockMover::start(stage, std::move(*config), blocks);
  if (!mover) {
    return mover.error();
  }
  const Result<MovedBlocks> stored = (*mover)->store(0, blocks);
  if (!stored) {
    return stored.error();
  }
  const Result<double> loaded =
      channels == 1 ? (*mover)->load_rate_one_by_one() : (*mover)->load_rate(rounds_for(channels));
  if (!loaded) {
    return loaded.error();
  }
  return Bar{channels, stored->gb_per_s(), *loaded};
}

void add_findings(Stage& stage, const Bar& one, const Bar& bar, double time_scale) {
  const double ratio = bar.load_gb_per_s / one.load_gb_per_s;
  const Bounds bounds = Bounds::around(bar.channels);
  stage.story.add({fmt::format("loading over {} channels against 1", bar.channels),
                   fmt::format("{:.2f}x", ratio),
                   fmt::format("{:.1f}x to {:.1f}x", bounds.min, bounds.max),
                   true,
                   bounds.hold(ratio),
                   {{"channels", bar.channels},
                    {"ratio", rounded(ratio, 4)},
                    {"gb_per_s", rounded(bar.load_gb_per_s, 4)},
                    {"store_gb_per_s", rounded(bar.store_gb_per_s, 4)},
                    {"time_scale", time_scale},
                    {"unscaled_gb_per_s", rounded(bar.load_gb_per_s * time_scale, 4)}}});
}

}  // namespace

Result<void> show_channels(Stage& stage) {
  const Result<emulator::BoxConfig> preset = emulator::preset("emfasys18");
  if (!preset) {
    return preset.error();
  }
  Result<emulator::PacedRates> rates = emulator::modelled_rates(*preset);
  if (!rates) {
    return rates.error();
  }
  rates->read.eth_port = rates->write.eth_port = Rate();  // the channels are what is shown
  const double one_channel = dram_channel_gb_per_s(rates->read);
  const double time_scale = time_scale_for(stage, one_channel * kChannelCounts.back());
  const std::uint64_t blocks =
      blocks_for(stage, one_channel / time_scale, kSecondsOnOneChannel, kBlocksMin);
  stage.story.heading(
      "1. The more channels, the wider the stripe",
      fmt::format("   The same {} KV block{} in boxes of 1, 9 and 18 DRAM channels of {}, "
                  "emulated at 1/{:.0f} speed.",
                  blocks, blocks == 1 ? "" : "s", format_rate(one_channel), time_scale));
  std::array<Bar, kChannelCounts.size()> bars;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const Result<Bar> bar = measure(stage, kChannelCounts[i], *rates, time_scale, blocks);
    if (!bar) {
      return bar.error();
    }
    bars[i] = *bar;
    const double full = bars[0].load_gb_per_s * kChannelCounts.back();
    stage.story.bar(
        fmt::format("{} channel{}", bar->channels, bar->channels == 1 ? "" : "s"),
        bar->load_gb_per_s, full,
        fmt::format("{:>10} here, {:>9} in the box, {:.2f}x", format_rate(bar->load_gb_per_s),
                    format_rate(bar->load_gb_per_s * time_scale),
                    bar->load_gb_per_s / bars[0].load_gb_per_s));
    if (i > 0) {
      add_findings(stage, bars[0], *bar, time_scale);
    }
  }
  return {};
}

}  // namespace godbox::app
