// SPDX-License-Identifier: Apache-2.0
// Uses one function of each library a user links, so that a missing archive fails the link.

#include <godbox/crc32c.h>
#include <godbox/striping/slab_layout.h>

#include <cstdio>
#include <span>
#include <string_view>

int main() {
  constexpr std::string_view kCheckInput = "123456789";
  constexpr std::uint32_t kCheckValue = 0xE3069283;  // RFC 3720 appendix B.4
  if (godbox::crc32c(std::as_bytes(std::span(kCheckInput))) != kCheckValue) {
    std::puts("consumer: wrong CRC32C");
    return 1;
  }
  if (godbox::striping::SlabLayout::create(godbox::wire::SlabRecord{}).has_value()) {
    std::puts("consumer: a slab without members was accepted");
    return 1;
  }
  std::puts("consumer: ok");
  return 0;
}
