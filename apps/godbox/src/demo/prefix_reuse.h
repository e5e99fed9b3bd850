// SPDX-License-Identifier: Apache-2.0
//
// Scene 4: the next question of a conversation begins with all that was said before.
#pragma once

#include "demo/block_mover.h"

namespace godbox::app {

// The mover's blocks are stored: they are the first turn.
[[nodiscard]] Result<void> show_prefix_reuse(Stage& stage, BlockMover& mover);

}  // namespace godbox::app
