// SPDX-License-Identifier: Apache-2.0
#include "model/dram/dram_engine.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace godbox::emulator::model {
namespace {

constexpr std::uint32_t kRead = 0;
constexpr std::uint32_t kWrite = 1;

std::uint32_t saturating_difference(std::uint32_t a, std::uint32_t b) { return a > b ? a - b : 0; }

}  // namespace

DramEngine::DramEngine(const DramSpec& spec)
    : t_(spec.timings),
      is_oldest_ready_(spec.controller.rule == SchedulerRule::oldest_ready),
      row_policy_(spec.controller.row_policy),
      row_hits_max_(spec.controller.row_hits_max),
      queue_size_{spec.controller.read_queue, spec.controller.write_queue},
      write_high_(static_cast<std::uint32_t>(
          std::floor(spec.controller.write_high * spec.controller.write_queue))),
      write_low_(static_cast<std::uint32_t>(
          std::ceil(spec.controller.write_low * spec.controller.write_queue))),
      rank_count_(spec.organization.ranks),
      bank_count_(spec.organization.banks()),
      banks_per_rank_(spec.organization.banks_per_rank()),
      // From the first data of one to the first data of the other, less how much later the
      // second's data follow their command.
      read_to_write_(saturating_difference(t_.cl + t_.burst + t_.read_to_write, t_.cwl)),
      write_to_read_s_(t_.cwl + t_.burst + t_.wtr_s),
      write_to_read_l_(t_.cwl + t_.burst + t_.wtr_l),
      other_rank_read_(t_.burst + t_.rank_switch),
      other_rank_write_(t_.burst + t_.rank_switch),
      read_to_other_write_(saturating_difference(t_.cl + t_.burst + t_.rank_switch, t_.cwl)),
      write_to_other_read_(saturating_difference(t_.cwl + t_.burst + t_.rank_switch, t_.cl)) {
  const DramOrganization& org = spec.organization;
  for (std::uint32_t i = 0; i < bank_count_; ++i) {
    banks_[i].rank = static_cast<std::uint8_t>(i / banks_per_rank_);
    banks_[i].group = static_cast<std::uint8_t>(i / org.banks_per_group);
  }
  for (std::uint32_t i = 0; i < rank_count_; ++i) {
    ranks_[i].last_acts.fill(-static_cast<Cycle>(t_.faw));
    if (t_.refi != 0) {
      const Cycle offset =
          spec.controller.stagger_refresh ? Cycle{t_.refi} * (i + 1) / rank_count_ : Cycle{t_.refi};
      ranks_[i].refresh_due = offset;
      next_refresh_ = std::min(next_refresh_, offset);
    }
  }
  for (std::size_t i = nodes_.size(); i-- > 0;) {
    nodes_[i].next = free_node_;
    free_node_ = static_cast<std::uint16_t>(i);
  }
}

void DramEngine::submit(const DramPlace& place, bool is_write, std::uint32_t tag, Cycle now) {
  const std::uint32_t direction = is_write ? kWrite : kRead;
  GODBOX_ASSERT(has_room(is_write) && place.bank < bank_count_ && free_node_ != kNone);
  const std::uint16_t index = free_node_;
  Node& node = nodes_[index];
  free_node_ = node.next;
  node = {.age = next_age_++, .row = place.row, .tag = tag, .next = kNone, .is_counted = false};
  Bank& bank = banks_[place.bank];
  List& list = bank.open_row == place.row ? bank.hits[direction] : bank.misses[direction];
  const bool is_first = list.head == kNone;
  append(list, index);
  busy_[place.bank / 64] |= std::uint64_t{1} << (place.bank % 64);
  ++queued_[direction];
  command_free_ = std::max(command_free_, now);
  if (is_first) {
    plan(place.bank);
  }
  update_write_mode();
}

void DramEngine::update_write_mode() {
  bool is_write_mode = is_write_mode_;
  if (!is_write_mode_) {
    is_write_mode = queued_[kWrite] > write_high_ || (queued_[kRead] == 0 && queued_[kWrite] > 0);
  } else {
    is_write_mode = queued_[kWrite] > 0 && (queued_[kWrite] >= write_low_ || queued_[kRead] == 0);
  }
  if (is_write_mode != is_write_mode_) {
    is_write_mode_ = is_write_mode;
    plan_all();
  }
}

