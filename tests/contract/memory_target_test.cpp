// SPDX-License-Identifier: Apache-2.0
#include "memory_contract.h"
#include <godbox/driver/mapped_memory.h>
#include <godbox_test/heap_memory_target.h>

#include <fmt/format.h>

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
  if (access("/dev/shm", W_OK) != 0) {
    SKIP("needs a tmpfs at /dev/shm");
  }
  check_contract(memory_contract(), [] {
    return world_of(driver::MappedMemory::file(unique_path("/dev/shm"), kSmallSize));
  });
}

TEST_CASE("a file that is not coherent between hosts keeps the contract of memory", "[contract]") {
  if (access("/dev/shm", W_OK) != 0) {
    SKIP("needs a tmpfs at /dev/shm");
  }
  check_contract(memory_contract(), [] {
    return world_of(driver::MappedMemory::file(unique_path("/dev/shm"), kSmallSize,
                                               {.coherence = Coherence::software}));
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
