// SPDX-License-Identifier: Apache-2.0
#include "cuda_context.h"

#include "move_fatbin.h"
#include "move_plan.h"

#include <algorithm>
#include <array>

#include <pthread.h>

namespace godbox::driver {
namespace {

constexpr unsigned kBlocksPerProcessor = 4;  // as in kernels/move.cu

// A GPU that is full of an engine's memory is there.
Errc code_of_opening(CUresult result) {
  return result == CUDA_ERROR_OUT_OF_MEMORY ? Errc::device_memory_full : Errc::device_missing;
}

std::string_view hint_of_kernels(CUresult result) {
  switch (result) {
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
      return "; the driver may be older than that CUDA: update it, or build with an older Toolkit";
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
      return "; they are for GPUs of compute capability 7.5 and later";
    default:
      return "";
  }
}

std::atomic<unsigned> forks = 0;  // that this process has come out of

// Asked for at each call, where getpid() would be a system call.
unsigned count_forks() {
  static const int is_watched =
      pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  (void)is_watched;
  return forks.load(std::memory_order_relaxed);
}

}  // namespace

CudaContext::Current::Current(const CudaContext& context) : driver_(context.driver_) {
  if (context.is_forked()) {
    return;
  }
  const CUresult result = driver_.cuCtxPushCurrent(context.context_);
  is_pushed_ = result == CUDA_SUCCESS;
  if (is_pushed_) {
    (void)driver_.cuThreadExchangeStreamCaptureMode(&capture_mode_);
  } else {
    context.set_lost("cuCtxPushCurrent", result);
  }
}

CudaContext::Current::~Current() {
  if (is_pushed_) {
    (void)driver_.cuThreadExchangeStreamCaptureMode(&capture_mode_);
    CUcontext popped = nullptr;
    (void)driver_.cuCtxPopCurrent(&popped);
  }
}

CudaQueueResources::~CudaQueueResources() {
  const CudaDriver& driver = context_.driver();
  const CudaContext::Current current(context_);
  if (!current.works()) {
    return;  // with the context all of it went
  }
  for (CUevent event : events) {
    (void)driver.cuEventDestroy(event);
  }
  if (tiles != nullptr) {
    (void)driver.cuMemFreeHost(tiles);
  }
  if (device_tiles != 0) {
    (void)driver.cuMemFree(device_tiles);
  }
}

Result<void> CudaQueueResources::make(std::size_t tile_count, std::size_t event_count) {
  const CudaDriver& driver = context_.driver();
  const CudaContext::Current current(context_);
  if (!current.works()) {
    return context_.lost();
  }
  const std::size_t tiles_bytes = tile_count * sizeof(kernels::MoveTile);
  void* pinned = nullptr;
  CUresult result = driver.cuMemHostAlloc(&pinned, tiles_bytes + tile_count * sizeof(std::uint32_t),
                                          CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
  if (result != CUDA_SUCCESS) {
    return context_.failure("cuMemHostAlloc", result, Errc::limit_exceeded);
  }
  tiles = static_cast<kernels::MoveTile*>(pinned);
  parts = reinterpret_cast<std::uint32_t*>(static_cast<std::byte*>(pinned) + tiles_bytes);
  result = driver.cuMemAlloc(&device_tiles, tiles_bytes);
  if (result != CUDA_SUCCESS) {
    return context_.failure("cuMemAlloc", result, Errc::device_memory_full);
  }
  events.reserve(event_count);
  while (events.size() < event_count) {
    CUevent event = nullptr;
    result = driver.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING);
    if (result != CUDA_SUCCESS) {
      return context_.failure("cuEventCreate", result, Errc::device_memory_full);
    }
    events.push_back(event);
  }
  return {};
}

CudaContext::CudaContext(const CudaDriver& driver, const CudaTuning& tuning)
    : driver_(driver), tuning_(tuning), forks_(count_forks()) {}

bool CudaContext::is_forked() const { return forks.load(std::memory_order_relaxed) != forks_; }

Result<std::shared_ptr<CudaContext>> CudaContext::open(const std::string& library, int ordinal,
                                                       const CudaTuning& tuning) {
  auto driver = load_cuda_driver(library);
  if (!driver) {
    return driver.error();
  }
  auto context = std::make_shared<CudaContext>(*driver, tuning);
  if (auto retained = context->retain(ordinal); !retained) {
    return retained.error();
  }
  if (auto loaded = context->load_kernels(); !loaded) {
    return loaded.error();
  }
  return context;
}

CudaContext::~CudaContext() {
  spare_.clear();
  if (context_ == nullptr || is_forked()) {
    return;
  }
  {
    const Current current(*this);
    if (current.works() && device_tables_ != 0) {
      (void)driver_.cuMemFree(device_tables_);
    }
    if (current.works() && module_ != nullptr) {
      (void)driver_.cuModuleUnload(module_);
    }
  }
  (void)driver_.cuDevicePrimaryCtxRelease(device_);
}

int CudaContext::attribute(CUdevice_attribute which) const {
  int value = 0;
  return driver_.cuDeviceGetAttribute(&value, which, device_) == CUDA_SUCCESS ? value : 0;
}

Result<void> CudaContext::retain(int ordinal) {
  const auto missing = [&](const char* call, CUresult result) {
    return Error(code_of_opening(result), driver_.describe(call, result));
  };
  int count = 0;
  if (const CUresult result = driver_.cuDeviceGetCount(&count); result != CUDA_SUCCESS) {
    return missing("cuDeviceGetCount", result);
  }
  if (count == 0) {
    return Error(Errc::device_missing, "the CUDA driver works, and has no device");
  }
  if (ordinal < 0 || ordinal >= count) {
    return Error(Errc::invalid_argument, "CUDA device " + std::to_string(ordinal) +
                                             " was asked for; there are 0 to " +
                                             std::to_string(count - 1));
  }
  ordinal_ = ordinal;
  if (const CUresult result = driver_.cuDeviceGet(&device_, ordinal); result != CUDA_SUCCESS) {
    return missing("cuDeviceGet", result);
  }
  std::array<char, 256> text{};
  if (driver_.cuDeviceGetName(text.data(), static_cast<int>(text.size()) - 1, device_) !=
      CUDA_SUCCESS) {
    text = {"CUDA device"};
  }
  name_ = std::string(text.data()) + ", driver " + cuda_version_text(driver_.version);
  if (attribute(CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING) == 0 ||
      attribute(CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM) == 0) {
    return Error(Errc::device_missing,
                 name_ + " does not reach host memory at the host's own addresses");
  }
  const auto processors =
      static_cast<unsigned>(std::max(1, attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)));
  block_count_max_ = std::min(processors * kBlocksPerProcessor,
                              static_cast<unsigned>(kWarpsMax / kernels::kWarpsPerBlock));
  registers_read_only_ = attribute(CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED) != 0;
  if (const CUresult result = driver_.cuDevicePrimaryCtxRetain(&context_, device_);
      result != CUDA_SUCCESS) {
    context_ = nullptr;
    return missing("cuDevicePrimaryCtxRetain", result);
  }
  return {};
}

