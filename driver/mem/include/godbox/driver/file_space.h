// SPDX-License-Identifier: Apache-2.0
//
// Space of files and of memory that has a descriptor: taken ahead, and given back.
// Thread-safety: any thread. Ownership: the descriptor stays the caller's.
#pragma once

#include <godbox/units.h>

namespace godbox::driver {

// fallocate(2) with this mode (linux/falloc.h), begun again after a signal, which takes nothing
// back. 0 or an errno; EINTR only where signals never end.
[[nodiscard]] int change_file_space(int descriptor, int mode, std::uint64_t offset_bytes,
                                    SizeBytes size);

}  // namespace godbox::driver
