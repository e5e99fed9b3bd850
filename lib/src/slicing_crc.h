// SPDX-License-Identifier: Apache-2.0
//
// A CRC of 32 bits by table, eight bytes at a time, and whether another implementation agrees with
// it. Both CRCs of Godbox are reflected, begin with all ones and end inverted.
// Thread-safety: pure functions. Errors: none; nothing allocates.
#pragma once

#include <godbox/units.h>

#include <array>
#include <bit>
#include <cstring>

namespace godbox {

// table[k][b] is the CRC of byte b followed by k zero bytes.
using SlicingTable = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr SlicingTable make_slicing_table(std::uint32_t polynomial_reflected) {
  SlicingTable table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? polynomial_reflected : 0U);
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

inline std::uint32_t crc_by_slicing(const SlicingTable& table, ConstSpan data,
                                    std::uint32_t crc) noexcept {
  static_assert(std::endian::native == std::endian::little, "a big-endian host has to swap here");
  crc = ~crc;
  while (data.size() >= 8) {
    std::array<std::uint32_t, 2> words{};
    std::memcpy(words.data(), data.data(), sizeof(words));
    const std::uint32_t low = words[0] ^ crc, high = words[1];
    crc = table[7][low & 0xFFU] ^ table[6][(low >> 8U) & 0xFFU] ^ table[5][(low >> 16U) & 0xFFU] ^
          table[4][low >> 24U] ^ table[3][high & 0xFFU] ^ table[2][(high >> 8U) & 0xFFU] ^
          table[1][(high >> 16U) & 0xFFU] ^ table[0][high >> 24U];
    data = data.subspan(8);
  }
  for (const std::byte byte : data) {
    crc = (crc >> 8U) ^ table[0][(crc ^ static_cast<std::uint32_t>(byte)) & 0xFFU];
  }
  return ~crc;
}

using CrcFunction = std::uint32_t (*)(ConstSpan, std::uint32_t) noexcept;

// ISA-L picks its code by CPU; the lengths and alignments here reach each path of that code.
inline bool crcs_agree(CrcFunction one, CrcFunction other) noexcept {
  std::array<std::byte, 4096 + 64> bytes{};
  std::uint32_t state = 1;
  for (std::byte& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(state >> 24U);
  }
  std::uint32_t crc = 0;
  for (const std::size_t size : {0U, 1U, 7U, 8U, 63U, 64U, 255U, 256U, 1023U, 1500U, 4096U}) {
    const ConstSpan piece = ConstSpan(bytes).subspan(size % 61, size);
    const std::uint32_t expected = other(piece, crc);
    if (one(piece, crc) != expected) {
      return false;
    }
    crc = expected;
  }
  return true;
}

}  // namespace godbox