Result<void> CudaContext::load_kernels() {
  const Current current(*this);
  if (!current.works()) {
    return Error(Errc::device_missing, lost().detail);
  }
  int least = 0;  // of the priorities; the greatest is the smallest number
  if (driver_.cuCtxGetStreamPriorityRange(&least, &stream_priority_) != CUDA_SUCCESS) {
    stream_priority_ = 0;  // as all streams are
  }
  const auto missing = [&](const char* call, CUresult result) {
    return Error(code_of_opening(result), name_ + " does not run godbox's kernels (made by CUDA " +
                                              cuda_version_text(CUDA_VERSION) +
                                              "): " + driver_.describe(call, result) +
                                              std::string(hint_of_kernels(result)));
  };
  CUresult result = driver_.cuModuleLoadData(&module_, move_fatbin());
  if (result != CUDA_SUCCESS) {
    module_ = nullptr;
    return missing("cuModuleLoadData", result);
  }
  result = driver_.cuModuleGetFunction(&move_, module_, "godbox_move");
  if (result == CUDA_SUCCESS) {
    result = driver_.cuModuleGetFunction(&move_crc_, module_, "godbox_move_crc");
  }
  if (result != CUDA_SUCCESS) {
    return missing("cuModuleGetFunction", result);
  }
  result = driver_.cuMemAlloc(&device_tables_, sizeof(tables_));
  if (result != CUDA_SUCCESS) {
    device_tables_ = 0;
    return missing("cuMemAlloc", result);
  }
  result = driver_.cuMemcpyHtoD(device_tables_, &tables_, sizeof(tables_));
  if (result != CUDA_SUCCESS) {
    return missing("cuMemcpyHtoD", result);
  }
  // What comes from pageable memory may still be under way, and the queues' streams do not wait for
  // the legacy one.
  result = driver_.cuStreamSynchronize(CU_STREAM_LEGACY);
  return result == CUDA_SUCCESS ? Result<void>() : missing("cuStreamSynchronize", result);
}

