// SPDX-License-Identifier: Apache-2.0
// A position is not a size.
// expect-error: conversion from .*Offset.* to .*SizeBytes|no viable conversion|could not convert
#include <godbox/units.h>

#ifdef GODBOX_COMPILE_FAIL
constexpr godbox::SizeBytes kSize = godbox::SlabOffset(4096);
#else
constexpr godbox::SizeBytes kSize = godbox::SlabOffset(4096) - godbox::SlabOffset(0);
static_assert(kSize.count() == 4096);
#endif
