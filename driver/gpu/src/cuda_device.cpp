// SPDX-License-Identifier: Apache-2.0
#include "cuda_device.h"

#include "cuda_queue.h"
#include "ranges.h"
#include <godbox/assert.h>
#include <godbox/driver/dma_buf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include <unistd.h>

namespace godbox::driver {
namespace {

std::uint64_t address(const std::byte* at) { return reinterpret_cast<std::uintptr_t>(at); }

bool contains(const Ranges& ranges, ConstSpan memory) {
  const auto behind = ranges.upper_bound(memory.data());
  if (behind == ranges.begin()) {
    return false;
  }
  const auto& [begin, size] = *std::prev(behind);
  return memory.data() + memory.size() <= begin + size;
}

bool contains(const Registrations& registrations, ConstSpan memory) {
  return std::any_of(registrations.begin(), registrations.end(), [memory](const auto& one) {
    return one.first <= memory.data() && memory.data() + memory.size() <= one.first + one.second;
  });
}

MutableSpan pages_of(MutableSpan memory) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
  const std::uintptr_t before = begin % page;
  const std::uintptr_t size = (before + memory.size() + page - 1) / page * page;
  return {memory.data() - before, size};
}

MutableSpan common(MutableSpan a, MutableSpan b) {
  std::byte* const begin = std::max(a.data(), b.data());
  std::byte* const end = std::min(a.data() + a.size(), b.data() + b.size());
  return begin < end ? MutableSpan(begin, end) : MutableSpan();
}

// The first run of `memory` that is in none of the ranges; empty if all of it is.
MutableSpan first_gap(const Ranges& ranges, MutableSpan memory) {
  std::byte* at = memory.data();
  std::byte* const end = at + memory.size();
  auto next = ranges.upper_bound(at);
  if (next != ranges.begin()) {
    const auto& [begin, size] = *std::prev(next);
    at += std::max<std::ptrdiff_t>(0, begin + size - at);
  }
  while (next != ranges.end() && next->first == at) {
    at += next->second;
    ++next;
  }
  if (at >= end) {
    return {};
  }
  const std::size_t until =
      next == ranges.end() ? memory.size() : static_cast<std::size_t>(next->first - at);
  return {at, std::min(until, static_cast<std::size_t>(end - at))};
}

enum class Mapped : std::uint8_t { nowhere, for_reading, for_writing };

// for_reading: none of it may be written; for_writing: all of it; nowhere: neither.
Mapped mapped_as(ConstSpan memory) {
  std::ifstream maps("/proc/self/maps");
  std::uintptr_t at = address(memory.data());
  const std::uintptr_t end = at + memory.size();
  bool is_read_only = true, is_writable = true;
  for (std::string line; at < end && std::getline(maps, line);) {
    std::istringstream fields(line);
    std::uintptr_t first = 0, last = 0;
    char dash = 0;
    std::string rights;
    fields >> std::hex >> first >> dash >> last >> rights;
    if (first <= at && at < last && rights.starts_with('r')) {
      const bool may_write = rights.starts_with("rw");
      is_read_only = is_read_only && !may_write;
      is_writable = is_writable && may_write;
      at = last;
    }
  }
  if (at < end || (!is_read_only && !is_writable)) {
    return Mapped::nowhere;
  }
  return is_writable ? Mapped::for_writing : Mapped::for_reading;
}

class CudaDevice final : public DeviceMemory {
 public:
  explicit CudaDevice(std::shared_ptr<CudaContext> context)
      : context_(std::move(context)), driver_(context_->driver()) {}
  ~CudaDevice() override {
    // Memory is released before its device goes.
    GODBOX_ASSERT(allocated_.empty() && staging_.empty() && registered_.empty());
  }
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  DeviceKind kind() const override { return DeviceKind::cuda; }
  std::string name() const override { return context_->name(); }

  Result<MutableSpan> allocate(SizeBytes size) override;
  void release(MutableSpan memory) override;
  Result<MutableSpan> allocate_staging(SizeBytes size) override;
  void release_staging(MutableSpan memory) override;
  Result<void> register_host(MutableSpan memory) override;
  void unregister_host(MutableSpan memory) override;
  bool reaches(ConstSpan memory) const override;

  Result<std::unique_ptr<DeviceQueue>> make_queue() override { return CudaQueue::make(context_); }
  Result<std::unique_ptr<DeviceEvent>> make_event() override { return CudaEvent::make(context_); }

  Result<DmaBuf> export_dma_buf(ConstSpan memory) const;

