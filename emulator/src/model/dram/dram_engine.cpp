// SPDX-License-Identifier: Apache-2.0
#include "model/dram/dram_engine.h"

#include <godbox/assert.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

namespace godbox::emulator::model {
namespace {

constexpr std::uint32_t kRead = 0;
constexpr std::uint32_t kWrite = 1;

// Who goes first of what can go at the same time.
constexpr std::uint32_t kPinnedPriority = 3;  // an access that its row was opened for
constexpr std::uint32_t kHitPriority = 2;     // another access to an open row
constexpr std::uint32_t kRowPriority = 1;     // opens or closes a row

std::uint32_t saturating_difference(std::uint32_t a, std::uint32_t b) { return a > b ? a - b : 0; }

// From the first data of one to the first data of the other, less how much later the second's data
// follow their command.
BankAgenda::Spacings spacings(const DramTimings& t) {
  const std::uint32_t other_rank = t.burst + t.rank_switch;
  const std::uint32_t read_to_write =
      saturating_difference(t.cl + t.burst + t.read_to_write, t.cwl);
  const std::uint32_t write_to_read = t.cwl + t.burst;
  BankAgenda::Spacings all{.accesses = {}, .activates = t.rrd_l, .precharges = t.ppd};
  auto& spacing = all.accesses;
  spacing[kRead][kRead] = {std::max(t.ccd_l, t.ccd_s), t.ccd_s, other_rank};
  spacing[kRead][kWrite] = {read_to_write, read_to_write,
                            saturating_difference(t.cl + other_rank, t.cwl)};
  spacing[kWrite][kWrite] = {std::max(t.ccd_l_wr, t.ccd_s_wr), t.ccd_s_wr, other_rank};
  spacing[kWrite][kRead] = {write_to_read + std::max(t.wtr_l, t.wtr_s), write_to_read + t.wtr_s,
                            saturating_difference(t.cwl + other_rank, t.cl)};
  return all;
}

// No command keeps another one waiting for longer.
std::uint32_t longest_wait(const DramTimings& t) {
  return (t.refi == 0 ? 0 : t.rfc) + t.rc + t.faw + t.cl + t.cwl + t.burst + t.wr + t.wtr_l + t.rp +
         t.rtp + t.ppd + t.ccd_l + t.ccd_l_wr + t.rrd_l + t.rank_switch + t.read_to_write;
}

}  // namespace

// What is called in this file alone is inline: others a shared library could replace, so that they
// are called.

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
      agenda_(spec.organization, spacings(t_), longest_wait(t_)) {
  for (std::uint32_t i = 0; i < bank_count_; ++i) {
    banks_[i].rank = static_cast<std::uint8_t>(i / banks_per_rank_);
    banks_[i].place = agenda_.place(i);
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
  if (next_age_ == kAges) {
    count_ages_anew();
  }
  const std::uint16_t index = free_node_;
  Node& node = nodes_[index];
  free_node_ = node.next;
  node = {.row = place.row,
          .tag = tag,
          .age = static_cast<std::uint16_t>(next_age_),
          .next = kNone,
          .bank = static_cast<std::uint16_t>(place.bank),
          .is_write = is_write,
          .is_counted = false};
  node_of_age_[next_age_++] = index;
  Bank& bank = banks_[place.bank];
  List& list = bank.open_row == place.row ? bank.hits[direction] : bank.misses[direction];
  const bool is_first = list.head == kNone;
  append(list, index);
  busy_[place.bank / 64] |= std::uint64_t{1} << (place.bank % 64);
  ++queued_[direction];
  command_free_ = std::max(command_free_, now);
  if (is_first && direction == this->direction()) {  // what others want is not planned now
    plan(bank);
    consider(place.bank);
  }
  update_write_mode();
}

inline void DramEngine::update_write_mode() {
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
void DramEngine::plan(const Bank& bank) {
  if (bank.open_row == kClosed) {
    plan_closed(bank);
  } else if (bank.pinned != 0) {
    plan_pinned(bank);
  } else {
    plan_open(bank);
  }
}

inline void DramEngine::plan_closed(const Bank& bank) {
  const std::uint16_t miss = bank.misses[direction()].head;
  agenda_.clear_access(bank.place);
  if (miss != kNone && !bank.is_refresh_pending) {
    agenda_.set(bank.place, Wish::activate, bank.act_ready, key(kRowPriority, miss));
  } else {
    agenda_.clear_row(bank.place);
  }
}

inline void DramEngine::plan_pinned(const Bank& bank) {
  const std::uint32_t d = bank.pinned - 1U;
  agenda_.set(bank.place, d == kWrite ? Wish::write : Wish::read, bank.access_ready,
              key(kPinnedPriority, bank.hits[d].head));
  agenda_.clear_row(bank.place);
}

inline void DramEngine::plan_open(const Bank& bank) {
  const std::uint32_t d = direction();
  const std::uint16_t miss = bank.is_refresh_pending ? kNone : bank.misses[d].head;
  std::uint16_t hit = bank.is_refresh_pending ? kNone : bank.hits[d].head;
  const bool is_row_over = row_hits_max_ != 0 && bank.hits_in_row >= row_hits_max_ && miss != kNone;
  if (is_row_over && !is_oldest_ready_) {
    hit = kNone;
  }
  if (hit != kNone) {
    agenda_.set(bank.place, d == kWrite ? Wish::write : Wish::read, bank.access_ready,
                key(is_oldest_ready_ ? kRowPriority : kHitPriority, hit));
  } else {
    agenda_.clear_access(bank.place);
  }
  const bool is_held =
      hit != kNone && (!is_oldest_ready_ || (miss != kNone && nodes_[hit].age < nodes_[miss].age));
  if (miss != kNone && !is_held) {
    agenda_.set(bank.place, Wish::precharge, bank.pre_ready, key(kRowPriority, miss));
  } else {
    agenda_.clear_row(bank.place);
  }
}

// The bank's wishes are new, and all others are as they were.
void DramEngine::consider(std::uint32_t index) {
  if (next_.at < command_free_) {
    return;
  }
  if (next_.at != kCycleNever && nodes_[next_node()].bank == index) {
    next_.at = kUnknown;
    return;
  }
  const BankAgenda::Next its = agenda_.next_of(banks_[index].place, command_free_);
  if (its.at < next_.at || (its.at == next_.at && its.key > next_.key)) {
    next_ = its;
  }
}

void DramEngine::plan_all() {
  next_.at = kUnknown;
  for (std::uint32_t word = 0; word < kWords; ++word) {
    for (std::uint64_t bits = busy_[word]; bits != 0; bits &= bits - 1) {
      plan(banks_[word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits))]);
    }
  }
}

// The requests that wait get the lowest ages, in the same order.
void DramEngine::count_ages_anew() {
  std::array<std::uint16_t, kNodes> waiting{};
  std::size_t count = 0;
  for (std::size_t i = 0; i < kNodes; ++i) {
    if (nodes_[i].bank != kNone) {
      waiting[count++] = static_cast<std::uint16_t>(i);
    }
  }
  std::sort(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(count),
            [this](std::uint16_t a, std::uint16_t b) { return nodes_[a].age < nodes_[b].age; });
  for (next_age_ = 0; next_age_ < count; ++next_age_) {
    nodes_[waiting[next_age_]].age = static_cast<std::uint16_t>(next_age_);
    node_of_age_[next_age_] = waiting[next_age_];
  }
  plan_all();
}

void DramEngine::mark_refreshes_due(Cycle now) {
  next_refresh_ = kCycleNever;
  for (std::uint32_t i = 0; i < rank_count_; ++i) {
    Rank& rank = ranks_[i];
    if (!rank.is_refresh_pending && rank.refresh_due <= now) {
      rank.is_refresh_pending = true;
      ++refreshes_pending_;
      next_.at = kUnknown;
      for (std::uint32_t b = i * banks_per_rank_; b < (i + 1) * banks_per_rank_; ++b) {
        banks_[b].is_refresh_pending = true;
        plan(banks_[b]);
      }
    }
    if (!rank.is_refresh_pending) {
      next_refresh_ = std::min(next_refresh_, rank.refresh_due);
    }
  }
}

// A rank whose refresh is pending closes its banks and is refreshed, before anything but what its
// rows were opened for. The first that can, not before `now`.
DramEngine::Choice DramEngine::choose_rank(Cycle now) const {
  Choice choice;
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
    const Cycle at = std::max(now, is_open ? closing : closed);
    if (!is_pinned && at < choice.at) {
      choice = {.node = kNone, .rank = static_cast<std::uint16_t>(i), .at = at};
    }
  }
  return choice;
}

