// SPDX-License-Identifier: Apache-2.0
#include "bench/paced_model.h"

#include <godbox/assert.h>

#include <algorithm>
#include <utility>

namespace godbox::app {
namespace {

namespace model = emulator::model;

constexpr std::uint32_t kHosts = 16;
constexpr std::uint64_t kEndPs = model::BoxRun::kSecondsMax * 1'000'000'000'000;

model::BoxRequest request_of(const ModelledRequest& request, std::uint64_t index,
                             std::uint64_t at_ps) {
  return {.id = index,
          .at_ps = at_ps,
          .size = request.size,
          .is_write = request.is_write,
          .host = static_cast<std::uint32_t>(index % kHosts),
          .first_channel = request.first_channel};
}

}  // namespace

Result<PacedModel> PacedModel::make(const emulator::BoxConfig& config) {
  Result<model::BoxModel> device = emulator::device_of(config);
  if (!device) {
    return device.error();
  }
  const Result<model::BoxRates> rates = model::box_rates(*device, emulator::kTimedStrip);
  if (!rates) {
    return rates.error();
  }
  return PacedModel({.model = std::move(*device),
                     .shape = emulator::shape_of(config),
                     .hosts = kHosts,
                     .nics_per_host = model::kNicsPerHostMax,
                     .rates = *rates});
}

Result<double> PacedModel::gb_per_s(std::span<const ModelledRequest> requests, std::uint32_t depth,
                                    std::vector<model::SlowChannel> slow) const {
  model::BoxRunSpec spec = spec_;
  spec.slow_channels = std::move(slow);
  Result<model::BoxRun> run = model::BoxRun::make(spec);
  if (!run) {
    return run.error();
  }
  std::uint64_t begun = 0;
  const auto begin_next = [&](std::uint64_t at_ps) {
    Result<void> submitted = run->submit(request_of(requests[begun], begun, at_ps));
    begun += 1;
    return submitted;
  };
  while (begun < std::min<std::size_t>(depth, requests.size())) {
    if (auto submitted = begin_next(0); !submitted) {
      return submitted.error();
    }
  }
  while (const auto done = run->next(kEndPs)) {
    if (begun < requests.size()) {
      if (auto submitted = begin_next(done->end_ps); !submitted) {
        return submitted.error();
      }
    }
  }
  const model::BoxLoadFigures figures = run->figures();
  return static_cast<double>(figures.bytes_read + figures.bytes_written) * 1e3 /
         static_cast<double>(figures.end_ps);
}

Result<std::vector<double>> PacedModel::times_ns(std::span<const ModelledRequest> requests,
                                                 std::span<const double> at_ns) const {
  GODBOX_ASSERT(requests.size() == at_ns.size());
  Result<model::BoxRun> run = model::BoxRun::make(spec_);
  if (!run) {
    return run.error();
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto at_ps = static_cast<std::uint64_t>(at_ns[i] * 1e3);
    if (auto submitted = run->submit(request_of(requests[i], i, at_ps)); !submitted) {
      return submitted.error();
    }
  }
  std::vector<double> times;
  while (const auto done = run->next(kEndPs)) {
    times.push_back(static_cast<double>(done->end_ps - done->at_ps) / 1e3);
  }
  return times;
}

}  // namespace godbox::app
