// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"
#include "cli/json.h"
#include "demo/scenes.h"
#include "measure/machine.h"
#include "measure/statistics.h"
#include <godbox/perf/ceiling.h>
#include <godbox/striping/kv_geometry.h>

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::string_view kModel = "llama-3.1-70b";
constexpr std::uint32_t kTokensPerBlock = 64;
constexpr std::uint64_t kBlocksMax = 8;
constexpr std::size_t kConnections = 9;
constexpr int kPasses = 5;
constexpr SizeBytes kPassBytes{std::uint64_t{128} << 20U};

Result<double> raw_socket_rate(MutableSpan memory) {
  const Result<perf::MappedBuffer> pool = perf::MappedBuffer::memfd(kPassBytes);
  if (!pool) {
    return pool.error();
  }
  const auto sockets = perf::make_socket_ceiling({pool->bytes(), pool->descriptor(), memory},
                                                 {kConnections, 1, false});
  if (!sockets) {
    return sockets.error();
  }
  std::vector<double> rates;
  for (int pass = 0; pass < kPasses; ++pass) {
    const Result<double> rate = (*sockets)->measure(perf::Direction::read, kPassBytes);
    if (!rate) {
      return rate.error();
    }
    rates.push_back(*rate);
  }
  return summarise(rates).median;
}

}  // namespace

Result<void> measure_machine(Stage& stage) {
  const Result<double> rate = raw_socket_rate(stage.memory.bytes());
  if (!rate) {
    return rate.error();
  }
  stage.machine_gb_per_s = *rate;
  stage.story.note("raw_sockets_gb_per_s", rounded(*rate, 4));
  return {};
}

Result<void> play_measured(Stage& stage, const std::function<Result<void>()>& scene) {
  return stage.story.play([&](bool again) -> Result<void> {
    if (again) {
      // It is busier than it was, or was when it was measured.
      if (auto measured = measure_machine(stage); !measured) {
        return measured;
      }
    }
    return scene();
  });
}

Result<void> prepare(Stage& stage) {
  const Result<kv::ModelGeometry> model = kv::find_model(kModel);
  if (!model) {
    return model.error();
  }
  kv::KvCacheSpec spec;
  spec.model = *model;
  spec.block_tokens = kTokensPerBlock;
  const Result<SizeBytes> block = spec.block_bytes();
  if (!block) {
    return block.error();
  }
  stage.block = *block;
  stage.layers = model->layers;
  Result<perf::MappedBuffer> memory = perf::MappedBuffer::anonymous(stage.block * kBlocksMax);
  if (!memory) {
    return memory.error();
  }
  stage.memory = std::move(*memory);
  if (auto measured = measure_machine(stage); !measured) {
    return measured;
  }

  const Machine machine = describe_machine();
  stage.story.heading("Godbox: every transfer striped over all DRAM channels and all ports", "");
  stage.story.say(fmt::format("  Model    {}, bf16: {} tokens in {} layers are a KV block of {}",
                              kModel, kTokensPerBlock, stage.layers, format_size(stage.block)));
  stage.story.say(fmt::format("  Machine  {}, {} cores; its raw sockets carry {} right now (real)",
                              machine.cpu_model, machine.cores,
                              format_rate(stage.machine_gb_per_s)));
  stage.story.say(
      fmt::format("  The boxes below are emulated and slowed down until the largest "
                  "needs {:.0f} % of that.",
                  kMachineShare * 100));
  return {};
}

}  // namespace godbox::app
