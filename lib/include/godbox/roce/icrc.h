// SPDX-License-Identifier: Apache-2.0
//
// The invariant CRC of RoCEv2: crc32.h's CRC from the IP header to the padding, in which what a
// switch or router may change counts as ones, after eight bytes of ones in the place of a LRH.
// Source: IBTA volume 1, 7.8.1 and annex A17.3.3.
// Thread-safety: pure functions. Units: bytes. Errors: none; nothing allocates.
#pragma once

#include <godbox/units.h>

namespace godbox::roce {

// Over bytes that begin with an IPv4 or IPv6 header and hold at least that, UDP's header and the
// BTH. The result goes on with crc32() over what follows, payload and padding, in any pieces.
[[nodiscard]] std::uint32_t icrc_begin(ConstSpan headers);

// As the last four bytes of a frame: in the CRC's own order, which is little-endian.
void store_icrc(std::uint32_t icrc, std::span<std::byte, 4> out);
[[nodiscard]] std::uint32_t load_icrc(std::span<const std::byte, 4> from);

}  // namespace godbox::roce
