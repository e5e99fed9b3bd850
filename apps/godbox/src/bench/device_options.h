// SPDX-License-Identifier: Apache-2.0
//
// `godbox bench --device auto|host|cuda`: pages of a paged KV cache in a device's memory, and the
// pool. Which device, which models, how much. Errors: invalid_argument naming option and value.
#pragma once

#include "bench/bench_options.h"
#include <godbox/connect.h>
#include <godbox/driver/open_device.h>
#include <godbox/striping/kv_geometry.h>

#include <memory>
#include <string>
#include <vector>

namespace godbox::app {

struct DevicePlan {
  driver::DeviceChoice choice = driver::DeviceChoice::automatic;
  std::vector<kv::ModelGeometry> models;
  std::uint32_t block_tokens = 16;
  std::vector<TransportKind> transports;
  std::vector<WorkOp> ops;  // write (device to pool) before read
  std::vector<bool> crc;
  std::vector<DevicePath> paths;  // to a local pool: direct, staged
  std::string hugetlbfs;          // a folder: direct is measured there too; empty: not
  SizeBytes working_set;          // 0: by the device
  std::uint32_t repeats = 5;
  std::uint32_t copy_threads = 1;
  std::uint64_t seed = 1;
  bool timeline = false;
};

// Whether --device was given. Errors: invalid_argument (a value that is none, --models without it).
[[nodiscard]] Result<bool> is_device_bench(const BenchOptions& options);
// Errors: invalid_argument (an option that does nothing here is refused), not_found (a model).
[[nodiscard]] Result<DevicePlan> make_device_plan(const BenchOptions& options);

}  // namespace godbox::app
