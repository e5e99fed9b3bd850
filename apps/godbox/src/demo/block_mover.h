// SPDX-License-Identifier: Apache-2.0
//
// One box of the demo with its KV blocks: stores them, loads them back, checks them.
// Thread-safety: one thread. Units: seconds, GB/s of payload.
#pragma once

#include "box/rig.h"
#include "demo/scenes.h"
#include "measure/block_set.h"

#include <memory>
#include <string>

namespace godbox::app {

struct MovedBlocks {
  double seconds = 0;
  std::uint64_t bytes = 0;
  [[nodiscard]] double gb_per_s() const { return static_cast<double>(bytes) / seconds / 1e9; }
};

class BlockMover {
 public:
  // In flight: enough to keep every channel busy while the next block is asked for.
  static constexpr std::uint32_t kDepth = 4;

  [[nodiscard]] static Result<std::unique_ptr<BlockMover>> start(Stage& stage,
                                                                 emulator::BoxConfig config,
                                                                 std::uint64_t blocks);

  [[nodiscard]] Rig& rig() { return *rig_; }
  [[nodiscard]] BlockSet& blocks() { return blocks_; }
  // The blocks [first, first + count).
  [[nodiscard]] Result<MovedBlocks> store(std::uint64_t first, std::uint64_t count);
  // Every byte is compared afterwards, outside the time.
  [[nodiscard]] Result<MovedBlocks> load(std::uint64_t first, std::uint64_t count);
  // The median of the rates of single rounds, in GB/s: what a neighbour does to the machine
  // meanwhile spoils some rounds, not the figure. A round loads every block; one by one, each block
  // is a round, for a box so slow that one takes long enough.
  [[nodiscard]] Result<double> load_rate(std::uint64_t rounds);
  [[nodiscard]] Result<double> load_rate_one_by_one();

 private:
  BlockMover(Stage& stage, std::unique_ptr<Rig> rig, std::uint64_t blocks);

  Stage& stage_;
  std::unique_ptr<Rig> rig_;
  BlockSet blocks_;
};

// The box of the story with these totals, paced and scaled.
[[nodiscard]] Result<emulator::BoxConfig> demo_box(std::uint32_t dram_channels,
                                                   std::uint32_t eth_ports,
                                                   const emulator::PacedRates& rates,
                                                   double time_scale);
// The scale at which a box that could do `model_gb_per_s` needs kMachineShare of this machine.
[[nodiscard]] double time_scale_for(const Stage& stage, double model_gb_per_s);
// How often a box that is `times` as fast as the slowest loads the blocks, so that it takes about
// half as long: enough rounds for a median.
[[nodiscard]] constexpr std::uint64_t rounds_for(std::uint32_t times) { return (times + 1) / 2; }
// How many blocks move in about `seconds` at that rate; blocks_min to 8, so that the demo fits its
// time.
[[nodiscard]] std::uint64_t blocks_for(const Stage& stage, double gb_per_s, double seconds,
                                       std::uint64_t blocks_min);

}  // namespace godbox::app
