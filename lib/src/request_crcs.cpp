// SPDX-License-Identifier: Apache-2.0
#include <godbox/crc32c.h>
#include <godbox/request_crcs.h>

#include <algorithm>

namespace godbox {
namespace {

// Calls visit(block, bytes) for each run of local bytes within one block.
template <class Visit>
void for_each_run(const WorkRequest& request, Visit&& visit) {
  std::size_t block = 0, block_offset = 0;
  for (const LocalSegment& segment : request.local) {
    for (std::size_t at = 0; at < segment.size_bytes;) {
      const std::size_t size = std::min<std::size_t>(
          segment.size_bytes - at, request.crc[block].length_bytes - block_offset);
      visit(block, ConstSpan(segment.data + at, size));
      at += size;
      block_offset += size;
      if (block_offset == request.crc[block].length_bytes) {
        ++block;
        block_offset = 0;
      }
    }
  }
}

}  // namespace

void make_crcs(const WorkRequest& request) {
  for (CrcBlock& block : request.crc) {
    block.crc32c = 0;
  }
  if (!request.crc.empty()) {
    for_each_run(request, [&](std::size_t block, ConstSpan bytes) {
      request.crc[block].crc32c = crc32c(bytes, request.crc[block].crc32c);
    });
  }
}

bool has_right_crcs(const WorkRequest& request) {
  if (request.crc.empty()) {
    return true;
  }
  std::size_t current = 0;
  std::uint32_t crc = 0;
  bool is_right = true;
  for_each_run(request, [&](std::size_t block, ConstSpan bytes) {
    if (block != current) {
      is_right = is_right && crc == request.crc[current].crc32c;
      current = block;
      crc = 0;
    }
    crc = crc32c(bytes, crc);
  });
  return is_right && crc == request.crc[current].crc32c;
}

}  // namespace godbox
