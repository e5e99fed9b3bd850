// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/striping/slab_layout.h>
#include <godbox_test/test_box.h>

#include <algorithm>

namespace godbox::test {
namespace {

constexpr int kFirstDescriptor = 100;

emulator::BoxConfig config_of(const TestBoxOptions& options) {
  emulator::BoxConfig config;
  config.name = "test";
  config.super_nics = options.super_nics;
  config.dram_channels_per_super_nic = options.dram_channels_per_super_nic;
  config.eth_ports_per_super_nic = options.eth_ports_per_super_nic;
  config.dram_channel_size = options.dram_channel_size;
  config.mode = options.mode;
  config.rates = emulator::PacedRates::both(options.rates);
  config.map_memory = options.map_memory;
  config.session_timeout = options.session_timeout;
  config.session_grace = options.session_grace;
  return config;
}

}  // namespace

TestBox::TestBox(const TestBoxOptions& options) : random_(options.seed) {
  // Not 0, so that a forgotten time shows.
  clock_.set(TimePoint(std::chrono::hours(1)));
  emulator::BoxConfig config = config_of(options);
  std::vector<std::unique_ptr<MemoryTarget>> targets;
  for (std::uint32_t i = 0; i < config.dram_channels(); ++i) {
    HeapMemoryTarget::Options target_options;
    target_options.descriptor =
        options.has_descriptors ? kFirstDescriptor + static_cast<int>(i) : -1;
    auto target = std::make_unique<HeapMemoryTarget>(options.dram_channel_size, target_options);
    targets_.push_back(target.get());
    targets.push_back(std::move(target));
  }
  Result<std::unique_ptr<emulator::Box>> box = emulator::Box::create(
      std::move(config), std::move(targets), options.backing_limit, clock_, random_, options.door,
      options.has_devices ? slab_memories_.maker() : SlabMemoryMaker());
  GODBOX_ASSERT(box.has_value());
  box_ = std::move(*box);
}

template <class Visit>
void TestBox::for_each_run(std::span<const Extent> extents, Visit&& visit) {
  for (const Extent& extent : extents) {
    wire::SlabsReply reply;
    service().describe_slabs(wire::SlabIdsRequest{{extent.address.slab}}, reply);
    GODBOX_ASSERT(reply.slabs.size() == 1);
    const Result<striping::SlabLayout> layout = striping::SlabLayout::create(reply.slabs[0]);
    GODBOX_ASSERT(layout.has_value());
    layout->for_each_run(extent.address.offset, extent.length_bytes, [&](const auto& run) {
      visit(MutableSpan(targets_[run.dram_channel.value()]->data() + run.offset.count(),
                        run.length_bytes));
    });
  }
}

std::vector<std::byte> TestBox::bytes_of(std::span<const Extent> extents) {
  std::vector<std::byte> bytes;
  for_each_run(extents,
               [&](MutableSpan run) { bytes.insert(bytes.end(), run.begin(), run.end()); });
  return bytes;
}

void TestBox::set_bytes_of(std::span<const Extent> extents, ConstSpan bytes) {
  for_each_run(extents, [&](MutableSpan run) {
    std::copy_n(bytes.begin(), run.size(), run.begin());
    bytes = bytes.subspan(run.size());
  });
  GODBOX_ASSERT(bytes.empty());
}

std::vector<std::byte> pattern_bytes(std::size_t size_bytes, std::uint64_t seed) {
  std::vector<std::byte> bytes(size_bytes);
  SeededRandom(seed).fill(bytes);
  return bytes;
}

}  // namespace godbox::test
