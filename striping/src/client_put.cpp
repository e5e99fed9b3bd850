// SPDX-License-Identifier: Apache-2.0
//
// put: RESERVE, then the bytes, then COMMIT of what was written as a whole, and ABORT of the rest.
#include "client_core.h"

#include <algorithm>

namespace godbox::striping {

namespace {

// A reservation lives a little longer than the call, so that a last COMMIT finds it.
constexpr Duration kReservationMargin = std::chrono::seconds(1);
// A COMMIT that was too early (write_in_flight) is repeated after this, doubled up to the maximum.
constexpr Duration kCommitDelayMin = std::chrono::milliseconds(1);
constexpr Duration kCommitDelayMax = std::chrono::milliseconds(50);

struct Item {
  SizeBytes size;
  bool sparse = false;
  std::size_t local_begin = 0, local_count = 0;
  std::size_t crc_begin = 0, crc_count = 0;
  ReservationId reservation;  // 0: none
  RKey write_key;
  std::vector<Extent> extents;
};

SizeBytes size_of(const PutItem& item) {
  return item.data.empty() ? item.sparse_size : SizeBytes(total_bytes(item.data));
}

bool is_sparse(const PutItem& item) { return item.data.empty() && !item.sparse_size.is_zero(); }

// Bytes that the item takes in the largest of the bodies that carry it, from above.
std::uint64_t body_cost(const PutItem& item) {
  const std::uint64_t size = size_of(item).count();
  const std::uint64_t blocks = is_sparse(item) ? 0 : size / kCrcBlockBytes + extents_max(size);
  return item_cost(item.name, size) + blocks * sizeof(std::uint32_t);
}

// The items of one RESERVE.
class PutPart : public std::enable_shared_from_this<PutPart> {
 public:
  PutPart(ClientCore& core, std::shared_ptr<StatusGather> gather, std::size_t first,
          const CallOptions& options, TimePoint deadline)
      : core_(core),
        gather_(std::move(gather)),
        first_(first),
        options_(options),
        deadline_(deadline) {}

  void start(std::span<const PutItem> items) {
    wire::ReserveRequest request;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline_ - core_.now() + kReservationMargin);
    request.deadline_ms =
        static_cast<std::uint32_t>(std::clamp<std::int64_t>(left.count(), 1, UINT32_MAX));
    for (const PutItem& item : items) {
      add(item, request);
    }
    if (alive_.empty()) {
      core_.defer([self = shared_from_this()] { self->finish(); });
      return;
    }
    core_.request<wire::ReserveReply>(
        wire::Op::reserve, wire::encode(request), deadline_,
        [self = shared_from_this()](Result<wire::ReserveReply> reply) {
          self->on_reserved(std::move(reply));
        });
  }

 private:
  void add(const PutItem& from, wire::ReserveRequest& request) {
    const std::size_t index = items_.size();
    Item& item = items_.emplace_back();
    item.size = size_of(from);
    item.sparse = is_sparse(from);
    item.local_begin = locals_.size();
    item.local_count = from.data.size();
    locals_.insert(locals_.end(), from.data.begin(), from.data.end());
    if (!is_valid_name(from.name) || !are_valid(from.data)) {
      status_of(index) = Errc::invalid_argument;
    } else if (!item.sparse && body_cost(from) > wire::kBodyBytesMax) {
      status_of(index) = Errc::too_large;  // its CRCs do not fit into a COMMIT
    } else {
      alive_.push_back(index);
      // The name is encoded before the caller has it back.
      request.items.push_back({.name = from.name,
                               .size = item.size,
                               .sparse = item.sparse,
                               .rebinds = from.rebinds,
                               .retention = from.retention});
    }
  }

  void on_reserved(Result<wire::ReserveReply> reply) {
    if (!reply || reply->answers.size() != alive_.size()) {
      fail_all(reply ? Errc::protocol_error : reply.error().code);
      return finish();
    }
    std::vector<Extent> extents;
    std::size_t next = 0;
    keep_alive([&](std::size_t index) {
      wire::ReserveAnswer& answer = reply->answers[next++];
      if (answer.status != Errc::ok) {
        return answer.status;
      }
      Item& item = items_[index];
      item.reservation = answer.reservation;
      item.write_key = answer.write_key;
      item.extents = std::move(answer.extents);
      if (item.sparse) {
        return Errc::ok;
      }
      extents.insert(extents.end(), item.extents.begin(), item.extents.end());
      return total_bytes(item.extents) == item.size.count() ? Errc::ok : Errc::protocol_error;
    });
    core_.learn_slabs(extents, deadline_,
                      [self = shared_from_this()](Errc status, std::shared_ptr<SlabHold> hold) {
                        self->slabs_ = std::move(hold);
                        self->on_slabs_known(status);
                      });
  }

