// SPDX-License-Identifier: Apache-2.0
#include "cuda_tuning.h"
#include <godbox/driver/dma_buf.h>
#include <godbox/driver/host_device.h>
#include <godbox/driver/open_device.h>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <cstdlib>

namespace godbox::driver {
namespace {

TEST_CASE("a choice of device is one of three words", "[unit]") {
  for (const DeviceChoice choice :
       {DeviceChoice::automatic, DeviceChoice::host, DeviceChoice::cuda}) {
    const auto parsed = parse_device_choice(to_string(choice));
    REQUIRE(parsed.has_value());
    CHECK(*parsed == choice);
  }
  for (const std::string_view text : {"", "Cuda", "gpu", "cuda ", "automatic"}) {
    const auto parsed = parse_device_choice(text);
    REQUIRE_FALSE(parsed.has_value());
    CHECK(parsed.error().code == Errc::config_invalid);
    CHECK(parsed.error().detail ==
          "device '" + std::string(text) + "': allowed are auto, host and cuda");
  }
}

TEST_CASE("the host is a device for whoever asks for it", "[unit]") {
  const auto opened = open_device(DeviceChoice::host);
  REQUIRE(opened.has_value());
  CHECK(opened->memory->kind() == DeviceKind::host);
  CHECK(opened->reason == "took host memory (no GPU): it was asked for");
}

TEST_CASE("auto takes what there is and says why", "[unit]") {
  const auto cuda = open_device(DeviceChoice::cuda);
  const auto chosen = open_device(DeviceChoice::automatic);
  REQUIRE(chosen.has_value());
  INFO(chosen->reason);
  if (cuda) {
    CHECK(chosen->memory->kind() == DeviceKind::cuda);
    CHECK(chosen->reason.ends_with(": a CUDA device that works"));
  } else {
    CHECK(cuda.error().code == Errc::device_missing);
    CHECK_FALSE(cuda.error().detail.empty());
    CHECK(chosen->memory->kind() == DeviceKind::host);
    CHECK(chosen->reason == "auto took host memory (no GPU): " + cuda.error().detail);
  }
}

TEST_CASE("how moves use a GPU is set by options, or else by the environment", "[unit]") {
  (void)setenv("GODBOX_CUDA_TILES_OVER_BUS", "256", 1);
  (void)setenv("GODBOX_CUDA_BLOCKS_OVER_BUS", "128", 1);
  const auto of_environment = cuda_tuning({});
  const auto of_option = cuda_tuning({.cuda_blocks_over_bus_max = 16});
  (void)unsetenv("GODBOX_CUDA_BLOCKS_OVER_BUS");
  REQUIRE((of_environment.has_value() && of_option.has_value()));
  CHECK(of_environment->tiles_over_bus_max == 256);
  CHECK(of_environment->blocks_over_bus_max == 128);
  CHECK(of_option->tiles_over_bus_max == 256);
  CHECK(of_option->blocks_over_bus_max == 16);
  for (const char* const text : {"", "many", "1x", "-1", "9999999999"}) {
    (void)setenv("GODBOX_CUDA_TILES_OVER_BUS", text, 1);
    const auto refused = open_device(DeviceChoice::automatic);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::config_invalid);
    CHECK(refused.error().detail ==
          "GODBOX_CUDA_TILES_OVER_BUS is '" + std::string(text) + "': allowed are 0 to 1048576");
  }
  (void)unsetenv("GODBOX_CUDA_TILES_OVER_BUS");
  CHECK(cuda_tuning({})->tiles_over_bus_max == 16384);
  const auto none = open_device(DeviceChoice::host, {.cuda_blocks_over_bus_max = 0});
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error().code == Errc::invalid_argument);
}

TEST_CASE("memory of the host is no dma-buf", "[unit]") {
  const std::unique_ptr<DeviceMemory> host = make_host_device();
  const std::array<std::byte, 16> memory{};
  const auto exported = export_dma_buf(*host, memory);
  REQUIRE_FALSE(exported.has_value());
  CHECK(exported.error().code == Errc::unsupported);
}

}  // namespace
}  // namespace godbox::driver
