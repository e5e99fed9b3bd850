// SPDX-License-Identifier: Apache-2.0
// Identifiers of two kinds are never compared.
// expect-error: no match for .operator==|invalid operands to binary expression
#include <godbox/units.h>

#ifdef GODBOX_COMPILE_FAIL
static_assert(godbox::EthPortId(3) == godbox::DramChannelId(3));
#else
static_assert(godbox::EthPortId(3) == godbox::EthPortId(3));
#endif
