// SPDX-License-Identifier: Apache-2.0
// A size becomes a number only where somebody writes so.
// expect-error: cannot convert .*SizeBytes|no viable conversion|could not convert
#include <godbox/units.h>

using namespace godbox::literals;

#ifdef GODBOX_COMPILE_FAIL
constexpr std::uint64_t kBytes = 4_KiB;
#else
constexpr std::uint64_t kBytes = (4_KiB).count();
static_assert(kBytes == 4096);
#endif
