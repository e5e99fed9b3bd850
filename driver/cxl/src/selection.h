// SPDX-License-Identifier: Apache-2.0
//
// Which channels a command means, and how they are called in messages. Pure. Errors:
// invalid_argument (no such device, an ambiguous one, none at all).
#pragma once

#include <godbox/driver/cxl_regions.h>

namespace godbox::driver {

// "DRAM channel 3 of box 1 (mem2, serial 0x6762...)", "mem2 (serial 0x12)"
[[nodiscard]] std::string name_of(const CxlChannel& channel);
[[nodiscard]] Result<std::vector<CxlChannel>> select_channels(const std::vector<CxlChannel>& all,
                                                              const CxlSelection& selection);

}  // namespace godbox::driver
