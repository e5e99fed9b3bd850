// SPDX-License-Identifier: Apache-2.0
//
// Big-endian fields of spec structs and of bytes. Thread-safety: pure functions. Errors: none.
#pragma once

#include <godbox/roce/packet_spec.h>

#include <cstring>

namespace godbox::roce {

template <std::size_t N>
[[nodiscard]] constexpr std::uint64_t load_be(const std::uint8_t (&bytes)[N]) {
  std::uint64_t value = 0;
  for (const std::uint8_t byte : bytes) {
    value = value << 8U | byte;
  }
  return value;
}
[[nodiscard]] constexpr std::uint16_t load(const Be16& from) {
  return static_cast<std::uint16_t>(load_be(from.b));
}
[[nodiscard]] constexpr std::uint32_t load(const Be24& from) {
  return static_cast<std::uint32_t>(load_be(from.b));
}
[[nodiscard]] constexpr std::uint32_t load(const Be32& from) {
  return static_cast<std::uint32_t>(load_be(from.b));
}
[[nodiscard]] constexpr std::uint64_t load(const Be64& from) { return load_be(from.b); }

template <class Field>
[[nodiscard]] constexpr Field be(std::uint64_t value) {
  Field field{};
  for (std::size_t i = sizeof(Field); i-- > 0; value >>= 8U) {
    field.b[i] = static_cast<std::uint8_t>(value);
  }
  return field;
}

// The spec struct at the beginning of bytes that are long enough.
template <class Spec>
[[nodiscard]] Spec read_spec(const std::byte* from) {
  Spec spec;
  std::memcpy(&spec, from, sizeof(spec));
  return spec;
}
// Returns what is behind it.
template <class Spec>
std::byte* write_spec(std::byte* to, const Spec& spec) {
  std::memcpy(to, &spec, sizeof(spec));
  return to + sizeof(spec);
}

}  // namespace godbox::roce
