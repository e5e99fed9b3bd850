// SPDX-License-Identifier: Apache-2.0
//
// DRAM channels for tests: real memory at a reserved address range, where each page that is not
// backed faults. So a test that passes has touched nothing that was not backed, and data that was
// given back is gone.
#pragma once

#include <godbox/assert.h>
#include <godbox/memory_target.h>

#include <atomic>
#include <functional>
#include <set>

#include <sys/mman.h>

namespace godbox::emulator::test {

class FakeDramChannel final : public MemoryTarget {
 public:
  explicit FakeDramChannel(SizeBytes size) : size_(size) {
    void* data = ::mmap(nullptr, size.count(), PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    GODBOX_ASSERT(data != MAP_FAILED);
    data_ = static_cast<std::byte*>(data);
  }
  ~FakeDramChannel() override { ::munmap(data_, size_.count()); }
  FakeDramChannel(const FakeDramChannel&) = delete;
  FakeDramChannel& operator=(const FakeDramChannel&) = delete;

  // What the next calls of back() and discard() answer.
  Errc back_status = Errc::ok;
  Errc discard_status = Errc::ok;
  std::atomic<int> backs_before_failure{-1};  // -1: none fails for this reason
  std::atomic<int> failing_period{0};         // every so many calls of back() fail; 0: none
  bool always_present = false;
  SizeBytes granularity{4096};
  std::atomic<std::uint64_t> backed_bytes{0};
  std::atomic<std::uint64_t> back_calls{0};
  std::atomic<std::uint64_t> discard_calls{0};
  // False: nothing is made accessible, for tests of tables that never touch the bytes.
  bool has_memory = true;
  std::function<void()> on_discard;

  [[nodiscard]] std::string_view kind() const override { return "memfd"; }
  [[nodiscard]] SizeBytes size() const override { return size_; }
  [[nodiscard]] Coherence coherence() const override { return Coherence::coherent; }
  [[nodiscard]] std::byte* data() const override { return data_; }
  [[nodiscard]] int descriptor() const override { return -1; }
  [[nodiscard]] SizeBytes backing_granularity() const override { return granularity; }
  [[nodiscard]] bool is_always_present() const override { return always_present; }
  [[nodiscard]] Result<void> back(DramOffset offset, SizeBytes size) override {
    ++back_calls;
    check(offset, size);
    if (back_status != Errc::ok) {
      return back_status;
    }
    if (backs_before_failure == 0 ||
        (failing_period > 0 && back_calls % static_cast<std::uint64_t>(failing_period) == 0)) {
      return Errc::backing_full;
    }
    backs_before_failure -= backs_before_failure > 0 ? 1 : 0;
    if (has_memory) {
      ::mprotect(data_ + offset.count(), size.count(), PROT_READ | PROT_WRITE);
    }
    backed_bytes += size.count();
    return {};
  }
  [[nodiscard]] Result<void> discard(DramOffset offset, SizeBytes size) override {
    ++discard_calls;
    if (on_discard) {
      on_discard();
    }
    check(offset, size);
    if (discard_status != Errc::ok) {
      return discard_status;
    }
    if (has_memory) {
      ::madvise(data_ + offset.count(), size.count(), MADV_DONTNEED);
      ::mprotect(data_ + offset.count(), size.count(), PROT_NONE);
    }
    backed_bytes -= size.count();
    return {};
  }
  // From now on this byte's page is poisoned.
  void lose(DramOffset offset) {
    lost_pages_.insert(offset.count() / 4096);
    has_poison_ = true;
  }
  [[nodiscard]] bool is_poisoned(ConstSpan range) const override {
    const auto begin = static_cast<std::uint64_t>(range.data() - data_);
    return !range.empty() && lost_pages_.lower_bound(begin / 4096) !=
                                 lost_pages_.upper_bound((begin + range.size() - 1) / 4096);
  }
  void flush(ConstSpan) const override {}
  void invalidate(ConstSpan) const override {}

 private:
  void check(DramOffset offset, SizeBytes size) const {
    GODBOX_ASSERT(offset.count() % granularity.count() == 0 && !size.is_zero() &&
                  size.count() % granularity.count() == 0 &&
                  offset.count() + size.count() <= size_.count());
  }

  SizeBytes size_;
  std::byte* data_ = nullptr;
  std::set<std::uint64_t> lost_pages_;
};

}  // namespace godbox::emulator::test
