// SPDX-License-Identifier: Apache-2.0
//
// The connections between this process and one QEMU: unnamed socket pairs, one end of each given to
// QEMU as a numbered descriptor, and the arguments that attach it there.
// Thread-safety: one thread. Ownership: owns this process's ends; QEMU's ends until release_far().
// Errors: io_error.
#pragma once

#include "owned_descriptor.h"
#include <godbox/result.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator::vm {

enum class Link : std::uint8_t { control, in, out, err, terminal, console, qmp };
inline constexpr std::size_t kLinks = 7;

class GuestLinks {
 public:
  [[nodiscard]] static Result<GuestLinks> open();

  [[nodiscard]] int near(Link link) const { return near_[index(link)].get(); }
  [[nodiscard]] std::vector<int> far() const;
  [[nodiscard]] std::vector<std::string> qemu_arguments() const;
  void release_far();
  void close(Link link) { near_[index(link)].reset(); }

 private:
  [[nodiscard]] static std::size_t index(Link link) { return static_cast<std::size_t>(link); }
  std::array<OwnedDescriptor, kLinks> near_;
  std::array<OwnedDescriptor, kLinks> far_;
};

enum class Peer : std::uint8_t { link, file };
// Writes all of it, also to what does not block. A link whose other end is gone is an error, never
// a signal. Errors: io_error.
[[nodiscard]] Result<void> write_all(int descriptor, std::string_view bytes, Peer peer);

}  // namespace godbox::emulator::vm
