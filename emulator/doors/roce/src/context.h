// SPDX-License-Identifier: Apache-2.0
//
// What all queue pairs of one port share.
// Thread-safety: the port's thread; what it refers to says its own. Ownership: owned by the port,
// outlives its queue pairs.
#pragma once

#include "access_windows.h"
#include "port_pool.h"
#include <godbox/emulator/roce/counters.h>

namespace godbox::emulator {

struct RoceContext {
  explicit RoceContext(const PortPool& of) : pool(of), windows(pool) {}

  PortPool pool;
  AccessWindows windows;
  RocePortCounters counters{};
};

}  // namespace godbox::emulator
