// SPDX-License-Identifier: Apache-2.0
//
// Scene 3: an Ethernet port is lost while blocks are being loaded, and comes back.
#pragma once

#include "demo/block_mover.h"

namespace godbox::app {

// The mover's box has several ports, and its blocks are stored.
[[nodiscard]] Result<void> show_port_loss(Stage& stage, BlockMover& mover);

}  // namespace godbox::app