// Writes on the agenda what the bank wants next.
void DramEngine::plan(std::uint32_t index) {
  const Bank& bank = banks_[index];
  const std::uint32_t d = direction_of(bank);
  const std::uint16_t miss = bank.misses[direction()].head;
  if (bank.open_row == kClosed) {
    agenda_.remove(access_item(index));
    if (miss != kNone) {
      agenda_.set(row_item(index), Wish::activate, bank.act_ready, nodes_[miss].age);
    } else {
      agenda_.remove(row_item(index));
    }
    return;
  }
  std::uint16_t hit = bank.hits[d].head;
  const bool is_row_over =
      row_hits_max_ != 0 && bank.hits_in_row >= row_hits_max_ && miss != kNone && bank.pinned == 0;
  if (is_row_over && !is_oldest_ready_) {
    hit = kNone;
  }
  if (hit != kNone) {
    agenda_.set(access_item(index), bank.pinned != 0 ? Wish::pinned : Wish::hit, bank.access_ready,
                nodes_[hit].age);
  } else {
    agenda_.remove(access_item(index));
  }
  const bool is_held =
      hit != kNone && (!is_oldest_ready_ || (miss != kNone && nodes_[hit].age < nodes_[miss].age));
  if (miss != kNone && bank.pinned == 0 && !is_held) {
    agenda_.set(row_item(index), Wish::precharge, bank.pre_ready, nodes_[miss].age);
  } else {
    agenda_.remove(row_item(index));
  }
}

void DramEngine::plan_all() {
  for (std::uint32_t word = 0; word < kWords; ++word) {
    for (std::uint64_t bits = busy_[word]; bits != 0; bits &= bits - 1) {
      plan(word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)));
    }
  }
}

void DramEngine::mark_refreshes_due(Cycle now) {
  next_refresh_ = kCycleNever;
  for (std::uint32_t i = 0; i < rank_count_; ++i) {
    Rank& rank = ranks_[i];
    if (!rank.is_refresh_pending && rank.refresh_due <= now) {
      rank.is_refresh_pending = true;
      ++refreshes_pending_;
    }
    if (!rank.is_refresh_pending) {
      next_refresh_ = std::min(next_refresh_, rank.refresh_due);
    }
  }
}

// When what the bank shares with others allows its wish.
Cycle DramEngine::shared_ready(std::uint32_t index, Wish wish) const {
  const Bank& bank = banks_[index];
  const Group& group = groups_[bank.group];
  const Rank& rank = ranks_[bank.rank];
  switch (wish) {
    case Wish::pinned:
    case Wish::hit: {
      const std::uint32_t d = direction_of(bank);
      return std::max(group.access_ready[d], rank.access_ready[d]);
    }
    case Wish::activate:
      return std::max(group.act_ready, rank.act_ready);
    case Wish::precharge:
      return rank.pre_ready;
  }
  return kCycleNever;
}

// The oldest ready item with this wish that can go now; `next` becomes no later than when another
// one can.
std::uint16_t DramEngine::first_available(Wish wish, Cycle now, Cycle& next) const {
  const std::uint16_t first = agenda_.first(wish);
  const Cycle free = wish == Wish::precharge  ? 0
                     : wish == Wish::activate ? act_free_
                                              : access_free_;
  if (first == kNone || free > now) {
    next = first == kNone ? next : std::min(next, free);
    return kNone;
  }
  for (std::uint16_t i = first; i != kNone; i = agenda_.item(i).next) {
    if (refreshes_pending_ != 0 && wish != Wish::pinned &&
        ranks_[banks_[i / 2U].rank].is_refresh_pending) {
      continue;
    }
    const Cycle at = shared_ready(i / 2U, wish);
    if (at <= now) {
      return i;
    }
    next = std::min(next, at);
  }
  return kNone;
}

std::uint16_t DramEngine::choose_item(Cycle now, Cycle& next) const {
  const std::uint16_t pinned = first_available(Wish::pinned, now, next);
  if (pinned != kNone) {
    return pinned;
  }
  std::uint16_t best = first_available(Wish::hit, now, next);
  if (best != kNone && !is_oldest_ready_) {
    return best;
  }
  for (const Wish wish : {Wish::activate, Wish::precharge}) {
    const std::uint16_t other = first_available(wish, now, next);
    if (other != kNone && (best == kNone || agenda_.item(other).age < agenda_.item(best).age)) {
      best = other;
    }
  }
  return best;
}

