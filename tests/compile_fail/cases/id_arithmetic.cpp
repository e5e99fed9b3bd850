// SPDX-License-Identifier: Apache-2.0
// Identifiers have no arithmetic.
// expect-error: no match for .operator\+|invalid operands to binary expression
#include <godbox/units.h>

#ifdef GODBOX_COMPILE_FAIL
constexpr godbox::SlabId kNext = godbox::SlabId(1) + 1;
#else
constexpr godbox::SlabId kNext(godbox::SlabId(1).value() + 1);
static_assert(kNext.value() == 2);
#endif
