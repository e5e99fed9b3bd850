// SPDX-License-Identifier: Apache-2.0
// Bytes per second are not bytes.
// expect-error: conversion from .*Rate.* to .*SizeBytes|no viable conversion|could not convert
#include <godbox/units.h>

using namespace godbox::literals;

#ifdef GODBOX_COMPILE_FAIL
constexpr godbox::SizeBytes kSize = godbox::Rate(1e9);
#else
constexpr godbox::Duration kTime = godbox::Rate(1e9).time_for(4_KiB);
static_assert(kTime.count() == 4096);
#endif
