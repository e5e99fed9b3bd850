// SPDX-License-Identifier: Apache-2.0
//
// lookup, wait and remove: names become objects, or go.
#include "client_core.h"

#include <algorithm>

namespace godbox::striping {

namespace {

std::uint64_t name_cost(std::string_view name) { return sizeof(std::uint16_t) + name.size(); }

// Asks for names: one request for a prefix (further ones only beyond the protocol's limits, and
// only while all names are hits); as many as needed for a wait, one after the other, as each holds
// the box's room for waits; else as many as needed, all at once. An answer that would be too large
// is asked for in two halves.
class LookupOperation : public std::enable_shared_from_this<LookupOperation> {
 public:
  LookupOperation(ClientCore& core, bool prefix, const std::optional<LayerWait>& wait,
                  TimePoint deadline, Client::OnLookup on_done)
      : core_(core),
        prefix_(prefix),
        wait_(wait),
        deadline_(deadline),
        on_done_(std::move(on_done)) {}

  void start(std::span<const std::string_view> names) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (is_valid_name(names[i])) {
        names_.emplace_back(names[i]);
        continue;
      }
      if (prefix_) {
        break;  // no object has such a name: the prefix ends here
      }
      invalid_.push_back(i);
    }
    const std::size_t names_max = wait_ ? wire::kWaitNamesMax : wire::kBatchItemsMax;
    for (const ItemRange& range : split_items(
             names_.size(), [this](std::size_t i) { return name_cost(names_[i]); }, names_max)) {
      parts_.push_back({.range = range});
    }
    if (names_.empty()) {
      core_.defer([self = shared_from_this()] { self->finish(); });
      return;
    }
    waiting_ = asks_in_turn() ? 1 : parts_.size();
    for (std::size_t i = 0; i < waiting_; ++i) {
      ask(i);
    }
  }

 private:
  struct Part {
    ItemRange range;
    bool done = false;
    TimePoint asked_at{};
    TimePoint lease_until{};  // of reply.lease
    wire::LookupReply reply{};
  };

  [[nodiscard]] bool asks_in_turn() const { return prefix_ || wait_.has_value(); }

