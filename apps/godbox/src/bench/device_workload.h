// SPDX-License-Identifier: Apache-2.0
//
// `godbox bench --device`: what a GPU's pages and the pool exchange, and what packs them.
//   device-kernel  the gather (write) and scatter (read) kernels alone, in the device's memory,
//                  against its own copy of as many bytes
//   device-pages   blocks of a model's KV cache, all layers, put into the pool (write) and taken
//                  from it (read), against one large copy between device and pinned memory
// Errors: those of the device (device_missing: asked for and not there), the box and the transfers.
#pragma once

#include "bench/device_options.h"
#include "bench/device_pages.h"
#include "bench/workloads.h"

namespace godbox::app {

[[nodiscard]] Result<Rows> run_device_bench(const DevicePlan& plan);

// --- Shared by its parts. ---
[[nodiscard]] Result<Rows> measure_device_kernels(DeviceMemory& device, const DevicePlan& plan,
                                                  DevicePages& pages,
                                                  const kv::ModelGeometry& model);
[[nodiscard]] Result<Rows> measure_device_pages(DeviceMemory& device, const DevicePlan& plan,
                                                DevicePages& pages, const kv::ModelGeometry& model);
[[nodiscard]] BenchRow device_row(const DeviceMemory& device, const DevicePlan& plan,
                                  const DevicePages& pages, const kv::ModelGeometry& model,
                                  WorkOp op, bool crc);
// GB/s of large copies between device and pinned memory, in the direction of `op`, of as many bytes
// as the pages have.
[[nodiscard]] Result<double> copy_ceiling(DevicePages& pages, WorkOp op);

}  // namespace godbox::app
