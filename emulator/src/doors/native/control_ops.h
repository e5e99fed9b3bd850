// SPDX-License-Identifier: Apache-2.0
//
// The control operations: body in, call of the pool service, body out.
// Thread-safety: any thread. Ownership: borrows all. Units: bytes.
// Errors: a body that does not decode is an Error (the connection ends); whatever the service
// refuses is the reply's status. A reply that would not fit a frame is undone where it holds
// something, and answered too_large.
#pragma once

#include "exchange.h"
#include <godbox/emulator/native_door.h>

namespace godbox::emulator {

// Its status and, where it has one, its sentence.
[[nodiscard]] Reply refusal(const Error& error);

// Every operation of wire_spec.h but HELLO, PING, GOODBYE, READ, WRITE, MAP_MEMORY and BIND, which
// are the connection's own; any other is answered `unsupported`.
[[nodiscard]] Result<Reply> handle_control_op(DoorContext& context, SessionId session, wire::Op op,
                                              ConstSpan body);

}  // namespace godbox::emulator
