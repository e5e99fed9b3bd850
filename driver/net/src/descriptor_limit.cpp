// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/descriptor_limit.h>

#include <fmt/format.h>

#include <cerrno>
#include <filesystem>
#include <iterator>
#include <limits>
#include <system_error>

#include <sys/resource.h>

namespace godbox::driver {

namespace {

std::uint64_t count_of(rlim_t limit) {
  return limit == RLIM_INFINITY ? std::numeric_limits<std::uint64_t>::max() : limit;
}

}  // namespace

std::uint64_t descriptor_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? count_of(limit.rlim_cur) : 0;
}

Result<std::uint64_t> raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == limit.rlim_max) {
    return count_of(limit.rlim_cur);
  }
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    const std::error_code reason(errno, std::generic_category());
    return Error(
        Errc::limit_exceeded,
        fmt::format("cannot raise the limit of open descriptors (RLIMIT_NOFILE) from {} to "
                    "{}: {}",
                    before, limit.rlim_max, reason.message()));
  }
  return count_of(limit.rlim_cur);
}

std::uint64_t descriptors_open() {
  std::error_code error;
  const std::filesystem::directory_iterator entries("/proc/self/fd", error);
  return error ? 0
               : static_cast<std::uint64_t>(
                     std::distance(entries, std::filesystem::directory_iterator()));
}

}  // namespace godbox::driver
