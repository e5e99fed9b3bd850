// SPDX-License-Identifier: Apache-2.0
#include "system_error.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace godbox::driver {

Errc memory_errc(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return Errc::backing_full;
    case ENOMEM:  // of a mapping: address space or the count of mappings, not memory
    case EMFILE:
    case ENFILE:
    case EFBIG:
      return Errc::limit_exceeded;
    case EACCES:
    case EPERM:
    case EROFS:
      return Errc::permission_denied;
    case ENOENT:
    case ENOTDIR:
    case ENODEV:
    case ENXIO:
      return Errc::device_missing;
    case EINVAL:
    case ENAMETOOLONG:
    case EISDIR:
    case ELOOP:
      return Errc::invalid_argument;
    case EOPNOTSUPP:
    case ENOSYS:
      return Errc::unsupported;
    case EBUSY:
    case ETXTBSY:
    case EWOULDBLOCK:
    case EEXIST:
      return Errc::address_in_use;
    default:
      return Errc::io_error;
  }
}

Error memory_error(std::string_view action, std::string_view object, int error_number) {
  return {memory_errc(error_number), fmt::format("cannot {} {}: {}", action, object,
                                                 std::generic_category().message(error_number))};
}

}  // namespace godbox::driver
