// SPDX-License-Identifier: Apache-2.0
//
// The device that tests of device memory run on: the host's, unless GODBOX_TEST_DEVICE names
// another ("cuda"). Where that is missing the test is skipped, with the reason.
// Thread-safety: the test's thread. Ownership: the caller's. Programs that use it link driver_gpu.
#pragma once

#include <godbox/driver/open_device.h>

#include <catch2/catch_test_macros.hpp>

#include <cstdlib>

namespace godbox::test {

[[nodiscard]] inline std::unique_ptr<DeviceMemory> make_test_device() {
  const char* const wanted = std::getenv("GODBOX_TEST_DEVICE");
  const auto choice = driver::parse_device_choice(wanted != nullptr ? wanted : "host");
  if (!choice.has_value()) {
    FAIL("GODBOX_TEST_DEVICE: " << choice.error().message());
  }
  auto opened = driver::open_device(*choice);
  if (!opened.has_value()) {
    SKIP("needs a device: " << opened.error().message());
  }
  return std::move(opened->memory);
}

}  // namespace godbox::test
