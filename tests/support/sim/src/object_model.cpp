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

bool ObjectModel::may_be_seen(const Put& put, Moment begin) {
  return put.fate != Fate::never && put.gone_by > begin.at;
}

// The put that was visible all the time from `begin` to `now`, if there is one.
const ObjectModel::Put* ObjectModel::surely_present(const Name& name, TimePoint begin,
                                                    Moment now) const {
  for (const Put& put : name.puts) {
    const bool removed =
        std::any_of(name.removes.begin(), name.removes.end(),
                    [&](const Remove& remove) { return remove.end > put.begin.at; });
    if (put.fate == Fate::visible && put.end <= begin && put.gone_by == kNever && !removed &&
        put.begin.evictions == now.evictions) {
      return &put;
    }
  }
  return nullptr;
}

bool ObjectModel::maybe_present(const Name& name, Moment begin,
                                std::uint64_t other_than_put) const {
  return std::any_of(name.puts.begin(), name.puts.end(), [&](const Put& put) {
    return put.id != other_than_put && may_be_seen(put, begin);
  });
}

std::uint64_t ObjectModel::begin_put(const std::string& name, Content content, Moment now) {
  Name& entry = names_[name];
  prune(entry, now);
  Put put;
  put.id = next_id_++;
  put.content = content;
  put.begin = now;
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
    if (other != nullptr) {
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
  const Put* present = surely_present(entry, begin, now);
  const bool possible = maybe_present(entry, Moment{begin, 0}, 0);
  entry.removes.push_back(mine);
  entry.removes.back().end = now.at;
  bury_before(entry, begin, now.at);
  if (status == Errc::not_found && present != nullptr) {
    return "remove of " + in_quotes(name) + " answered not_found although it was there";
  }
  if (status == Errc::ok && !possible) {
    return "remove of " + in_quotes(name) + " was ok and nothing can have been there";
  }
  return std::nullopt;
}

void ObjectModel::lose_remove(std::uint64_t id, Moment now) {
  Remove& remove = *find_id(names_[open_.at(id)].removes, id);
  open_.erase(id);
  remove.end = now.at + settle_time_;
}

Violation ObjectModel::check_found(const std::string& name, SizeBytes size, bool sparse,
                                   Moment begin, Moment /*now*/) const {
  const Name* entry = find(name);
  if (entry != nullptr) {
    for (const Put& put : entry->puts) {
      if (may_be_seen(put, begin) && put.content.size == size && put.content.sparse == sparse) {
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
    const bool seen = may_be_seen(put, begin);
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
    if (may_be_seen(put, begin) && put.content.size != size) {
      return std::nullopt;
    }
  }
  return in_quotes(name) + " cannot have another size than " + std::to_string(size.count());
}

void ObjectModel::restart(Moment now) {
  for (auto& [text, name] : names_) {
    for (Put& put : name.puts) {
      put.gone_by = std::min(put.gone_by, now.at);
    }
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
  std::erase_if(name.puts, [&](const Put& put) {
    return put.fate != Fate::in_flight &&
           (put.fate == Fate::never || put.gone_by < now.at - kMemory) &&
           put.end < now.at - kMemory;
  });
  std::erase_if(name.removes, [&](const Remove& remove) {
    return remove.end < now.at - kMemory &&
           std::none_of(name.puts.begin(), name.puts.end(),
                        [&](const Put& put) { return put.begin.at < remove.end; });
  });
}

}  // namespace godbox::sim
