// SPDX-License-Identifier: Apache-2.0
// Two positions do not add up.
// expect-error: no match for .operator\+|invalid operands to binary expression
#include <godbox/units.h>

using namespace godbox::literals;

#ifdef GODBOX_COMPILE_FAIL
constexpr godbox::RegionOffset kSum = godbox::RegionOffset(1) + godbox::RegionOffset(2);
#else
constexpr godbox::RegionOffset kSum = godbox::RegionOffset(1) + 2_B;
static_assert(kSum.count() == 3);
#endif
