// SPDX-License-Identifier: Apache-2.0
#include <godbox/transport.h>

#include <fmt/format.h>

namespace godbox {

Result<void> Transport::register_dma_buf(MutableSpan /*memory*/, int /*descriptor*/,
                                         SizeBytes /*offset*/) {
  return Error(Errc::unsupported, fmt::format("transport {} takes no dma-buf", name()));
}

Errc check_work_request(const WorkRequest& request) {
  if (!is_traffic_class(request.traffic_class)) {
    return Errc::invalid_argument;
  }
  if (request.total_bytes > kWorkBytesMax || request.remote.size() > kWorkSegmentsMax) {
    return Errc::too_large;
  }
  // Lengths of 32 bits, and too few of them to overflow.
  std::uint64_t remote_bytes = 0;
  for (const RemoteSegment& segment : request.remote) {
    if (segment.length_bytes == 0) {
      return Errc::invalid_argument;
    }
    remote_bytes += segment.length_bytes;
  }
  std::uint64_t local_bytes = 0;
  for (const LocalSegment& piece : request.local) {
    if ((piece.size_bytes > 0 && piece.data == nullptr) ||
        __builtin_add_overflow(local_bytes, piece.size_bytes, &local_bytes)) {
      return Errc::invalid_argument;
    }
  }
  std::uint64_t crc_bytes = 0;
  for (const CrcBlock& block : request.crc) {
    if (block.length_bytes == 0) {
      return Errc::invalid_argument;
    }
    crc_bytes += block.length_bytes;
  }
  const bool crc_fits = request.crc.empty() || crc_bytes == request.total_bytes;
  const bool totals_agree =
      remote_bytes == request.total_bytes && local_bytes == request.total_bytes && crc_fits;
  return request.total_bytes > 0 && totals_agree ? Errc::ok : Errc::invalid_argument;
}

}  // namespace godbox
