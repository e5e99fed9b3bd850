// SPDX-License-Identifier: Apache-2.0
#include "crc_tables.h"

#include <array>

namespace godbox::driver {
namespace {

constexpr std::uint32_t kOne = 0x80000000;  // x^0, reflected

std::uint32_t times_x(std::uint32_t p) {
  return (p >> 1U) ^ ((p & 1U) != 0 ? kernels::kPolynomialReflected : 0U);
}

// x has an inverse, as P ends in 1.
std::uint32_t over_x(std::uint32_t p) {
  return (p & kOne) != 0 ? ((p ^ kernels::kPolynomialReflected) << 1U) | 1U : p << 1U;
}

std::uint32_t power_of_x(int exponent) {
  std::uint32_t p = kOne;
  for (; exponent > 0; --exponent) {
    p = times_x(p);
  }
  for (; exponent < 0; ++exponent) {
    p = over_x(p);
  }
  return p;
}

constexpr int kStepBits = 8 * kernels::kStepBytes;
constexpr int kWordBits = 8 * kernels::kWordBytes;

}  // namespace

kernels::CrcTables make_crc_tables() {
  kernels::CrcTables tables{};
  std::array<std::uint32_t, kWordBits> bit{};  // of a word, in the order of the stream
  bit[kWordBits - 1] = power_of_x(kStepBits);
  for (std::size_t i = kWordBits - 1; i > 0; --i) {
    bit[i - 1] = times_x(bit[i]);
  }
  for (std::size_t i = 0; i < 32; ++i) {
    for (std::uint32_t value = 0; value < 16; ++value) {
      for (std::size_t k = 0; k < 4; ++k) {
        tables.step[i][value] ^= ((value >> k) & 1U) != 0 ? bit[4 * i + k] : 0U;
      }
    }
  }
  for (int lane = 0; lane < static_cast<int>(kernels::kLanes); ++lane) {
    tables.lane[lane] =
        power_of_x(kWordBits * (static_cast<int>(kernels::kLanes) - 1 - lane) + 32 - kStepBits);
  }
  for (int i = 0; i < static_cast<int>(kernels::kWordBytes); ++i) {
    tables.tail[i] = power_of_x(8 * i + 32);
  }
  std::uint32_t base = power_of_x(8);
  for (auto& powers : tables.power) {
    powers[0] = kOne;
    for (std::size_t i = 1; i < 256; ++i) {
      powers[i] = kernels::multiply(powers[i - 1], base);
    }
    base = kernels::multiply(powers[255], base);
  }
  return tables;
}

std::uint32_t CrcFinisher::finish(std::uint32_t raw, std::uint32_t length_bytes) {
  if (length_bytes != last_length_bytes_) {
    last_length_bytes_ = length_bytes;
    last_initial_ = kernels::shift_bytes(0xFFFFFFFF, length_bytes, tables_);
  }
  return ~(raw ^ last_initial_);
}

}  // namespace godbox::driver
