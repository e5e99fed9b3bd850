// SPDX-License-Identifier: Apache-2.0
#include "device_contract.h"
#include <godbox/driver/host_device.h>

#include <array>

namespace godbox::test {
namespace {

class HostWorld final : public DeviceWorld {
 public:
  DeviceMemory& device() override { return *device_; }

 private:
  std::unique_ptr<DeviceMemory> device_ = driver::make_host_device();
};

TEST_CASE("host memory as a device keeps the contract of devices", "[contract]") {
  check_contract(device_contract(), [] { return std::make_unique<HostWorld>(); });
}

TEST_CASE("a host device says what it is, and reaches all of the process", "[contract]") {
  const std::unique_ptr<DeviceMemory> device = driver::make_host_device();
  CHECK(device->kind() == DeviceKind::host);
  CHECK(device->name() == "host memory (no GPU)");
  std::array<std::byte, 16> anywhere{};
  CHECK(device->reaches(anywhere));
}

TEST_CASE("a host device that may have so much memory gives no more, and names both",
          "[contract]") {
  const std::unique_ptr<DeviceMemory> device = driver::make_host_device({.memory_max = 1_MiB});
  const auto half = device->allocate(512_KiB);
  REQUIRE(half.has_value());
  const auto more = device->allocate(513_KiB);
  REQUIRE_FALSE(more.has_value());
  CHECK(more.error().code == Errc::device_memory_full);
  CHECK(more.error().detail ==
        "the host device has 524288 of 1048576 bytes in use; 525312 more were asked for");
  device->release(*half);
  const auto all = device->allocate(1_MiB);
  REQUIRE(all.has_value());
  device->release(*all);
}

}  // namespace
}  // namespace godbox::test
