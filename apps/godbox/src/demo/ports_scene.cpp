// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"
#include "cli/json.h"
#include "demo/block_mover.h"
#include "demo/port_loss.h"
#include "demo/prefix_reuse.h"
#include "demo/scenes.h"
#include <godbox/emulator/modelled_rates.h>

#include <fmt/format.h>

#include <memory>
#include <utility>

namespace godbox::app {
namespace {

constexpr std::uint32_t kDramChannels = 18;
constexpr std::uint32_t kEthPorts = 9;
constexpr Rate kEthPortWire{12.5e9};  // 100 GbE
constexpr double kSecondsOnOnePort = 2;
constexpr std::uint64_t kBlocksMin = 4;  // scene 4 cuts them in two
// The slow box gets fewer of them, because it takes most of the scene's time.
constexpr std::uint64_t kSlowBoxDivisor = 2;

struct PortsRun {
  std::unique_ptr<BlockMover> mover;
  double gb_per_s = 0;
};

Result<PortsRun> measure(Stage& stage, std::uint32_t eth_ports, const emulator::PacedRates& rates,
                         double time_scale, std::uint64_t blocks) {
  Result<emulator::BoxConfig> config = demo_box(kDramChannels, eth_ports, rates, time_scale);
  if (!config) {
    return config.error();
  }
  auto mover = BlockMover::start(stage, std::move(*config), blocks);
  if (!mover) {
    return mover.error();
  }
  if (const auto stored = (*mover)->store(0, blocks); !stored) {
    return stored.error();
  }
  const Result<double> loaded = eth_ports == 1 ? (*mover)->load_rate_one_by_one()
                                               : (*mover)->load_rate(rounds_for(eth_ports));
  if (!loaded) {
    return loaded.error();
  }
  return PortsRun{std::move(*mover), *loaded};
}

void show_bar(Stage& stage, std::uint32_t eth_ports, double gb_per_s, double one,
              double time_scale) {
  stage.story.bar(fmt::format("{} port{}", eth_ports, eth_ports == 1 ? "" : "s"), gb_per_s,
                  one * kEthPorts,
                  fmt::format("{:>10} here, {:>9} in the box, {:.2f}x", format_rate(gb_per_s),
                              format_rate(gb_per_s * time_scale), gb_per_s / one));
}

// Scene 2; leaves the box with nine ports in `mover`.
Result<void> compare_ports(Stage& stage, std::unique_ptr<BlockMover>& mover) {
  Result<emulator::BoxConfig> preset = emulator::preset("emfasys18");
  if (!preset) {
    return preset.error();
  }
  preset->eth_port_rate = kEthPortWire;
  const Result<emulator::PacedRates> rates = emulator::modelled_rates(*preset);
  if (!rates) {
    return rates.error();
  }
  const double one_port = rates->read.eth_port.bytes_per_second() / 1e9;
  const double time_scale = time_scale_for(stage, one_port * kEthPorts);
  const std::uint64_t blocks =
      blocks_for(stage, one_port / time_scale, kSecondsOnOnePort, kBlocksMin);
  stage.story.heading(
      "2. The more ports, the wider the wire",
      fmt::format("   18 channels behind 1 and 9 Ethernet ports of 100 Gbit/s: now the ports are "
                  "the limit (1/{:.0f} speed).",
                  time_scale));
  const Result<PortsRun> one = measure(stage, 1, *rates, time_scale, blocks / kSlowBoxDivisor);
  if (!one) {
    return one.error();
  }
  show_bar(stage, 1, one->gb_per_s, one->gb_per_s, time_scale);
  Result<PortsRun> nine = measure(stage, kEthPorts, *rates, time_scale, blocks);
  if (!nine) {
    return nine.error();
  }
  show_bar(stage, kEthPorts, nine->gb_per_s, one->gb_per_s, time_scale);
  const double ratio = nine->gb_per_s / one->gb_per_s;
  const Bounds bounds = Bounds::around(kEthPorts);
  stage.story.add({"loading through 9 ports against 1",
                   fmt::format("{:.2f}x", ratio),
                   fmt::format("{:.1f}x to {:.1f}x", bounds.min, bounds.max),
                   true,
                   bounds.hold(ratio),
                   {{"ratio", rounded(ratio, 4)},
                    {"gb_per_s", rounded(nine->gb_per_s, 4)},
                    {"time_scale", time_scale}}});
  mover = std::move(nine->mover);
  return {};
}

}  // namespace

Result<void> show_ports(Stage& stage) {
  std::unique_ptr<BlockMover> mover;
  Result<void> compared = play_measured(stage, [&] { return compare_ports(stage, mover); });
  if (!compared) {
    return compared;
  }
  if (auto shown = stage.story.play([&](bool) { return show_port_loss(stage, *mover); }); !shown) {
    return shown;
  }
  return stage.story.play([&](bool) { return show_prefix_reuse(stage, *mover); });
}

}  // namespace godbox::app
