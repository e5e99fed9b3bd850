// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/file_space.h>

#include <cerrno>

#include <fcntl.h>

namespace godbox::driver {

int change_file_space(int descriptor, int mode, std::uint64_t offset_bytes, SizeBytes size) {
  constexpr int kAttemptsMax = 1000;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    if (::fallocate(descriptor, mode, static_cast<off_t>(offset_bytes),
                    static_cast<off_t>(size.count())) == 0) {
      return 0;
    }
    if (errno != EINTR) {
      return errno;
    }
  }
  return EINTR;
}

}  // namespace godbox::driver
