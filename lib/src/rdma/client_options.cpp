// SPDX-License-Identifier: Apache-2.0
#include <godbox/rdma/client_options.h>

#include <fmt/format.h>

namespace godbox::rdma {

Result<void> check_client_options(const ClientOptions& options, std::size_t lane_count) {
  if (lane_count == 0 || lane_count > kLanesMax) {
    return Error(Errc::config_invalid,
                 fmt::format("{} lanes; 1 to {} are possible", lane_count, kLanesMax));
  }
  if (options.requests_max == 0 || options.bytes_max < kWorkBytesMax) {
    return Error(Errc::config_invalid,
                 fmt::format("requests_max {}, bytes_max {}; at least 1 and {} are needed",
                             options.requests_max, options.bytes_max, kWorkBytesMax));
  }
  return {};
}

}  // namespace godbox::rdma
