// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/dma_buf.h>
#include <godbox/driver/host_device.h>
#include <godbox/driver/open_device.h>

#include <catch2/catch_test_macros.hpp>

#include <array>

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

TEST_CASE("memory of the host is no dma-buf", "[unit]") {
  const std::unique_ptr<DeviceMemory> host = make_host_device();
  const std::array<std::byte, 16> memory{};
  const auto exported = export_dma_buf(*host, memory);
  REQUIRE_FALSE(exported.has_value());
  CHECK(exported.error().code == Errc::unsupported);
}

}  // namespace
}  // namespace godbox::driver
