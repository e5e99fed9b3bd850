// SPDX-License-Identifier: Apache-2.0
//
// A small box on the heap with a ManualClock and seeded randomness, and ways to look at its memory
// without going through a door.
// Thread-safety: that of its parts; the clock is for one thread. Units: bytes.
// Errors: asserts when the box cannot be made.
#pragma once

#include <godbox/emulator/box.h>
#include <godbox_test/fake_slab_memory.h>
#include <godbox_test/heap_memory_target.h>
#include <godbox_test/seeded_random.h>

#include <vector>

namespace godbox::test {

struct TestBoxOptions {
  std::uint32_t super_nics = 2;
  std::uint32_t dram_channels_per_super_nic = 2;
  std::uint32_t eth_ports_per_super_nic = 1;
  SizeBytes dram_channel_size{std::uint64_t{8} << 20U};
  SizeBytes backing_limit{std::uint64_t{1} << 30U};
  emulator::TimingMode mode = emulator::TimingMode::free;
  emulator::StageRates rates;  // paced: of reads and of writes
  Duration session_timeout = std::chrono::hours(1);
  Duration session_grace = std::chrono::seconds(2);
  emulator::NativeDoorOptions door;
  emulator::MapMemory map_memory = emulator::MapMemory::trusted;
  bool has_descriptors = false;  // DRAM channel i has the number 100 + i
  bool has_devices = false;      // logical devices, of memory without bytes
  std::uint64_t seed = 1;
};

class TestBox {
 public:
  explicit TestBox(const TestBoxOptions& options = {});

  [[nodiscard]] ManualClock& clock() { return clock_; }
  [[nodiscard]] emulator::Box& box() { return *box_; }
  [[nodiscard]] emulator::PoolService& service() { return box_->service(); }
  [[nodiscard]] emulator::NativeDoor& eth_port(std::uint16_t index = 0) {
    return box_->eth_port_door(EthPortId(index));
  }
  [[nodiscard]] HeapMemoryTarget& dram_channel(std::size_t index) { return *targets_[index]; }
  [[nodiscard]] FakeSlabMemories& slab_memories() { return slab_memories_; }
  [[nodiscard]] std::size_t dram_channel_count() const { return targets_.size(); }
  // The bytes of extents as they lie in the DRAM channels, found by the slabs' layouts.
  [[nodiscard]] std::vector<std::byte> bytes_of(std::span<const Extent> extents);
  // The same way in; `bytes` covers the extents.
  void set_bytes_of(std::span<const Extent> extents, ConstSpan bytes);

 private:
  // Calls visit(MutableSpan) for each run of bytes, in order.
  template <class Visit>
  void for_each_run(std::span<const Extent> extents, Visit&& visit);

  ManualClock clock_;
  SeededRandom random_;
  std::vector<HeapMemoryTarget*> targets_;  // owned by the box
  FakeSlabMemories slab_memories_;
  std::unique_ptr<emulator::Box> box_;
};

// Bytes that differ from each other and between seeds.
[[nodiscard]] std::vector<std::byte> pattern_bytes(std::size_t size_bytes, std::uint64_t seed);

}  // namespace godbox::test
