// SPDX-License-Identifier: Apache-2.0
// How the CUDA driver is found, and what is said where it is not, or does not work.
#include "cuda_driver.h"

#include "cuda_device.h"
#include <godbox_test/fake_cuda.h>

#include <catch2/catch_test_macros.hpp>

namespace godbox::driver {
namespace {

using test::FakeCuda;

std::string refusal(const std::string& library) {
  const auto loaded = load_cuda_driver(library);
  REQUIRE_FALSE(loaded.has_value());
  CHECK(loaded.error().code == Errc::device_missing);
  return loaded.error().detail;
}

TEST_CASE("a machine without the driver is told so by the linker's own words", "[unit]") {
  const std::string said = refusal("/nowhere/libcuda.so.1");
  CHECK(said.starts_with("no CUDA driver was found: /nowhere/libcuda.so.1"));
}

TEST_CASE("a library that is no driver, or one from before 11.3, is too old", "[unit]") {
  CHECK(refusal(GODBOX_FAKE_CUDA_10) ==
        "the CUDA driver is too old: it has no cuGetProcAddress, which came with 11.3");
}

TEST_CASE("drivers of both signatures of cuGetProcAddress are loaded", "[unit]") {
  for (const char* const library : {GODBOX_FAKE_CUDA_11, GODBOX_FAKE_CUDA}) {
    CAPTURE(library);
    FakeCuda fake(library);
    fake->set_driver_version(11080);
    const auto loaded = load_cuda_driver(library);
    REQUIRE(loaded.has_value());
    CHECK(loaded->version == 11080);
    CHECK(loaded->cuMemAlloc != nullptr);
    CHECK(loaded->cuMemGetHandleForAddressRange != nullptr);
    CHECK(make_cuda_device({.library = library}).has_value());
  }
}

TEST_CASE("a driver without a function that godbox can do without is taken", "[unit]") {
  FakeCuda fake(GODBOX_FAKE_CUDA_11);
  fake->set_driver_version(11040);
  const auto loaded = load_cuda_driver(GODBOX_FAKE_CUDA_11);
  REQUIRE(loaded.has_value());
  CHECK(loaded->cuMemGetHandleForAddressRange == nullptr);
}

TEST_CASE("a driver without a function that godbox needs is refused by that name", "[unit]") {
  FakeCuda fake(GODBOX_FAKE_CUDA);
  fake->hide("cuMemHostRegister");
  CHECK(refusal(GODBOX_FAKE_CUDA) == "the CUDA driver lacks cuMemHostRegister");
}

TEST_CASE("what cuInit answers is named, with what can be done", "[unit]") {
  FakeCuda fake(GODBOX_FAKE_CUDA);
  const auto with = [&](int result) {
    fake->fail_call("cuInit", 1, result);
    return refusal(GODBOX_FAKE_CUDA);
  };
  CHECK(with(100) ==
        "cuInit: CUDA_ERROR_NO_DEVICE (100); there is no CUDA device, or "
        "CUDA_VISIBLE_DEVICES hides it");
  CHECK(with(803) ==
        "cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803); libcuda.so.1 and the driver in the "
        "kernel are of different versions");
  CHECK(with(999) ==
        "cuInit: CUDA_ERROR_UNKNOWN (999); the driver in the kernel does not work (its modules "
        "may not be loaded)");
  CHECK(with(998) == "cuInit: an error unknown to the driver (998)");
}

TEST_CASE("a driver that names no version is refused", "[unit]") {
  FakeCuda fake(GODBOX_FAKE_CUDA);
  fake->fail_call("cuDriverGetVersion", 1, 999);
  CHECK(refusal(GODBOX_FAKE_CUDA) == "cuDriverGetVersion: CUDA_ERROR_UNKNOWN (999)");
}

}  // namespace
}  // namespace godbox::driver
