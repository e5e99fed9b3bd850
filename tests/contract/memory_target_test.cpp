// SPDX-License-Identifier: Apache-2.0
#include "memory_contract.h"
#include <godbox/driver/mapped_memory.h>
#include <godbox/driver/numa_node_memory.h>
#include <godbox/interleaved_targets.h>
#include <godbox_test/heap_memory_target.h>
#include <godbox_test/tmpfs_folder.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include <sys/statfs.h>
#include <unistd.h>

namespace godbox::test {
namespace {

constexpr SizeBytes kSmallSize = SizeBytes(4096) * MemoryWorld::kGranules;

// Owns any target.
class OwnedMemoryWorld final : public MemoryWorld {
 public:
  explicit OwnedMemoryWorld(std::unique_ptr<MemoryTarget> target) : target_(std::move(target)) {}
  MemoryTarget& target() override { return *target_; }

 private:
  std::unique_ptr<MemoryTarget> target_;
};

template <class Made>
std::unique_ptr<OwnedMemoryWorld> world_of(Made made) {
  if (!made.has_value()) {
    FAIL(made.error().message());
  }
  return std::make_unique<OwnedMemoryWorld>(std::move(*made));
}

std::string unique_path(const std::string& folder) {
  static int count = 0;
  return fmt::format("{}/godbox-contract-{}-{}", folder, getpid(), ++count);
}

// A mounted hugetlbfs with enough free pages for one target, or none. statfs(2) does not count the
// pages of a mount without a limit of its own; sysfs does.
std::string hugetlbfs_folder() {
  std::ifstream mounts("/proc/mounts");
  for (std::string device, folder, kind, rest; mounts >> device >> folder >> kind;
       std::getline(mounts, rest)) {
    struct statfs status {};
    if (kind != "hugetlbfs" || statfs(folder.c_str(), &status) != 0) {
      continue;
    }
    std::ifstream file(fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB/free_hugepages",
                                   status.f_bsize / 1024));
    std::uint64_t free_pages = 0;
    if (file >> free_pages && free_pages >= MemoryWorld::kGranules) {
      return folder;
    }
  }
  return {};
}

TEST_CASE("heap memory, the tests' own, keeps the contract of memory", "[contract]") {
  check_contract(memory_contract(), [] {
    return std::make_unique<OwnedMemoryWorld>(std::make_unique<HeapMemoryTarget>(kSmallSize));
  });
}

TEST_CASE("a memfd keeps the contract of memory", "[contract]") {
  check_contract(memory_contract(),
                 [] { return world_of(driver::MappedMemory::memfd(kSmallSize)); });
}

TEST_CASE("a file on tmpfs keeps the contract of memory", "[contract]") {
  const TmpfsFolder folder;
  check_contract(memory_contract(), [&] {
    return world_of(driver::MappedMemory::file(unique_path(folder.path()), kSmallSize));
  });
}

TEST_CASE("a file that is not coherent between hosts keeps the contract of memory", "[contract]") {
  const TmpfsFolder folder;
  check_contract(memory_contract(), [&] {
    return world_of(driver::MappedMemory::file(unique_path(folder.path()), kSmallSize,
                                               {.coherence = Coherence::software}));
  });
}

cxl::Interleave interleave_of(unsigned ways, SizeBytes granularity) {
  return {cxl::InterleaveWays::create(ways).value(),
          cxl::InterleaveGranularity::create(granularity).value()};
}

// The target at one position, and the others, so that their memory stays.
std::unique_ptr<OwnedMemoryWorld> world_of_position(unsigned position,
                                                    const cxl::Interleave& interleave) {
  const SizeBytes unit = std::max(4_KiB, interleave.granularity.size());
  auto memory =
      driver::MappedMemory::memfd(unit * MemoryWorld::kGranules * interleave.ways.count());
  REQUIRE(memory.has_value());
  auto targets = interleaved_targets(std::move(*memory), interleave, unit);
  REQUIRE(targets.has_value());
  return std::make_unique<OwnedMemoryWorld>(std::move((*targets)[position]));
}

TEST_CASE("channels that share a memory keep the contract of memory", "[contract]") {
  for (const auto& [ways, granularity] :
       {std::pair(2U, 256_B), std::pair(3U, 512_B), std::pair(4U, 4_KiB), std::pair(16U, 16_KiB)}) {
    DYNAMIC_SECTION(ways << " at " << granularity.count()) {
      const cxl::Interleave interleave = interleave_of(ways, granularity);
      const unsigned last = ways - 1;
      check_contract(memory_contract(),
                     [&interleave, last] { return world_of_position(last, interleave); });
    }
  }
}

TEST_CASE("a NUMA node keeps the contract of memory", "[contract]") {
  const auto nodes = driver::numa_nodes();
  if (!nodes.has_value()) {
    SKIP("needs a kernel with NUMA: " << nodes.error().message());
  }
  check_contract(memory_contract(), [&] {
    return world_of(driver::NumaNodeMemory::create(nodes->front().id, kSmallSize));
  });
}

TEST_CASE("a file on hugetlbfs keeps the contract of memory", "[contract]") {
  const std::string folder = hugetlbfs_folder();
  if (folder.empty()) {
    SKIP("needs hugetlbfs pages");
  }
  check_contract(memory_contract(), [&] {
    struct statfs status {};
    REQUIRE(statfs(folder.c_str(), &status) == 0);
    const SizeBytes page(static_cast<std::uint64_t>(status.f_bsize));
    return world_of(driver::MappedMemory::file(unique_path(folder), page * MemoryWorld::kGranules));
  });
}

// What a device promises is less than the contract: it is never zeroed and cannot be given back.
// GODBOX_TEST_DAX names a device dax (/dev/dax0.0, say) whose first 32 MiB may be overwritten.
TEST_CASE("a device dax is present, keeps its bytes and is seen through its descriptor",
          "[contract]") {
  const char* const path = std::getenv("GODBOX_TEST_DAX");  // NOLINT(concurrency-mt-unsafe)
  if (path == nullptr) {
    SKIP("needs a device dax, named by GODBOX_TEST_DAX");
  }
  constexpr SizeBytes kSize = 32_MiB;  // a multiple of every alignment a device dax has but 1 GiB
  for (const std::byte mark : {std::byte{0x11}, std::byte{0xA7}}) {
    const auto device = driver::MappedMemory::device(path, kSize);
    if (!device.has_value()) {
      FAIL(device.error().message());
    }
    CHECK((*device)->kind() == "device");
    REQUIRE((*device)->back(DramOffset(0), kSize).has_value());
    std::byte* const data = (*device)->data();
    const std::size_t last = kSize.count() - 1;
    if (mark != std::byte{0x11}) {
      CHECK(data[0] == std::byte{0x11});  // from the mapping before this one
      CHECK(data[last] == std::byte{0x11});
    }
    std::fill_n(data, kSize.count(), mark);
    const auto view =
        driver::MappedMemory::from_descriptor(dup((*device)->descriptor()), kSize, true);
    REQUIRE(view.has_value());
    CHECK((*view)->data()[last] == mark);
    (*view)->data()[5] = std::byte{1};
    CHECK(data[5] == std::byte{1});
    const auto second = driver::MappedMemory::device(path, kSize);
    REQUIRE_FALSE(second.has_value());
    CHECK(second.error().code == Errc::address_in_use);
    const auto discarded = (*device)->discard(DramOffset(0), kSize);
    REQUIRE_FALSE(discarded.has_value());
    CHECK(discarded.error().code == Errc::unsupported);
  }
}

// Two mappings of one memfd, as box and client have them.
TEST_CASE("memory from a descriptor shows its owner's bytes and is not ours to back",
          "[contract]") {
  const auto owner = driver::MappedMemory::memfd(kSmallSize);
  REQUIRE(owner.has_value());
  REQUIRE((*owner)->back(DramOffset(4096), SizeBytes(8192)).has_value());
  (*owner)->data()[5000] = std::byte{0x5A};
  for (const bool writable : {true, false}) {
    const auto view =
        driver::MappedMemory::from_descriptor(dup((*owner)->descriptor()), kSmallSize, writable);
    REQUIRE(view.has_value());
    CHECK((*view)->data() != (*owner)->data());
    CHECK((*view)->size() == kSmallSize);
    CHECK((*view)->data()[5000] == std::byte{0x5A});
    const auto backed = (*view)->back(DramOffset(0), SizeBytes(4096));
    REQUIRE_FALSE(backed.has_value());
    CHECK(backed.error().code == Errc::unsupported);
    const auto discarded = (*view)->discard(DramOffset(4096), SizeBytes(4096));
    REQUIRE_FALSE(discarded.has_value());
    CHECK(discarded.error().code == Errc::unsupported);
    const auto outside = (*view)->back(DramOffset(kSmallSize.count()), SizeBytes(4096));
    REQUIRE_FALSE(outside.has_value());
    CHECK(outside.error().code == Errc::out_of_range);
    if (writable) {
      (*view)->data()[5001] = std::byte{0x77};
      CHECK((*owner)->data()[5001] == std::byte{0x77});
    }
  }
}

}  // namespace
}  // namespace godbox::test
