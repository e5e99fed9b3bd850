// SPDX-License-Identifier: Apache-2.0
//
// The fields of a Retention, which RESERVE and RETAIN have in places of their own.
// Thread-safety: pure functions. Units: milliseconds. Errors: a reader becomes bad.
#pragma once

#include "byte_io.h"
#include <godbox/wire.h>

namespace godbox::wire {

inline void put_pin(ByteWriter& writer, const Retention& retention) {
  writer.put(static_cast<std::uint8_t>(retention.pin));
}

inline Pin get_pin(ByteReader& reader) {
  const auto number = reader.get<std::uint8_t>();
  reader.require(number <= static_cast<std::uint8_t>(Pin::hard));
  return static_cast<Pin>(number);
}

inline void put_ttls(ByteWriter& writer, const Retention& retention) {
  writer.put(retention.soft_ttl_ms);
  writer.put(retention.hard_ttl_ms);
}

inline void get_ttls(ByteReader& reader, Retention& retention) {
  retention.soft_ttl_ms = reader.get<std::uint32_t>();
  retention.hard_ttl_ms = reader.get<std::uint32_t>();
}

}  // namespace godbox::wire
