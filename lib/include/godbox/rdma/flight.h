// SPDX-License-Identifier: Apache-2.0
//
// A request under way over RDMA, and how far it has been posted: a cursor over its remote and its
// local pieces, which are cut at different places.
// Thread-safety: one thread. Ownership: the request's lists and bytes are the caller's. Units:
// bytes. Errors: named at each call. Nothing allocates.
#pragma once

#include <godbox/transport.h>

namespace godbox::rdma {

struct Flight {
  WorkRequest request;
  bool is_begun = false;
  Errc status = Errc::ok;         // decided before its sends are through
  std::uint64_t last_send = 0;    // of its sends, once all are posted
  std::uint32_t answers_due = 0;  // of the box to those that ask it for one (roce::MoveOrder)

  // Where the next send begins.
  std::size_t remote = 0, local = 0;
  std::uint64_t remote_offset = 0, local_offset = 0;

  // No more sends of it go out.
  [[nodiscard]] bool is_posted() const {
    return status != Errc::ok || remote == request.remote.size();
  }
  [[nodiscard]] const RemoteSegment& segment() const { return request.remote[remote]; }
  // As RDMA names the next byte of the segment.
  [[nodiscard]] std::uint64_t remote_address() const;
  // The next bytes of the segment that lie in one local piece: some. Of one that is not posted.
  [[nodiscard]] MutableSpan next_bytes();
  // So many of them are posted. True: they are the segment's last.
  bool advance(std::size_t size_bytes);
  // What made its memory reachable goes. Kinds of flights that have such say what.
  void let_go() {}
};

// Before the first send: a request whose time has passed or whose addresses no slab has is refused;
// a WRITE's CRCs are made. Errors: deadline_exceeded, out_of_range.
[[nodiscard]] Errc begin(Flight& flight, TimePoint now);
// What a request of which all sends have this status ends with: a READ's CRCs are compared. Errors:
// crc_mismatch.
[[nodiscard]] Errc end(const Flight& flight, Errc status);

}  // namespace godbox::rdma
