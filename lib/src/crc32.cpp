// SPDX-License-Identifier: Apache-2.0
#include "slicing_crc.h"
#include <godbox/crc32.h>

#include <isa-l/crc.h>

namespace godbox {
namespace {

constexpr SlicingTable kTable = make_slicing_table(0xEDB88320);

// Takes and gives the CRC as zlib's does, inverted at both ends.
std::uint32_t crc32_isal(ConstSpan data, std::uint32_t crc) noexcept {
  return crc32_gzip_refl(crc, reinterpret_cast<const unsigned char*>(data.data()), data.size());
}

CrcFunction chosen_function() noexcept {
  static const CrcFunction function =
      crcs_agree(crc32_isal, crc32_portable) ? crc32_isal : crc32_portable;
  return function;
}

}  // namespace

std::uint32_t crc32_portable(ConstSpan data, std::uint32_t crc) noexcept {
  return crc_by_slicing(kTable, data, crc);
}

std::uint32_t crc32(ConstSpan data, std::uint32_t crc) noexcept {
  return chosen_function()(data, crc);
}

std::string_view crc32_implementation() noexcept {
  return chosen_function() == crc32_isal ? "isa-l" : "portable";
}

}  // namespace godbox
