// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/socket_path.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace godbox::driver {

Result<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Error(Errc::invalid_argument, fmt::format("\"{}\": a socket's path has 1 to {} bytes",
                                                     path, sizeof(address.sun_path) - 1));
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  return address;
}

Result<void> clear_socket_path(const std::string& path, int type) {
  const Result<sockaddr_un> address = socket_address(path);
  if (!address) {
    return address.error();
  }
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) {
    return {};
  }
  const int probe = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool is_dead =
      probe >= 0 && S_ISSOCK(found.st_mode) &&
      connect(probe, reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0 &&
      errno == ECONNREFUSED;
  if (probe >= 0) {
    close(probe);
  }
  if (!is_dead) {
    return Error(Errc::already_exists, fmt::format("{} is there, and in use", path));
  }
  return unlink(path.c_str()) == 0
             ? Result<void>()
             : Error(Errc::io_error,
                     fmt::format("{}: {}", path, std::generic_category().message(errno)));
}

}  // namespace godbox::driver
