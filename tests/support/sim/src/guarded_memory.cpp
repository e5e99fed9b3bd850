// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/sim/guarded_memory.h>

#include <sys/mman.h>

namespace godbox::sim {

namespace {

constexpr SizeBytes kGuard{std::uint64_t{64} << 10U};

}  // namespace

GuardedMemory::GuardedMemory(SizeBytes size, SizeBytes granularity)
    : size_(size), granularity_(granularity), mapped_(size + kGuard * 2) {
  GODBOX_ASSERT((size % granularity).is_zero() && (granularity % SizeBytes(4096)).is_zero());
  void* mapping = ::mmap(nullptr, mapped_.count(), PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  GODBOX_ASSERT(mapping != MAP_FAILED);
  mapping_ = static_cast<std::byte*>(mapping);
  data_ = mapping_ + kGuard.count();
  present_.resize(size / granularity);
}

GuardedMemory::~GuardedMemory() { ::munmap(mapping_, mapped_.count()); }

Result<void> GuardedMemory::check(DramOffset offset, SizeBytes size) const {
  if (offset.count() > size_.count() || size.count() > size_.count() - offset.count() ||
      offset.count() % granularity_.count() != 0 || size.count() % granularity_.count() != 0) {
    return Error(Errc::out_of_range, "range of a guarded memory");
  }
  return {};
}

Result<void> GuardedMemory::back(DramOffset offset, SizeBytes size) {
  if (Result<void> checked = check(offset, size); !checked) {
    return checked;
  }
  if (refusals_left_ > 0) {
    --refusals_left_;
    ++refusals_;
    return Error(Errc::backing_full, "the test refuses");
  }
  const std::uint64_t first = offset.count() / granularity_.count();
  for (std::uint64_t i = first; i < first + size / granularity_; ++i) {
    backed_ += present_[i] ? SizeBytes() : granularity_;
    present_[i] = true;
  }
  GODBOX_ASSERT(::mprotect(data_ + offset.count(), size.count(), PROT_READ | PROT_WRITE) == 0);
  return {};
}

Result<void> GuardedMemory::discard(DramOffset offset, SizeBytes size) {
  if (Result<void> checked = check(offset, size); !checked) {
    return checked;
  }
  const std::uint64_t first = offset.count() / granularity_.count();
  for (std::uint64_t i = first; i < first + size / granularity_; ++i) {
    backed_ -= present_[i] ? granularity_ : SizeBytes();
    present_[i] = false;
  }
  GODBOX_ASSERT(::madvise(data_ + offset.count(), size.count(), MADV_DONTNEED) == 0);
  GODBOX_ASSERT(::mprotect(data_ + offset.count(), size.count(), PROT_NONE) == 0);
  return {};
}

}  // namespace godbox::sim
