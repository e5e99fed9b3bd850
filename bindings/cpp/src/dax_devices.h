// SPDX-License-Identifier: Apache-2.0
//
// The DRAM channels of one box as dax devices of this machine, found by serial number: each in a
// device of its own, or those of an interleaved region together in one.
// Thread-safety: any thread. Units: bytes. Errors: device_missing, naming what is not there or not
// up.
#pragma once

#include <godbox/cxl/channel_order.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <cstdint>
#include <string>
#include <vector>

namespace godbox {

// Where one channel's bytes are.
struct DaxChannel {
  std::string path;
  cxl::ChannelOrder order;  // in the device
};

// By DRAM channel.
[[nodiscard]] Result<std::vector<DaxChannel>> find_dax_devices(std::uint32_t box);
// Of paths that the caller gave: each that is a CXL channel has to be that DRAM channel of the box,
// with a device of its own. Errors: invalid_argument, naming device and number.
[[nodiscard]] Result<void> check_dax_devices(const std::vector<std::string>& paths,
                                             std::uint32_t box);

}  // namespace godbox