// A rank whose refresh is pending closes its banks and is refreshed, before anything but what its
// rows were opened for.
DramEngine::Choice DramEngine::choose_rank(Cycle now, Cycle& next) const {
  for (std::uint32_t i = 0; i < rank_count_; ++i) {
    if (!ranks_[i].is_refresh_pending) {
      continue;
    }
    Cycle closing = ranks_[i].pre_ready;
    Cycle closed = 0;
    bool is_open = false;
    bool is_pinned = false;
    for (std::uint32_t b = i * banks_per_rank_; b < (i + 1) * banks_per_rank_; ++b) {
      const Bank& bank = banks_[b];
      closed = std::max(closed, bank.act_ready);
      is_pinned = is_pinned || bank.pinned != 0;
      if (bank.open_row != kClosed) {
        is_open = true;
        closing = std::max(closing, bank.pre_ready);
      }
    }
    const Cycle at = is_open ? closing : closed;
    if (!is_pinned && at <= now) {
      return {.item = kNone, .rank = static_cast<std::uint16_t>(i), .at = now};
    }
    next = is_pinned ? next : std::min(next, at);
  }
  return {};
}

DramEngine::Choice DramEngine::choose(Cycle until) {
  Cycle now = command_free_;
  while (now < until) {
    agenda_.advance(now);
    if (next_refresh_ <= now) {
      mark_refreshes_due(now);
    }
    Cycle next = std::min(agenda_.next_ready(), next_refresh_);
    if (refreshes_pending_ != 0) {
      const Choice choice = choose_rank(now, next);
      if (choice.rank != kNone) {
        return choice;
      }
    }
    const std::uint16_t item = choose_item(now, next);
    if (item != kNone) {
      return {.item = item, .rank = kNone, .at = now};
    }
    now = next;
  }
  return {};
}

void DramEngine::note_access_on_buses(std::uint32_t index, std::uint32_t direction, Cycle at) {
  const Bank& bank = banks_[index];
  Group& group = groups_[bank.group];
  const auto later = [](Cycle& value, Cycle other) { value = std::max(value, other); };
  if (direction == kRead) {
    later(group.access_ready[kRead], at + t_.ccd_l);
  } else {
    later(group.access_ready[kWrite], at + t_.ccd_l_wr);
    later(group.access_ready[kRead], at + write_to_read_l_);
  }
  access_free_ = kCycleNever;
  for (std::uint32_t i = 0; i < rank_count_; ++i) {
    auto& ready = ranks_[i].access_ready;
    if (direction == kRead) {
      later(ready[kRead], at + (i == bank.rank ? t_.ccd_s : other_rank_read_));
      later(ready[kWrite], at + (i == bank.rank ? read_to_write_ : read_to_other_write_));
    } else {
      later(ready[kWrite], at + (i == bank.rank ? t_.ccd_s_wr : other_rank_write_));
      later(ready[kRead], at + (i == bank.rank ? write_to_read_s_ : write_to_other_read_));
    }
    access_free_ = std::min(access_free_, std::min(ready[kRead], ready[kWrite]));
  }
}

std::uint32_t DramEngine::issue_access(std::uint32_t index, std::uint32_t direction, Cycle at) {
  Bank& bank = banks_[index];
  const bool is_write = direction == kWrite;
  note(is_write ? DramCommand::write : DramCommand::read, index, at);
  bank.pinned = bank.pinned == direction + 1 ? std::uint8_t{0} : bank.pinned;
  const std::uint16_t node = take_head(bank.hits[direction]);
  count_first_command(node, counters_.row_hits);
  nodes_[node].next = free_node_;
  free_node_ = node;
  --queued_[direction];
  note_access_on_buses(index, direction, at);
  bank.pre_ready = std::max(
      bank.pre_ready, is_write ? at + t_.cwl + t_.burst + t_.wr : at + static_cast<Cycle>(t_.rtp));
  bank.hits_in_row = static_cast<std::uint16_t>(std::min(bank.hits_in_row + 1, 0xFFFF));
  const bool has_hits = bank.hits[kRead].head != kNone || bank.hits[kWrite].head != kNone;
  if (row_policy_ == RowPolicy::closed && bank.pinned == 0 && !has_hits) {
    close_row(index, bank.pre_ready + t_.rp);  // with auto-precharge
    if (log_ != nullptr) {
      log_->back().closes_row = true;
    }
  }
  if (!has_hits && bank.misses[kRead].head == kNone && bank.misses[kWrite].head == kNone) {
    busy_[index / 64] &= ~(std::uint64_t{1} << (index % 64));
  }
  ++(is_write ? counters_.writes : counters_.reads);
  counters_.turnarounds += is_write != last_was_write_ ? 1 : 0;
  last_was_write_ = is_write;
  counters_.bus_busy += t_.burst;
  command_free_ = at + t_.long_command;
  plan(index);
  update_write_mode();
  return nodes_[node].tag;
}

