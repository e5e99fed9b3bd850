// SPDX-License-Identifier: Apache-2.0
#include <godbox/perf/mapped_buffer.h>

#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

// Linux 6.1; absent from older C library headers.
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace godbox::perf {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kHugePageBytes = std::size_t{2} << 20U;
// A block that was just in use elsewhere collapses when it is asked for again.
constexpr int kCollapseTries = 2;

Error system_error(std::string_view what, SizeBytes size) {
  const std::error_code reason(errno, std::generic_category());
  return {Errc::io_error, fmt::format("{} of {} bytes: {}", what, size.count(), reason.message())};
}

// Maps at a multiple of a huge page, without which no huge page fits: reserves one more of address
// space, maps inside it, gives the ends back. MAP_FAILED with errno otherwise.
void* map_aligned(std::size_t size, int descriptor) {
  const std::size_t mapped = (size + kPageBytes - 1) / kPageBytes * kPageBytes;
  const std::size_t reserved = mapped + kHugePageBytes;
  void* const reservation =
      ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reservation == MAP_FAILED) {
    return MAP_FAILED;
  }
  auto* const begin = static_cast<std::byte*>(reservation);
  const std::size_t skew = reinterpret_cast<std::uintptr_t>(begin) % kHugePageBytes;
  std::byte* const aligned = begin + (kHugePageBytes - skew) % kHugePageBytes;
  const int kind = descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  if (::mmap(aligned, size, PROT_READ | PROT_WRITE, kind | MAP_FIXED, descriptor, 0) ==
      MAP_FAILED) {
    const int error_number = errno;
    ::munmap(reservation, reserved);
    errno = error_number;
    return MAP_FAILED;
  }
  if (aligned != begin) {
    ::munmap(begin, static_cast<std::size_t>(aligned - begin));
  }
  std::byte* const end = begin + reserved;
  ::munmap(aligned + mapped, static_cast<std::size_t>(end - aligned) - mapped);
  return aligned;
}

// Huge pages in the way of the box's own memory (driver/mem): one page of each block, so that the
// kernel looks at it, then one call for all. True if every whole block became one.
bool make_huge(MutableSpan bytes, int descriptor) {
  const std::size_t whole = bytes.size() / kHugePageBytes * kHugePageBytes;
  for (std::size_t block = 0; block < whole; block += kHugePageBytes) {
    if (::fallocate(descriptor, 0, static_cast<off_t>(block), kPageBytes) != 0) {
      return false;  // the caller meets the same error and reports it
    }
  }
  for (int i = 0; i < kCollapseTries && whole > 0; ++i) {
    if (::madvise(bytes.data(), whole, MADV_COLLAPSE) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<MappedBuffer> MappedBuffer::map(SizeBytes size, int descriptor) {
  MappedBuffer buffer;
  buffer.descriptor_ = descriptor;
  if (size.is_zero()) {
    return Error(Errc::invalid_argument, "a buffer of 0 bytes");
  }
  void* const address = map_aligned(size.count(), descriptor);
  if (address == MAP_FAILED) {
    return system_error("mapping", size);
  }
  buffer.bytes_ = {static_cast<std::byte*>(address), size.count()};
  (void)::madvise(buffer.bytes_.data(), buffer.bytes_.size(), MADV_HUGEPAGE);
  if (descriptor >= 0) {
    buffer.is_huge_ = make_huge(buffer.bytes_, descriptor);
    // fallocate answers "no memory" where a touch of a missing page would be a signal.
    if (::fallocate(descriptor, 0, 0, static_cast<off_t>(size.count())) != 0) {
      return system_error("allocating a memfd", size);
    }
  }
  // Non-zero, so that no copy of the zero page stands in for memory.
  for (std::size_t at = 0; at < buffer.bytes_.size(); at += kPageBytes) {
    buffer.bytes_[at] = std::byte{1};
  }
  return buffer;
}

Result<MappedBuffer> MappedBuffer::anonymous(SizeBytes size) { return map(size, -1); }

Result<MappedBuffer> MappedBuffer::memfd(SizeBytes size) {
  const int descriptor = ::memfd_create("godbox-perf", MFD_CLOEXEC);
  if (descriptor < 0) {
    return system_error("memfd", size);
  }
  if (::ftruncate(descriptor, static_cast<off_t>(size.count())) != 0) {
    Error error = system_error("sizing a memfd", size);
    ::close(descriptor);
    return error;
  }
  return map(size, descriptor);
}

MappedBuffer::~MappedBuffer() {
  if (!bytes_.empty()) {
    ::munmap(bytes_.data(), bytes_.size());
  }
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

MappedBuffer::MappedBuffer(MappedBuffer&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)),
      is_huge_(std::exchange(other.is_huge_, false)) {}

MappedBuffer& MappedBuffer::operator=(MappedBuffer&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(is_huge_, other.is_huge_);
  return *this;
}

}  // namespace godbox::perf
