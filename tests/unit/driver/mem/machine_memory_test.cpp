// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/machine_memory.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <vector>

namespace godbox::driver {
namespace {

TEST_CASE("the machine has memory, and less of it available than it has", "[unit]") {
  CHECK(machine_memory_bytes() > SizeBytes(16U << 20U));
  CHECK(machine_memory_bytes() < SizeBytes(std::uint64_t{1} << 50U));
  CHECK(available_memory_bytes() > SizeBytes(0));
  CHECK(available_memory_bytes() <= machine_memory_bytes());
}

TEST_CASE("resident memory grows by what is touched", "[unit]") {
  constexpr std::size_t kBytes = std::size_t{32} << 20U;
  const SizeBytes before = resident_memory_bytes();
  CHECK(before > SizeBytes(0));
  std::vector<char> block(kBytes, 1);
  CHECK(resident_memory_bytes() >= before + SizeBytes(kBytes / 2));
  CHECK(std::count(block.begin(), block.end(), 1) == static_cast<std::ptrdiff_t>(kBytes));
}

}  // namespace
}  // namespace godbox::driver