 private:
  struct Reach {
    bool is_device = false, is_host = false;
    const std::byte* begin = nullptr;  // of the allocation
    const std::byte* end = nullptr;
  };
  [[nodiscard]] Reach reach_of(const std::byte* at) const;
  [[nodiscard]] bool is_reached(ConstSpan memory) const;  // as the driver knows
  [[nodiscard]] Result<void> pin(MutableSpan pages);
  [[nodiscard]] Result<void> pin_what_is_not(MutableSpan memory);
  void unpin_unused(MutableSpan memory);
  MutableSpan remember(void* at, SizeBytes size, Ranges& into);
  void forget(MutableSpan memory, Ranges& from);
  [[nodiscard]] bool is_ours(ConstSpan memory) const;  // given out or registered here
  [[nodiscard]] Error full(Errc code, const char* call, CUresult result, SizeBytes size) const;
  // For calls that free: what they answer is of a device that was lost, now or then (one that the
  // engine has reset no longer knows what was there), and nothing is left to be done about it.
  void note_freed(const char* call, CUresult result) const {
    if (result != CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED) {
      (void)context_->code_of(call, result);
    }
  }

  const std::shared_ptr<CudaContext> context_;
  const CudaDriver& driver_;
  std::mutex registration_mutex_;
  mutable std::mutex mutex_;  // of the ranges
  Ranges allocated_, staging_;
  Registrations registered_;
  Ranges pinned_;  // whole pages, for what is registered
};

MutableSpan CudaDevice::remember(void* at, SizeBytes size, Ranges& into) {
  const MutableSpan memory(static_cast<std::byte*>(at), size.count());
  const std::lock_guard lock(mutex_);
  into.emplace(memory.data(), memory.size());
  return memory;
}

void CudaDevice::forget(MutableSpan memory, Ranges& from) {
  const std::lock_guard lock(mutex_);
  driver::forget(memory, from);
}

Error CudaDevice::full(Errc code, const char* call, CUresult result, SizeBytes size) const {
  Error error = context_->failure(call, result, code);
  if (error.code == code) {
    error.detail = std::to_string(size.count()) + " bytes were asked for: " + error.detail;
  }
  return error;
}

Result<MutableSpan> CudaDevice::allocate(SizeBytes size) {
  if (size.is_zero()) {
    return Error(Errc::invalid_argument, "0 bytes were asked for");
  }
  const CudaContext::Current current(*context_);
  if (context_->is_lost()) {
    return context_->lost();
  }
  CUdeviceptr at = 0;
  const CUresult result = driver_.cuMemAlloc(&at, size.count());
  if (result != CUDA_SUCCESS) {
    return full(Errc::device_memory_full, "cuMemAlloc", result, size);
  }
  return remember(reinterpret_cast<void*>(static_cast<std::uintptr_t>(at)), size, allocated_);
}

void CudaDevice::release(MutableSpan memory) {
  forget(memory, allocated_);
  const CudaContext::Current current(*context_);
  if (current.works()) {
    note_freed("cuMemFree", driver_.cuMemFree(address(memory.data())));
  }
}

Result<MutableSpan> CudaDevice::allocate_staging(SizeBytes size) {
  if (size.is_zero()) {
    return Error(Errc::invalid_argument, "0 bytes were asked for");
  }
  const CudaContext::Current current(*context_);
  if (context_->is_lost()) {
    return context_->lost();
  }
  void* at = nullptr;
  const CUresult result = driver_.cuMemHostAlloc(
      &at, size.count(), CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
  if (result != CUDA_SUCCESS) {
    return full(Errc::limit_exceeded, "cuMemHostAlloc", result, size);
  }
  return remember(at, size, staging_);
}

void CudaDevice::release_staging(MutableSpan memory) {
  forget(memory, staging_);
  const CudaContext::Current current(*context_);
  if (current.works()) {
    note_freed("cuMemFreeHost", driver_.cuMemFreeHost(memory.data()));
  }
}

Result<void> CudaDevice::pin(MutableSpan pages) {
  constexpr unsigned kFlags = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP;
  const SizeBytes size(pages.size());
  CUresult result = driver_.cuMemHostRegister(pages.data(), pages.size(), kFlags);
  std::string first;
  // Mappings that are only for reading, as those of sealed objects are. No others: the driver gives
  // the same answers where it can pin no more, and a write to what was pinned so ends the context.
  const bool is_refused = result == CUDA_ERROR_INVALID_VALUE ||
                          result == CUDA_ERROR_OPERATING_SYSTEM ||
                          result == CUDA_ERROR_NOT_PERMITTED;
  const Mapped mapped = is_refused ? mapped_as(pages) : Mapped::nowhere;
  if (mapped == Mapped::for_reading && context_->registers_read_only()) {
    first = driver_.describe("cuMemHostRegister", result) + ", and for reading only ";
    result = driver_.cuMemHostRegister(pages.data(), pages.size(),
                                       kFlags | CU_MEMHOSTREGISTER_READ_ONLY);
  }
  if (result == CUDA_SUCCESS) {
    const std::lock_guard lock(mutex_);
    pinned_.emplace(pages.data(), pages.size());
    return {};
  }
  Errc code = Errc::unsupported;
  if (result == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED) {
    code = Errc::invalid_argument;
  } else if (result == CUDA_ERROR_OUT_OF_MEMORY || mapped == Mapped::for_writing) {
    code = Errc::limit_exceeded;
  }
  Error error = full(code, "cuMemHostRegister", result, size);
  if (error.code == code && !first.empty()) {
    error.detail = std::to_string(size.count()) + " bytes were asked for: " + first +
                   driver_.describe("cuMemHostRegister", result);
  } else if (error.code == code && mapped == Mapped::for_writing) {
    error.detail += "; they are there to be written, so the system may not pin as much";
  }
  return error;
}

// CUDA pins whole pages, each once: what is pinned for another registration serves this one too,
// and what somebody else in the process has pinned or allocated is reached as it is.
Result<void> CudaDevice::pin_what_is_not(MutableSpan memory) {
  const MutableSpan pages = pages_of(memory);
  std::byte* at = pages.data();
  std::byte* const end = at + pages.size();
  while (at < end) {
    const MutableSpan gap = [&] {
      const std::lock_guard lock(mutex_);
      return first_gap(pinned_, {at, static_cast<std::size_t>(end - at)});
    }();
    if (gap.empty()) {
      return {};
    }
    if (!is_reached(common(gap, memory))) {
      if (auto pinned = pin(gap); !pinned) {
        return pinned;
      }
    }
    at = gap.data() + gap.size();
  }
  return {};
}

// Gives back the pages that hold nothing any more that is registered.
void CudaDevice::unpin_unused(MutableSpan memory) {
  std::vector<std::byte*> unused;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [begin, size] : pinned_) {
      const MutableSpan pages(const_cast<std::byte*>(begin), size);
      if (!common(pages, pages_of(memory)).empty() && !overlaps(registered_, pages)) {
        unused.push_back(pages.data());
      }
    }
    for (const std::byte* const begin : unused) {
      pinned_.erase(begin);
    }
  }
  const CudaContext::Current current(*context_);
  for (std::byte* const begin : unused) {
    if (current.works()) {
      note_freed("cuMemHostUnregister", driver_.cuMemHostUnregister(begin));
    }
  }
}