// With one request in all there is one bank to look at.
inline BankAgenda::Next DramEngine::first_wish(Cycle now) {
  if (queued() > 1) {
    return agenda_.next(now);
  }
  if (queued() == 0) {
    return {};
  }
  std::uint32_t word = 0;
  while (busy_[word] == 0) {
    ++word;
  }
  const std::uint32_t index = word * 64 + static_cast<std::uint32_t>(std::countr_zero(busy_[word]));
  return agenda_.next_of(banks_[index].place, now);
}

DramEngine::Choice DramEngine::choose(Cycle until) {
  const Cycle now = command_free_;
  if (now >= until) {
    return {};
  }
  if (refreshes_pending_ != 0 || next_refresh_ <= now) {
    return choose_with_refresh(until);
  }
  if (next_.at < now) {
    next_ = first_wish(now);
  }
  if (next_.at < std::min(until, next_refresh_)) {
    return {.node = next_node(), .rank = kNone, .at = next_.at};
  }
  return until <= next_refresh_ ? Choice{} : choose_with_refresh(until);
}

// The same, where the refresh of a rank is pending or comes before what goes next.
DramEngine::Choice DramEngine::choose_with_refresh(Cycle until) {
  Cycle now = command_free_;
  while (now < until) {
    if (next_refresh_ <= now) {
      mark_refreshes_due(now);
    }
    if (next_.at < now) {
      next_ = first_wish(now);
    }
    Choice choice;
    if (refreshes_pending_ != 0) {
      choice = choose_rank(now);
    }
    if (next_.at < choice.at) {
      choice = {.node = next_node(), .rank = kNone, .at = next_.at};
    }
    if (choice.at < next_refresh_) {
      return choice.at < until ? choice : Choice{};
    }
    now = next_refresh_;
  }
  return {};
}