  void on_slabs_known(Errc status) {
    if (status != Errc::ok) {
      fail_all(status);
      return finish();
    }
    keep_alive([&](std::size_t index) {
      const Item& item = items_[index];
      return item.sparse || core_.knows_slabs_of(item.extents) ? Errc::ok
                                                               : Errc::reservation_expired;
    });
    for (const std::size_t index : alive_) {
      Item& item = items_[index];
      if (!item.sparse && core_.options().crc) {
        item.crc_begin = crcs_.size();
        item.crc_count = crc_block_count(item.extents);
        crcs_.resize(crcs_.size() + item.crc_count);
      }
    }
    for (const std::size_t index : alive_) {
      const Item& item = items_[index];
      if (!item.sparse && !item.size.is_zero()) {
        transfers_.push_back(
            {.op = WorkOp::write,
             .key = item.write_key,
             .extents = item.extents,
             .local = std::span(locals_).subspan(item.local_begin, item.local_count),
             .crc32c = std::span(crcs_).subspan(item.crc_begin, item.crc_count)});
      }
    }
    if (transfers_.empty()) {
      return commit();
    }
    core_.run_batch(transfers_, deadline_, options_,
                    [self = shared_from_this()](std::span<const Errc> statuses) {
                      self->on_written(statuses);
                    });
  }

  void on_written(std::span<const Errc> statuses) {
    std::size_t next = 0;
    keep_alive([&](std::size_t index) {
      const Item& item = items_[index];
      return item.sparse || item.size.is_zero() ? Errc::ok : statuses[next++];
    });
    commit();
  }

  void commit() {
    if (alive_.empty()) {
      return finish();
    }
    wire::CommitRequest request;
    for (const std::size_t index : alive_) {
      const Item& item = items_[index];
      const auto crcs = std::span(crcs_).subspan(item.crc_begin, item.crc_count);
      request.items.push_back(
          {.reservation = item.reservation, .crc32c = {crcs.begin(), crcs.end()}});
    }
    core_.request<wire::StatusesReply>(
        wire::Op::commit, wire::encode(request), deadline_,
        [self = shared_from_this()](const Result<wire::StatusesReply>& reply) {
          self->on_committed(reply);
        });
  }

  void on_committed(const Result<wire::StatusesReply>& reply) {
    const bool no_room = !reply && reply.error().code == Errc::queue_full;
    if (!no_room) {
      if (!reply || reply->statuses.size() != alive_.size()) {
        fail_all(reply ? Errc::protocol_error : reply.error().code);
        return finish();
      }
      std::vector<std::size_t> early;
      std::size_t next = 0;
      keep_alive([&](std::size_t index) {
        const Errc status = reply->statuses[next++];
        if (status == Errc::write_in_flight) {
          early.push_back(index);
          return Errc::ok;
        }
        if (status == Errc::ok) {
          items_[index].reservation = ReservationId();
        }
        return status;
      });
      alive_ = std::move(early);
    }
    if (alive_.empty()) {
      return finish();
    }
    if (core_.now() + commit_delay_ >= deadline_) {
      fail_all(Errc::deadline_exceeded);
      return finish();
    }
    core_.after(commit_delay_, [self = shared_from_this()] { self->commit(); });
    commit_delay_ = std::min(commit_delay_ * 2, kCommitDelayMax);
  }

  // Asks for each living item's status; what is not ok is settled with it.
  template <class StatusOf>
  void keep_alive(StatusOf&& new_status_of) {
    std::size_t kept = 0;
    for (const std::size_t index : alive_) {
      const Errc status = new_status_of(index);
      status_of(index) = status;
      if (status == Errc::ok) {
        alive_[kept++] = index;
      }
    }
    alive_.resize(kept);
  }
  void fail_all(Errc status) {
    for (const std::size_t index : alive_) {
      status_of(index) = status;
    }
    alive_.clear();
  }
  [[nodiscard]] Errc& status_of(std::size_t index) { return gather_->statuses[first_ + index]; }

  // Gives back the space of what was not committed. Where a COMMIT went unanswered the box may have
  // done it; ABORT then finds nothing and changes nothing.
  void finish() {
    wire::ReservationsRequest dropped;
    for (const Item& item : items_) {
      if (item.reservation != ReservationId()) {
        dropped.reservations.push_back(item.reservation);
      }
    }
    if (!dropped.reservations.empty()) {
      core_.tell(wire::Op::abort, wire::encode(dropped));
    }
    gather_->part_done();
  }

  ClientCore& core_;
  std::shared_ptr<StatusGather> gather_;
  const std::size_t first_;  // of the whole call's items
  const CallOptions options_;
  const TimePoint deadline_;
  Duration commit_delay_ = kCommitDelayMin;
  std::vector<Item> items_;
  std::vector<std::size_t> alive_;  // items that have not failed, and are not committed
  std::vector<LocalSegment> locals_;
  std::vector<std::uint32_t> crcs_;
  std::shared_ptr<SlabHold> slabs_;
  std::vector<Transfer> transfers_;  // of alive_, those with bytes, in order
};

}  // namespace

void start_put(ClientCore& core, std::span<const PutItem> items, const CallOptions& options,
               Client::OnStatuses on_done) {
  if (!begin_operation(core, items.size(), on_done)) {
    return;
  }
  const std::vector<ItemRange> ranges =
      split_items(items.size(), [items](std::size_t i) { return body_cost(items[i]); });
  auto gather = std::make_shared<StatusGather>(
      StatusGather{core, std::move(on_done), std::vector<Errc>(items.size()), ranges.size()});
  const TimePoint deadline = core.call_deadline();
  for (const ItemRange& range : ranges) {
    std::make_shared<PutPart>(core, gather, range.first, options, deadline)
        ->start(items.subspan(range.first, range.count));
  }
}

}  // namespace godbox::striping
