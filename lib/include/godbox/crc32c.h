// SPDX-License-Identifier: Apache-2.0
//
// CRC32C (Castagnoli, RFC 3720 appendix B.4; check value of "123456789" is 0xE3069283) and the
// copies of the data path: plain, and fused with the CRC so that a block crosses the caches once.
// Thread-safety: pure functions. Units: bytes. Errors: none; nothing allocates.
#pragma once

#include <godbox/units.h>

#include <string_view>

namespace godbox {

// Continues `crc` (0 to begin) over `data`: crc32c(b, crc32c(a)) == crc32c(a followed by b).
[[nodiscard]] std::uint32_t crc32c(ConstSpan data, std::uint32_t crc = 0) noexcept;
// The same by table, without ISA-L or special instructions; the yardstick and the fallback.
[[nodiscard]] std::uint32_t crc32c_portable(ConstSpan data, std::uint32_t crc = 0) noexcept;
// Which implementation crc32c() runs: "isa-l" or "portable". ISA-L is checked against the portable
// one on first use and dropped if it disagrees.
[[nodiscard]] std::string_view crc32c_implementation() noexcept;

// Copies src to dst (equal sizes, no overlap). Large copies use non-temporal stores where the CPU
// has them, because a block that leaves for another consumer only pollutes the caches. Such stores
// may reach memory after later ones: call publish_copies() before another thread is told of them.
void copy_bytes(MutableSpan dst, ConstSpan src) noexcept;
// Copies and returns crc32c(src, crc), reading the source from memory once.
[[nodiscard]] std::uint32_t copy_bytes_crc32c(MutableSpan dst, ConstSpan src,
                                              std::uint32_t crc = 0) noexcept;
// Orders all copies of this thread before its later stores.
void publish_copies() noexcept;

}  // namespace godbox