  void ask(std::size_t index) {
    Part& part = parts_[index];
    part.asked_at = core_.now();
    const auto asked = std::span(names_).subspan(part.range.first, part.range.count);
    std::vector<std::string_view> names(asked.begin(), asked.end());
    const auto on_reply = [self = shared_from_this(), index](Result<wire::LookupReply> reply) {
      self->on_reply(index, std::move(reply));
    };
    if (wait_) {
      const TimePoint until = is_asking_again_ ? core_.now() : wait_->until;
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - core_.now());
      const wire::WaitRequest request{
          .layer = wait_->layer,
          .lease_ms = core_.lease_ms(),
          .wait_ms = static_cast<std::uint32_t>(std::max<std::int64_t>(left.count(), 0)),
          .names = std::move(names)};
      core_.request<wire::LookupReply>(wire::Op::wait, wire::encode(request), deadline_, on_reply);
      return;
    }
    const wire::LookupRequest request{
        .prefix = prefix_, .lease_ms = core_.lease_ms(), .names = std::move(names)};
    core_.request<wire::LookupReply>(wire::Op::lookup, wire::encode(request), deadline_, on_reply);
  }

  void on_reply(std::size_t index, Result<wire::LookupReply> reply) {
    waiting_ -= 1;
    if (reply) {
      take(parts_[index], std::move(*reply));
    } else if (reply.error().code == Errc::too_large && parts_[index].range.count > 1) {
      halve(index);
    } else if (!error_) {
      error_ = reply.error();
    }
    if (waiting_ > 0) {
      return;
    }
    if (error_ || !ask_next()) {
      finish();
    }
  }

  // nullptr: nothing.
  [[nodiscard]] const char* what_is_wrong(const Part& part, const wire::LookupReply& reply) const {
    if (prefix_ ? reply.objects.size() > part.range.count
                : reply.objects.size() != part.range.count) {
      return "a lookup was answered with the wrong number of objects";
    }
    for (const wire::LookupObject& object : reply.objects) {
      const bool present = object.status == Errc::ok || object.status == Errc::present_unleased;
      const bool missing =
          object.status == Errc::not_found || (wait_ && object.status == Errc::deadline_exceeded);
      if (!present && (prefix_ || !missing)) {
        return "a lookup was answered with a status that no object of it can have";
      }
    }
    return nullptr;
  }

  void take(Part& part, wire::LookupReply reply) {
    if (part.reply.lease != LeaseId()) {
      superseded_.push_back(part.reply.lease);
    }
    part.lease_until =
        part.asked_at + std::chrono::milliseconds(reply.lease_ms) - core_.options().lease_margin;
    if (const char* wrong = what_is_wrong(part, reply); wrong != nullptr && !error_) {
      error_ = Error(Errc::protocol_error, wrong);
    }
    part.done = true;
    part.reply = std::move(reply);
  }

  void halve(std::size_t index) {
    const ItemRange whole = parts_[index].range;
    const std::size_t half = whole.count / 2;
    parts_[index].range.count = half;
    parts_.push_back({.range = {.first = whole.first + half, .count = whole.count - half}});
    const std::size_t other = parts_.size() - 1;
    waiting_ += asks_in_turn() ? 1 : 2;
    ask(index);
    if (!asks_in_turn()) {
      ask(other);
    }
  }

  // True if a request is under way.
  bool ask_next() { return (prefix_ && ask_next_of_prefix()) || (wait_ && ask_next_of_wait()); }

  // Goes on behind the last answer if all of it were hits. True if a request is under way.
  bool ask_next_of_prefix() {
    std::size_t asked_names = 0;
    for (const Part& part : parts_) {
      if (part.done) {
        asked_names = std::max(asked_names, part.range.first + part.range.count);
        if (part.reply.objects.size() < part.range.count) {
          return false;
        }
      }
    }
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (!parts_[i].done && parts_[i].range.first == asked_names) {
        waiting_ = 1;
        ask(i);
        return true;
      }
    }
    return false;
  }

  // In order. Once all have an answer, those are asked again, without waiting, whose lease may have
  // run down while they or the others were waited for: it counts from when it was asked for.
  bool ask_next_of_wait() {
    const auto is_open = [](const Part& part) { return !part.done; };
    auto next = std::find_if(parts_.begin(), parts_.end(), is_open);
    if (next == parts_.end() && !std::exchange(is_asking_again_, true)) {
      const TimePoint enough = core_.now() + std::chrono::milliseconds(core_.lease_ms()) / 2;
      for (Part& part : parts_) {
        part.done = part.reply.lease == LeaseId() || part.lease_until >= enough;
      }
      next = std::find_if(parts_.begin(), parts_.end(), is_open);
    }
    if (next == parts_.end()) {
      return false;
    }
    waiting_ = 1;
    ask(static_cast<std::size_t>(next - parts_.begin()));
    return true;
  }

  void finish() {
    std::vector<LeaseId> leases;
    Lookup found;
    for (const Part& part : parts_) {
      if (part.reply.lease != LeaseId()) {
        found.lease_until =
            leases.empty() ? part.lease_until : std::min(found.lease_until, part.lease_until);
        leases.push_back(part.reply.lease);
      }
    }
    // Held from here on, so that the leases go back also when this ends in an error.
    found.hold = core_.hold_leases(leases);
    (void)core_.hold_leases(superseded_);
    if (error_) {
      on_done_(*error_);
      return;
    }
    found.lease = leases.empty() ? LeaseId() : leases.front();
    std::sort(parts_.begin(), parts_.end(),
              [](const Part& a, const Part& b) { return a.range.first < b.range.first; });
    for (const Part& part : parts_) {
      append_found(part.reply, found);
    }
    answer_invalid(found.objects);
    on_done_(std::move(found));
  }

  // Puts an answer for each name that no object can have in its place.
  void answer_invalid(std::vector<FoundObject>& objects) const {
    if (invalid_.empty()) {
      return;
    }
    FoundObject invalid;
    invalid.status = Errc::invalid_argument;
    std::vector<FoundObject> all;
    auto next = objects.begin();
    for (const std::size_t place : invalid_) {
      const auto end = next + static_cast<std::ptrdiff_t>(place - all.size());
      all.insert(all.end(), next, end);
      all.push_back(invalid);
      next = end;
    }
    all.insert(all.end(), next, objects.end());
    objects = std::move(all);
  }

  ClientCore& core_;
  const bool prefix_;
  const std::optional<LayerWait> wait_;
  const TimePoint deadline_;
  Client::OnLookup on_done_;
  std::vector<std::string> names_;    // that an object can have
  std::vector<std::size_t> invalid_;  // places of those between them that none can have
  std::vector<Part> parts_;
  std::size_t waiting_ = 0;
  std::optional<Error> error_;
  bool is_asking_again_ = false;
  std::vector<LeaseId> superseded_;  // of parts that were asked again
};