void DramEngine::issue_to_rank(std::uint32_t index, Cycle at) {
  Rank& rank = ranks_[index];
  const std::uint32_t begin = index * banks_per_rank_;
  bool is_open = false;
  for (std::uint32_t b = begin; b < begin + banks_per_rank_; ++b) {
    is_open = is_open || banks_[b].open_row != kClosed;
  }
  command_free_ = at + 1;
  note(is_open ? DramCommand::precharge_all : DramCommand::refresh, begin, at);
  for (std::uint32_t b = begin; b < begin + banks_per_rank_; ++b) {
    if (is_open) {
      close_row(b, at + t_.rp);
    } else {
      banks_[b].act_ready = std::max(banks_[b].act_ready, at + static_cast<Cycle>(t_.rfc));
    }
    plan(b);
  }
  if (is_open) {
    rank.pre_ready = at + t_.ppd;
    ++counters_.precharges;
    return;
  }
  rank.is_refresh_pending = false;
  --refreshes_pending_;
  rank.refresh_due += t_.refi;
  next_refresh_ = std::min(next_refresh_, rank.refresh_due);
  ++counters_.refreshes;
}

void DramEngine::precharge(std::uint32_t index, Cycle at) {
  Bank& bank = banks_[index];
  note(DramCommand::precharge, index, at);
  count_first_command(bank.misses[direction()].head, counters_.row_conflicts);
  ranks_[bank.rank].pre_ready = at + t_.ppd;
  close_row(index, at + t_.rp);
  ++counters_.precharges;
  command_free_ = at + 1;
  plan(index);
}

void DramEngine::open_row(std::uint32_t index, Cycle at) {
  Bank& bank = banks_[index];
  Rank& rank = ranks_[bank.rank];
  const std::uint16_t first = bank.misses[direction()].head;
  count_first_command(first, counters_.row_misses);
  bank.open_row = nodes_[first].row;
  note(DramCommand::activate, index, at);
  bank.hits_in_row = 0;
  bank.pinned = static_cast<std::uint8_t>(direction() + 1);
  bank.access_ready = at + t_.rcd;
  bank.pre_ready = std::max(bank.pre_ready, at + static_cast<Cycle>(t_.ras));
  bank.act_ready = at + t_.rc;
  groups_[bank.group].act_ready = at + t_.rrd_l;
  rank.last_acts[rank.next_act] = at;
  rank.next_act = (rank.next_act + 1) % 4;
  rank.act_ready =
      std::max(at + static_cast<Cycle>(t_.rrd_s), rank.last_acts[rank.next_act] + t_.faw);
  act_free_ = kCycleNever;
  for (std::uint32_t i = 0; i < rank_count_; ++i) {
    act_free_ = std::min(act_free_, ranks_[i].act_ready);
  }
  for (std::uint32_t d = 0; d < 2; ++d) {
    List others;
    while (bank.misses[d].head != kNone) {
      const std::uint16_t node = take_head(bank.misses[d]);
      append(nodes_[node].row == bank.open_row ? bank.hits[d] : others, node);
    }
    bank.misses[d] = others;
  }
  ++counters_.activates;
  command_free_ = at + t_.long_command;
  plan(index);
}

// What wanted the row waits with the others again, by age.
void DramEngine::close_row(std::uint32_t index, Cycle act_ready) {
  Bank& bank = banks_[index];
  if (bank.open_row == kClosed) {
    return;
  }
  bank.open_row = kClosed;
  bank.act_ready = std::max(bank.act_ready, act_ready);
  for (std::uint32_t d = 0; d < 2; ++d) {
    if (bank.hits[d].head == kNone) {
      continue;
    }
    List merged;
    while (bank.hits[d].head != kNone || bank.misses[d].head != kNone) {
      const std::uint16_t hit = bank.hits[d].head;
      const std::uint16_t miss = bank.misses[d].head;
      const bool is_hit_next =
          miss == kNone || (hit != kNone && nodes_[hit].age < nodes_[miss].age);
      append(merged, take_head(is_hit_next ? bank.hits[d] : bank.misses[d]));
    }
    bank.misses[d] = merged;
  }
}

void DramEngine::append(List& list, std::uint16_t node) {
  nodes_[node].next = kNone;
  if (list.head == kNone) {
    list.head = node;
  } else {
    nodes_[list.tail].next = node;
  }
  list.tail = node;
}

std::uint16_t DramEngine::take_head(List& list) {
  const std::uint16_t node = list.head;
  list.head = nodes_[node].next;
  return node;
}

void DramEngine::count_first_command(std::uint16_t node, std::uint64_t& counter) {
  counter += nodes_[node].is_counted ? 0 : 1;
  nodes_[node].is_counted = true;
}

}  // namespace godbox::emulator::model
