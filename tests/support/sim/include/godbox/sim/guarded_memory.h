// SPDX-License-Identifier: Apache-2.0
//
// A DRAM channel of anonymous memory for tests: what back() has not made present is not mapped for
// access, and unmapped pages lie before and behind it, so that a byte touched out of bounds or
// after discard() ends the test at once. back() can be told to refuse.
// Thread-safety: one thread. Ownership: owns its mapping. Units: bytes. Errors: as MemoryTarget.
#pragma once

#include <godbox/memory_target.h>
#include <godbox/sim/sim_random.h>

#include <vector>

namespace godbox::sim {

class GuardedMemory final : public MemoryTarget {
 public:
  // `granularity`: a multiple of the page size that divides `size`.
  GuardedMemory(SizeBytes size, SizeBytes granularity);
  ~GuardedMemory() override;
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  [[nodiscard]] std::string_view kind() const override { return "guarded"; }
  [[nodiscard]] SizeBytes size() const override { return size_; }
  [[nodiscard]] Coherence coherence() const override { return Coherence::coherent; }
  [[nodiscard]] std::byte* data() const override { return data_; }
  [[nodiscard]] int descriptor() const override { return -1; }
  [[nodiscard]] SizeBytes backing_granularity() const override { return granularity_; }
  [[nodiscard]] bool is_always_present() const override { return false; }
  [[nodiscard]] Result<void> back(DramOffset offset, SizeBytes size) override;
  [[nodiscard]] Result<void> discard(DramOffset offset, SizeBytes size) override;
  void flush(ConstSpan /*range*/) const override {}
  void invalidate(ConstSpan /*range*/) const override {}

  [[nodiscard]] SizeBytes backed() const { return backed_; }
  [[nodiscard]] bool is_backed(DramOffset offset) const {
    return present_[offset.count() / granularity_.count()];
  }
  // The next `count` calls of back() answer backing_full and do nothing.
  void refuse_backing(std::uint64_t count) { refusals_left_ = count; }
  [[nodiscard]] std::uint64_t refusals() const { return refusals_; }

 private:
  [[nodiscard]] Result<void> check(DramOffset offset, SizeBytes size) const;

  SizeBytes size_;
  SizeBytes granularity_;
  std::byte* mapping_ = nullptr;
  std::byte* data_ = nullptr;
  SizeBytes mapped_;
  SizeBytes backed_;
  std::vector<bool> present_;
  std::uint64_t refusals_left_ = 0;
  std::uint64_t refusals_ = 0;
};

}  // namespace godbox::sim
