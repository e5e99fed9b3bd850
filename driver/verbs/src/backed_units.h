// SPDX-License-Identifier: Apache-2.0
//
// Which memory of a box is backed, by the units that the pool backs, and each unit's registrations.
// Thread-safety: all members from any thread. Ownership: owns the registrations; a domain is
// forgotten before it goes. Units: bytes. Errors: at each call.
#pragma once

#include "device_registrations.h"
#include <godbox/driver/registered_memory.h>

#include <map>
#include <mutex>

namespace godbox::driver {

struct RegisteredMemory::State {
 public:
  void add(MutableSpan unit);
  // Of devices too: they have no work with it any more.
  void remove(MutableSpan unit);
  // As many bytes from `data` on as lie in one unit, as the domain's device names them. Registers
  // the unit where it is not yet. Errors: out_of_range (not backed), limit_exceeded (the device or
  // the system allows no more).
  [[nodiscard]] Result<DevicePiece> piece(ibv_pd* domain, std::byte* data, std::size_t size_bytes);
  void forget(ibv_pd* domain);

 private:
  struct Unit {
    std::size_t size_bytes = 0;
    std::map<ibv_pd*, MemoryRegion> regions{};
  };
  std::mutex mutex_;
  std::map<std::byte*, Unit> units_;  // by their first byte; they do not overlap
};

}  // namespace godbox::driver
