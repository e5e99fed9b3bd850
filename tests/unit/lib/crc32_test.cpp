// SPDX-License-Identifier: Apache-2.0
#include <godbox/crc32.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <vector>

using namespace godbox;

TEST_CASE("CRC32 agrees with known values of zlib", "[unit]") {
  std::array<std::byte, 8> ones{};
  ones.fill(std::byte{0xFF});
  for (const auto crc : {crc32, crc32_portable}) {
    CHECK(crc({}, 0) == 0);
    CHECK(crc(std::as_bytes(std::span("123456789", 9)), 0) == 0xCBF43926);
    CHECK(crc(std::as_bytes(std::span("The quick brown fox jumps over the lazy dog", 43)), 0) ==
          0x414FA339);
    CHECK(crc(ones, 0) == 0x2144DF1C);
  }
}

TEST_CASE("both CRC32 implementations agree, in one piece and in two", "[unit]") {
  const std::uint64_t seed = 0xC3C33;
  CAPTURE(seed, crc32_implementation());
  test::SeededRandom random(seed);
  std::vector<std::byte> bytes(1U << 16U);
  random.fill(bytes);
  for (int i = 0; i < 2000; ++i) {
    const std::size_t start = random.below(256);
    const ConstSpan piece = ConstSpan(bytes).subspan(start, random.below(9000));
    const std::size_t cut = random.below(piece.size() + 1);
    const std::uint32_t whole = crc32_portable(piece);
    CAPTURE(start, piece.size(), cut);
    REQUIRE(crc32(piece) == whole);
    REQUIRE(crc32(piece.subspan(cut), crc32(piece.first(cut))) == whole);
  }
}
