// SPDX-License-Identifier: Apache-2.0
#include "system_error.h"
#include <godbox/driver/file_space.h>
#include <godbox/driver/machine_memory.h>
#include <godbox/driver/memfd_slab.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
// Left to the rest of the machine: the kernel needs some to free any.
constexpr std::uint64_t kMachineReserveBytes = std::uint64_t{256} << 20U;
constexpr std::size_t kCopyBytes = std::size_t{1} << 20U;

Result<void> check_machine(SizeBytes size) {
  const std::uint64_t available = available_memory_bytes().count();
  const std::uint64_t room = available - std::min(available, kMachineReserveBytes);
  if (size.count() <= room) {
    return {};
  }
  return Error(Errc::backing_full,
               fmt::format("{} MiB are asked for and this machine has {} MiB to give",
                           size.count() >> 20U, room >> 20U));
}

Error slab_error(std::string_view action, int error_number) {
  const Error error = memory_error(action, "a logical device's memory", error_number);
  return error_number == ENOMEM || error_number == ENOSPC ? Error(Errc::backing_full, error.detail)
         : error_number == EPERM                          ? Error(Errc::access_denied, error.detail)
                                                          : error;
}

}  // namespace

MemfdSlab::~MemfdSlab() { ::close(descriptor_); }

Result<std::shared_ptr<SlabMemory>> MemfdSlab::create(SizeBytes size) {
  if (size.is_zero() || size.count() % kPageBytes != 0) {
    return Error(Errc::invalid_argument, fmt::format("{} bytes are no whole pages", size.count()));
  }
  if (Result<void> there = check_machine(size); !there) {
    return there.error();
  }
  const int descriptor = ::memfd_create("godbox-logical-device", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) {
    return slab_error("create", errno);
  }
  std::shared_ptr<SlabMemory> memory(new MemfdSlab(descriptor, size));
  if (::ftruncate(descriptor, static_cast<off_t>(size.count())) != 0 ||
      ::fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    return slab_error("size and seal", errno);
  }
  return memory;
}

Result<void> MemfdSlab::discard(SizeBytes offset, SizeBytes size) {
  if (offset > size_ || size > size_ - offset) {
    return Error(Errc::out_of_range, fmt::format("{} bytes from {}: the device has {}",
                                                 size.count(), offset.count(), size_.count()));
  }
  if (size.is_zero()) {
    return {};
  }
  const int error_number = change_file_space(
      descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset.count(), size);
  return error_number == 0 ? Result<void>() : slab_error("give back", error_number);
}

Result<void> MemfdSlab::seal() {
  if (::fcntl(descriptor_, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) == 0) {
    return {};
  }
  return errno == EBUSY
             ? Error(Errc::write_in_flight, "a process has the device's memory mapped for writing")
             : slab_error("seal", errno);
}

Result<void> back_slab(int descriptor, SizeBytes offset, SizeBytes size) {
  if (Result<void> there = check_machine(size); !there) {
    return there;
  }
  const int error_number = change_file_space(descriptor, FALLOC_FL_KEEP_SIZE, offset.count(), size);
  return error_number == 0 ? Result<void>() : slab_error("back", error_number);
}

Result<void> copy_slab(int from, int to, SizeBytes offset, SizeBytes size) {
  std::vector<char> part(kCopyBytes);
  const auto end = static_cast<off_t>((offset + size).count());
  for (auto at = static_cast<off_t>(offset.count()); at < end;) {
    const auto wanted = std::min<std::size_t>(part.size(), static_cast<std::size_t>(end - at));
    const ssize_t got = ::pread(from, part.data(), wanted, at);
    if (got <= 0) {
      return slab_error("read", got == 0 ? EIO : errno);
    }
    for (ssize_t written = 0; written < got;) {
      const ssize_t put = ::pwrite(to, part.data() + written,
                                   static_cast<std::size_t>(got - written), at + written);
      if (put <= 0) {
        return slab_error("write", put == 0 ? EIO : errno);
      }
      written += put;
    }
    at += got;
  }
  return {};
}

}  // namespace godbox::driver
