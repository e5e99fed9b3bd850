// SPDX-License-Identifier: Apache-2.0
//
// Which of the ways to a box's Ethernet ports, as INFO names them, are streams of the native
// protocol. Thread-safety: a pure function. Units: none. Errors: none; what StreamAddress says of
// an address is the caller's to see. Source: docs/wire-protocol.md, 9.1.
#pragma once

#include <godbox/wire.h>

#include <vector>

namespace godbox::wire {

// Those whose first word is a stream's, in their order. Other words, known ones ("roce:") and those
// that nobody knows yet, are for other clients.
[[nodiscard]] std::vector<EthPortInfo> stream_ports(const std::vector<EthPortInfo>& ports);

}  // namespace godbox::wire
