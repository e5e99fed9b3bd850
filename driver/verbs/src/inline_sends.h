// SPDX-License-Identifier: Apache-2.0
//
// Short sends whose bytes go to the device with the request for them (IBV_SEND_INLINE): it need not
// fetch them, and they need no registration. Thread-safety: any thread. Units: bytes.
// Source: rdma-core 44, ibv_post_send(3), rdma_create_qp(3).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include <rdma/rdma_cma.h>

namespace godbox::driver {

// What is asked for, most first: what most devices have room for in an entry of a queue, and less.
inline constexpr std::array kInlineBytesWanted = {128U, 64U, 0U};

// rdma_create_qp() with room for inline sends as far as the device has that. Returns how many bytes
// a send may have inline, at most what is asked for; nothing: there is no queue pair (errno).
[[nodiscard]] inline std::optional<std::uint32_t> create_inline_queue_pair(
    rdma_cm_id* connection, ibv_pd* domain, const ibv_qp_init_attr& wanted) {
  for (const std::uint32_t inline_bytes : kInlineBytesWanted) {
    ibv_qp_init_attr made = wanted;
    made.cap.max_inline_data = inline_bytes;
    if (rdma_create_qp(connection, domain, &made) == 0) {
      return std::min(made.cap.max_inline_data, inline_bytes);
    }
  }
  return std::nullopt;
}

// The flag for a send of that many bytes.
[[nodiscard]] inline unsigned inline_flag(std::uint64_t size_bytes,
                                          std::uint32_t inline_bytes_max) {
  return size_bytes <= inline_bytes_max ? static_cast<unsigned>(IBV_SEND_INLINE) : 0U;
}

}  // namespace godbox::driver
