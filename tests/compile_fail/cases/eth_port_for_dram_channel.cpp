// SPDX-License-Identifier: Apache-2.0
// An Ethernet port is not a DRAM channel.
// expect-error: conversion from .*Id.* to|no viable conversion|could not convert
#include <godbox/units.h>

#ifdef GODBOX_COMPILE_FAIL
constexpr godbox::DramChannelId kDramChannel = godbox::EthPortId(3);
#else
constexpr godbox::DramChannelId kDramChannel = godbox::DramChannelId(3);
static_assert(kDramChannel.value() == 3);
#endif
