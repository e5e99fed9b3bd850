// SPDX-License-Identifier: Apache-2.0
// The functions of the CUDA driver API that driver/gpu uses, as its reference manual describes
// them; stricter where a program must not rely on more: host memory has to be pinned, and calls
// need the primary context current.
#include "state.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <tuple>
#include <vector>

#include <fcntl.h>

namespace godbox::test::fake_cuda {
namespace {

#define FAKE_CUDA_BEGIN(name, needs_context)                                                    \
  if (const CUresult begun = State::get().begin(#name, needs_context); begun != CUDA_SUCCESS) { \
    return begun;                                                                               \
  }

// What gives back does so after a fault too, and answers with it.
CUresult given_back(CUresult result) {
  if (!is_context_current()) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  const CUresult broken = State::get().broken();
  return broken == CUDA_SUCCESS ? result : broken;
}

// --- Devices and contexts ------------------------------------------------------------------------

CUresult driver_get_version(int* version) {
  FAKE_CUDA_BEGIN(cuDriverGetVersion, false)
  *version = State::get().driver_version;
  return CUDA_SUCCESS;
}

CUresult init(unsigned flags) {
  FAKE_CUDA_BEGIN(cuInit, false)
  return flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult get_error_name(CUresult error, const char** name) {
  constexpr std::array kNames{
      std::pair{CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
      std::pair{CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
      std::pair{CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
      std::pair{CUDA_ERROR_ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE"},
      std::pair{CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      std::pair{CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"},
      std::pair{CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
      std::pair{CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
      std::pair{CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"},
      std::pair{CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN"}};
  for (const auto& [code, text] : kNames) {
    if (code == error) {
      *name = text;
      return CUDA_SUCCESS;
    }
  }
  *name = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult device_get_count(int* count) {
  FAKE_CUDA_BEGIN(cuDeviceGetCount, false)
  *count = State::get().device_count;
  return CUDA_SUCCESS;
}

CUresult device_get(CUdevice* device, int ordinal) {
  FAKE_CUDA_BEGIN(cuDeviceGet, false)
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult device_get_name(char* name, int length, CUdevice) {
  FAKE_CUDA_BEGIN(cuDeviceGetName, false)
  constexpr std::string_view kName = "fake GPU (kernels on the CPU)";
  const std::size_t copied = std::min(kName.size(), static_cast<std::size_t>(length) - 1);
  std::memcpy(name, kName.data(), copied);
  name[copied] = 0;
  return CUDA_SUCCESS;
}

CUresult device_get_attribute(int* value, CUdevice_attribute attribute, CUdevice) {
  FAKE_CUDA_BEGIN(cuDeviceGetAttribute, false)
  *value = attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT ? 16 : 1;
  return CUDA_SUCCESS;
}

CUresult primary_retain(CUcontext* context, CUdevice) {
  FAKE_CUDA_BEGIN(cuDevicePrimaryCtxRetain, false)
  const std::lock_guard lock(State::get().mutex);
  ++State::get().contexts;
  *context = primary_context();
  return CUDA_SUCCESS;
}

CUresult primary_release(CUdevice) {
  const std::lock_guard lock(State::get().mutex);
  --State::get().contexts;
  return CUDA_SUCCESS;
}

CUresult push_current(CUcontext context) {
  FAKE_CUDA_BEGIN(cuCtxPushCurrent, false)
  if (State::get().is_reset) {
    return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  }
  push_context(context);
  return CUDA_SUCCESS;
}

CUresult pop_current(CUcontext* context) {
  *context = pop_context();
  return *context == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

thread_local CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

CUresult exchange_capture_mode(CUstreamCaptureMode* mode) {
  std::swap(*mode, capture_mode);
  return CUDA_SUCCESS;
}

// --- Modules -------------------------------------------------------------------------------------

int move_entry = 0, move_crc_entry = 0;  // their addresses are the handles

CUresult module_load(CUmodule* module, const void* image) {
  FAKE_CUDA_BEGIN(cuModuleLoadData, true)
  constexpr std::uint32_t kFatbinMagic = 0xBA55ED50;
  std::uint32_t magic = 0;
  std::memcpy(&magic, image, sizeof(magic));
  if (magic != kFatbinMagic) {
    return CUDA_ERROR_INVALID_IMAGE;
  }
  const std::lock_guard lock(State::get().mutex);
  ++State::get().modules;
  *module = reinterpret_cast<CUmodule>(&move_entry);
  return CUDA_SUCCESS;
}

CUresult module_unload(CUmodule) {
  const std::lock_guard lock(State::get().mutex);
  --State::get().modules;
  return given_back(CUDA_SUCCESS);
}

CUresult module_get_function(CUfunction* function, CUmodule, const char* name) {
  FAKE_CUDA_BEGIN(cuModuleGetFunction, true)
  if (std::string_view(name) == "godbox_move") {
    *function = reinterpret_cast<CUfunction>(&move_entry);
  } else if (std::string_view(name) == "godbox_move_crc") {
    *function = reinterpret_cast<CUfunction>(&move_crc_entry);
  } else {
    return CUDA_ERROR_NOT_FOUND;
  }
  return CUDA_SUCCESS;
}

CUresult launch_kernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                       CUstream stream, void** arguments, void** extra) {
  FAKE_CUDA_BEGIN(cuLaunchKernel, true)
  Stream* const on = State::get().stream_of(stream);
  if (on == nullptr || extra != nullptr || arguments == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (grid_x == 0 || grid_y != 1 || grid_z != 1 || block_x != 256 || block_y != 1 || block_z != 1 ||
      shared_bytes != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto argument = [&](std::size_t i) {
    return *static_cast<const CUdeviceptr*>(arguments[i]);
  };
  const CUdeviceptr tiles = argument(0), parts = argument(2), tables = argument(3);
  const std::uint32_t count = *static_cast<const std::uint32_t*>(arguments[1]);
  {
    const std::lock_guard lock(State::get().mutex);
    State::get().last_grid = grid_x;
  }
  const bool has_crc = function == reinterpret_cast<CUfunction>(&move_crc_entry);
  on->push([=] {
    State& state = State::get();
    const CUresult told = state.work_result();
    return told != CUDA_SUCCESS ? told
                                : run_move(state.memory, tiles, count, parts, tables, has_crc);
  });
  return CUDA_SUCCESS;
}

// --- Memory --------------------------------------------------------------------------------------

CUresult mem_get_info(std::size_t* free_bytes, std::size_t* total_bytes) {
  FAKE_CUDA_BEGIN(cuMemGetInfo, true)
  std::tie(*free_bytes, *total_bytes) = State::get().memory.free_and_total();
  return CUDA_SUCCESS;
}

CUresult mem_alloc(CUdeviceptr* at, std::size_t size) {
  FAKE_CUDA_BEGIN(cuMemAlloc, true)
  return size == 0 ? CUDA_ERROR_INVALID_VALUE : State::get().memory.allocate(size, at);
}

// As CUDA does: not before all that streams were given is done.
void drain_streams() {
  State& state = State::get();
  std::vector<Stream*> all;
  {
    const std::lock_guard lock(state.mutex);
    for (const auto& [handle, stream] : state.streams) {
      all.push_back(stream.get());
    }
  }
  for (Stream* const stream : all) {
    stream->synchronize();
  }
}

CUresult mem_free(CUdeviceptr at) {
  if (const CUresult told = State::get().begin("cuMemFree", false); told != CUDA_SUCCESS) {
    return told;
  }
  drain_streams();
  return given_back(State::get().memory.remove(at, RangeKind::device));
}

CUresult mem_host_alloc(void** at, std::size_t size, unsigned flags) {
  FAKE_CUDA_BEGIN(cuMemHostAlloc, true)
  constexpr unsigned kNeeded = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP;
  return (flags & kNeeded) != kNeeded || size == 0 ? CUDA_ERROR_INVALID_VALUE
                                                   : State::get().memory.pin(size, at);
}

CUresult mem_free_host(void* at) {
  drain_streams();
  return given_back(
      State::get().memory.remove(reinterpret_cast<std::uintptr_t>(at), RangeKind::pinned));
}

CUresult mem_host_register(void* at, std::size_t size, unsigned flags) {
  FAKE_CUDA_BEGIN(cuMemHostRegister, true)
  return State::get().memory.add_host(at, size, (flags & CU_MEMHOSTREGISTER_READ_ONLY) != 0);
}

CUresult mem_host_unregister(void* at) {
  const CUresult removed =
      State::get().memory.remove(reinterpret_cast<std::uintptr_t>(at), RangeKind::registered);
  return given_back(removed == CUDA_SUCCESS ? removed : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
}

CUresult pointer_get_attributes(unsigned count, CUpointer_attribute* attributes, void** values,
                                CUdeviceptr at) {
  FAKE_CUDA_BEGIN(cuPointerGetAttributes, true)
  const std::optional<Range> range = State::get().memory.find(at);
  const bool is_device = range && range->kind == RangeKind::device;
  for (unsigned i = 0; i < count; ++i) {
    switch (attributes[i]) {
      case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *static_cast<unsigned*>(values[i]) =
            !range ? 0 : (is_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST);
        break;
      case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *static_cast<int*>(values[i]) = range ? 0 : -2;
        break;
      case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        *static_cast<CUdeviceptr*>(values[i]) = range ? at : 0;
        break;
      case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        *static_cast<CUdeviceptr*>(values[i]) = range ? range->begin : 0;
        break;
      case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *static_cast<std::size_t*>(values[i]) = range ? range->size : 0;
        break;
      default:
        return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return CUDA_SUCCESS;
}

// From pageable memory: the bytes are taken before the call returns, and come to the device when
// the legacy stream comes to it. Here as late as may be: once that stream is used or waited for.
CUresult memcpy_to_device(CUdeviceptr to, const void* from, std::size_t size) {
  FAKE_CUDA_BEGIN(cuMemcpyHtoD, true)
  State& state = State::get();
  if (state.memory.reach(to, size, true) == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const auto* const bytes = static_cast<const std::byte*>(from);
  state.copy_late([&state, to, staged = std::vector<std::byte>(bytes, bytes + size)] {
    std::byte* const reached = state.memory.reach(to, staged.size(), true);
    if (reached != nullptr) {
      std::memcpy(reached, staged.data(), staged.size());
    }
    return CUDA_SUCCESS;
  });
  return CUDA_SUCCESS;
}

// CUDA takes pageable memory too, and then waits: a caller that must not wait must not pass any.
CUresult memcpy_async(CUdeviceptr to, CUdeviceptr from, std::size_t size, CUstream stream) {
  FAKE_CUDA_BEGIN(cuMemcpyAsync, true)
  State& state = State::get();
  Stream* const on = state.stream_of(stream);
  if (on == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (state.memory.reach(to, size, true) == nullptr ||
      state.memory.reach(from, size, false) == nullptr) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  on->push([&state, to, from, size] {
    std::byte* const reached_to = state.memory.reach(to, size, true);
    const std::byte* const reached_from = state.memory.reach(from, size, false);
    if (const CUresult told = state.work_result(); told != CUDA_SUCCESS) {
      return told;
    }
    if (reached_to == nullptr || reached_from == nullptr) {
      return CUDA_ERROR_ILLEGAL_ADDRESS;
    }
    std::memcpy(reached_to, reached_from, size);
    return CUDA_SUCCESS;
  });
  return CUDA_SUCCESS;
}

CUresult mem_get_handle(void* handle, CUdeviceptr at, std::size_t size, CUmemRangeHandleType type,
                        unsigned long long flags) {
  FAKE_CUDA_BEGIN(cuMemGetHandleForAddressRange, true)
  const std::optional<Range> range = State::get().memory.find(at);
  if (type != CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD || flags != 0 || at % 4096 != 0 ||
      size % 4096 != 0 || !range || range->kind != RangeKind::device || range->begin != at) {
    return CUDA_ERROR_INVALID_VALUE;  // the file of an allocation stands for all of it only
  }
  *static_cast<int*>(handle) = fcntl(range->descriptor, F_DUPFD_CLOEXEC, 0);
  return CUDA_SUCCESS;
}

// --- Streams and events --------------------------------------------------------------------------

constexpr int kPriorityLeast = 0, kPriorityGreatest = -5;

CUresult stream_priority_range(int* least, int* greatest) {
  FAKE_CUDA_BEGIN(cuCtxGetStreamPriorityRange, true)
  *least = kPriorityLeast;
  *greatest = kPriorityGreatest;
  return CUDA_SUCCESS;
}

CUresult stream_create(CUstream* stream, unsigned flags, int priority) {
  FAKE_CUDA_BEGIN(cuStreamCreateWithPriority, true)
  // The driver takes the nearest that there is; godbox has no reason to ask for another.
  if (flags != CU_STREAM_NON_BLOCKING || priority != kPriorityGreatest) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto made = std::make_unique<Stream>();
  *stream = reinterpret_cast<CUstream>(made.get());
  const std::lock_guard lock(State::get().mutex);
  State::get().streams[*stream] = std::move(made);
  return CUDA_SUCCESS;
}

CUresult stream_destroy(CUstream stream) {
  State& state = State::get();
  std::unique_ptr<Stream> gone;
  {
    const std::lock_guard lock(state.mutex);
    const auto found = state.streams.find(stream);
    if (found == state.streams.end()) {
      return CUDA_ERROR_INVALID_HANDLE;
    }
    gone = std::move(found->second);
    state.streams.erase(found);
  }
  gone.reset();
  return given_back(CUDA_SUCCESS);
}

CUresult stream_synchronize(CUstream stream) {
  FAKE_CUDA_BEGIN(cuStreamSynchronize, true)
  Stream* const on = State::get().stream_of(stream);
  if (on == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  on->synchronize();
  return State::get().broken();
}

// What is captured is told by a fault.
CUresult stream_is_capturing(CUstream stream, CUstreamCaptureStatus* status) {
  FAKE_CUDA_BEGIN(cuStreamIsCapturing, true)
  *status = CU_STREAM_CAPTURE_STATUS_NONE;
  return State::get().stream_of(stream) == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult event_create(CUevent* event, unsigned flags) {
  FAKE_CUDA_BEGIN(cuEventCreate, true)
  if (flags != CU_EVENT_DISABLE_TIMING) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  auto made = std::make_unique<Event>();
  *event = reinterpret_cast<CUevent>(made.get());
  const std::lock_guard lock(State::get().mutex);
  State::get().events[*event] = std::move(made);
  return CUDA_SUCCESS;
}

CUresult event_destroy(CUevent event) {
  const std::lock_guard lock(State::get().mutex);
  return State::get().events.erase(event) == 0 ? CUDA_ERROR_INVALID_HANDLE
                                               : given_back(CUDA_SUCCESS);
}

CUresult event_record(CUevent event, CUstream stream) {
  FAKE_CUDA_BEGIN(cuEventRecord, true)
  Event* const recorded = State::get().event_of(event);
  Stream* const on = State::get().stream_of(stream);
  if (recorded == nullptr || on == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  recorded->record = std::make_shared<Record>();
  on->push({}, recorded->record);
  return CUDA_SUCCESS;
}

// An engine may be capturing a graph at any time, so a thread that asks in the strict mode is taken
// to be the one that spoils it.
CUresult event_query(CUevent event) {
  FAKE_CUDA_BEGIN(cuEventQuery, true)
  if (capture_mode != CU_STREAM_CAPTURE_MODE_RELAXED) {
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  const Event* const asked = State::get().event_of(event);
  if (asked == nullptr) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (asked->record && !asked->record->is_done()) {
    return CUDA_ERROR_NOT_READY;
  }
  return State::get().broken();
}

CUresult stream_wait_event(CUstream stream, CUevent event, unsigned flags) {
  FAKE_CUDA_BEGIN(cuStreamWaitEvent, true)
  const Event* const awaited = State::get().event_of(event);
  Stream* const on = State::get().stream_of(stream);
  if (awaited == nullptr || on == nullptr || flags != 0) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (awaited->record) {
    on->push([record = awaited->record] {
      record->wait();
      return CUDA_SUCCESS;
    });
  }
  return CUDA_SUCCESS;
}

// --- Entry points --------------------------------------------------------------------------------

struct Function {
  std::string_view name;
  int since = 0;
  void* entry = nullptr;
};

template <class Signature>
void* entry_of(Signature* function) {
  return reinterpret_cast<void*>(function);
}

const std::array kFunctions{
    Function{"cuDriverGetVersion", 2020, entry_of(driver_get_version)},
    Function{"cuInit", 2000, entry_of(init)},
    Function{"cuGetErrorName", 6000, entry_of(get_error_name)},
    Function{"cuDeviceGetCount", 2000, entry_of(device_get_count)},
    Function{"cuDeviceGet", 2000, entry_of(device_get)},
    Function{"cuDeviceGetName", 2000, entry_of(device_get_name)},
    Function{"cuDeviceGetAttribute", 2000, entry_of(device_get_attribute)},
    Function{"cuDevicePrimaryCtxRetain", 7000, entry_of(primary_retain)},
    Function{"cuDevicePrimaryCtxRelease", 11000, entry_of(primary_release)},
    Function{"cuCtxPushCurrent", 4000, entry_of(push_current)},
    Function{"cuCtxPopCurrent", 4000, entry_of(pop_current)},
    Function{"cuThreadExchangeStreamCaptureMode", 10010, entry_of(exchange_capture_mode)},
    Function{"cuModuleLoadData", 2000, entry_of(module_load)},
    Function{"cuModuleUnload", 2000, entry_of(module_unload)},
    Function{"cuModuleGetFunction", 2000, entry_of(module_get_function)},
    Function{"cuMemGetInfo", 3020, entry_of(mem_get_info)},
    Function{"cuMemAlloc", 3020, entry_of(mem_alloc)},
    Function{"cuMemFree", 3020, entry_of(mem_free)},
    Function{"cuMemHostAlloc", 2020, entry_of(mem_host_alloc)},
    Function{"cuMemFreeHost", 2000, entry_of(mem_free_host)},
    Function{"cuMemHostRegister", 6050, entry_of(mem_host_register)},
    Function{"cuMemHostUnregister", 4000, entry_of(mem_host_unregister)},
    Function{"cuPointerGetAttributes", 7000, entry_of(pointer_get_attributes)},
    Function{"cuMemcpyHtoD", 3020, entry_of(memcpy_to_device)},
    Function{"cuMemcpyAsync", 4000, entry_of(memcpy_async)},
    Function{"cuCtxGetStreamPriorityRange", 5050, entry_of(stream_priority_range)},
    Function{"cuStreamCreateWithPriority", 5050, entry_of(stream_create)},
    Function{"cuStreamDestroy", 4000, entry_of(stream_destroy)},
    Function{"cuStreamSynchronize", 2000, entry_of(stream_synchronize)},
    Function{"cuStreamIsCapturing", 10000, entry_of(stream_is_capturing)},
    Function{"cuStreamWaitEvent", 3020, entry_of(stream_wait_event)},
    Function{"cuEventCreate", 2000, entry_of(event_create)},
    Function{"cuEventDestroy", 4000, entry_of(event_destroy)},
    Function{"cuEventRecord", 2000, entry_of(event_record)},
    Function{"cuEventQuery", 2000, entry_of(event_query)},
    Function{"cuLaunchKernel", 4000, entry_of(launch_kernel)},
    Function{"cuMemGetHandleForAddressRange", 11070, entry_of(mem_get_handle)},
};

}  // namespace

void* find_function(const char* name, int version) {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  for (const Function& function : kFunctions) {
    // An interface younger than the driver is not there; one asked for by an age at which it was
    // another is another.
    if (function.name == name && state.hidden != name && function.since <= state.driver_version) {
      return version == function.since ? function.entry : nullptr;
    }
  }
  return nullptr;
}

}  // namespace godbox::test::fake_cuda
