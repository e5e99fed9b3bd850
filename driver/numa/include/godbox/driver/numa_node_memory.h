// SPDX-License-Identifier: Apache-2.0
//
// A DRAM channel whose bytes lie on one NUMA node, and on no other: shared memory bound to the
// node, so that other processes can map it and find it there. Sparse until back() makes a range
// present. Thread-safety: as MemoryTarget: concurrent on disjoint ranges; data() is constant for
// life. Ownership: the target owns mapping and descriptor. Units: bytes. Errors: named at each
// call. Poison on the node raises SIGBUS: only driver/mem guards its mappings.
#pragma once

#include <godbox/driver/numa_nodes.h>
#include <godbox/memory_target.h>

#include <memory>

namespace godbox::driver {

class NumaNodeMemory final : public MemoryTarget {
 public:
  // Errors: invalid_argument (size 0 or no multiple of 4 KiB), device_missing (no such node),
  // out_of_range (larger than the node), unsupported, limit_exceeded, io_error.
  [[nodiscard]] static Result<std::unique_ptr<NumaNodeMemory>> create(NumaNodeId node,
                                                                      SizeBytes size);
  ~NumaNodeMemory() override;
  NumaNodeMemory(const NumaNodeMemory&) = delete;
  NumaNodeMemory& operator=(const NumaNodeMemory&) = delete;

  [[nodiscard]] NumaNodeId node() const { return node_; }
  [[nodiscard]] std::string_view kind() const override { return "numa"; }
  [[nodiscard]] SizeBytes size() const override { return size_; }
  [[nodiscard]] Coherence coherence() const override { return Coherence::coherent; }
  [[nodiscard]] std::byte* data() const override { return data_; }
  [[nodiscard]] int descriptor() const override { return descriptor_; }
  [[nodiscard]] SizeBytes backing_granularity() const override;
  [[nodiscard]] bool is_always_present() const override { return false; }
  // backing_full before the node is used up, not after: the kernel would kill somebody.
  [[nodiscard]] Result<void> back(DramOffset offset, SizeBytes size) override;
  [[nodiscard]] Result<void> discard(DramOffset offset, SizeBytes size) override;
  void flush(ConstSpan /*range*/) const override {}
  void invalidate(ConstSpan /*range*/) const override {}

 private:
  NumaNodeMemory(NumaNodeId node, SizeBytes size, int descriptor)
      : node_(node), size_(size), descriptor_(descriptor) {}
  [[nodiscard]] Result<void> map_and_bind();
  [[nodiscard]] Result<void> check_range(DramOffset offset, SizeBytes size) const;
  [[nodiscard]] Result<void> check_node(DramOffset offset, SizeBytes size) const;

  NumaNodeId node_;
  SizeBytes size_;
  int descriptor_;
  std::byte* data_ = nullptr;
};

}  // namespace godbox::driver
