// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/box_config.h>

#include <fmt/format.h>

#include <cstdlib>

#include <unistd.h>

namespace godbox::emulator {

std::string default_control_socket() {
  // XDG Base Directory: set by the login session to a directory of mode 0700, absolute or void.
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");  // NOLINT(concurrency-mt-unsafe): start-up
  if (runtime != nullptr && runtime[0] == '/') {
    return fmt::format("{}/godbox/control.sock", runtime);
  }
  return fmt::format("/tmp/godbox-{}/control.sock", ::getuid());
}

}  // namespace godbox::emulator
