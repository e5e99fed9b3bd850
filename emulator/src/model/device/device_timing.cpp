// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/model/device_timing.h>

#include <fmt/format.h>

#include <algorithm>

namespace godbox::emulator::model {
namespace {

// Of runs whose figures calibrate, so that chance is some 2 % at the highest load.
constexpr std::uint64_t kLines = 100'000;
// Lines of a host that never waits for work; more than the queues of any device hold.
constexpr std::uint32_t kEndlessWindow = 1024;

Result<double> detailed_ns(const Type3Spec& spec, DramLoad mix, Rate offered) {
  mix.lines = kLines;
  mix.offered = offered;
  mix.window = 0;
  const Result<Type3Figures> figures = run_type3(spec, mix);
  if (!figures) {
    return figures.error();
  }
  return figures->read_mean_ns;
}

class DetailedTiming final : public DeviceTiming {
 public:
  DetailedTiming(Rate most, const Type3Spec& spec, const DramLoad& mix)
      : DeviceTiming(most), spec_(spec), mix_(mix) {}

 private:
  [[nodiscard]] Result<double> at(Rate offered) const override {
    return detailed_ns(spec_, mix_, offered);
  }

  Type3Spec spec_;
  DramLoad mix_;
};

// Straight lines between the detailed model's latencies at these loads: where writes are drained in
// batches, a queue's formula bends in the wrong place.
class FastTiming final : public DeviceTiming {
 public:
  static constexpr std::array<double, 8> kLoads{0.02, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, kLoadMax};
  using Curve = std::array<double, kLoads.size()>;

  FastTiming(Rate most, const Curve& read_mean_ns) : DeviceTiming(most), curve_(read_mean_ns) {}

 private:
  [[nodiscard]] Result<double> at(Rate offered) const override {
    const double load = offered.bytes_per_second() / most().bytes_per_second();
    std::size_t i = 0;
    while (i + 2 < kLoads.size() && load > kLoads[i + 1]) {
      ++i;
    }
    // Below the first load as at it.
    const double part = std::max((load - kLoads[i]) / (kLoads[i + 1] - kLoads[i]), 0.0);
    return curve_[i] + part * (curve_[i + 1] - curve_[i]);
  }

  Curve curve_;
};

Result<FastTiming::Curve> calibrate(const Type3Spec& spec, const DramLoad& mix, Rate most) {
  FastTiming::Curve curve{};
  for (std::size_t i = 0; i < curve.size(); ++i) {
    const Result<double> one =
        detailed_ns(spec, mix, Rate(FastTiming::kLoads[i] * most.bytes_per_second()));
    if (!one) {
      return one.error();
    }
    curve[i] = *one;
  }
  return curve;
}

}  // namespace

Result<double> DeviceTiming::read_mean_ns(Rate offered) const {
  const double high = kLoadMax * most_.bytes_per_second();
  if (!(offered > Rate()) || offered.bytes_per_second() > high) {
    return Error(
        Errc::config_invalid,
        fmt::format("offered = {:.3f} GB/s: allowed is above 0, at most {:.3f}, {:.0f} % of "
                    "what the device delivers",
                    offered.bytes_per_second() / 1e9, high / 1e9, kLoadMax * 100));
  }
  return at(offered);
}

Result<std::unique_ptr<const DeviceTiming>> make_device_timing(const Type3Spec& spec,
                                                               const DramLoad& mix,
                                                               Fidelity fidelity) {
  if (!(mix.read_share > 0)) {
    return Error(Errc::config_invalid, fmt::format("load.read_share = {}: a latency of reads needs "
                                                   "some; allowed is above 0, at most 1",
                                                   mix.read_share));
  }
  DramLoad endless = mix;
  endless.lines = kLines;
  endless.offered = Rate();
  endless.window = kEndlessWindow;
  const Result<Type3Figures> full = run_type3(spec, endless);
  if (!full) {
    return full.error();
  }
  if (fidelity == Fidelity::detailed) {
    return std::unique_ptr<const DeviceTiming>(
        std::make_unique<DetailedTiming>(full->delivered, spec, mix));
  }
  const Result<FastTiming::Curve> curve = calibrate(spec, mix, full->delivered);
  if (!curve) {
    return curve.error();
  }
  return std::unique_ptr<const DeviceTiming>(std::make_unique<FastTiming>(full->delivered, *curve));
}

}  // namespace godbox::emulator::model
