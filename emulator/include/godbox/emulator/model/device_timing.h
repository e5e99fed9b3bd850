// SPDX-License-Identifier: Apache-2.0
//
// A Type-3 device's latency under load, in two fidelities behind one interface: detailed (each rate
// is a run of type3_run.h) and fast (a curve that such runs give once, as each mix of reads and
// writes has one). Tests bound their difference. Thread-safety: immutable after construction; const
// calls may go on in several threads. Ownership: values. Units: in the names; all figures are
// modelled. Errors: config_invalid, with the value and what is allowed.
#pragma once

#include <godbox/emulator/model/type3_run.h>

#include <memory>

namespace godbox::emulator::model {

enum class Fidelity : std::uint8_t { detailed, fast };
inline constexpr std::array<std::string_view, 2> kFidelityNames = {"detailed", "fast"};
[[nodiscard]] constexpr std::string_view to_string(Fidelity fidelity) {
  return kFidelityNames[static_cast<std::size_t>(fidelity)];
}

class DeviceTiming {
 public:
  // Beyond this part of what the device delivers at most, a mean latency says more of how long one
  // looks than of the device.
  static constexpr double kLoadMax = 0.9;

  virtual ~DeviceTiming() = default;
  // What lines that wait without end would get of it.
  [[nodiscard]] Rate most() const { return most_; }
  // Mean latency of reads while lines of the mix arrive at random at this rate.
  [[nodiscard]] Result<double> read_mean_ns(Rate offered) const;

 protected:
  explicit DeviceTiming(Rate most) : most_(most) {}

 private:
  [[nodiscard]] virtual Result<double> at(Rate offered) const = 0;

  Rate most_;
};

// Which lines: `mix` as for run_type3(); its `lines`, `offered` and `window` are not used.
[[nodiscard]] Result<std::unique_ptr<const DeviceTiming>> make_device_timing(const Type3Spec& spec,
                                                                             const DramLoad& mix,
                                                                             Fidelity fidelity);

}  // namespace godbox::emulator::model
