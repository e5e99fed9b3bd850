// SPDX-License-Identifier: Apache-2.0
#include "cuda_tuning.h"

#include <charconv>
#include <cstdlib>

namespace godbox::driver {
namespace {

constexpr unsigned kTilesMax = 1U << 20U;  // more than a move can have
constexpr unsigned kBlocksMax = 1U << 16U;

struct Setting {
  const char* name = nullptr;  // in the environment
  unsigned min = 0, max = 0;
};

std::string allowed(const Setting& setting) {
  return ": allowed are " + std::to_string(setting.min) + " to " + std::to_string(setting.max);
}

Result<void> set(const Setting& setting, std::optional<unsigned> option, unsigned& value) {
  if (option) {
    if (*option < setting.min || *option > setting.max) {
      return Error(Errc::invalid_argument, "option of " + std::string(setting.name) + " is " +
                                               std::to_string(*option) + allowed(setting));
    }
    value = *option;
    return {};
  }
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets it
  const char* const found = std::getenv(setting.name);
  if (found == nullptr) {
    return {};
  }
  const std::string_view text(found);
  unsigned parsed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error != std::errc() || end != text.data() + text.size() || parsed < setting.min ||
      parsed > setting.max) {
    return Error(Errc::config_invalid,
                 std::string(setting.name) + " is '" + std::string(text) + "'" + allowed(setting));
  }
  value = parsed;
  return {};
}

}  // namespace

Result<CudaTuning> cuda_tuning(const OpenDeviceOptions& options) {
  CudaTuning tuning;
  if (auto tiles = set({.name = "GODBOX_CUDA_TILES_OVER_BUS", .min = 0, .max = kTilesMax},
                       options.cuda_tiles_over_bus_max, tuning.tiles_over_bus_max);
      !tiles) {
    return tiles.error();
  }
  if (auto blocks = set({.name = "GODBOX_CUDA_BLOCKS_OVER_BUS", .min = 1, .max = kBlocksMax},
                        options.cuda_blocks_over_bus_max, tuning.blocks_over_bus_max);
      !blocks) {
    return blocks.error();
  }
  return tuning;
}

}  // namespace godbox::driver
