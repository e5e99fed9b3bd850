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

}  // namespace godbox
