// SPDX-License-Identifier: Apache-2.0
//
// The memory behind a logical device: bytes of its own, in the order of the device's DPAs, that a
// box hands to one VM as a descriptor, and once they are sealed to several. Each binding gets
// memory that was made for it, so that nobody finds another's bytes in it, whatever an earlier
// holder still has mapped. driver/mem implements it by a memfd.
// Thread-safety: all calls from any thread. Ownership: owns its descriptor; whoever got a copy of
// that keeps the bytes alive. Units: bytes. Errors: named at each call.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <functional>
#include <memory>

namespace godbox {

class SlabMemory {
 public:
  virtual ~SlabMemory() = default;

  [[nodiscard]] virtual SizeBytes size() const = 0;
  // Zeros at first, all of it. Present only where somebody has made it so: who uses it does that
  // first.
  [[nodiscard]] virtual int descriptor() const = 0;
  // Gives this range of offsets back to the machine, also under those who have it mapped, who read
  // zeros from then on. Errors: out_of_range, access_denied (sealed), io_error.
  [[nodiscard]] virtual Result<void> discard(SizeBytes offset, SizeBytes size) = 0;
  // From now on nobody can write it, nor make it so. Errors: write_in_flight (somebody has it
  // mapped for writing, so that nothing has changed), io_error.
  [[nodiscard]] virtual Result<void> seal() = 0;
};

// Errors: backing_full (the machine has not that much left), limit_exceeded (descriptors),
// io_error.
using SlabMemoryMaker = std::function<Result<std::shared_ptr<SlabMemory>>(SizeBytes)>;

}  // namespace godbox
