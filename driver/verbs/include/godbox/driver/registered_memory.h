// SPDX-License-Identifier: Apache-2.0
//
// A box's memory as RDMA devices of this machine reach it. A device pins what is registered with
// it, and a box has more room than memory: so each unit that the pool backs is registered when a
// device first moves bytes of it, and deregistered before the pool gives it back. No registration
// lets anybody at the other end of a wire in: they are for what this side posts.
// Thread-safety: all members from any thread. Ownership: outlives the targets that it watches, and
// they the servers that use it. Units: bytes. Errors: none here.
#pragma once

#include <godbox/memory_target.h>

#include <memory>

namespace godbox::driver {

class RegisteredMemory {
 public:
  RegisteredMemory();
  ~RegisteredMemory();
  RegisteredMemory(const RegisteredMemory&) = delete;
  RegisteredMemory& operator=(const RegisteredMemory&) = delete;

  // The same target, of which it is known what is backed.
  [[nodiscard]] std::unique_ptr<MemoryTarget> watch(std::unique_ptr<MemoryTarget> target);

  struct State;
  [[nodiscard]] State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace godbox::driver
