// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox_test/heap_memory_target.h>

#include <cstdlib>
#include <cstring>

namespace godbox::test {
namespace {

constexpr std::size_t kAlignment = 4096;

}  // namespace

void HeapMemoryTarget::Free::operator()(std::byte* bytes) const { std::free(bytes); }

HeapMemoryTarget::HeapMemoryTarget(SizeBytes size, Options options)
    : size_(size),
      options_(options),
      bytes_(static_cast<std::byte*>(std::aligned_alloc(kAlignment, size.count()))),
      present_(size / options.granularity) {
  GODBOX_ASSERT(size.count() % kAlignment == 0 && (size % options.granularity).is_zero());
  GODBOX_ASSERT(bytes_ != nullptr);
  std::memset(bytes_.get(), std::to_integer<int>(kAbsentByte), size_.count());
}

Result<HeapMemoryTarget::Granules> HeapMemoryTarget::granules_of(DramOffset offset,
                                                                 SizeBytes size) const {
  const std::uint64_t granularity = options_.granularity.count();
  const bool is_aligned = offset.count() % granularity == 0 && size.count() % granularity == 0;
  if (!is_aligned || offset.count() > size_.count() ||
      size.count() > size_.count() - offset.count()) {
    return Error(Errc::out_of_range, "heap target: range is not aligned or not inside");
  }
  const std::size_t begin = offset.count() / granularity;
  return Granules{begin, begin + size.count() / granularity};
}

void HeapMemoryTarget::fill_granule(std::size_t granule, std::byte value) {
  std::memset(bytes_.get() + granule * options_.granularity.count(), std::to_integer<int>(value),
              options_.granularity.count());
}

Result<void> HeapMemoryTarget::back(DramOffset offset, SizeBytes size) {
  const Result<Granules> range = granules_of(offset, size);
  if (!range) {
    return range.error();
  }
  const std::lock_guard lock(mutex_);
  std::size_t absent_count = 0;
  for (std::size_t i = range->begin; i < range->end; ++i) {
    absent_count += present_[i] ? 0U : 1U;
  }
  if (options_.granularity * (present_count_ + absent_count) > options_.backing_max) {
    return Error(Errc::backing_full, "heap target: its own limit is reached");
  }
  for (std::size_t i = range->begin; i < range->end; ++i) {
    if (!present_[i]) {
      fill_granule(i, std::byte{0});
      present_[i] = true;
    }
  }
  present_count_ += absent_count;
  return {};
}

Result<void> HeapMemoryTarget::discard(DramOffset offset, SizeBytes size) {
  const Result<Granules> range = granules_of(offset, size);
  if (!range) {
    return range.error();
  }
  const std::lock_guard lock(mutex_);
  for (std::size_t i = range->begin; i < range->end; ++i) {
    if (present_[i]) {
      fill_granule(i, kAbsentByte);
      present_[i] = false;
      --present_count_;
    }
  }
  return {};
}

SizeBytes HeapMemoryTarget::backed() const {
  const std::lock_guard lock(mutex_);
  return options_.granularity * present_count_;
}

bool HeapMemoryTarget::is_backed(DramOffset offset) const {
  const std::lock_guard lock(mutex_);
  return present_.at(offset.count() / options_.granularity.count());
}

std::vector<std::unique_ptr<MemoryTarget>> heap_memory_targets(std::size_t count, SizeBytes size) {
  std::vector<std::unique_ptr<MemoryTarget>> targets;
  for (std::size_t i = 0; i < count; ++i) {
    targets.push_back(std::make_unique<HeapMemoryTarget>(size));
  }
  return targets;
}

}  // namespace godbox::test
