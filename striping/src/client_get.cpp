// SPDX-License-Identifier: Apache-2.0
//
// get: a lookup and then a read of what was found.
#include "client_core.h"

namespace godbox::striping {

namespace {

// Lists of local pieces, one after the other.
struct Destinations {
  std::vector<LocalSegment> pieces;
  std::vector<ItemRange> ranges;  // per object

  void add(std::span<const LocalSegment> into) {
    ranges.push_back({.first = pieces.size(), .count = into.size()});
    pieces.insert(pieces.end(), into.begin(), into.end());
  }
  [[nodiscard]] std::span<const LocalSegment> of(std::size_t index) const {
    return std::span(pieces).subspan(ranges[index].first, ranges[index].count);
  }
};

// Reads objects that a lookup has found.
class ReadOperation : public std::enable_shared_from_this<ReadOperation> {
 public:
  ReadOperation(ClientCore& core, Destinations into, const CallOptions& options,
                Client::OnStatuses on_done)
      : core_(core),
        into_(std::move(into)),
        options_(options),
        deadline_(core.call_deadline()),
        on_done_(std::move(on_done)),
        statuses_(into_.ranges.size()) {}

  [[nodiscard]] TimePoint deadline() const { return deadline_; }

  void fail(Errc status) {
    statuses_.assign(statuses_.size(), status);
    finish();
  }

  void start(Lookup found) {
    found_ = std::move(found);
    if (found_.objects.size() != statuses_.size()) {
      return fail(Errc::invalid_argument);
    }
    for (std::size_t i = 0; i < statuses_.size(); ++i) {
      statuses_[i] = check(i);
      if (statuses_[i] == Errc::ok && !found_.objects[i].size.is_zero()) {
        statuses_[i] = check_lease(found_.objects[i]);
        if (statuses_[i] == Errc::ok) {
          wanted_.push_back(i);
        }
      }
    }
    if (wanted_.empty()) {
      return finish();
    }
    std::vector<Extent> extents;
    for (const std::size_t index : wanted_) {
      const std::span<const Extent> of = extents_of(found_.objects[index]);
      extents.insert(extents.end(), of.begin(), of.end());
    }
    core_.learn_slabs(extents, deadline_,
                      [self = shared_from_this()](Errc status, std::shared_ptr<SlabHold> hold) {
                        self->slabs_ = std::move(hold);
                        self->read(status);
                      });
  }

 private:
  [[nodiscard]] bool is_mapped() { return !core_.transport().checks_keys(); }
  [[nodiscard]] bool is_lease_over() const { return core_.now() >= found_.lease_until; }

  // A mapped reader has nothing but the lease between it and the next owner of the memory.
  // Elsewhere the read key dies before that, so what is not leased, or no longer, may be tried:
  // key_revoked if it has gone.
  [[nodiscard]] Errc check_lease(const FoundObject& object) {
    if (!is_mapped()) {
      return Errc::ok;
    }
    if (object.status != Errc::ok) {
      return object.status;
    }
    return found_.lease != LeaseId() && !is_lease_over() ? Errc::ok : Errc::lease_expired;
  }

  [[nodiscard]] std::span<const Extent> extents_of(const FoundObject& object) const {
    return std::span(found_.extents).subspan(object.extent_begin, object.extent_count);
  }

  [[nodiscard]] Errc check(std::size_t index) const {
    const FoundObject& object = found_.objects[index];
    if (object.status != Errc::ok && object.status != Errc::present_unleased) {
      return object.status;
    }
    if (object.sparse) {
      return Errc::not_backed;
    }
    if (object.layers_ready < object.layers) {
      return Errc::not_found;  // not yet as a whole
    }
    if (total_bytes(into_.of(index)) != object.size.count() || !are_valid(into_.of(index))) {
      return Errc::invalid_argument;
    }
    if (std::uint64_t{object.extent_begin} + object.extent_count > found_.extents.size() ||
        std::uint64_t{object.crc_begin} + object.crc_count > found_.crc32c.size() ||
        total_bytes(extents_of(object)) != object.size.count() ||
        (object.crc_count > 0 && object.crc_count != crc_block_count(extents_of(object)))) {
      return Errc::protocol_error;
    }
    return Errc::ok;
  }