Result<void> CudaDevice::register_host(MutableSpan memory) {
  if (memory.empty() || memory.data() == nullptr) {
    return Error(Errc::invalid_argument, "memory to register is empty");
  }
  const CudaContext::Current current(*context_);
  if (context_->is_lost()) {
    return context_->lost();
  }
  // One after another, and not with the ranges locked: pinning takes seconds where there is much.
  const std::lock_guard registration(registration_mutex_);
  auto pinned = pin_what_is_not(memory);
  if (pinned) {
    const std::lock_guard lock(mutex_);
    registered_.emplace(memory.data(), memory.size());
  } else {
    unpin_unused(memory);
  }
  return pinned;
}

void CudaDevice::unregister_host(MutableSpan memory) {
  const std::lock_guard registration(registration_mutex_);
  {
    const std::lock_guard lock(mutex_);
    driver::forget(memory, registered_);
  }
  unpin_unused(memory);
}

CudaDevice::Reach CudaDevice::reach_of(const std::byte* at) const {
  unsigned type = 0;  // CUmemorytype
  int ordinal = -1;
  CUdeviceptr device_address = 0, begin = 0;
  std::size_t size = 0;
  std::array attributes{CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
                        CU_POINTER_ATTRIBUTE_DEVICE_POINTER, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
                        CU_POINTER_ATTRIBUTE_RANGE_SIZE};
  std::array<void*, attributes.size()> values{&type, &ordinal, &device_address, &begin, &size};
  if (driver_.cuPointerGetAttributes(static_cast<unsigned>(attributes.size()), attributes.data(),
                                     values.data(), address(at)) != CUDA_SUCCESS) {
    return {};
  }
  Reach reach;
  reach.is_device = type == CU_MEMORYTYPE_DEVICE && ordinal == context_->ordinal();
  // Host memory that was pinned without a place among the device's addresses is out of reach.
  reach.is_host = type == CU_MEMORYTYPE_HOST && device_address == address(at);
  reach.begin = reinterpret_cast<const std::byte*>(static_cast<std::uintptr_t>(begin));
  reach.end = reach.begin + size;
  return reach;
}

