// SPDX-License-Identifier: Apache-2.0
// A place in a DRAM channel is not a place in a slab.
// expect-error: conversion from .*Offset.* to|no viable conversion|could not convert
#include <godbox/units.h>

#ifdef GODBOX_COMPILE_FAIL
constexpr godbox::PoolAddress kPlace{godbox::SlabId(1), godbox::DramOffset(4096)};
#else
constexpr godbox::PoolAddress kPlace{godbox::SlabId(1), godbox::SlabOffset(4096)};
static_assert(kPlace.offset.count() == 4096);
#endif