  void read(Errc slabs_known) {
    if (slabs_known != Errc::ok) {
      for (const std::size_t index : wanted_) {
        statuses_[index] = slabs_known;
      }
      return finish();
    }
    // What was evicted since the lookup takes its slab along, but none of the other objects.
    std::erase_if(wanted_, [this](std::size_t index) {
      const bool gone = !core_.knows_slabs_of(extents_of(found_.objects[index]));
      if (gone) {
        statuses_[index] = is_mapped() ? Errc::lease_expired : Errc::key_revoked;
      }
      return gone;
    });
    if (wanted_.empty()) {
      return finish();
    }
    for (const std::size_t index : wanted_) {
      const FoundObject& object = found_.objects[index];
      const std::size_t crcs = core_.options().crc ? object.crc_count : 0;
      transfers_.push_back({.op = WorkOp::read,
                            .key = object.read_key,
                            .extents = extents_of(object),
                            .local = into_.of(index),
                            .crc32c = std::span(found_.crc32c).subspan(object.crc_begin, crcs)});
    }
    core_.run_batch(
        transfers_, deadline_, options_,
        [self = shared_from_this()](std::span<const Errc> statuses) { self->on_read(statuses); });
  }

  void on_read(std::span<const Errc> statuses) {
    // What was copied after the lease's end may be another object's bytes.
    const bool too_late = is_mapped() && is_lease_over();
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      statuses_[wanted_[i]] =
          too_late && statuses[i] == Errc::ok ? Errc::lease_expired : statuses[i];
    }
    finish();
  }

  void finish() {
    found_.hold.reset();
    on_done_(statuses_);
  }

  ClientCore& core_;
  Destinations into_;
  const CallOptions options_;
  const TimePoint deadline_;
  Client::OnStatuses on_done_;
  std::vector<Errc> statuses_;
  Lookup found_;
  std::shared_ptr<SlabHold> slabs_;
  std::vector<std::size_t> wanted_;  // objects with bytes to read
  std::vector<Transfer> transfers_;  // of wanted_
};

}  // namespace

void start_get(ClientCore& core, std::span<const GetItem> items, const CallOptions& options,
               Client::OnStatuses on_done) {
  if (!begin_operation(core, items.size(), on_done)) {
    return;
  }
  Destinations into;
  std::vector<std::string_view> names;
  for (const GetItem& item : items) {
    names.push_back(item.name);
    into.add(item.into);
  }
  auto read = std::make_shared<ReadOperation>(
      core, std::move(into), options,
      [&core, on_done = std::move(on_done)](std::span<const Errc> statuses) {
        core.end_operation();
        on_done(statuses);
      });
  find_objects(core, names, false, read->deadline(), [read](Result<Lookup> found) {
    if (found) {
      read->start(std::move(*found));
    } else {
      read->fail(found.error().code);
    }
  });
}

void start_get_found(ClientCore& core, const Lookup& found,
                     std::span<const std::span<const LocalSegment>> into,
                     const CallOptions& options, Client::OnStatuses on_done) {
  if (!begin_operation(core, into.size(), on_done)) {
    return;
  }
  Destinations destinations;
  for (const std::span<const LocalSegment> pieces : into) {
    destinations.add(pieces);
  }
  auto read = std::make_shared<ReadOperation>(
      core, std::move(destinations), options,
      [&core, on_done = std::move(on_done)](std::span<const Errc> statuses) {
        core.end_operation();
        on_done(statuses);
      });
  // Later, because it may end at once and callbacks run in step() only. The one copy is the
  // operation's: the caller's may go.
  core.defer([read, copy = std::make_shared<Lookup>(found)] { read->start(std::move(*copy)); });
}

}  // namespace godbox::striping
