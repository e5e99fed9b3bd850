// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox_test/private_cache_target.h>

#include <cstdlib>
#include <cstring>

namespace godbox::test {
namespace {

// Calls use(offset) for each line with a byte of `range`, which lies in [base, ...).
template <class Use>
void for_lines(const std::byte* base, ConstSpan range, Use&& use) {
  if (range.empty()) {
    return;
  }
  const auto begin = static_cast<std::size_t>(range.data() - base);
  for (std::size_t at = begin / kCacheLineBytes * kCacheLineBytes; at < begin + range.size();
       at += kCacheLineBytes) {
    use(at);
  }
}

}  // namespace

void PrivateCacheTarget::Free::operator()(std::byte* bytes) const { std::free(bytes); }

PrivateCacheTarget::Bytes PrivateCacheTarget::copy_of(ConstSpan bytes) {
  Bytes copy(static_cast<std::byte*>(std::aligned_alloc(4096, bytes.size())));
  GODBOX_ASSERT(copy != nullptr);
  std::memcpy(copy.get(), bytes.data(), bytes.size());
  return copy;
}

PrivateCacheTarget::PrivateCacheTarget(SharedLines& memory, CacheFaults* faults)
    : memory_(memory.bytes()),
      faults_(faults),
      cached_(copy_of(memory_)),
      clean_(copy_of(memory_)) {
  GODBOX_ASSERT(memory_.size() % 4096 == 0);
}

SizeBytes PrivateCacheTarget::size() const { return SizeBytes(memory_.size()); }

Result<void> PrivateCacheTarget::check(DramOffset offset, SizeBytes size) const {
  const bool is_whole = offset.count() % 4096 == 0 && size.count() % 4096 == 0;
  if (!is_whole || offset.count() > memory_.size() ||
      size.count() > memory_.size() - offset.count()) {
    return Error(Errc::out_of_range, "private cache: range is not aligned or not inside");
  }
  return {};
}

Result<void> PrivateCacheTarget::back(DramOffset offset, SizeBytes size) {
  return check(offset, size);
}

Result<void> PrivateCacheTarget::discard(DramOffset offset, SizeBytes size) {
  if (auto checked = check(offset, size); !checked) {
    return checked;
  }
  return Error(Errc::unsupported, "private cache: memory of a device cannot be given back");
}

void PrivateCacheTarget::write_back(std::size_t at) const {
  std::memcpy(memory_.data() + at, cached_.get() + at, kCacheLineBytes);
  std::memcpy(clean_.get() + at, cached_.get() + at, kCacheLineBytes);
}

void PrivateCacheTarget::flush(ConstSpan range) const {
  if (faults_ != nullptr) {
    ++faults_->flushes;
    if (faults_->drops_flush) {
      return;
    }
  }
  // A store of what was there before makes a line dirty too, and cannot be seen here: all count.
  for_lines(cached_.get(), range, [this](std::size_t at) { write_back(at); });
}

void PrivateCacheTarget::invalidate(ConstSpan range) const {
  if (faults_ != nullptr) {
    ++faults_->invalidates;
    if (faults_->drops_invalidate) {
      return;
    }
  }
  for_lines(cached_.get(), range, [this](std::size_t at) {
    if (std::memcmp(cached_.get() + at, clean_.get() + at, kCacheLineBytes) != 0) {
      write_back(at);
    }
    std::memcpy(cached_.get() + at, memory_.data() + at, kCacheLineBytes);
    std::memcpy(clean_.get() + at, memory_.data() + at, kCacheLineBytes);
  });
}

}  // namespace godbox::test
