// SPDX-License-Identifier: Apache-2.0
#include <godbox/crc32c.h>

#include <isa-l/crc.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace godbox {
namespace {

constexpr std::uint32_t kPolynomialReflected = 0x82F63B78;

// Slicing by 8: table[k][b] is the CRC of byte b followed by k zero bytes.
using SlicingTable = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr SlicingTable make_slicing_table() {
  SlicingTable table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? kPolynomialReflected : 0U);
    }
    table[0][byte] = crc;
  }
  for (std::size_t k = 1; k < table.size(); ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = table[k - 1][byte];
      table[k][byte] = (before >> 8U) ^ table[0][before & 0xFFU];
    }
  }
  return table;
}

constexpr SlicingTable kTable = make_slicing_table();

std::uint32_t load_le32(const std::byte* from) {
  std::uint32_t value = 0;
  std::memcpy(&value, from, sizeof(value));
  static_assert(std::endian::native == std::endian::little, "a big-endian host has to swap here");
  return value;
}

std::uint32_t crc32c_isal(ConstSpan data, std::uint32_t crc) noexcept {
  // ISA-L takes a signed length, keeps the CRC without the inversions, and does not write through
  // its non-const pointer.
  constexpr std::size_t kPieceBytesMax = std::size_t{1} << 30U;
  std::uint32_t raw = ~crc;
  while (!data.empty()) {
    const ConstSpan piece = data.first(std::min(data.size(), kPieceBytesMax));
    auto* const bytes = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(piece.data()));
    raw = crc32_iscsi(bytes, static_cast<int>(piece.size()), raw);
    data = data.subspan(piece.size());
  }
  return ~raw;
}

// ISA-L picks its code by CPU; the lengths and alignments here reach each path of that code.
bool isal_agrees_with_portable() noexcept {
  std::array<std::byte, 4096 + 64> bytes{};
  std::uint32_t state = 1;
  for (std::byte& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(state >> 24U);
  }
  std::uint32_t crc = 0;
  for (const std::size_t size : {0U, 1U, 7U, 8U, 63U, 64U, 255U, 256U, 1023U, 1500U, 4096U}) {
    const std::size_t start = size % 61;
    const ConstSpan piece = ConstSpan(bytes).subspan(start, size);
    const std::uint32_t expected = crc32c_portable(piece, crc);
    if (crc32c_isal(piece, crc) != expected) {
      return false;
    }
    crc = expected;
  }
  return true;
}

using CrcFunction = std::uint32_t (*)(ConstSpan, std::uint32_t) noexcept;

CrcFunction chosen_function() noexcept {
  static const CrcFunction function = isal_agrees_with_portable() ? crc32c_isal : crc32c_portable;
  return function;
}

}  // namespace

std::uint32_t crc32c_portable(ConstSpan data, std::uint32_t crc) noexcept {
  crc = ~crc;
  while (data.size() >= 8) {
    const std::uint32_t low = load_le32(data.data()) ^ crc;
    const std::uint32_t high = load_le32(data.data() + 4);
    crc = kTable[7][low & 0xFFU] ^ kTable[6][(low >> 8U) & 0xFFU] ^
          kTable[5][(low >> 16U) & 0xFFU] ^ kTable[4][low >> 24U] ^ kTable[3][high & 0xFFU] ^
          kTable[2][(high >> 8U) & 0xFFU] ^ kTable[1][(high >> 16U) & 0xFFU] ^
          kTable[0][high >> 24U];
    data = data.subspan(8);
  }
  for (const std::byte byte : data) {
    crc = (crc >> 8U) ^ kTable[0][(crc ^ static_cast<std::uint32_t>(byte)) & 0xFFU];
  }
  return ~crc;
}

std::uint32_t crc32c(ConstSpan data, std::uint32_t crc) noexcept {
  return chosen_function()(data, crc);
}

std::string_view crc32c_implementation() noexcept {
  return chosen_function() == crc32c_isal ? "isa-l" : "portable";
}

}  // namespace godbox
