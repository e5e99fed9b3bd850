// SPDX-License-Identifier: Apache-2.0
#include "pool/pool_impl.h"

namespace godbox::emulator {
namespace {

constexpr std::uint32_t kWritePinBit = 1U << 31U;
constexpr std::size_t kPoisonProbeBytes = 4096;  // the smallest page that can be lost
constexpr std::uint16_t kWritePinsMax = UINT16_MAX;

// What the key of a slot allows to this session. A reservation has two: its own, and that of its
// layers' readers.
bool is_allowed(const ObjectSlot& slot, const Session& session, RKey key, bool is_own, WorkOp op) {
  if (slot.tenant != session.tenant) {
    return false;
  }
  switch (slot.state) {
    case SlotState::reserved:
      return key.value() == slot.key ? op == WorkOp::write || is_own : op == WorkOp::read;
    case SlotState::committed:
    case SlotState::doomed:  // readers with a lease go on; write and region keys are revoked
      return op == WorkOp::read;
    case SlotState::region:
      return true;
    case SlotState::expired:
    case SlotState::free:
      return false;
  }
  return false;
}

void append(std::vector<MutableSpan>& spans, MutableSpan piece) {
  if (!spans.empty() && spans.back().data() + spans.back().size() == piece.data()) {
    spans.back() = {spans.back().data(), spans.back().size() + piece.size()};
  } else {
    spans.push_back(piece);
  }
}

constexpr std::uint64_t kOutside = UINT64_MAX;

// Where in the object [segment) begins, if it lies in one extent, or in several that follow each
// other in the same slab; else kOutside. No sum here can wrap: an extent's end is below the slab's
// size, and what is compared with the segment are differences.
std::uint64_t offset_in(std::span<const PackedExtent> extents, const RemoteSegment& segment) {
  const std::uint32_t slab = segment.address.slab.value();
  const std::uint64_t begin = segment.address.offset.count();
  std::uint64_t before = 0;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    if (extents[i].slab != slab || begin < extents[i].offset ||
        begin - extents[i].offset >= extents[i].length_bytes) {
      before += extents[i].length_bytes;
      continue;
    }
    before += begin - extents[i].offset;
    std::uint64_t room = extents[i].length_bytes - (begin - extents[i].offset);
    for (; room < segment.length_bytes && i + 1 < extents.size(); ++i) {
      if (extents[i + 1].slab != slab ||
          extents[i + 1].offset != extents[i].offset + extents[i].length_bytes) {
        break;
      }
      room += extents[i + 1].length_bytes;
    }
    return room >= segment.length_bytes ? before : kOutside;
  }
  return kOutside;
}

}  // namespace

Errc PoolService::Impl::check_segment(const Session& session, WorkOp op,
                                      const RemoteSegment& segment, std::uint32_t& slot_index) {
  // Segments of one object follow each other: its slot is the last one's.
  if (slot_index == kNoIndex || index.slot(slot_index).key != segment.key.value() ||
      segment.key.value() == 0) {
    slot_index = keys.find(segment.key.value());
    if (slot_index == kNoIndex) {
      return Errc::key_revoked;
    }
  }
  const ObjectSlot& slot = index.slot(slot_index);
  const bool is_own = slot.state == SlotState::reserved &&
                      reservations.record(slot.holder).session == session.index;
  if (!is_allowed(slot, session, segment.key, is_own, op)) {
    return Errc::access_denied;
  }
  const std::uint64_t offset = offset_in(index.extents(slot), segment);
  if (segment.length_bytes == 0 || offset == kOutside) {
    return Errc::out_of_range;
  }
  if (slot.state == SlotState::reserved && slot.layers > 0) {
    const std::uint64_t ready_bytes =
        reservations.record(slot.holder).layers_ready * (slot.size_bytes / slot.layers);
    if (op == WorkOp::write && offset < ready_bytes) {
      return Errc::access_denied;  // readers have it
    }
    if (segment.key.value() != slot.key && offset + segment.length_bytes > ready_bytes) {
      return Errc::out_of_range;  // nobody has written it
    }
  }
  if (slot.is_sparse) {
    return Errc::not_backed;
  }
  const bool is_pinned_out =
      op == WorkOp::write ? slot.write_pins == kWritePinsMax : slot.read_pins == UINT32_MAX;
  return is_pinned_out ? Errc::queue_full : Errc::ok;
}

