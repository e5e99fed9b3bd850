// SPDX-License-Identifier: Apache-2.0
//
// A DRAM channel that several hosts share without coherence, as CXL 2.0 memory: each host has a
// private cache of lines, and sees another's stores only once that one has flushed and it has
// invalidated. data() is the host's cache; SharedLines is the memory behind. A host's lines never
// leave its cache by themselves, so whatever flush or invalidate the code under test forgets,
// shows. CacheFaults takes some of these calls out, to prove that a suite notices. Thread-safety:
// calls are concurrent on disjoint lines. Ownership: the memory and the faults outlive the targets.
// Units: bytes. Errors: out_of_range of back() and discard().
#pragma once

#include <godbox/memory_target.h>

#include <memory>
#include <vector>

namespace godbox::test {

inline constexpr std::size_t kCacheLineBytes = 64;

// Which calls do nothing, and how many were made.
struct CacheFaults {
  bool drops_flush = false;
  bool drops_invalidate = false;
  std::uint64_t flushes = 0;
  std::uint64_t invalidates = 0;
};

class SharedLines {
 public:
  // Every byte is `value`: what somebody left there.
  SharedLines(SizeBytes size, std::byte value) : bytes_(size.count(), value) {}
  [[nodiscard]] MutableSpan bytes() { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

class PrivateCacheTarget final : public MemoryTarget {
 public:
  explicit PrivateCacheTarget(SharedLines& memory, CacheFaults* faults = nullptr);

  [[nodiscard]] std::string_view kind() const override { return "private cache"; }
  [[nodiscard]] SizeBytes size() const override;
  [[nodiscard]] Coherence coherence() const override { return Coherence::software; }
  [[nodiscard]] std::byte* data() const override { return cached_.get(); }
  [[nodiscard]] int descriptor() const override { return -1; }
  [[nodiscard]] SizeBytes backing_granularity() const override { return SizeBytes(4096); }
  // Always present, like a device.
  [[nodiscard]] Result<void> back(DramOffset offset, SizeBytes size) override;
  [[nodiscard]] Result<void> discard(DramOffset offset, SizeBytes size) override;
  // The lines go to the memory, whole, as the host sees them, and stay cached: only what the host
  // has written, or loaded just before, may be flushed.
  void flush(ConstSpan range) const override;
  // Lines that the host has changed go to the memory, as processors do; all are loaded anew.
  void invalidate(ConstSpan range) const override;

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };
  using Bytes = std::unique_ptr<std::byte[], Free>;
  [[nodiscard]] static Bytes copy_of(ConstSpan bytes);
  void write_back(std::size_t at) const;
  [[nodiscard]] Result<void> check(DramOffset offset, SizeBytes size) const;

  MutableSpan memory_;
  CacheFaults* faults_;
  Bytes cached_;  // what the host sees
  Bytes clean_;   // the same as it was loaded: lines that differ are dirty
};

}  // namespace godbox::test
