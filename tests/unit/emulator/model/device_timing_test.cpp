// SPDX-License-Identifier: Apache-2.0
//
// The fast fidelity against the detailed one, and what both refuse.
#include <godbox/emulator/model/device_file.h>
#include <godbox/emulator/model/device_timing.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <cmath>
#include <string>

namespace godbox::emulator::model {
namespace {

using namespace godbox::literals;

Type3Spec known(std::string_view name) {
  const auto model = parse_device(device_text(name).value(), name);
  REQUIRE(model.has_value());
  return model->device;
}
std::unique_ptr<const DeviceTiming> timing(const Type3Spec& spec, const DramLoad& mix,
                                           Fidelity fidelity) {
  auto made = make_device_timing(spec, mix, fidelity);
  REQUIRE(made.has_value());
  return std::move(*made);
}

// At loads between those that calibrate.
TEST_CASE("fast and detailed latencies differ by 6 % at most", "[unit][model][fidelity]") {
  double worst = 0;
  for (const std::string_view name : {"vistara", "emfasys"}) {
    const Type3Spec spec = known(name);
    for (const double read_share : {1.0, 0.67}) {
      const DramLoad mix{.read_share = read_share, .run = 256_B, .seed = 3};
      const auto fast = timing(spec, mix, Fidelity::fast);
      const auto detailed = timing(spec, mix, Fidelity::detailed);
      CHECK(fast->most() == detailed->most());
      double before = 0;
      for (const double load : {0.01, 0.3, 0.65, 0.85}) {
        const Rate offered(load * fast->most().bytes_per_second());
        const auto fast_ns = fast->read_mean_ns(offered);
        const auto detailed_ns = detailed->read_mean_ns(offered);
        REQUIRE((fast_ns.has_value() && detailed_ns.has_value()));
        const double error = *fast_ns / *detailed_ns - 1;
        worst = std::max(worst, std::abs(error));
        INFO(name << ", read share " << read_share << ", load " << load << ": " << *fast_ns
                  << " ns fast, " << *detailed_ns << " detailed; seed " << mix.seed);
        CHECK(std::abs(error) <= 0.06);
        CHECK(*fast_ns >= before);
        before = *fast_ns;
      }
    }
  }
  fmt::print("fast against detailed: {:.1f} % at most\n", worst * 100);
}

TEST_CASE("fast and detailed agree on a link of 64 GT/s", "[unit][model][fidelity]") {
  Type3Spec spec = known("emfasys");
  spec.link.generation = PcieGeneration::gen6;
  spec.link.flit_bytes = 256;
  const DramLoad mix{.read_share = 0.67, .run = 256_B, .seed = 4};
  const auto fast = timing(spec, mix, Fidelity::fast);
  const auto detailed = timing(spec, mix, Fidelity::detailed);
  for (const double load : {0.1, 0.5, 0.8}) {
    const Rate offered(load * fast->most().bytes_per_second());
    const auto fast_ns = fast->read_mean_ns(offered);
    const auto detailed_ns = detailed->read_mean_ns(offered);
    REQUIRE((fast_ns.has_value() && detailed_ns.has_value()));
    INFO("load " << load << ": " << *fast_ns << " ns fast, " << *detailed_ns << " detailed");
    CHECK(std::abs(*fast_ns / *detailed_ns - 1) <= 0.06);
  }
}

TEST_CASE("a device delivers at most what its narrower side does", "[unit][model][fidelity]") {
  const Type3Spec spec = known("emfasys");
  const auto reads = timing(spec, {.run = 4_KiB, .streams = 4}, Fidelity::detailed);
  const double ceiling = cxl_link_ceiling(spec.link, 1)->data.bytes_per_second();
  CHECK(reads->most().bytes_per_second() == Catch::Approx(ceiling).epsilon(0.01));
}

TEST_CASE("loads that say nothing of a latency are refused", "[unit][model][fidelity]") {
  const Type3Spec spec = known("emfasys");
  const auto none = make_device_timing(spec, {.read_share = 0}, Fidelity::fast);
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().detail.find("load.read_share = 0") != std::string::npos);
  const auto reads = timing(spec, {.run = 256_B}, Fidelity::detailed);
  for (const double load : {0.0, -1.0, 0.91, 2.0}) {
    const auto refused = reads->read_mean_ns(Rate(load * reads->most().bytes_per_second()));
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::config_invalid);
    CHECK(refused.error().detail.find("allowed is above 0, at most") != std::string::npos);
  }
  Type3Spec wrong = spec;
  wrong.link.lanes = 5;
  CHECK_FALSE(make_device_timing(wrong, {.run = 256_B}, Fidelity::fast).has_value());
}

}  // namespace
}  // namespace godbox::emulator::model