bool CudaContext::is_of_host(const std::byte* at) const {
  unsigned type = 0;  // CUmemorytype
  std::array attributes{CU_POINTER_ATTRIBUTE_MEMORY_TYPE};
  std::array<void*, 1> values{&type};
  return driver_.cuPointerGetAttributes(1, attributes.data(), values.data(),
                                        reinterpret_cast<std::uintptr_t>(at)) == CUDA_SUCCESS &&
         type == CU_MEMORYTYPE_HOST;
}

Error CudaContext::lost() const {
  if (is_forked()) {
    return {Errc::device_lost, "CUDA does not work in a child of the process that opened it"};
  }
  const std::lock_guard lock(mutex_);
  return {Errc::device_lost, "the CUDA device was lost: " + lost_why_};
}

Errc CudaContext::code_of(const char* call, CUresult result) const {
  if (result == CUDA_SUCCESS) {
    return Errc::ok;
  }
  // A stream of which an engine makes a graph is none that others may give work.
  const bool is_of_capture = result >= CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED &&
                             result <= CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  if (result == CUDA_ERROR_INVALID_VALUE || result == CUDA_ERROR_INVALID_HANDLE || is_of_capture) {
    return Errc::invalid_argument;
  }
  std::size_t free_bytes = 0, total_bytes = 0;
  if ((result == CUDA_ERROR_OUT_OF_MEMORY || result == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES) &&
      driver_.cuMemGetInfo(&free_bytes, &total_bytes) == CUDA_SUCCESS) {
    return Errc::device_memory_full;
  }
  // Most others end the context; after the rest nobody knows what was queued.
  set_lost(call, result);
  return Errc::device_lost;
}

Error CudaContext::failure(const char* call, CUresult result, Errc otherwise) const {
  std::size_t free_bytes = 0, total_bytes = 0;
  const bool stands = driver_.cuMemGetInfo(&free_bytes, &total_bytes) == CUDA_SUCCESS;
  if (!stands) {
    set_lost(call, result);
  }
  if (is_lost()) {
    return lost();
  }
  std::string detail = driver_.describe(call, result);
  if (otherwise == Errc::device_memory_full) {
    detail += "; " + std::to_string(free_bytes) + " of " + std::to_string(total_bytes) +
              " bytes are free on " + name_;
  }
  return {otherwise, detail};
}

void CudaContext::set_lost(const char* call, CUresult result) const {
  const std::lock_guard lock(mutex_);
  if (!is_lost_.load(std::memory_order_relaxed)) {
    lost_why_ = driver_.describe(call, result);
    is_lost_.store(true, std::memory_order_release);
  }
}

Result<std::unique_ptr<CudaQueueResources>> CudaContext::take_resources(std::size_t tile_count,
                                                                        std::size_t event_count) {
  {
    const std::lock_guard lock(mutex_);
    if (!spare_.empty()) {
      auto resources = std::move(spare_.back());
      spare_.pop_back();
      return resources;
    }
  }
  auto resources = std::make_unique<CudaQueueResources>(*this);
  if (auto made = resources->make(tile_count, event_count); !made) {
    return made.error();
  }
  return resources;
}

void CudaContext::give_back(std::unique_ptr<CudaQueueResources> resources) {
  if (is_forked()) {
    return;  // the lock may be held for ever
  }
  const std::lock_guard lock(mutex_);
  spare_.push_back(std::move(resources));
}

}  // namespace godbox::driver
