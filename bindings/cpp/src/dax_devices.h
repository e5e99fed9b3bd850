// SPDX-License-Identifier: Apache-2.0
//
// The DRAM channels of one box as dax devices of this machine, found by serial number.
// Thread-safety: any thread. Errors: device_missing, naming what is not there or not up.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <cstdint>
#include <string>
#include <vector>

namespace godbox {

// By DRAM channel.
[[nodiscard]] Result<std::vector<std::string>> find_dax_devices(std::uint32_t box);
// Of paths that the caller gave: each that is a CXL channel has to be that DRAM channel of the box.
// Errors: invalid_argument, naming device and number.
[[nodiscard]] Result<void> check_dax_devices(const std::vector<std::string>& paths,
                                             std::uint32_t box);

}  // namespace godbox
