// SPDX-License-Identifier: Apache-2.0
//
// A DRAM channel on the heap: what a memfd does, without a system call, and with what the product
// never offers: a limit of its own, and sight of which granules are present. Absent memory reads as
// kAbsentByte, so that code which uses it without back() is seen.
// Thread-safety: that of MemoryTarget. Ownership: owns its bytes. Units: bytes.
// Errors: out_of_range also for what is no multiple of the granularity; backing_full at the limit.
#pragma once

#include <godbox/memory_target.h>

#include <memory>
#include <mutex>
#include <vector>

namespace godbox::test {

class HeapMemoryTarget final : public MemoryTarget {
 public:
  static constexpr std::byte kAbsentByte{0xDD};

  struct Options {
    SizeBytes granularity{4096};
    SizeBytes backing_max{UINT64_MAX};  // back() answers backing_full beyond it
    Coherence coherence = Coherence::coherent;
    int descriptor = -1;  // a number to hand around, not a file
  };

  explicit HeapMemoryTarget(SizeBytes size) : HeapMemoryTarget(size, Options()) {}
  HeapMemoryTarget(SizeBytes size, Options options);

  [[nodiscard]] std::string_view kind() const override { return "heap"; }
  [[nodiscard]] SizeBytes size() const override { return size_; }
  [[nodiscard]] Coherence coherence() const override { return options_.coherence; }
  [[nodiscard]] std::byte* data() const override { return bytes_.get(); }
  [[nodiscard]] int descriptor() const override { return options_.descriptor; }
  [[nodiscard]] SizeBytes backing_granularity() const override { return options_.granularity; }
  [[nodiscard]] bool is_always_present() const override { return false; }
  [[nodiscard]] Result<void> back(DramOffset offset, SizeBytes size) override;
  [[nodiscard]] Result<void> discard(DramOffset offset, SizeBytes size) override;
  void flush(ConstSpan /*range*/) const override {}
  void invalidate(ConstSpan /*range*/) const override {}

  [[nodiscard]] SizeBytes backed() const;
  [[nodiscard]] bool is_backed(DramOffset offset) const;

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };
  struct Granules {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  [[nodiscard]] Result<Granules> granules_of(DramOffset offset, SizeBytes size) const;
  void fill_granule(std::size_t granule, std::byte value);

  SizeBytes size_;
  Options options_;
  std::unique_ptr<std::byte[], Free> bytes_;
  mutable std::mutex mutex_;
  std::vector<bool> present_;
  std::size_t present_count_ = 0;
};

// `count` targets of one size, as Box::create takes them.
[[nodiscard]] std::vector<std::unique_ptr<MemoryTarget>> heap_memory_targets(std::size_t count,
                                                                             SizeBytes size);

}  // namespace godbox::test
