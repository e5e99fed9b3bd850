// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/sim/object_model.h>

#include <algorithm>

namespace godbox::sim {

namespace {

// Puts of a name that are gone for so long are forgotten; no operation takes so long.
constexpr Duration kMemory = std::chrono::minutes(2);

// After these a put may still come to be: its commit was sent and its answer was not seen.
bool is_unknown(Errc status) {
  return status == Errc::deadline_exceeded || status == Errc::session_lost ||
         status == Errc::cancelled;
}

std::string in_quotes(const std::string& name) {
  return "\"" + (name.size() > 40 ? name.substr(0, 40) + "..." : name) + "\"";
}

template <class List>
auto find_id(List& list, std::uint64_t id) {
  const auto found =
      std::find_if(list.begin(), list.end(), [&](const auto& entry) { return entry.id == id; });
  GODBOX_ASSERT(found != list.end());
  return found;
}

}  // namespace

const ObjectModel::Name* ObjectModel::find(const std::string& name) const {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : &found->second;
}

// The last that said how long the object is kept is its put, or a retain that may have found it and
// that none has surely followed before `from`.
ObjectModel::Keeping ObjectModel::keeping(const Name& name, const Put& put, TimePoint from) {
  Keeping keeping;
  const auto is_followed = [&](TimePoint end) {
    return std::any_of(name.retains.begin(), name.retains.end(), [&](const Retain& retain) {
      return retain.is_sure && retain.begin >= std::max(end, put.end) && retain.end <= from;
    });
  };
  const auto add = [&](const wire::Retention& said, TimePoint begin, TimePoint end) {
    if (is_followed(end)) {
      return;
    }
    const std::chrono::milliseconds ttl(said.hard_ttl_ms);
    const bool has_end = said.hard_ttl_ms > 0;
    keeping.first_end = has_end ? std::min(keeping.first_end, begin + ttl) : keeping.first_end;
    keeping.last_end = std::max(keeping.last_end, has_end && end != kNever ? end + ttl : kNever);
    keeping.may_have_pin[static_cast<std::size_t>(said.pin)] = true;
    keeping.has_soft_ttl = keeping.has_soft_ttl || said.soft_ttl_ms > 0;
  };
  add(put.terms.retention, put.begin.at, put.end);
  for (const Retain& retain : name.retains) {
    if (retain.end > put.begin.at) {
      add(retain.retention, retain.begin, retain.end);
    }
  }
  return keeping;
}

bool ObjectModel::may_be_seen(const Name& name, const Put& put, Moment begin) {
  return put.fate != Fate::never && put.gone_by > begin.at &&
         keeping(name, put, begin.at).last_end > begin.at;
}

// Neither a remove nor an eviction nor its time can have ended it; another that takes its name may.
bool ObjectModel::cannot_vanish(const Name& name, const Put& put, TimePoint begin, Moment now) {
  const bool removed = std::any_of(name.removes.begin(), name.removes.end(),
                                   [&](const Remove& remove) { return remove.end > put.begin.at; });
  const Keeping kept = keeping(name, put, begin);
  const bool is_pinned = !kept.may_have_pin[0] && !kept.may_have_pin[1];
  return !removed && kept.first_end > now.at && (is_pinned || put.begin.evictions == now.evictions);
}

// The put that was visible all the time from `begin` to `now`, or that whose name others have taken
// since, so that the name was bound all the time, if there is one.
const ObjectModel::Put* ObjectModel::surely_present(const Name& name, TimePoint begin,
                                                    Moment now) const {
  for (const Put& put : name.puts) {
    if (put.fate != Fate::visible || put.end > begin || put.gone_by != kNever ||
        !cannot_vanish(name, put, begin, now)) {
      continue;
    }
    const bool stays = std::all_of(name.puts.begin(), name.puts.end(), [&](const Put& other) {
      return other.id == put.id || other.fate == Fate::never || !other.terms.rebinds ||
             other.end <= put.begin.at || cannot_vanish(name, other, begin, now);
    });
    if (stays) {
      return &put;
    }
  }
  return nullptr;
}

bool ObjectModel::maybe_present(const Name& name, Moment begin,
                                std::uint64_t other_than_put) const {
  return std::any_of(name.puts.begin(), name.puts.end(), [&](const Put& put) {
    return put.id != other_than_put && may_be_seen(name, put, begin);
  });
}

std::uint64_t ObjectModel::begin_put(const std::string& name, Content content, Moment now,
                                     Terms terms) {
  Name& entry = names_[name];
  prune(entry, now);
  Put put;
  put.id = next_id_++;
  put.content = content;
  put.begin = now;
  put.terms = terms;
  entry.puts.push_back(put);
  open_[put.id] = name;
  return put.id;
}

// What was visible before `begin` is gone by `end`.
void ObjectModel::bury_before(Name& name, TimePoint begin, TimePoint end) {
  for (Put& put : name.puts) {
    if (put.end <= begin) {
      put.gone_by = std::min(put.gone_by, end);
    }
  }
}

Violation ObjectModel::end_put(std::uint64_t id, Errc status, Moment now) {
  const std::string name = open_.at(id);
  Name& entry = names_[name];
  Put& put = *find_id(entry.puts, id);
  if (is_unknown(status)) {
    lose_put(id, now);
    return std::nullopt;
  }
  open_.erase(id);
  put.end = now.at;
  put.fate = Fate::never;
  if (status == Errc::ok) {
    put.fate = Fate::visible;
    const Put* other = surely_present(entry, put.begin.at, now);
    // Nothing that was there before can be there still.
    bury_before(entry, put.begin.at, now.at);
    if (other != nullptr && !put.terms.rebinds) {
      return "put of " + in_quotes(name) + " was ok although the name was bound all the time";
    }
  }
  if (status == Errc::already_exists && !maybe_present(entry, put.begin, id)) {
    return "put of " + in_quotes(name) + " answered already_exists and nothing can be there";
  }
  return std::nullopt;
}

void ObjectModel::lose_put(std::uint64_t id, Moment now) {
  Put& put = *find_id(names_[open_.at(id)].puts, id);
  open_.erase(id);
  put.end = now.at + settle_time_;
  put.fate = Fate::maybe;
}

std::uint64_t ObjectModel::begin_remove(const std::string& name, Moment now) {
  Remove remove;
  remove.id = next_id_++;
  remove.begin = now.at;
  names_[name].removes.push_back(remove);
  open_[remove.id] = name;
  return remove.id;
}

Violation ObjectModel::end_remove(std::uint64_t id, Errc status, Moment now) {
  const std::string name = open_.at(id);
  Name& entry = names_[name];
  if (status != Errc::ok && status != Errc::not_found) {
    lose_remove(id, now);
    return std::nullopt;
  }
  open_.erase(id);
  Remove& remove = *find_id(entry.removes, id);
  const TimePoint begin = remove.begin;
  // Judged as if this remove had not been: it would make everything uncertain.
  const Remove mine = remove;
  entry.removes.erase(find_id(entry.removes, id));
  const bool present = surely_present(entry, begin, now) != nullptr;
  const bool possible = maybe_present(entry, Moment{begin, 0}, 0);
  entry.removes.push_back(mine);
  entry.removes.back().end = now.at;
  bury_before(entry, begin, now.at);
  if (status == Errc::not_found && present) {
    return "remove of " + in_quotes(name) + " answered not_found although it was there";
  }
  if (status == Errc::ok && !possible) {
    return "remove of " + in_quotes(name) + " was ok and nothing can have been there";
  }
  return std::nullopt;
}

template <class List>
void ObjectModel::lose(List& list, std::uint64_t id, Moment now) {
  open_.erase(id);
  find_id(list, id)->end = now.at + settle_time_;
}

void ObjectModel::lose_remove(std::uint64_t id, Moment now) {
  lose(names_[open_.at(id)].removes, id, now);
}

std::uint64_t ObjectModel::begin_retain(const std::string& name, wire::Retention retention,
                                        Moment now) {
  const std::uint64_t id = next_id_++;
  names_[name].retains.push_back({id, now.at, kNever, false, retention});
  open_[id] = name;
  return id;
}

Violation ObjectModel::end_retain(std::uint64_t id, Errc status, Moment now) {
  const std::string name = open_.at(id);
  Name& entry = names_[name];
  if (is_unknown(status)) {
    lose_retain(id, now);
    return std::nullopt;
  }
  open_.erase(id);
  Retain mine = *find_id(entry.retains, id);
  // Judged as if this one had not been: it says nothing about whether the object was there.
  entry.retains.erase(find_id(entry.retains, id));
  const Moment begin{mine.begin, 0};
  const bool present = surely_present(entry, mine.begin, now) != nullptr;
  const bool possible = maybe_present(entry, begin, 0);
  if (status == Errc::ok) {
    mine.end = now.at;
    mine.is_sure = true;
    // What was over before it began was not what it found.
    for (Put& put : entry.puts) {
      if (!may_be_seen(entry, put, begin)) {
        put.gone_by = std::min(put.gone_by, mine.begin);
      }
    }
    entry.retains.push_back(mine);
  }
  if (status == Errc::not_found && present) {
    return "retain of " + in_quotes(name) + " answered not_found although it was there";
  }
  if (status == Errc::ok && !possible) {
    return "retain of " + in_quotes(name) + " was ok and nothing can have been there";
  }
  return std::nullopt;
}

void ObjectModel::lose_retain(std::uint64_t id, Moment now) {
  lose(names_[open_.at(id)].retains, id, now);
}

Violation ObjectModel::check_found(const std::string& name, SizeBytes size, bool sparse,
                                   Moment begin, Moment /*now*/) const {
  const Name* entry = find(name);
  if (entry != nullptr) {
    for (const Put& put : entry->puts) {
      if (may_be_seen(*entry, put, begin) && put.content.size == size &&
          put.content.sparse == sparse) {
        return std::nullopt;
      }
    }
  }
  return "found " + in_quotes(name) + " of " + std::to_string(size.count()) +
         " bytes, which cannot be there";
}

Violation ObjectModel::check_missing(const std::string& name, Moment begin, Moment now) const {
  const Name* entry = find(name);
  if (entry != nullptr && surely_present(*entry, begin.at, now) != nullptr) {
    return in_quotes(name) + " was not found although it was there all the time";
  }
  return std::nullopt;
}

Violation ObjectModel::check_bytes(const std::string& name, ConstSpan bytes, Moment begin,
                                   Moment /*now*/) const {
  const Name* entry = find(name);
  std::string best = "no object of this size can be there";
  std::size_t best_matching = 0;
  for (const Put& put : entry == nullptr ? std::vector<Put>() : entry->puts) {
    if (put.content.sparse || put.content.size.count() != bytes.size()) {
      continue;
    }
    const std::optional<std::size_t> difference = find_difference(bytes, put.content.seed);
    const bool seen = may_be_seen(*entry, put, begin);
    if (!difference && seen) {
      return std::nullopt;
    }
    if (!difference) {
      best = "they are of a put that was gone or never visible";
      best_matching = bytes.size();
    } else if (seen && *difference >= best_matching) {
      best = "they differ at byte " + std::to_string(*difference);
      best_matching = *difference;
    }
  }
  return "wrong bytes of " + in_quotes(name) + " (" + std::to_string(bytes.size()) +
         " bytes): " + best;
}

Violation ObjectModel::check_other_size(const std::string& name, SizeBytes size, Moment begin,
                                        Moment /*now*/) const {
  const Name* entry = find(name);
  for (const Put& put : entry == nullptr ? std::vector<Put>() : entry->puts) {
    if (may_be_seen(*entry, put, begin) && put.content.size != size) {
      return std::nullopt;
    }
  }
  return in_quotes(name) + " cannot have another size than " + std::to_string(size.count());
}

Violation ObjectModel::check_layer(const std::string& name, SizeBytes size, std::uint64_t offset,
                                   ConstSpan bytes, Moment begin) const {
  const Name* entry = find(name);
  std::vector<std::byte> whole(size.count());
  for (const Put& put : entry == nullptr ? std::vector<Put>() : entry->puts) {
    // Layers of what never became visible as a whole are seen too.
    if (put.content.sparse || put.content.size != size || put.gone_by <= begin.at) {
      continue;
    }
    fill_content(whole, put.content.seed);
    if (std::equal(bytes.begin(), bytes.end(),
                   whole.begin() + static_cast<std::ptrdiff_t>(offset))) {
      return std::nullopt;
    }
  }
  return "wrong bytes in a layer of " + in_quotes(name) + " from byte " + std::to_string(offset);
}

Violation ObjectModel::check_event(const wire::Event& event, Moment now) const {
  const Name* entry = find(event.name);
  const std::string what = " of " + in_quotes(event.name);
  if (entry == nullptr) {
    return "an event" + what + ", which nobody has put";
  }
  const auto in_time = [&](const auto& each) { return each.end >= now.at; };
  switch (event.kind) {
    case wire::EventKind::put:
    case wire::EventKind::rebind: {
      const bool rebinds = event.kind == wire::EventKind::rebind;
      const bool is_put = std::any_of(entry->puts.begin(), entry->puts.end(), [&](const Put& put) {
        return put.fate != Fate::never && put.content.size == event.size && in_time(put) &&
               (put.terms.rebinds || !rebinds);
      });
      return is_put ? std::nullopt : Violation("nobody has put what the event" + what + " tells");
    }
    case wire::EventKind::remove:
      return std::any_of(entry->removes.begin(), entry->removes.end(), in_time)
                 ? std::nullopt
                 : Violation("nobody has removed what the event" + what + " tells");
    case wire::EventKind::evict:
      return is_surely(event.name, wire::Pin::hard, now)
                 ? Violation("a pinned object was evicted: that" + what)
                 : std::nullopt;
    case wire::EventKind::expire:
      return std::any_of(entry->puts.begin(), entry->puts.end(),
                         [&](const Put& put) {
                           return put.fate != Fate::never && put.gone_by >= now.at &&
                                  keeping(*entry, put, TimePoint::min()).first_end <= now.at;
                         })
                 ? std::nullopt
                 : Violation("no TTL is over" + what + ", which expired");
    case wire::EventKind::lose:
      break;
  }
  return "an event" + what + " of kind " + std::to_string(static_cast<int>(event.kind)) +
         ", for which there is no reason";
}

bool ObjectModel::is_surely(const std::string& name, wire::Pin pin, Moment now) const {
  const Name* entry = find(name);
  bool is_sure = entry != nullptr && maybe_present(*entry, now, 0);
  for (const Put& put : entry == nullptr ? std::vector<Put>() : entry->puts) {
    if (put.fate == Fate::never || put.gone_by <= now.at) {
      continue;
    }
    const Keeping kept = keeping(*entry, put, now.at);
    for (std::size_t i = 0; i < kept.may_have_pin.size(); ++i) {
      is_sure = is_sure && (i == static_cast<std::size_t>(pin) || !kept.may_have_pin[i]);
    }
    is_sure = is_sure && (pin == wire::Pin::hard || !kept.has_soft_ttl);
  }
  return is_sure;
}

void ObjectModel::restart(Moment now) {
  for (auto& [text, name] : names_) {
    for (Put& put : name.puts) {
      put.gone_by = std::min(put.gone_by, now.at);
    }
  }
}

void ObjectModel::jump(Moment before, Duration by) {
  remembers_until_ = before.at + by + kMemory;
  const auto shift = [&](auto& operations) {
    for (auto& operation : operations) {
      if (operation.end > before.at && operation.end != kNever) {
        operation.end += by;
      }
    }
  };
  for (auto& [text, name] : names_) {
    shift(name.puts);
    shift(name.removes);
    shift(name.retains);
  }
}

std::vector<std::string> ObjectModel::names() const {
  std::vector<std::string> names;
  for (const auto& [text, name] : names_) {
    names.push_back(text);
  }
  return names;
}

void ObjectModel::prune(Name& name, Moment now) {
  if (now.at < remembers_until_) {
    return;
  }
  std::erase_if(name.puts, [&](const Put& put) {
    return put.fate != Fate::in_flight &&
           (put.fate == Fate::never || put.gone_by < now.at - kMemory) &&
           put.end < now.at - kMemory;
  });
  const auto forget_ended = [&](auto& operations) {
    std::erase_if(operations, [&](const auto& operation) {
      return operation.end < now.at - kMemory &&
             std::none_of(name.puts.begin(), name.puts.end(),
                          [&](const Put& put) { return put.begin.at < operation.end; });
    });
  };
  forget_ended(name.removes);
  forget_ended(name.retains);
}

}  // namespace godbox::sim
