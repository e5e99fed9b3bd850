// SPDX-License-Identifier: Apache-2.0
#include <godbox/device_memory.h>

namespace godbox {

Errc check_move(std::span<const MovePiece> pieces, std::span<const CrcBlock> crc) {
  if (pieces.size() > DeviceQueue::kMovePiecesMax || crc.size() > DeviceQueue::kMoveCrcBlocksMax) {
    return Errc::too_large;
  }
  // Lengths of 32 bits, and too few of them to overflow.
  std::uint64_t piece_bytes = 0;
  for (const MovePiece& piece : pieces) {
    if (piece.length_bytes == 0 || piece.to == nullptr || piece.from == nullptr) {
      return Errc::invalid_argument;
    }
    piece_bytes += piece.length_bytes;
  }
  std::uint64_t crc_bytes = 0;
  for (const CrcBlock& block : crc) {
    if (block.length_bytes == 0) {
      return Errc::invalid_argument;
    }
    crc_bytes += block.length_bytes;
  }
  if (pieces.empty() || (!crc.empty() && crc_bytes != piece_bytes)) {
    return Errc::invalid_argument;
  }
  return piece_bytes > DeviceQueue::kMoveBytesMax ? Errc::too_large : Errc::ok;
}

Errc check_copy(ConstSpan to, ConstSpan from) {
  const bool is_wrong =
      to.empty() || to.size() != from.size() || to.data() == nullptr || from.data() == nullptr;
  return is_wrong ? Errc::invalid_argument : Errc::ok;
}

std::string_view to_string(DeviceKind kind) noexcept {
  switch (kind) {
    case DeviceKind::host:
      return "host";
    case DeviceKind::cuda:
      return "cuda";
  }
  return "unknown";
}

}  // namespace godbox
