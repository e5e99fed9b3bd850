// SPDX-License-Identifier: Apache-2.0
//
// The path of this program, under which a guest finds it too: its root is this machine's.
// Thread-safety: any thread.
#pragma once

#include <array>
#include <string>

#include <unistd.h>

namespace godbox::app {

[[nodiscard]] inline std::string own_program() {
  std::array<char, 4096> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  return {path.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
}

}  // namespace godbox::app
