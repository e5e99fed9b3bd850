// SPDX-License-Identifier: Apache-2.0
#include <godbox/perf/mapped_buffer.h>

#include <fmt/format.h>

#include <cerrno>
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

Error system_error(std::string_view what, SizeBytes size) {
  const std::error_code reason(errno, std::generic_category());
  return {Errc::io_error, fmt::format("{} of {} bytes: {}", what, size.count(), reason.message())};
}

}  // namespace

Result<MappedBuffer> MappedBuffer::map(SizeBytes size, int descriptor) {
  MappedBuffer buffer;
  buffer.descriptor_ = descriptor;
  if (size.is_zero()) {
    return Error(Errc::invalid_argument, "a buffer of 0 bytes");
  }
  const int flags = descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* address = ::mmap(nullptr, size.count(), PROT_READ | PROT_WRITE, flags, descriptor, 0);
  if (address == MAP_FAILED) {
    return system_error("mapping", size);
  }
  buffer.bytes_ = {static_cast<std::byte*>(address), size.count()};
  // fallocate answers "no memory" where a touch of a missing page would be a signal.
  if (descriptor >= 0 && ::fallocate(descriptor, 0, 0, static_cast<off_t>(size.count())) != 0) {
    return system_error("allocating a memfd", size);
  }
  if (descriptor >= 0) {
    // Huge pages as the box's own memory has (driver/mem); a kernel without them refuses.
    (void)::madvise(address, size.count(), MADV_COLLAPSE);
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
    : bytes_(std::exchange(other.bytes_, {})), descriptor_(std::exchange(other.descriptor_, -1)) {}

MappedBuffer& MappedBuffer::operator=(MappedBuffer&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

}  // namespace godbox::perf
