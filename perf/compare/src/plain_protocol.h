// SPDX-License-Identifier: Apache-2.0
//
// What Redis (RESP2) and memcached (its meta commands) are sent, and what they have to answer. A
// caller knows how long a value is, so each right answer is known but for the value's bytes: they
// can be received where they belong, and all else is a wrong answer.
// Thread-safety: pure functions. Errors: wrong_answer() makes them.
#pragma once

#include "kv_client.h"

#include <string>

namespace godbox::compare {

enum class PlainProtocol : std::uint8_t { resp2, memcached_meta };

// Text before and after the value; of a get's request and of a set's answer all is in `head`.
struct Framing {
  std::string head;
  std::string_view tail;
};

// `op` is set or get (asserted).
[[nodiscard]] Framing request_framing(PlainProtocol protocol, KvOp op, std::string_view name,
                                      SizeBytes value);
[[nodiscard]] Framing answer_framing(PlainProtocol protocol, KvOp op, SizeBytes value);
// not_found where the server says so, else protocol_error; names object, answer and what was due.
[[nodiscard]] Error wrong_answer(PlainProtocol protocol, KvOp op, std::string_view name,
                                 std::string_view line, std::string_view due);
// Bytes of others as text: what cannot be printed as \xNN.
[[nodiscard]] std::string printable(std::string_view bytes);

}  // namespace godbox::compare
