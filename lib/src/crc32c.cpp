// SPDX-License-Identifier: Apache-2.0
#include "slicing_crc.h"
#include <godbox/crc32c.h>

#include <isa-l/crc.h>

#include <algorithm>

namespace godbox {
namespace {

constexpr SlicingTable kTable = make_slicing_table(0x82F63B78);

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

CrcFunction chosen_function() noexcept {
  static const CrcFunction function =
      crcs_agree(crc32c_isal, crc32c_portable) ? crc32c_isal : crc32c_portable;
  return function;
}

}  // namespace

std::uint32_t crc32c_portable(ConstSpan data, std::uint32_t crc) noexcept {
  return crc_by_slicing(kTable, data, crc);
}

std::uint32_t crc32c(ConstSpan data, std::uint32_t crc) noexcept {
  return chosen_function()(data, crc);
}

std::string_view crc32c_implementation() noexcept {
  return chosen_function() == crc32c_isal ? "isa-l" : "portable";
}

}  // namespace godbox
