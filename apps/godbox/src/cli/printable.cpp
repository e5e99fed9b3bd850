// SPDX-License-Identifier: Apache-2.0
#include "cli/printable.h"

#include <fmt/format.h>

#include <cstddef>

namespace godbox::app {

std::string printable(std::string_view text) {
  std::string out;
  bool is_c1 = false;  // the byte before was the first of two
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
    const bool begins_c1 = byte == 0xC2 && next >= 0x80 && next <= 0x9F;
    if (byte < 0x20 || byte == 0x7F || begins_c1 || is_c1) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += text[i];
    }
    is_c1 = begins_c1;
  }
  return out;
}

}  // namespace godbox::app
