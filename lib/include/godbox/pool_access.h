// SPDX-License-Identifier: Apache-2.0
//
// The pool as a driver sees whose device moves bytes into and out of it by itself: who may, which
// bytes these are, and that they stay where they are meanwhile. The emulator's pool is behind it
// (godbox/emulator/verbs_door.h).
// Thread-safety: lanes and transfers from one thread each, different ones from any. Ownership: the
// pool outlives its transfers; a transfer its spans. Units: bytes, TimePoints. Errors: at each
// call.
#pragma once

#include <godbox/result.h>
#include <godbox/transport.h>
#include <godbox/wire.h>

#include <memory>
#include <span>

namespace godbox {

class PoolAccess {
 public:
  struct Lane {
    SessionId session;
    wire::LaneToken token;
  };

  // One access at a time; reused, so that a warm one allocates nothing.
  class Transfer {
   public:
    virtual ~Transfer() = default;
    // Checks session, lane, keys, bounds and rights, and keeps the bytes in their place until
    // end(). Errors: key_revoked, access_denied, out_of_range, not_backed, session_lost,
    // lane_fenced, queue_full, poison; then there is nothing to end.
    [[nodiscard]] virtual Errc begin(const Lane& by, WorkOp op,
                                     std::span<const RemoteSegment> segments, TimePoint now) = 0;
    // In the order of the segments.
    [[nodiscard]] virtual std::span<const MutableSpan> spans() const = 0;
    // Held to the box's rates: nothing of a read leaves, and no write is answered, before.
    [[nodiscard]] virtual TimePoint ready() const = 0;
    // The device is through with the bytes, or has given them up (`has_failed`). Errors: poison:
    // they have not all been moved.
    [[nodiscard]] virtual Errc end(bool has_failed) = 0;
  };

  virtual ~PoolAccess() = default;
  // A connection becomes a lane of the session. Errors: session_lost, access_denied,
  // limit_exceeded, lane_closed (the port is out of order).
  [[nodiscard]] virtual Result<Lane> join(SessionId session, const wire::SessionSecret& secret) = 0;
  // It is gone, with all its transfers.
  virtual void leave(const Lane& lane) = 0;
  // False for a lane that was fenced, whose session ended, or whose port is out of order: to be
  // closed.
  [[nodiscard]] virtual bool is_open(const Lane& lane) const = 0;
  // Something came over it: its session lives.
  virtual void hear(const Lane& lane) = 0;
  [[nodiscard]] virtual std::unique_ptr<Transfer> make_transfer() = 0;
};

}  // namespace godbox
