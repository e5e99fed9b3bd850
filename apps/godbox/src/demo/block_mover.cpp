// SPDX-License-Identifier: Apache-2.0
#include "demo/block_mover.h"

#include "box/shape.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::uint64_t kBlocksMax = 8;
constexpr SizeBytes kDramChannelSize{std::uint64_t{1} << 40U};

Result<MovedBlocks> outcome(const LoopResult& loop, std::uint64_t bytes, std::string_view what) {
  if (loop.failures > 0) {
    return Error(loop.first_failure, fmt::format("{} KV blocks: {} of {} failed", what,
                                                 loop.failures, loop.latencies_us.size()));
  }
  return MovedBlocks{loop.seconds, bytes};
}

template <class Load>
Result<double> median_rate(std::uint64_t rounds, Load load) {
  std::vector<double> rates;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const Result<MovedBlocks> moved = load(round);
    if (!moved) {
      return moved.error();
    }
    rates.push_back(moved->gb_per_s());
  }
  return summarise(rates).median;
}

}  // namespace

Result<emulator::BoxConfig> demo_box(std::uint32_t dram_channels, std::uint32_t eth_ports,
                                     const emulator::PacedRates& rates, double time_scale) {
  Result<emulator::BoxConfig> config = emulator::preset("emfasys18");
  if (!config) {
    return config;
  }
  config->name = "demo";
  config->dram_channel_size = kDramChannelSize;
  config->mode = emulator::TimingMode::paced;
  config->rates = rates;
  config->time_scale = time_scale;
  config->server_threads = 1;
  if (auto shaped = apply_shape({std::nullopt, dram_channels, eth_ports}, *config); !shaped) {
    return shaped.error();
  }
  return config;
}

double time_scale_for(const Stage& stage, double model_gb_per_s) {
  return std::max(1.0, std::ceil(model_gb_per_s / (stage.machine_gb_per_s * kMachineShare)));
}

std::uint64_t blocks_for(const Stage& stage, double gb_per_s, double seconds,
                         std::uint64_t blocks_min) {
  const double blocks = gb_per_s * 1e9 * seconds / static_cast<double>(stage.block.count());
  const std::uint64_t room = stage.memory.bytes().size() / stage.block.count();
  return std::clamp(static_cast<std::uint64_t>(blocks + 0.5), blocks_min,
                    std::min(kBlocksMax, room));
}

Result<std::unique_ptr<BlockMover>> BlockMover::start(Stage& stage, emulator::BoxConfig config,
                                                      std::uint64_t blocks) {
  Result<std::unique_ptr<Rig>> rig =
      Rig::start(std::move(config), {TransportKind::tcp, 1, 1, true});
  if (!rig) {
    return rig.error();
  }
  return std::unique_ptr<BlockMover>(new BlockMover(stage, std::move(*rig), blocks));
}

BlockMover::BlockMover(Stage& stage, std::unique_ptr<Rig> rig, std::uint64_t blocks)
    : stage_(stage),
      rig_(std::move(rig)),
      blocks_(stage.memory.bytes().first(blocks * stage.block.count()),
              {"llama-3.1-70b", stage.block, stage.seed, stage.layers}) {
  for (std::uint64_t i = 0; i < blocks; ++i) {
    blocks_.renew(i);
  }
}

Result<MovedBlocks> BlockMover::store(std::uint64_t first, std::uint64_t count) {
  const LoopResult loop =
      run_loop(rig_->client(), rig_->clock(), {count, kDepth},
               [this, first](std::uint64_t index, Done done) {
                 blocks_.start_put(rig_->client(), first + index, 1, std::move(done));
               });
  return outcome(loop, count * stage_.block.count(), "storing");
}

Result<MovedBlocks> BlockMover::load(std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t i = first; i < first + count; ++i) {
    blocks_.spoil_memory(i);
  }
  const LoopResult loop =
      run_loop(rig_->client(), rig_->clock(), {count, kDepth},
               [this, first](std::uint64_t index, Done done) {
                 blocks_.start_get(rig_->client(), first + index, 1, std::move(done));
               });
  Verification verification;
  for (std::uint64_t i = first; i < first + count && loop.failures == 0; ++i) {
    blocks_.verify(i, verification);
  }
  stage_.story.count(verification);
  return outcome(loop, count * stage_.block.count(), "loading");
}

Result<double> BlockMover::load_rate(std::uint64_t rounds) {
  return median_rate(rounds, [this](std::uint64_t) { return load(0, blocks_.count()); });
}

Result<double> BlockMover::load_rate_one_by_one() {
  return median_rate(blocks_.count(), [this](std::uint64_t block) { return load(block, 1); });
}

}  // namespace godbox::app
