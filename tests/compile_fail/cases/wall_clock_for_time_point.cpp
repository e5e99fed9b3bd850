// SPDX-License-Identifier: Apache-2.0
// A time of the wall clock is not one of Godbox's clocks.
// expect-error: conversion from .*time_point.* to|no viable conversion|could not convert
#include <godbox/units.h>

#ifdef GODBOX_COMPILE_FAIL
constexpr godbox::TimePoint kWhen = std::chrono::system_clock::time_point();
#else
constexpr godbox::TimePoint kWhen{godbox::Duration(5)};
static_assert(kWhen < godbox::kNever);
#endif
