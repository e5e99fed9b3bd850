// SPDX-License-Identifier: Apache-2.0
//
// A DeviceMemory that is the host's own: for machines without a GPU, and the yardstick that the
// others are held against. Each queue is a thread, so that work is as asynchronous as on a device;
// a move is the data path's copy, CRC32C fused into it; a copy engine is a copy.
// Everything in the process is in reach: reaches() is true for any memory, and registering and
// staging cost nothing and pin nothing. What the interface asks for is kept all the same: memory is
// page-aligned, overlapping registrations are refused, limits are those of the interface.
// Beyond DeviceMemory: make_queue() answers limit_exceeded where the machine gives no more threads;
// follow() has no streams to follow: nullptr is done at once, all else is invalid_argument;
// releasing what was not allocated here is a programming mistake. It is never lost.
// Thread-safety, ownership, units: as DeviceMemory.
#pragma once

#include <godbox/device_memory.h>

namespace godbox::driver {

struct HostDeviceOptions {
  SizeBytes memory_max{};  // of allocate(), together; 0: what the machine gives
};

[[nodiscard]] std::unique_ptr<DeviceMemory> make_host_device(const HostDeviceOptions& options = {});

}  // namespace godbox::driver
