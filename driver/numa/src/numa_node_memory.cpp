// SPDX-License-Identifier: Apache-2.0
#include "numa_system.h"
#include <godbox/driver/file_space.h>
#include <godbox/driver/numa_node_memory.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace godbox::driver {
Result<std::unique_ptr<NumaNodeMemory>> NumaNodeMemory::create(NumaNodeId node, SizeBytes size) {
  if (size.is_zero() || size.count() % kNumaPageBytes != 0) {
    return Error(Errc::invalid_argument, fmt::format("{} bytes is no positive multiple of {}",
                                                     size.count(), kNumaPageBytes));
  }
  const Result<NumaNode> there = numa_node(node);
  if (!there) {
    return there.error();
  }
  if (there->size < size) {
    return Error(Errc::out_of_range, fmt::format("NUMA node {} has {} bytes, fewer than the {} "
                                                 "wanted",
                                                 node.value(), there->size.count(), size.count()));
  }
  const int descriptor = memfd_create("godbox-numa-node", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) {
    return numa_error("create a memfd", errno);
  }
  std::unique_ptr<NumaNodeMemory> memory(new NumaNodeMemory(node, size, descriptor));
  if (ftruncate(descriptor, static_cast<off_t>(size.count())) != 0 ||
      fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return numa_error(fmt::format("size and seal a memfd of {} bytes", size.count()), errno);
  }
  if (auto mapped = memory->map_and_bind(); !mapped) {
    return mapped.error();
  }
  return memory;
}

NumaNodeMemory::~NumaNodeMemory() {
  if (data_ != nullptr) {
    munmap(data_, size_.count());
  }
  close(descriptor_);
}

SizeBytes NumaNodeMemory::backing_granularity() const { return SizeBytes(kNumaPageBytes); }

// The policy of a shared mapping belongs to the memory: it holds for all who map it.
Result<void> NumaNodeMemory::map_and_bind() {
  void* const at = mmap(nullptr, size_.count(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                        descriptor_, 0);
  if (at == MAP_FAILED) {
    return numa_error(fmt::format("map {} bytes", size_.count()), errno);
  }
  data_ = static_cast<std::byte*>(at);
  const std::array nodes{node_};
  return bind_memory(MutableSpan(data_, size_.count()), NumaPolicy::bind, nodes);
}

Result<void> NumaNodeMemory::check_range(DramOffset offset, SizeBytes size) const {
  const bool is_inside =
      offset.count() <= size_.count() && size.count() <= size_.count() - offset.count();
  if (!is_inside || offset.count() % kNumaPageBytes != 0 || size.count() % kNumaPageBytes != 0) {
    return Error(Errc::out_of_range,
                 fmt::format("[{}, +{}) is not made of whole pages of the node's {} bytes",
                             offset.count(), size.count(), size_.count()));
  }
  return {};
}

// What is present already costs nothing and is never refused.
Result<void> NumaNodeMemory::check_node(DramOffset offset, SizeBytes size) const {
  const Result<NumaNode> node = numa_node(node_);
  if (!node) {
    return node.error();
  }
  const std::uint64_t kept = node_reserve(node->size).count();
  if (node->available.count() >= size.count() + kept) {
    return {};
  }
  const off_t hole = lseek(descriptor_, static_cast<off_t>(offset.count()), SEEK_HOLE);
  if (hole >= 0 && static_cast<std::uint64_t>(hole) >= offset.count() + size.count()) {
    return {};
  }
  return Error(Errc::backing_full,
               fmt::format("{} bytes wanted, NUMA node {} has {} available and keeps {}",
                           size.count(), node_.value(), node->available.count(), kept));
}

Result<void> NumaNodeMemory::back(DramOffset offset, SizeBytes size) {
  if (auto checked = check_range(offset, size); !checked || size.is_zero()) {
    return checked;
  }
  if (auto checked = check_node(offset, size); !checked) {
    return checked;
  }
  const int error_number = change_file_space(descriptor_, 0, offset.count(), size);
  if (error_number != 0) {
    return numa_error(fmt::format("back {} bytes on NUMA node {}", size.count(), node_.value()),
                      error_number == ENOMEM ? ENOSPC : error_number);
  }
  // Page tables now rather than on the data path; without it (Linux before 5.14) all still works.
  (void)madvise(data_ + offset.count(), size.count(), MADV_POPULATE_WRITE);
  return {};
}

Result<void> NumaNodeMemory::discard(DramOffset offset, SizeBytes size) {
  if (auto checked = check_range(offset, size); !checked || size.is_zero()) {
    return checked;
  }
  const int error_number = change_file_space(
      descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset.count(), size);
  if (error_number != 0) {
    return numa_error(fmt::format("give back {} bytes", size.count()), error_number);
  }
  return {};
}

}  // namespace godbox::driver
