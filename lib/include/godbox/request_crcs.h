// SPDX-License-Identifier: Apache-2.0
//
// The CRC32C of a request's blocks, over its bytes in this process's memory.
// Thread-safety: pure but for what the request points to. Units: bytes. Errors: none.
#pragma once

#include <godbox/transport.h>

namespace godbox {

// Of a request that check_work_request() takes: fills in all of its blocks.
void make_crcs(const WorkRequest& request);
// Whether each block's CRC is that of its bytes; true where the request has none.
[[nodiscard]] bool has_right_crcs(const WorkRequest& request);

}  // namespace godbox
