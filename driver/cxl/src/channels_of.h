// SPDX-License-Identifier: Apache-2.0
//
// The channels of a view that was read already. Thread-safety, errors: as find_cxl_channels.
#pragma once

#include <godbox/driver/cxl_channels.h>
#include <godbox/driver/cxl_view.h>

namespace godbox::driver {

[[nodiscard]] Result<std::vector<CxlChannel>> channels_of(const CxlTree& tree, const CxlView& view);

}  // namespace godbox::driver
