// SPDX-License-Identifier: Apache-2.0
//
// The hand of a test in the fake CUDA driver (tests/support/fake_cuda): a libcuda.so.1 that has one
// device, whose kernels run on the CPU from the very source of the real ones, and whose memory the
// CPU cannot touch: a load or store there ends the process, as a GPU's would. It works as
// asynchronously as a GPU, and fails when it is told to.
//   FakeCuda fake(GODBOX_FAKE_CUDA);  // the library's path
//   fake->fail_call("cuMemAlloc", 2, CUDA_ERROR_OUT_OF_MEMORY);
// Thread-safety: any thread. Ownership: the process has one state per library, which reset() brings
// back to what it was at first. Units: bytes. Errors: results are CUDA's numbers; a library that
// cannot be loaded ends the test.
#pragma once

#include <cstddef>
#include <cstdlib>

#include <dlfcn.h>

namespace godbox::test {

// What is there and has not been given back.
struct FakeCudaLive {
  std::size_t allocations = 0, pinned = 0, registrations = 0;
  std::size_t streams = 0, events = 0, modules = 0, contexts = 0;
  bool operator==(const FakeCudaLive&) const = default;
};

struct FakeCudaControl {
  void (*reset)();
  FakeCudaLive (*live)();
  // The `nth` call of this function from now on (1: the next) answers `result` and does nothing.
  void (*fail_call)(const char* function, int nth, int result);
  // The `nth` piece of work that a stream does from now on fails with `result`, and with it the
  // context, as a kernel's bad address does.
  void (*fail_work)(int nth, int result);
  void (*set_driver_version)(int version);
  void (*set_device_count)(int count);
  void (*set_memory_max)(std::size_t bytes);
  // The driver has no such function; nullptr: it has all.
  void (*hide)(const char* function);
  // As by an engine's cudaDeviceReset(): the context can no longer be made current.
  void (*reset_device)();
  // As if another had unregistered the host memory.
  void (*unregister_all)();
  // While held, streams begin no work.
  void (*hold)(bool is_held);
  // How often a function was called since reset().
  std::size_t (*calls)(const char* function);
  // The thread blocks of the last launch.
  unsigned (*last_grid)();
};

class FakeCuda {
 public:
  explicit FakeCuda(const char* library) {
    void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    void* const found = handle == nullptr ? nullptr : dlsym(handle, "fake_cuda_control");
    if (found == nullptr) {
      std::abort();
    }
    control_ = reinterpret_cast<const FakeCudaControl* (*)()>(found)();
    control_->reset();
  }
  ~FakeCuda() { control_->reset(); }
  FakeCuda(const FakeCuda&) = delete;
  FakeCuda& operator=(const FakeCuda&) = delete;
  const FakeCudaControl* operator->() const { return control_; }

 private:
  const FakeCudaControl* control_ = nullptr;
};

}  // namespace godbox::test
