// SPDX-License-Identifier: Apache-2.0
#include "state.h"

#include <fstream>
#include <sstream>

#include <sys/mman.h>
#include <unistd.h>

namespace godbox::test::fake_cuda {
namespace {

std::size_t whole_pages(std::size_t size) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}

// Whether all of it is mapped, and for writing too where that is asked.
bool is_mapped(std::uintptr_t begin, std::size_t size, bool is_write) {
  std::ifstream maps("/proc/self/maps");
  std::uintptr_t at = begin;
  for (std::string line; std::getline(maps, line) && at < begin + size;) {
    std::istringstream fields(line);
    std::uintptr_t first = 0, last = 0;
    char dash = 0;
    std::string rights;
    fields >> std::hex >> first >> dash >> last >> rights;
    if (first <= at && at < last && rights[0] == 'r' && (!is_write || rights[1] == 'w')) {
      at = last;
    }
  }
  return at >= begin + size;
}

}  // namespace

// The pages of a file, mapped twice: where the caller has its pointer nobody may touch them.
CUresult Memory::allocate(std::size_t size, CUdeviceptr* at) {
  const std::lock_guard lock(mutex_);
  if (size > free_bytes()) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  const int descriptor = memfd_create("fake_cuda", MFD_CLOEXEC);
  if (descriptor < 0 || ftruncate(descriptor, static_cast<off_t>(whole_pages(size))) != 0) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  // A page more, so that what is behind it is never another's that the device reaches.
  void* const shown = mmap(nullptr, whole_pages(size + 1), PROT_NONE, MAP_SHARED, descriptor, 0);
  void* const reached =
      mmap(nullptr, whole_pages(size), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (shown == MAP_FAILED || reached == MAP_FAILED) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(shown);
  ranges_[begin] = {.kind = RangeKind::device,
                    .begin = begin,
                    .size = size,
                    .reached_at = static_cast<std::byte*>(reached),
                    .is_read_only = false,
                    .descriptor = descriptor};
  *at = begin;
  return CUDA_SUCCESS;
}

CUresult Memory::pin(std::size_t size, void** at) {
  const std::lock_guard lock(mutex_);
  if (size > max_) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  void* const mapped =
      mmap(nullptr, whole_pages(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped);
  ranges_[begin] = {.kind = RangeKind::pinned,
                    .begin = begin,
                    .size = size,
                    .reached_at = static_cast<std::byte*>(mapped)};
  *at = mapped;
  return CUDA_SUCCESS;
}

CUresult Memory::add_host(void* at, std::size_t size, bool is_read_only) {
  // Whole pages, whatever was asked for.
  auto begin = reinterpret_cast<std::uintptr_t>(at);
  const std::uintptr_t inside = begin % whole_pages(1);
  begin -= inside;
  size = size == 0 ? 0 : whole_pages(inside + size);
  if (size == 0 || !is_mapped(begin, size, !is_read_only)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  const std::lock_guard lock(mutex_);
  if (!is_read_only && size > max_) {
    return CUDA_ERROR_INVALID_VALUE;  // the answer where no more can be pinned, too
  }
  const auto behind = ranges_.lower_bound(begin + size);
  if (behind != ranges_.begin()) {
    const Range& before = std::prev(behind)->second;
    if (before.begin + before.size > begin) {
      return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    }
  }
  ranges_[begin] = {.kind = RangeKind::registered,
                    .begin = begin,
                    .size = size,
                    .reached_at = reinterpret_cast<std::byte*>(begin),
                    .is_read_only = is_read_only};
  return CUDA_SUCCESS;
}

void Memory::unmap(const Range& range) {
  if (range.kind == RangeKind::registered) {
    return;
  }
  (void)munmap(range.reached_at, whole_pages(range.size));
  if (range.kind == RangeKind::device) {
    (void)munmap(reinterpret_cast<void*>(range.begin), whole_pages(range.size + 1));
    (void)close(range.descriptor);
  }
}

CUresult Memory::remove(std::uintptr_t at, RangeKind kind) {
  const std::lock_guard lock(mutex_);
  const auto found = ranges_.find(at);
  if (found == ranges_.end() || found->second.kind != kind) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  unmap(found->second);
  ranges_.erase(found);
  return CUDA_SUCCESS;
}

const Range* Memory::range_of(std::uintptr_t at) const {
  const auto behind = ranges_.upper_bound(at);
  if (behind == ranges_.begin()) {
    return nullptr;
  }
  const Range& range = std::prev(behind)->second;
  return at < range.begin + range.size ? &range : nullptr;
}

std::optional<Range> Memory::find(std::uintptr_t at) const {
  const std::lock_guard lock(mutex_);
  const Range* const range = range_of(at);
  return range == nullptr ? std::nullopt : std::optional<Range>(*range);
}

// A kernel goes on from registered pages to those beside them.
std::byte* Memory::reach(std::uintptr_t at, std::size_t size, bool is_write) const {
  const std::lock_guard lock(mutex_);
  const Range* const first = range_of(at);
  const Range* range = first;
  while (range != nullptr && !(is_write && range->is_read_only)) {
    const std::uintptr_t end = range->begin + range->size;
    if (at + size <= end) {
      return first->reached_at + (at - first->begin);
    }
    const Range* const next = range_of(end);
    const bool goes_on = next != nullptr && range->kind == RangeKind::registered &&
                         next->kind == RangeKind::registered;
    range = goes_on ? next : nullptr;
  }
  return nullptr;
}

std::size_t Memory::count(RangeKind kind) const {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& [begin, range] : ranges_) {
    count += range.kind == kind ? 1 : 0;
  }
  return count;
}

std::size_t Memory::free_bytes() const {
  std::size_t used = 0;
  for (const auto& [begin, range] : ranges_) {
    used += range.kind == RangeKind::device ? range.size : 0;
  }
  return max_ > used ? max_ - used : 0;
}

std::pair<std::size_t, std::size_t> Memory::free_and_total() const {
  const std::lock_guard lock(mutex_);
  return {free_bytes(), max_};
}

void Memory::set_max(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  max_ = bytes;
}

void Memory::unregister_all() {
  const std::lock_guard lock(mutex_);
  std::erase_if(ranges_, [](const auto& e) { return e.second.kind == RangeKind::registered; });
}

void Memory::clear() {
  const std::lock_guard lock(mutex_);
  for (const auto& [begin, range] : ranges_) {
    unmap(range);
  }
  ranges_.clear();
  max_ = std::size_t{4} << 30U;
}

}  // namespace godbox::test::fake_cuda
