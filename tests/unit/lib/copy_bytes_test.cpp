// SPDX-License-Identifier: Apache-2.0
#include <godbox/crc32c.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <vector>

using namespace godbox;

namespace {

constexpr std::size_t kGuardBytes = 128;
constexpr std::byte kGuard{0xA5};

// A destination at a chosen alignment between two guards.
class Guarded {
 public:
  Guarded(std::size_t misalignment, std::size_t size)
      : bytes_(misalignment + size + 3 * kGuardBytes, kGuard), size_(size) {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes_.data());
    begin_ = (kGuardBytes - address % kGuardBytes) % kGuardBytes + kGuardBytes + misalignment;
  }
  [[nodiscard]] MutableSpan span() { return MutableSpan(bytes_).subspan(begin_, size_); }
  [[nodiscard]] bool guards_stand() const {
    const auto is_guard = [](std::byte byte) { return byte == kGuard; };
    const auto end = bytes_.begin() + static_cast<std::ptrdiff_t>(begin_ + size_);
    return std::all_of(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(begin_),
                       is_guard) &&
           std::all_of(end, bytes_.end(), is_guard);
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t size_;
  std::size_t begin_ = 0;
};

void check_copies(ConstSpan src, std::size_t dst_misalignment) {
  Guarded plain(dst_misalignment, src.size());
  copy_bytes(plain.span(), src);
  REQUIRE(std::ranges::equal(plain.span(), src));
  REQUIRE(plain.guards_stand());

  constexpr std::uint32_t kBefore = 0x12345678;
  Guarded fused(dst_misalignment, src.size());
  REQUIRE(copy_bytes_crc32c(fused.span(), src, kBefore) == crc32c_portable(src, kBefore));
  REQUIRE(std::ranges::equal(fused.span(), src));
  REQUIRE(fused.guards_stand());
}

std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size) {
  std::vector<std::byte> bytes(size);
  test::SeededRandom(seed).fill(bytes);
  return bytes;
}

}  // namespace

TEST_CASE("copies of 0 to 300 bytes are exact and touch nothing else", "[unit]") {
  const std::vector<std::byte> bytes = random_bytes(1, 1024);
  for (std::size_t size = 0; size <= 300; ++size) {
    CAPTURE(size);
    check_copies(ConstSpan(bytes).subspan(size % 67, size), size % 61);
  }
}

TEST_CASE("copies around the size from which stores stream are exact at any alignment", "[unit]") {
  const std::vector<std::byte> bytes = random_bytes(2, 128U << 10U);
  const std::size_t sizes[] = {2047, 2048, 2049, 4095, 4096,  4097,  4159,  4160,
                               4161, 6143, 6144, 8192, 12345, 65535, 65536, 65537};
  const std::size_t misalignments[] = {0, 1, 15, 16, 31, 32, 33, 63};
  for (const std::size_t size : sizes) {
    for (const std::size_t dst_misalignment : misalignments) {
      for (const std::size_t src_misalignment : misalignments) {
        CAPTURE(size, dst_misalignment, src_misalignment);
        check_copies(ConstSpan(bytes).subspan(src_misalignment, size), dst_misalignment);
      }
    }
  }
}

TEST_CASE("copies of random sizes and alignments are exact", "[unit]") {
  const std::uint64_t seed = 0xC0B1;
  CAPTURE(seed);
  test::SeededRandom random(seed);
  const std::vector<std::byte> bytes = random_bytes(3, 1U << 20U);
  for (int i = 0; i < 300; ++i) {
    const std::size_t start = random.below(256);
    const std::size_t size = random.below(random.below(8) == 0 ? 900'000 : 20'000);
    const std::size_t dst_misalignment = random.below(128);
    CAPTURE(start, size, dst_misalignment);
    check_copies(ConstSpan(bytes).subspan(start, size), dst_misalignment);
  }
}
