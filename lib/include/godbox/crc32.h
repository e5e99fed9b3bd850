// SPDX-License-Identifier: Apache-2.0
//
// CRC32 of Ethernet, zlib and InfiniBand's ICRC (IEEE 802.3, 3.2.9; check value of "123456789" is
// 0xCBF43926). The CRC of sealed objects is another one: crc32c.h.
// Thread-safety: pure functions. Units: bytes. Errors: none; nothing allocates.
#pragma once

#include <godbox/units.h>

#include <string_view>

namespace godbox {

// Continues `crc` (0 to begin) over `data`: crc32(b, crc32(a)) == crc32(a followed by b).
[[nodiscard]] std::uint32_t crc32(ConstSpan data, std::uint32_t crc = 0) noexcept;
// The same by table, without ISA-L or special instructions; the yardstick and the fallback.
[[nodiscard]] std::uint32_t crc32_portable(ConstSpan data, std::uint32_t crc = 0) noexcept;
// Which implementation crc32() runs: "isa-l" or "portable". ISA-L is checked against the portable
// one on first use and dropped if it disagrees.
[[nodiscard]] std::string_view crc32_implementation() noexcept;

}  // namespace godbox
