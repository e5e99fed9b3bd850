// SPDX-License-Identifier: Apache-2.0
// Positions in two address spaces have no distance.
// expect-error: no match for .operator-|invalid operands to binary expression
#include <godbox/units.h>

#ifdef GODBOX_COMPILE_FAIL
constexpr godbox::SizeBytes kSize = godbox::DramOffset(8192) - godbox::SlabOffset(4096);
#else
constexpr godbox::SizeBytes kSize = godbox::DramOffset(8192) - godbox::DramOffset(4096);
static_assert(kSize.count() == 4096);
#endif
