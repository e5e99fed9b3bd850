// SPDX-License-Identifier: Apache-2.0
// A number becomes a size only where somebody writes so.
// expect-error: conversion from .*int.* to .*SizeBytes|no viable conversion|could not convert
#include <godbox/units.h>

using namespace godbox::literals;

#ifdef GODBOX_COMPILE_FAIL
constexpr godbox::SizeBytes kSize = 4096;
#else
constexpr godbox::SizeBytes kSize(4096);
static_assert(kSize == 4_KiB);
#endif
