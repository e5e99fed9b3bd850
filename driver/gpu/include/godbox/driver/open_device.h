// SPDX-License-Identifier: Apache-2.0
//
// Opens the device that KV pages lie on: a GPU through the CUDA driver that is found at run time,
// or the host's own memory. One program so runs with a GPU and without.
// A GPU that was asked for and is not there is an error and never the host; `automatic` takes the
// GPU where there is one that works, and says in a sentence what it took and why. Reports repeat
// that sentence, so that no figure of the host is taken for one of a GPU. Where the choice comes
// from (an option, the environment's GODBOX_DEVICE) is the caller's affair.
// The CUDA implementation needs Linux, driver 11.3 or later, one no older than the major version of
// the Toolkit that the kernels were made by (that of 13 makes kernels for drivers of 13), and
// kernels built into this library (the CUDA Toolkit, when godbox was built). It works in the
// device's primary context, so that it reaches what the CUDA runtime, PyTorch for one, has
// allocated in the same process. Thread-safety: any thread. Ownership: the caller's; see
// DeviceMemory. Units: bytes. Errors: device_missing (cuda was asked for; the detail says what is
// missing), config_invalid (an unknown choice, or a variable that is no number that is allowed),
// invalid_argument (an ordinal that no device has, an option out of range); and, with automatic
// too, device_memory_full and limit_exceeded (a GPU that is there has no room now). Sources: CUDA
// Driver API reference manual (driver entry point access, primary contexts).
#pragma once

#include <godbox/device_memory.h>

#include <optional>

namespace godbox::driver {

enum class DeviceChoice : std::uint8_t { automatic, host, cuda };

// "auto", "host" or "cuda", and nothing else.
[[nodiscard]] Result<DeviceChoice> parse_device_choice(std::string_view text);
[[nodiscard]] std::string_view to_string(DeviceChoice choice) noexcept;

struct OpenDeviceOptions {
  int ordinal = 0;  // of the GPU, as CUDA numbers what CUDA_VISIBLE_DEVICES leaves
  // How moves over the bus use the GPU, for measurements that look for the best; unless set, what
  // the environment's GODBOX_CUDA_TILES_OVER_BUS and GODBOX_CUDA_BLOCKS_OVER_BUS say. A move of at
  // most so many tiles has no copy engine bring them; a kernel over the bus has at most so many
  // thread blocks.
  std::optional<unsigned> cuda_tiles_over_bus_max{};
  std::optional<unsigned> cuda_blocks_over_bus_max{};
};

struct OpenedDevice {
  std::unique_ptr<DeviceMemory> memory;
  // "auto took NVIDIA H200, driver 12.8: a CUDA device that works", or "auto took host memory (no
  // GPU): libcuda.so.1 was not found".
  std::string reason;
};

[[nodiscard]] Result<OpenedDevice> open_device(DeviceChoice choice,
                                               const OpenDeviceOptions& options = {});

}  // namespace godbox::driver
