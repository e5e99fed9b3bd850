// SPDX-License-Identifier: Apache-2.0
// A size and a position do not add up to a size.
// expect-error: no match for .operator\+|invalid operands to binary expression
#include <godbox/units.h>

using namespace godbox::literals;

#ifdef GODBOX_COMPILE_FAIL
constexpr godbox::SizeBytes kEnd = 64_KiB + godbox::SlabOffset(4096);
#else
constexpr godbox::SlabOffset kEnd = godbox::SlabOffset(4096) + 64_KiB;
static_assert(kEnd.count() == 69632);
#endif
