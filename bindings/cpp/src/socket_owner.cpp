// SPDX-License-Identifier: Apache-2.0
#include "socket_owner.h"

#include <cerrno>
#include <filesystem>
#include <system_error>

#include <sys/stat.h>
#include <unistd.h>

namespace godbox {
namespace {

Error cannot_examine(const std::string& path, int error_number) {
  const bool is_refused = error_number == EACCES || error_number == EPERM;
  return {is_refused ? Errc::permission_denied : Errc::connect_failed,
          path + ": " + std::generic_category().message(error_number)};
}

Result<void> check_owner(const std::string& path, const struct stat& status) {
  if (status.st_uid == geteuid() || status.st_uid == 0) {
    return {};
  }
  return Error(Errc::permission_denied,
               path + " belongs to user " + std::to_string(status.st_uid) +
                   "; a box of another user is only used when its path is given");
}

}  // namespace

// The folder first: when nobody else can change what it holds, what is seen of the socket stays
// true until we connect.
Result<void> check_socket_owner(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().native();
  struct stat status {};
  if (lstat(folder.c_str(), &status) != 0) {
    return cannot_examine(folder, errno);
  }
  if (auto link = check_owner(folder, status); !link) {
    return link;
  }
  if (stat(folder.c_str(), &status) != 0) {
    return cannot_examine(folder, errno);
  }
  if (auto owned = check_owner(folder, status); !owned) {
    return owned;
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (status.st_mode & S_ISVTX) == 0) {
    return Error(Errc::permission_denied, folder + ": other users can replace files in it");
  }
  if (lstat(path.c_str(), &status) != 0) {
    return cannot_examine(path, errno);
  }
  return check_owner(path, status);
}

}  // namespace godbox
