// SPDX-License-Identifier: Apache-2.0
#include "cuda_driver.h"

#include <dlfcn.h>

namespace godbox::driver {
namespace {

constexpr int kVersionMin = 11030;  // the first one with cuGetProcAddress

// cuGetProcAddress of either signature. Declared here, as the headers of each Toolkit know one of
// them; `status` is an enumeration of ints.
class Lookup {
 public:
  explicit Lookup(void* library)
      : v2_(reinterpret_cast<V2>(dlsym(library, "cuGetProcAddress_v2"))),
        v1_(reinterpret_cast<V1>(dlsym(library, "cuGetProcAddress"))) {}

  [[nodiscard]] bool works() const { return v2_ != nullptr || v1_ != nullptr; }
  [[nodiscard]] void* find(const char* name, int version) const {
    void* found = nullptr;
    CUresult result = CUDA_SUCCESS;
    // Streams mean what they mean to an engine: nullptr is the legacy default stream.
    if (v2_ != nullptr) {
      int status = 0;
      result = v2_(name, &found, version, CU_GET_PROC_ADDRESS_LEGACY_STREAM, &status);
    } else {
      result = v1_(name, &found, version, CU_GET_PROC_ADDRESS_LEGACY_STREAM);
    }
    return result == CUDA_SUCCESS ? found : nullptr;
  }

 private:
  using V1 = CUresult (*)(const char* name, void** found, int version, cuuint64_t flags);
  using V2 = CUresult (*)(const char* name, void** found, int version, cuuint64_t flags,
                          int* status);
  V2 v2_;
  V1 v1_;
};

// What people can do about cuInit()'s commonest answers.
std::string_view hint_of(CUresult result) {
  switch (static_cast<int>(result)) {
    case 34:
      return "; this libcuda.so.1 is the CUDA Toolkit's stub, not a driver";
    case 100:
      return "; there is no CUDA device, or CUDA_VISIBLE_DEVICES hides it";
    case 803:
    case 804:
      return "; libcuda.so.1 and the driver in the kernel are of different versions";
    case 999:
      return "; the driver in the kernel does not work (its modules may not be loaded)";
    default:
      return "";
  }
}

Error missing(std::string detail) { return {Errc::device_missing, std::move(detail)}; }

}  // namespace

std::string cuda_version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string CudaDriver::describe(std::string_view call, CUresult result) const {
  const char* name = nullptr;
  if (cuGetErrorName(result, &name) != CUDA_SUCCESS || name == nullptr) {
    name = "an error unknown to the driver";
  }
  std::string text(call);
  return text.append(": ").append(name).append(" (") + std::to_string(static_cast<int>(result)) +
         ")";
}

Result<CudaDriver> load_cuda_driver(const std::string& library) {
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = dlerror();  // NOLINT(concurrency-mt-unsafe): one per thread
    return missing("no CUDA driver was found: " + std::string(why == nullptr ? library : why));
  }
  const Lookup lookup(handle);
  if (!lookup.works()) {
    return missing("the CUDA driver is too old: it has no cuGetProcAddress, which came with " +
                   cuda_version_text(kVersionMin));
  }
  CudaDriver driver;
  std::string absent;
#define GODBOX_CUDA_FIND(name, since, needed)                                       \
  driver.name = reinterpret_cast<PFN_##name##_v##since>(lookup.find(#name, since)); \
  if ((needed) && driver.name == nullptr) {                                         \
    absent += absent.empty() ? #name : ", " #name;                                  \
  }
  GODBOX_CUDA_FUNCTIONS(GODBOX_CUDA_FIND)
#undef GODBOX_CUDA_FIND
  if (!absent.empty()) {
    return missing("the CUDA driver lacks " + absent);
  }
  if (const CUresult result = driver.cuDriverGetVersion(&driver.version); result != CUDA_SUCCESS) {
    return missing(driver.describe("cuDriverGetVersion", result));
  }
  if (const CUresult result = driver.cuInit(0); result != CUDA_SUCCESS) {
    return missing(driver.describe("cuInit", result).append(hint_of(result)));
  }
  return driver;
}

}  // namespace godbox::driver