// The names of one REMOVE.
void remove_part(ClientCore& core, const std::shared_ptr<StatusGather>& gather,
                 std::span<const std::string_view> names, std::size_t first, TimePoint deadline) {
  wire::NamesRequest request;
  std::vector<std::size_t> asked;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (is_valid_name(names[i])) {
      request.names.push_back(names[i]);
      asked.push_back(first + i);
    } else {
      gather->statuses[first + i] = Errc::invalid_argument;
    }
  }
  ask_for_statuses(core, gather, wire::Op::remove, wire::encode(request), deadline,
                   std::move(asked));
}

}  // namespace

void ask_for_statuses(ClientCore& core, const std::shared_ptr<StatusGather>& gather, wire::Op op,
                      const wire::Body& body, TimePoint deadline, std::vector<std::size_t> asked) {
  if (asked.empty()) {
    core.defer([gather] { gather->part_done(); });
    return;
  }
  core.request<wire::StatusesReply>(
      op, body, deadline,
      [gather, asked = std::move(asked)](const Result<wire::StatusesReply>& reply) {
        const bool right = reply && reply->statuses.size() == asked.size();
        const Errc otherwise = reply ? Errc::protocol_error : reply.error().code;
        for (std::size_t i = 0; i < asked.size(); ++i) {
          gather->statuses[asked[i]] = right ? reply->statuses[i] : otherwise;
        }
        gather->part_done();
      });
}

void append_found(const wire::LookupReply& reply, Lookup& found) {
  std::size_t next_extent = 0;
  auto crc = static_cast<std::uint32_t>(found.crc32c.size());
  for (const wire::LookupObject& object : reply.objects) {
    const auto extents = std::span(reply.extents).subspan(next_extent, object.extent_count);
    const auto begin = static_cast<std::uint32_t>(found.extents.size());
    // Whatever a box answers: only what adds up is cut.
    const bool has_layers = object.layers > 0 && !object.size.is_zero() &&
                            object.size.count() % object.layers == 0 &&
                            total_bytes(extents) == object.size.count();
    if (!has_layers) {
      found.extents.insert(found.extents.end(), extents.begin(), extents.end());
    } else {
      for_each_layer_piece(extents, object.size.count() / object.layers,
                           [&found](std::uint64_t /*layer*/, const Extent& piece) {
                             found.extents.push_back(piece);
                           });
    }
    const auto extent_count = static_cast<std::uint32_t>(found.extents.size()) - begin;
    found.objects.push_back({.read_key = object.read_key,
                             .size = object.size,
                             .extent_begin = begin,
                             .extent_count = extent_count,
                             .crc_begin = crc,
                             .crc_count = object.crc_count,
                             .sparse = object.sparse,
                             .layers = object.layers,
                             .layers_ready = object.layers_ready,
                             .status = object.status});
    next_extent += object.extent_count;
    crc += object.crc_count;
  }
  found.crc32c.insert(found.crc32c.end(), reply.crc32c.begin(), reply.crc32c.end());
}

void find_objects(ClientCore& core, std::span<const std::string_view> names, bool prefix,
                  TimePoint deadline, Client::OnLookup on_done) {
  std::make_shared<LookupOperation>(core, prefix, std::nullopt, deadline, std::move(on_done))
      ->start(names);
}

void wait_for_objects(ClientCore& core, std::span<const std::string_view> names,
                      const LayerWait& wait, TimePoint deadline, Client::OnLookup on_done) {
  std::make_shared<LookupOperation>(core, false, wait, deadline, std::move(on_done))->start(names);
}

void start_lookup(ClientCore& core, std::span<const std::string_view> names, bool prefix,
                  Client::OnLookup on_done) {
  if (!core.begin_operation()) {
    core.refuse_operation([on_done = std::move(on_done)](Errc status) { on_done(Error(status)); });
    return;
  }
  find_objects(core, names, prefix, core.call_deadline(),
               [&core, on_done = std::move(on_done)](Result<Lookup> found) {
                 core.end_operation();
                 on_done(std::move(found));
               });
}

void start_remove(ClientCore& core, std::span<const std::string_view> names,
                  Client::OnStatuses on_done) {
  if (!begin_operation(core, names.size(), on_done)) {
    return;
  }
  const std::vector<ItemRange> ranges =
      split_items(names.size(), [names](std::size_t i) { return name_cost(names[i]); });
  auto gather = std::make_shared<StatusGather>(
      StatusGather{core, std::move(on_done), std::vector<Errc>(names.size()), ranges.size()});
  const TimePoint deadline = core.call_deadline();
  for (const ItemRange& range : ranges) {
    remove_part(core, gather, names.subspan(range.first, range.count), range.first, deadline);
  }
}

}  // namespace godbox::striping
