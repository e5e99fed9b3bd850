// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/timing.h>

namespace godbox::emulator {
namespace {

class FreeTiming final : public TimingModel {
 public:
  [[nodiscard]] std::string_view name() const override { return "free"; }
  [[nodiscard]] TimePoint admit(const TimedTransfer& /*transfer*/, TimePoint now) override {
    return now;
  }
};

}  // namespace

std::unique_ptr<TimingModel> make_free_timing() { return std::make_unique<FreeTiming>(); }

}  // namespace godbox::emulator
