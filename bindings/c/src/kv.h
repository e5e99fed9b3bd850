// SPDX-License-Identifier: Apache-2.0
//
// What a KV cache's handle and those of its transfers share.
// Thread-safety: `mover` is for the pool's thread. Ownership: handles share it; the mover is the
// pool's. Errors: as godbox.h says.
#pragma once

#include "api.h"

namespace godbox::c {

struct KvShared {
  std::shared_ptr<PoolCore> core;
  kv::KvMover* mover = nullptr;                           // nullptr: closed
  std::list<std::function<void()>>::iterator at_close{};  // in the core's on_close
  std::string suffix;
  std::uint64_t layer_bytes = 0;
};

}  // namespace godbox::c

struct godbox_kv {
  std::shared_ptr<godbox::c::KvShared> shared;
};
