// SPDX-License-Identifier: Apache-2.0
#include "pool_fixture.h"
#include <godbox_test/sanitizers.h>

#include <fmt/format.h>

#include <cstdio>

#include <malloc.h>
#include <unistd.h>

namespace godbox::emulator {

using test::Pool;

namespace {

constexpr std::uint64_t kObjects = 1'000'000;

// Resident memory of this process; 0 where the kernel does not tell.
std::uint64_t resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) {
    return 0;
  }
  unsigned long total = 0;
  unsigned long resident = 0;
  const int fields = std::fscanf(file, "%lu %lu", &total, &resident);
  std::fclose(file);
  return fields == 2 ? resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

// 16 to 32 characters.
std::string name_of(std::uint64_t i) {
  return fmt::format("{:016x}", i * 0x9E3779B97F4A7C15U) + std::string(i % 17, 'x');
}

void put_batches(Pool& pool, SessionId session, std::uint64_t begin, std::uint64_t end) {
  constexpr std::uint64_t kBatch = 1000;
  for (std::uint64_t first = begin; first < end; first += kBatch) {
    std::vector<std::string> names;
    for (std::uint64_t i = first; i < first + kBatch; ++i) {
      names.push_back(name_of(i));
    }
    wire::ReserveRequest request;
    for (const std::string& name : names) {
      request.items.push_back({name, SizeBytes(4096), false});
    }
    wire::ReserveReply reserved;
    pool.service->reserve(session, request, reserved);
    wire::CommitRequest commit;
    for (const wire::ReserveAnswer& answer : reserved.answers) {
      REQUIRE(answer.status == Errc::ok);
      commit.items.push_back({answer.reservation, {7}});
    }
    wire::StatusesReply committed;
    pool.service->commit(session, commit, committed);
    for (const Errc status : committed.statuses) {
      REQUIRE(status == Errc::ok);
    }
  }
}

}  // namespace

TEST_CASE("the index of a million objects takes at most 300 bytes each, and says so",
          "[unit][pool]") {
  Pool pool({.dram_channels = 18,
             .channel_size = SizeBytes(std::uint64_t{1} << 30U),
             .has_memory = false});
  const SessionId session = pool.open();
  CHECK(pool.service->usage().index_memory <= SizeBytes(1U << 20U));  // next to nothing
  put_batches(pool, session, 0, 10'000);  // what the test itself needs is there now
  // Pages that earlier tests freed would be filled without growing what is resident.
  ::malloc_trim(0);
  const std::uint64_t resident_before = resident_bytes();
  const SizeBytes told_before = pool.service->usage().index_memory;
  put_batches(pool, session, 10'000, kObjects);
  const std::uint64_t told = pool.service->usage().index_memory.count();
  const std::uint64_t resident = resident_bytes() - resident_before;
  CHECK(pool.service->usage().objects == kObjects);
  CHECK(told <= 300 * kObjects);
  if (resident_before != 0 && !godbox::test::kIsSanitized) {
    const double grown = static_cast<double>(resident);
    const double told_grown = static_cast<double>(told - told_before.count());
    INFO("told " << told_grown << ", resident " << grown);
    CHECK(grown <= 300.0 * kObjects);
    CHECK(told_grown >= 0.85 * grown);
    CHECK(told_grown <= 1.25 * grown);
  }
}

TEST_CASE("18 TiB start with tables of a few MiB", "[unit][pool]") {
  if (godbox::test::kHasThreadSanitizer) {
    SKIP("ThreadSanitizer refuses mappings of 18 TiB");
  }
  Pool pool({.dram_channels = 18,
             .channel_size = SizeBytes(std::uint64_t{1} << 40U),
             .has_memory = false});
  CHECK(pool.service->usage().capacity == SizeBytes(std::uint64_t{18} << 40U));
  CHECK(pool.service->usage().index_memory <= SizeBytes(4U << 20U));
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "block", 160U << 20U, true) == Errc::ok);
  // Chunk tables and bitmaps of the slabs it touches are all that was added.
  CHECK(pool.service->usage().index_memory <= SizeBytes(16U << 20U));
}

}  // namespace godbox::emulator
