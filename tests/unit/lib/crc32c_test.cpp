// SPDX-License-Identifier: Apache-2.0
#include <godbox/crc32c.h>
#include <godbox_test/seeded_random.h>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <vector>

using namespace godbox;

namespace {

using CrcFunction = std::uint32_t (*)(ConstSpan, std::uint32_t) noexcept;
constexpr CrcFunction kImplementations[] = {crc32c, crc32c_portable};

template <class MakeByte>
std::array<std::byte, 32> bytes_of(MakeByte make_byte) {
  std::array<std::byte, 32> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(make_byte(i));
  }
  return bytes;
}

std::vector<std::byte> random_bytes(test::SeededRandom& random, std::size_t size) {
  std::vector<std::byte> bytes(size);
  random.fill(bytes);
  return bytes;
}

}  // namespace

TEST_CASE("CRC32C agrees with RFC 3720 appendix B.4", "[unit]") {
  // B.4's fifth vector: an iSCSI SCSI Read (10) command PDU.
  constexpr std::uint8_t kCommand[48] = {0x01, 0xC0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0,
                                         0x14, 0,    0, 0, 0, 0, 4, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18,
                                         0x28, 0,    0, 0, 0, 0, 0, 0, 2, 0, 0, 0,    0, 0, 0, 0};
  for (const CrcFunction crc : kImplementations) {
    CHECK(crc({}, 0) == 0);
    CHECK(crc(std::as_bytes(std::span("123456789", 9)), 0) == 0xE3069283);
    CHECK(crc(bytes_of([](std::size_t) { return 0x00; }), 0) == 0x8A9136AA);
    CHECK(crc(bytes_of([](std::size_t) { return 0xFF; }), 0) == 0x62A8AB43);
    CHECK(crc(bytes_of([](std::size_t i) { return i; }), 0) == 0x46DD794E);
    CHECK(crc(bytes_of([](std::size_t i) { return 31 - i; }), 0) == 0x113FDB5C);
    CHECK(crc(std::as_bytes(std::span(kCommand)), 0) == 0xD9963A56);
  }
}

TEST_CASE("both CRC32C implementations agree at any size and alignment", "[unit]") {
  const std::uint64_t seed = 0xC3C32;
  CAPTURE(seed, crc32c_implementation());
  test::SeededRandom random(seed);
  const std::vector<std::byte> bytes = random_bytes(random, 1U << 18U);
  for (int i = 0; i < 2000; ++i) {
    const std::size_t size_max = random.below(4) == 0 ? 100'000 : 600;
    const std::size_t start = random.below(256);
    const ConstSpan piece = ConstSpan(bytes).subspan(start, random.below(size_max));
    const std::uint32_t before = random.next_u32();
    CAPTURE(start, piece.size(), before);
    REQUIRE(crc32c(piece, before) == crc32c_portable(piece, before));
  }
}

TEST_CASE("a CRC32C goes on from where it was cut", "[unit]") {
  test::SeededRandom random(7);
  const std::vector<std::byte> bytes = random_bytes(random, 5000);
  for (const CrcFunction crc : kImplementations) {
    const std::uint32_t whole = crc(bytes, 0);
    for (const std::size_t cut : {0U, 1U, 7U, 8U, 9U, 64U, 2499U, 4999U, 5000U}) {
      CAPTURE(cut);
      const ConstSpan all(bytes);
      CHECK(crc(all.subspan(cut), crc(all.first(cut), 0)) == whole);
    }
  }
}

TEST_CASE("on a machine whose ISA-L works, it is what computes CRC32C", "[unit]") {
  CHECK(crc32c_implementation() == "isa-l");
}