void DramEngine::log(DramCommand command, std::uint32_t bank, Cycle at) {
  log_->push_back({command, bank, banks_[bank].open_row, at, false});
}

void DramEngine::issue_access(std::uint16_t node, Cycle at) {
  const std::uint32_t index = nodes_[node].bank;
  const bool is_write = nodes_[node].is_write;
  const std::uint32_t direction = is_write ? kWrite : kRead;
  Bank& bank = banks_[index];
  begin_command(at);
  note(is_write ? DramCommand::write : DramCommand::read, index, at);
  bank.pinned = bank.pinned == direction + 1 ? std::uint8_t{0} : bank.pinned;
  take_head(bank.hits[direction]);
  count_first_command(nodes_[node], counters_.row_hits);
  nodes_[node].bank = kNone;
  nodes_[node].next = free_node_;
  free_node_ = node;
  --queued_[direction];
  agenda_.accessed(bank.place.group, is_write, at);
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
  plan(bank);
  update_write_mode();
}

void DramEngine::issue_to_rank(std::uint32_t index, Cycle at) {
  Rank& rank = ranks_[index];
  const std::uint32_t begin = index * banks_per_rank_;
  const std::uint32_t end = begin + banks_per_rank_;
  begin_command(at);
  bool is_open = false;
  for (std::uint32_t b = begin; b < end; ++b) {
    is_open = is_open || banks_[b].open_row != kClosed;
  }
  command_free_ = at + 1;
  note(is_open ? DramCommand::precharge_all : DramCommand::refresh, begin, at);
  for (std::uint32_t b = begin; b < end; ++b) {
    if (is_open) {
      close_row(b, at + t_.rp);
    } else {
      banks_[b].act_ready = std::max(banks_[b].act_ready, at + static_cast<Cycle>(t_.rfc));
      banks_[b].is_refresh_pending = false;
    }
    plan(banks_[b]);
  }
  if (is_open) {
    note_precharge(begin, at);
    return;
  }
  rank.is_refresh_pending = false;
  --refreshes_pending_;
  rank.refresh_due += t_.refi;
  next_refresh_ = std::min(next_refresh_, rank.refresh_due);
  ++counters_.refreshes;
}

