// SPDX-License-Identifier: Apache-2.0
#include <godbox/rdma/flight.h>
#include <godbox/request_crcs.h>
#include <godbox/virtual_address.h>

#include <algorithm>

namespace godbox::rdma {

std::uint64_t Flight::remote_address() const {
  return to_virtual(segment().address)->value() + remote_offset;  // begin() has looked
}

MutableSpan Flight::next_bytes() {
  while (local_offset == request.local[local].size_bytes) {
    ++local;
    local_offset = 0;
  }
  const LocalSegment& piece = request.local[local];
  const std::size_t size = std::min<std::uint64_t>(piece.size_bytes - local_offset,
                                                   segment().length_bytes - remote_offset);
  return {piece.data + local_offset, size};
}

bool Flight::advance(std::size_t size_bytes) {
  local_offset += size_bytes;
  remote_offset += size_bytes;
  if (remote_offset < segment().length_bytes) {
    return false;
  }
  ++remote;
  remote_offset = 0;
  return true;
}

Errc begin(Flight& flight, TimePoint now) {
  flight.is_begun = true;
  const WorkRequest& request = flight.request;
  if (now >= request.deadline) {
    return Errc::deadline_exceeded;
  }
  for (const RemoteSegment& segment : request.remote) {
    const auto address = to_virtual(segment.address);
    if (!address || segment.length_bytes - 1 > kSlabOffsetMask - segment.address.offset.count()) {
      return Errc::out_of_range;
    }
  }
  if (request.op == WorkOp::write) {
    make_crcs(request);
  }
  return Errc::ok;
}

Errc end(const Flight& flight, Errc status) {
  const bool is_wrong =
      status == Errc::ok && flight.request.op == WorkOp::read && !has_right_crcs(flight.request);
  return is_wrong ? Errc::crc_mismatch : status;
}

}  // namespace godbox::rdma
