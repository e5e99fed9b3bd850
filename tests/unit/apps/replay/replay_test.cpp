// SPDX-License-Identifier: Apache-2.0
#include "list_lru.h"
#include "replay/pool_shape.h"
#include "replay/replayer.h"

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <numeric>
#include <random>

namespace godbox::app {
namespace {

constexpr std::uint32_t kDramChannels = 18;

Result<std::unique_ptr<Rig>> rig_of(const PoolShape& shape) {
  emulator::BoxConfig config = *emulator::preset("laptop");
  config.name = "replay-test";
  config.dram_channel_size = shape.dram_channel_size;
  config.eviction = emulator::EvictionPolicy::lru;
  config.high_watermark = config.low_watermark = 1;
  return Rig::start(std::move(config), {.transport = TransportKind::tcp});
}

// Prompts that share beginnings, of a pool of some hundred blocks.
Trace make_trace(std::uint64_t seed, std::size_t requests) {
  std::mt19937_64 random(seed);
  std::uint64_t next = 1000;
  std::vector<std::vector<std::uint64_t>> prompts(20);
  Trace trace;
  for (std::size_t i = 0; i < requests; ++i) {
    std::vector<std::uint64_t>& prompt = prompts[random() % prompts.size()];
    if (random() % 4 == 0) {
      prompt.resize(prompt.size() / 2);
    }
    for (std::uint64_t more = random() % 8; more > 0; --more) {
      prompt.push_back(next++);
    }
    trace.push_back({.at = std::chrono::milliseconds(i), .blocks = prompt});
  }
  return trace;
}

}  // namespace

TEST_CASE("a pool can be made for exactly so many blocks", "[unit]") {
  for (const std::uint64_t blocks :
       {1U, 7U, 64U, 300U, 1000U, 4096U, 5000U, 10000U, 30000U, 50000U, 182790U}) {
    const auto shape = shape_for_blocks(blocks, kDramChannels);
    REQUIRE(shape.has_value());
    CHECK(shape->blocks == blocks);
    CHECK(shape->dram_channel_size.count() * kDramChannels / shape->block.count() == blocks);
    CHECK(shape->dram_channel_size.count() % (256U << 20U) == 0);
    CHECK(shape->block.count() % (std::uint64_t{kDramChannels} * (64U << 10U)) == 0);
  }
  for (const std::uint64_t blocks : {181676U, 182631U, 1'000'003U, 1U << 24U}) {
    const auto shape = shape_for_blocks(blocks, kDramChannels);
    REQUIRE(shape.has_value());
    CHECK(shape->blocks >= blocks);
    CHECK(static_cast<double>(shape->blocks) < static_cast<double>(blocks) * 1.07);
    CHECK(shape->dram_channel_size.count() * kDramChannels / shape->block.count() == shape->blocks);
  }
  CHECK_FALSE(shape_for_blocks(0, kDramChannels).has_value());
  CHECK_FALSE(shape_for_blocks(std::uint64_t{1} << 40U, kDramChannels).has_value());
}

TEST_CASE("the pool evicts as a list of blocks would", "[unit]") {
  constexpr std::uint64_t kBlocks = 100;
  const auto shape = shape_for_blocks(kBlocks, kDramChannels);
  REQUIRE(shape.has_value());
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    INFO("seed " << seed);
    const Trace trace = make_trace(seed, 400);
    const auto rig = rig_of(*shape);
    REQUIRE(rig.has_value());
    Progress progress("test", 400);
    const auto result =
        replay_trace(**rig, trace, {.block = shape->block, .index_only = true}, progress);
    REQUIRE(result.has_value());
    ListLru lru(kBlocks);
    std::uint64_t hits = 0;
    for (const TraceRequest& request : trace) {
      hits += lru.play(request.blocks);
    }
    CHECK(result->prefix_hits == hits);
    CHECK(result->evictions > 100);
    CHECK(result->requests == 400);
  }
}

TEST_CASE("whole blocks are read back as they were put", "[unit]") {
  emulator::BoxConfig config = *emulator::preset("laptop");
  config.name = "replay-test";
  config.eviction = emulator::EvictionPolicy::lru;
  config.backing_limit = SizeBytes(std::uint64_t{128} << 20U);
  const auto rig = Rig::start(std::move(config), {.transport = TransportKind::tcp});
  REQUIRE(rig.has_value());
  const Trace trace = make_trace(4, 60);
  const SizeBytes block(std::uint64_t{2} << 20U);
  Progress progress("test", 60);
  const TimePoint begin = (*rig)->clock().now();
  const auto result = replay_trace(**rig, trace, {.block = block, .seed = 7}, progress);
  const double took_s = std::chrono::duration<double>((*rig)->clock().now() - begin).count();
  REQUIRE(result.has_value());
  CHECK(result->wrong_bytes == 0);
  CHECK(result->prefix_hits > 0);
  CHECK(result->bytes_read == (result->prefix_hits - result->lost_hits) * block.count());
  CHECK(result->bytes_written == result->puts * block.count());
  CHECK(result->block_imbalance_max.value() >= 1);
  CHECK(result->block_imbalance_max.value() <= 1.05);
  CHECK(result->channel_imbalance.value() <= 1.05);
  CHECK(std::accumulate(result->channel_bytes.begin(), result->channel_bytes.end(),
                        std::uint64_t{0}) == result->bytes_read + result->bytes_written);
  // Making the bytes and comparing them is in none of the figures.
  CHECK(result->checking_seconds > 0);
  CHECK(result->seconds + result->checking_seconds <= took_s);
  CHECK(result->moving_seconds <= result->seconds);
  const double requests_ms =
      std::accumulate(result->request_ms.begin(), result->request_ms.end(), 0.0);
  CHECK(requests_ms * 1e-3 <= result->seconds * 1.001);
}

TEST_CASE("what moved no byte has no balance", "[unit]") {
  emulator::BoxConfig config = *emulator::preset("laptop");
  config.name = "replay-test";
  config.backing_limit = SizeBytes(std::uint64_t{32} << 20U);
  const auto rig = Rig::start(std::move(config), {.transport = TransportKind::tcp});
  REQUIRE(rig.has_value());
  Progress progress("test", 1);
  const auto result = replay_trace(**rig, {{.blocks = {1, 2}}},
                                   {.block = SizeBytes(std::uint64_t{48} << 20U)}, progress);
  REQUIRE(result.has_value());
  CHECK(result->refused_puts == 2);
  CHECK_FALSE(result->channel_imbalance.has_value());
  CHECK_FALSE(result->block_imbalance_max.has_value());
}

}  // namespace godbox::app