// Of the bank or of all of its rank.
inline void DramEngine::note_precharge(std::uint32_t index, Cycle at) {
  const Bank& bank = banks_[index];
  ranks_[bank.rank].pre_ready = at + t_.ppd;
  agenda_.precharged(bank.place.group, at);
  ++counters_.precharges;
}

void DramEngine::precharge(std::uint16_t node, Cycle at) {
  const std::uint32_t index = nodes_[node].bank;
  begin_command(at);
  note(DramCommand::precharge, index, at);
  count_first_command(nodes_[node], counters_.row_conflicts);
  note_precharge(index, at);
  close_row(index, at + t_.rp);
  command_free_ = at + 1;
  plan_closed(banks_[index]);
}

void DramEngine::open_row(std::uint16_t node, Cycle at) {
  const std::uint32_t index = nodes_[node].bank;
  Bank& bank = banks_[index];
  Rank& rank = ranks_[bank.rank];
  begin_command(at);
  count_first_command(nodes_[node], counters_.row_misses);
  bank.open_row = nodes_[node].row;
  note(DramCommand::activate, index, at);
  bank.hits_in_row = 0;
  bank.pinned = static_cast<std::uint8_t>(direction() + 1);
  bank.access_ready = at + t_.rcd;
  bank.pre_ready = std::max(bank.pre_ready, at + static_cast<Cycle>(t_.ras));
  bank.act_ready = at + t_.rc;
  rank.last_acts[rank.next_act] = at;
  rank.next_act = (rank.next_act + 1) % 4;
  const auto in_rank = static_cast<std::uint32_t>(
      std::max(static_cast<Cycle>(t_.rrd_s), rank.last_acts[rank.next_act] + t_.faw - at));
  agenda_.activated(bank.place.group, at, in_rank);
  find_hits(bank, kRead);
  find_hits(bank, kWrite);
  ++counters_.activates;
  command_free_ = at + t_.long_command;
  plan_pinned(bank);
}

// Of what waits in the bank, what wants the row that has been opened.
inline void DramEngine::find_hits(Bank& bank, std::uint32_t direction) {
  List& misses = bank.misses[direction];
  std::uint16_t previous = kNone;
  for (std::uint16_t node = misses.head; node != kNone;) {
    const std::uint16_t next = nodes_[node].next;
    if (nodes_[node].row != bank.open_row) {
      previous = node;
    } else {
      (previous == kNone ? misses.head : nodes_[previous].next) = next;
      misses.tail = next == kNone ? previous : misses.tail;
      append(bank.hits[direction], node);
    }
    node = next;
  }
}

// What wanted the row waits with the others again, by age.
inline void DramEngine::close_row(std::uint32_t index, Cycle act_ready) {
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

}  // namespace godbox::emulator::model
