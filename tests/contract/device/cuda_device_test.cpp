// SPDX-License-Identifier: Apache-2.0
// The CUDA device, twice: over the fake driver, whose kernels run on the CPU, and over a GPU where
// there is one.
#include "cuda_device.h"

#include "device_contract.h"
#include <godbox_test/fake_cuda.h>

namespace godbox::test {
namespace {

class CudaWorld final : public DeviceWorld {
 public:
  explicit CudaWorld(const std::string& library) {
    auto made = driver::make_cuda_device({.library = library});
    if (!made.has_value()) {
      FAIL(made.error().message());
    }
    device_ = std::move(*made);
  }
  DeviceMemory& device() override { return *device_; }

 private:
  std::unique_ptr<DeviceMemory> device_;
};

TEST_CASE("CUDA over the fake driver keeps the contract of devices", "[contract]") {
  FakeCuda fake(GODBOX_FAKE_CUDA);
  check_contract(device_contract(), [] { return std::make_unique<CudaWorld>(GODBOX_FAKE_CUDA); });
  CHECK(fake->live() == FakeCudaLive{});
}

TEST_CASE("a GPU keeps the contract of devices", "[contract][gpu]") {
  const auto device = driver::make_cuda_device();
  if (!device.has_value()) {
    SKIP("needs a CUDA device: " + device.error().detail);
  }
  INFO((*device)->name());
  check_contract(device_contract(), [] { return std::make_unique<CudaWorld>("libcuda.so.1"); });
}

}  // namespace
}  // namespace godbox::test