Errc PoolService::Impl::check_segments(const Session& session, WorkOp op,
                                       std::span<const RemoteSegment> segments,
                                       std::vector<std::uint32_t>& pinned) {
  const std::uint32_t pin_bit = op == WorkOp::write ? kWritePinBit : 0;
  Errc status = Errc::ok;
  std::uint32_t slot_index = kNoIndex;
  for (const RemoteSegment& segment : segments) {
    status = check_segment(session, op, segment, slot_index);
    if (status != Errc::ok) {
      break;
    }
    // One pin per slot, however often the request comes back to it: the counters count requests,
    // and check_segment() has left room for one.
    ObjectSlot& slot = index.slot(slot_index);
    if (!slot.is_in_request) {
      slot.is_in_request = true;
      pinned.push_back(slot_index | pin_bit);
    }
  }
  for (const std::uint32_t pin : pinned) {
    index.slot(pin & ~kWritePinBit).is_in_request = false;
  }
  if (status != Errc::ok) {
    pinned.clear();
  }
  return status;
}

void PoolService::Impl::unpin(std::uint32_t pinned) {
  const std::uint32_t slot_index = pinned & ~kWritePinBit;
  ObjectSlot& slot = index.slot(slot_index);
  if ((pinned & kWritePinBit) != 0) {
    --slot.write_pins;
  } else {
    --slot.read_pins;
  }
  free_if_unused(slot_index);
}

Errc PoolService::Impl::find_accessor(const AccessBy& by, Session*& session) {
  session = session_of(by.session);
  if (session == nullptr) {
    return Errc::session_lost;
  }
  return by.lane == wire::LaneToken() || session->lanes.is_open(by.lane) ? Errc::ok
                                                                         : Errc::lane_fenced;
}

RemoteSegment PoolService::Impl::segment_of(const VirtualRange& range) const {
  const NamedPoolAddress named = from_virtual(range.address);
  const std::uint32_t slot = slabs.find(named.slab);
  const SlabId slab = slot == kNoSlot ? SlabId() : slabs.slab(slot).id;
  return {range.key, {slab, named.offset}, range.length_bytes};
}

Errc PoolService::Impl::pin_access(const AccessBy& by, WorkOp op,
                                   std::span<const RemoteSegment> segments, AccessTicket& ticket) {
  Session* session = nullptr;
  if (const Errc status = find_accessor(by, session); status != Errc::ok) {
    return status;
  }
  if (const Errc status = check_segments(*session, op, segments, ticket.pinned);
      status != Errc::ok) {
    return status;
  }
  if (op == WorkOp::write && by.lane != wire::LaneToken()) {
    session->lanes.begin_write(by.lane);
    ticket.writer = by.session;
    ticket.writer_lane = by.lane;
  }
  ticket.is_referable = op == WorkOp::read && backing.is_referable();
  for (const std::uint32_t pinned : ticket.pinned) {
    ObjectSlot& slot = index.slot(pinned & ~kWritePinBit);
    ticket.is_referable = ticket.is_referable &&
                          (slot.state == SlotState::committed || slot.state == SlotState::doomed);
    if (op == WorkOp::write) {
      ++slot.write_pins;
    } else {
      ++slot.read_pins;
    }
  }
  return Errc::ok;
}

bool PoolService::Impl::locate_access(WorkOp op, std::span<const RemoteSegment> segments,
                                      AccessTicket& ticket) {
  std::array<std::uint64_t, striping::kSlabMembersMax> loads{};
  for (const RemoteSegment& segment : segments) {
    const Slab& slab = slabs.slab(slabs.find(segment.address.slab));
    slab.layout->for_each_run(
        segment.address.offset, segment.length_bytes, [&](const striping::DramRun& run) {
          loads[run.dram_channel.value()] += run.length_bytes;
          for_each_piece(backing.dram_channel(run.dram_channel), run.offset, run.length_bytes,
                         [&](MutableSpan piece) { append(ticket.spans, piece); });
        });
    ticket.total_bytes += segment.length_bytes;
  }
  bool met = false;
  for (std::size_t i = 0; i < dram_channel_usage.size(); ++i) {
    if (loads[i] == 0) {
      continue;
    }
    const DramChannelId id(static_cast<std::uint16_t>(i));
    met = met || (backing.dram_channel(id).has_poison() && backing.is_poisoned(ticket.spans));
    ticket.dram_channels.push_back({id, loads[i]});
    DramChannelUsage& usage = dram_channel_usage[i];
    (op == WorkOp::write ? usage.bytes_written : usage.bytes_read) += loads[i];
    ++usage.requests;
  }
  return met;
}