bool CudaDevice::reaches(ConstSpan memory) const {
  if (memory.empty() || memory.data() == nullptr || context_->is_lost()) {
    return false;
  }
  if (is_ours(memory)) {
    return true;
  }
  const CudaContext::Current current(*context_);
  return current.works() && is_reached(memory);
}

bool CudaDevice::is_ours(ConstSpan memory) const {
  const std::lock_guard lock(mutex_);
  return contains(allocated_, memory) || contains(staging_, memory) ||
         contains(registered_, memory);
}

// Memory that was mapped in parts, as PyTorch's growing segments are, is one range per part.
bool CudaDevice::is_reached(ConstSpan memory) const {
  const std::byte* at = memory.data();
  const std::byte* const end = at + memory.size();
  while (at < end) {
    const Reach reach = reach_of(at);
    if (!(reach.is_device || reach.is_host) || reach.begin > at || reach.end <= at) {
      return false;
    }
    at = reach.end;
  }
  return true;
}

Result<DmaBuf> CudaDevice::export_dma_buf(ConstSpan memory) const {
  const CudaContext::Current current(*context_);
  if (context_->is_lost()) {
    return context_->lost();
  }
  if (memory.empty() || !reach_of(memory.data()).is_device || !reaches(memory)) {
    return Error(Errc::invalid_argument, "memory to export is not of " + context_->name());
  }
  if (driver_.cuMemGetHandleForAddressRange == nullptr) {
    return Error(Errc::unsupported, "the CUDA driver exports no dma-buf: 11.7 or later does");
  }
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const std::uint64_t begin = address(memory.data()) / page * page;
  const std::uint64_t end = (address(memory.data()) + memory.size() + page - 1) / page * page;
  int descriptor = -1;
  const CUresult result = driver_.cuMemGetHandleForAddressRange(
      &descriptor, begin, end - begin, CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0);
  if (result == CUDA_SUCCESS) {
    return DmaBuf(descriptor, SizeBytes(address(memory.data()) - begin));
  }
  return context_->failure("cuMemGetHandleForAddressRange", result, Errc::unsupported);
}

// A device that computes another CRC than it should does not work. And what the driver does when a
// kernel runs for the first time, for which it may wait for the device, is done here, before there
// is any work.
Result<void> try_out(DeviceMemory& device) {
  constexpr std::string_view kText = "123456789";  // RFC 3720: its CRC32C is 0xE3069283
  constexpr auto kLength = static_cast<std::uint32_t>(kText.size());
  const auto memory = device.allocate_staging(4_KiB);
  if (!memory) {
    return memory.error();
  }
  auto queue = device.make_queue();
  if (!queue) {
    device.release_staging(*memory);
    return queue.error();
  }
  std::byte* const at = memory->data();
  std::memcpy(at, kText.data(), kText.size());
  const MovePiece first{at + 100, at, kLength};
  const MovePiece second{at + 200, at + 100, kLength};
  std::array crc{CrcBlock{kLength, 0}};
  const bool is_queued =
      (*queue)->move({&first, 1}, {}) == Errc::ok && (*queue)->move({&second, 1}, crc) == Errc::ok;
  queue->reset();  // waits for its work
  const bool is_right = is_queued && crc[0].crc32c == 0xE3069283U &&
                        std::memcmp(at + 200, kText.data(), kText.size()) == 0;
  device.release_staging(*memory);
  if (is_right) {
    return {};
  }
  const auto probed = device.make_event();  // a device that was lost says why
  return probed ? Error(Errc::device_missing, "its kernels do not compute what they should")
                : probed.error();
}

}  // namespace

Result<std::unique_ptr<DeviceMemory>> make_cuda_device(const CudaDeviceOptions& options) {
  auto context = CudaContext::open(options.library, options.ordinal, options.tuning);
  if (!context) {
    return context.error();
  }
  auto device = std::make_unique<CudaDevice>(std::move(*context));
  if (auto tried = try_out(*device); !tried) {
    const Errc why = tried.error().code;
    const bool may_pass = why == Errc::device_memory_full || why == Errc::limit_exceeded;
    return Error(may_pass ? why : Errc::device_missing,
                 device->name() + " does not work: " + tried.error().detail);
  }
  return std::unique_ptr<DeviceMemory>(std::move(device));
}

Result<DmaBuf> export_dma_buf(const DeviceMemory& device, ConstSpan memory) {
  const auto* const cuda = dynamic_cast<const CudaDevice*>(&device);
  if (cuda == nullptr) {
    return Error(Errc::unsupported, "only memory of a CUDA device is exported as a dma-buf");
  }
  return cuda->export_dma_buf(memory);
}

}  // namespace godbox::driver
