// SPDX-License-Identifier: Apache-2.0
// Bytes per second and bytes are not compared.
// expect-error: no match for .operator<|invalid operands to binary expression
#include <godbox/units.h>

using namespace godbox::literals;

#ifdef GODBOX_COMPILE_FAIL
static_assert(godbox::Rate(1e9) < 2_GiB);
#else
static_assert(godbox::Rate(1e9) < godbox::Rate(2e9));
#endif