Errc PoolService::Impl::begin_access(const AccessBy& by, WorkOp op,
                                     std::span<const RemoteSegment> segments, AccessTicket& ticket,
                                     bool& met_poison) {
  GODBOX_ASSERT(ticket.pinned.empty());
  ticket.spans.clear();
  ticket.dram_channels.clear();
  ticket.total_bytes = 0;
  if (const Errc status = pin_access(by, op, segments, ticket); status != Errc::ok) {
    return status;
  }
  met_poison = locate_access(op, segments, ticket);
  return Errc::ok;
}

Errc PoolService::begin_access(const AccessBy& by, WorkOp op,
                               std::span<const RemoteSegment> segments, AccessTicket& ticket) {
  bool met = false;
  {
    const std::lock_guard lock(impl_->mutex);
    if (const Errc status = impl_->begin_access(by, op, segments, ticket, met);
        status != Errc::ok) {
      return status;
    }
  }
  return enter_access(ticket, met);
}

Errc PoolService::begin_access(const AccessBy& by, WorkOp op, const VirtualRange& range,
                               AccessTicket& ticket) {
  bool met = false;
  {
    const std::lock_guard lock(impl_->mutex);
    const RemoteSegment segment = impl_->segment_of(range);
    if (const Errc status = impl_->begin_access(by, op, {&segment, 1}, ticket, met);
        status != Errc::ok) {
      return status;
    }
  }
  return enter_access(ticket, met);
}

// What is left to do without the lock.
Errc PoolService::enter_access(AccessTicket& ticket, bool met_poison) {
  if (met_poison) {
    end_access(ticket);
    return Errc::poison;
  }
  // A write too: of a line that is written in part, the rest must not go back as it was.
  impl_->backing.invalidate(ticket.spans);
  return Errc::ok;
}

Errc PoolService::allows_access(const AccessBy& by, WorkOp op, const VirtualRange& range) const {
  const std::lock_guard lock(impl_->mutex);
  Session* session = nullptr;
  const Errc status = impl_->find_accessor(by, session);
  std::uint32_t slot_index = kNoIndex;
  return status == Errc::ok
             ? impl_->check_segment(*session, op, impl_->segment_of(range), slot_index)
             : status;
}

Errc PoolService::check_access(const AccessTicket& ticket) const {
  return impl_->backing.is_poisoned(ticket.spans) ? Errc::poison : Errc::ok;
}

bool PoolService::has_poison() const { return impl_->backing.has_poison(); }

void PoolService::find_poison(const AccessTicket& ticket) {
  if (!impl_->backing.is_guarded()) {
    return;  // to look would end the process
  }
  for (const MutableSpan span : ticket.spans) {
    for (std::size_t at = 0; at < span.size(); at += kPoisonProbeBytes) {
      (void)*static_cast<volatile const std::byte*>(span.data() + at);
    }
    (void)*static_cast<volatile const std::byte*>(span.data() + span.size() - 1);
  }
}

void PoolService::end_access(AccessTicket& ticket) {
  // Before the pins go: a commit, which waits for them, must find all of it in memory.
  if (!ticket.pinned.empty() && (ticket.pinned.front() & kWritePinBit) != 0) {
    impl_->backing.flush(ticket.spans);
  }
  const bool met = impl_->backing.is_poisoned(ticket.spans);
  {
    const std::lock_guard lock(impl_->mutex);
    for (const std::uint32_t pinned : ticket.pinned) {
      if (met) {
        impl_->drop_if_lost(pinned & ~kWritePinBit);
      }
      impl_->unpin(pinned);
    }
    Session* const writer =
        ticket.writer_lane == wire::LaneToken() ? nullptr : impl_->sessions.find(ticket.writer);
    if (writer != nullptr) {
      writer->lanes.end_write(ticket.writer_lane);
    }
  }
  ticket.writer = SessionId();
  ticket.writer_lane = wire::LaneToken();
  ticket.pinned.clear();
  ticket.spans.clear();
  ticket.dram_channels.clear();
  ticket.total_bytes = 0;
  ticket.is_referable = false;
}

}  // namespace godbox::emulator
