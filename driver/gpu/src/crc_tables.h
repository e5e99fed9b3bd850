// SPDX-License-Identifier: Apache-2.0
//
// The tables by which the move kernel computes CRC32C (kernels/move_body.h), and the last step of
// it, which is the host's: parts of tiles become the CRC32C of a block.
// Thread-safety: pure functions; a CrcFinisher is one thread's. Units: bytes. Errors: none.
#pragma once

#include "kernels/move_body.h"

namespace godbox::driver {

[[nodiscard]] kernels::CrcTables make_crc_tables();

class CrcFinisher {
 public:
  explicit CrcFinisher(const kernels::CrcTables& tables) : tables_(tables) {}
  // The CRC32C of a block of `length_bytes` whose raw CRC (begun with 0, not inverted) is `raw`.
  [[nodiscard]] std::uint32_t finish(std::uint32_t raw, std::uint32_t length_bytes);

 private:
  const kernels::CrcTables& tables_;
  std::uint32_t last_length_bytes_ = 0;  // blocks of a move are mostly of one length
  std::uint32_t last_initial_ = 0xFFFFFFFF;
};

}  // namespace godbox::driver
