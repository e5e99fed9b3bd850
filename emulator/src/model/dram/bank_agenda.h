// SPDX-License-Identifier: Apache-2.0
//
// What the banks of a sub-channel want to do next, and which of it can be done first. A bank has at
// most two wishes: an access to its open row, and the opening or closing of a row; each with the
// cycle from which the bank itself allows it and a key that says who goes first. What a bank shares
// with its group, its rank and the channel is kept by group. All of it lies in flat arrays of
// 16-bit numbers, a lane for each bank, so that the first of all wishes is found without a branch:
// lanes of one vector are as many bank groups, and the vectors after it hold the next bank of each.
// Thread-safety: none. Units: cycles; ticks are cycles from a base that moves along, and what is
// long past is kept as just past. Errors: none.
#pragma once

#include <godbox/assert.h>
#include <godbox/emulator/model/dram_spec.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>

namespace godbox::emulator::model {

using Cycle = std::int64_t;
inline constexpr Cycle kCycleNever = std::numeric_limits<Cycle>::max() / 2;

class BankAgenda {
 public:
  using Key = std::int16_t;
  enum class Wish : std::uint8_t { read, write, activate, precharge };
  static constexpr std::size_t kWishes = 4;

  // The first that can be done, and its key; kCycleNever: nothing.
  struct Next {
    Cycle at = kCycleNever;
    Key key = 0;
  };
  // From a command to the first that may follow it, by where that one is.
  struct Spacing {
    std::uint32_t same_group = 0;
    std::uint32_t same_rank = 0;
    std::uint32_t other_rank = 0;
  };

  // No time that is given lies further than `ahead` after the cycle of the command that is issued.
  BankAgenda(const DramOrganization& organization, std::uint32_t ahead)
      : stride_((organization.ranks * organization.bank_groups + kLanes - 1) / kLanes * kLanes),
        banks_per_group_(organization.banks_per_group),
        span_(kTicks - 1 - static_cast<Cycle>(ahead)) {
    GODBOX_ASSERT(span_ > 0 && stride_ <= kGroupsMax &&
                  std::size_t{stride_} * banks_per_group_ <= kBanksMax);
    for (auto& times : times_) {
      times.fill(kNever);
    }
    for (auto& shared : shared_) {
      shared.fill(kLongPast);
    }
    for (std::uint32_t group = 0; group < stride_; ++group) {
      groups_[group] = static_cast<Tick>(group);
      ranks_[group] = static_cast<Tick>(group / organization.bank_groups);
    }
  }

  // Of a bank that counts over ranks, groups and banks.
  [[nodiscard]] std::uint32_t lane(std::uint32_t bank) const {
    return bank % banks_per_group_ * stride_ + bank / banks_per_group_;
  }

  // Keys are above 0, and the highest goes first. A bank's access is a read or a write, and its
  // other wish an activate or a precharge: the one takes the place of the other.
  void set(std::uint32_t lane, Wish wish, Cycle ready, Key key) {
    const auto index = static_cast<std::size_t>(wish);
    put(index, lane, tick(ready));
    put(index ^ 1U, lane, kNever);
    keys_[index / 2][lane] = key;
  }
  void clear_access(std::uint32_t lane) {
    put(0, lane, kNever);
    put(1, lane, kNever);
  }
  void clear_row(std::uint32_t lane) {
    put(2, lane, kNever);
    put(3, lane, kNever);
  }

  // After a command at `at` to a bank of that group.
  void hold(Wish wish, std::uint32_t group, Cycle at, const Spacing& spacing) {
    auto& shared = shared_[static_cast<std::size_t>(wish)];
    const auto after = [base = tick(at)](std::uint32_t distance) {
      return splat(static_cast<Tick>(base + static_cast<Tick>(distance)));
    };
    const Lanes same_group = after(spacing.same_group);
    const Lanes same_rank = after(spacing.same_rank);
    const Lanes other_rank = after(spacing.other_rank);
    const Lanes this_group = splat(groups_[group]);
    const Lanes this_rank = splat(ranks_[group]);
    for (std::uint32_t v = 0; v < stride_; v += kLanes) {
      const Lanes in_rank = load(ranks_, v) == this_rank ? same_rank : other_rank;
      const Lanes until = load(groups_, v) == this_group ? same_group : in_rank;
      store(shared, v, max(load(shared, v), until));
    }
  }

  // Not before `now`.
  [[nodiscard]] Next next(Cycle now) {
    if (is_far(now)) {
      move_base(now);
    }
    const Tick at = std::max(earliest(), tick(now));
    if (at == kNever) {
      return {};
    }
    return {.at = cycle(at), .key = first_at(at)};
  }

  // Of this bank's wishes alone.
  [[nodiscard]] Next next_of(std::uint32_t lane, std::uint32_t group, Cycle now) {
    if (is_far(now)) {
      move_base(now);
    }
    Tick at = kNever;
    Key key = 0;
    for (std::size_t wish = 0; wish < kWishes; ++wish) {
      const Tick time = times_[wish][lane];
      const Tick free = std::max({time, shared_[wish][group], tick(now)});
      if (time != kNever && (free < at || (free == at && keys_[wish / 2][lane] > key))) {
        at = free;
        key = keys_[wish / 2][lane];
      }
    }
    return at == kNever ? Next{} : Next{.at = cycle(at), .key = key};
  }

  // Before any time after it is given.
  void issue_at(Cycle at) {
    if (is_far(at)) {
      move_base(at);
    }
  }

 private:
  using Tick = std::int16_t;
  using Lanes = Tick __attribute__((vector_size(16)));
  static constexpr std::uint32_t kLanes = 8;
  static constexpr std::uint32_t kGroupsMax = kRanksMax * 8;
  static constexpr Tick kNever = std::numeric_limits<Tick>::max();
  static constexpr Tick kLongPast = std::numeric_limits<Tick>::min();
  static constexpr Cycle kTicks = Cycle{kNever} - kLongPast;
  using Times = std::array<Tick, kBanksMax>;
  using Shared = std::array<Tick, kGroupsMax>;

  template <class Array>
  static Lanes load(const Array& from, std::uint32_t lane) {
    Lanes lanes;
    std::memcpy(&lanes, from.data() + lane, sizeof(lanes));
    return lanes;
  }
  static void store(Shared& to, std::uint32_t lane, Lanes lanes) {
    std::memcpy(to.data() + lane, &lanes, sizeof(lanes));
  }
  static Lanes splat(Tick value) { return Lanes{} + value; }
  static Lanes min(Lanes a, Lanes b) { return a < b ? a : b; }
  static Lanes max(Lanes a, Lanes b) { return a > b ? a : b; }
  template <class Better>
  static Tick best_of(Lanes lanes, Better better) {
    lanes = better(lanes, __builtin_shufflevector(lanes, lanes, 4, 5, 6, 7, 0, 1, 2, 3));
    lanes = better(lanes, __builtin_shufflevector(lanes, lanes, 2, 3, 0, 1, 6, 7, 4, 5));
    lanes = better(lanes, __builtin_shufflevector(lanes, lanes, 1, 0, 3, 2, 5, 4, 7, 6));
    return lanes[0];
  }

  [[nodiscard]] bool is_far(Cycle at) const { return at - base_ > span_; }
  [[nodiscard]] Tick tick(Cycle at) const {
    return static_cast<Tick>(std::max(at - base_, Cycle{0}) + kLongPast);
  }
  [[nodiscard]] Cycle cycle(Tick at) const { return base_ + (Cycle{at} - kLongPast); }
  void put(std::size_t wish, std::uint32_t lane, Tick at) {
    Tick& time = times_[wish][lane];
    counts_[wish] += (at != kNever ? 1 : 0) - (time != kNever ? 1 : 0);
    time = at;
  }

  [[nodiscard]] Tick earliest() const {
    Lanes all = splat(kNever);
    for (std::size_t wish = 0; wish < kWishes; ++wish) {
      if (counts_[wish] == 0) {
        continue;
      }
      const Times& times = times_[wish];
      for (std::uint32_t v = 0; v < stride_; v += kLanes) {
        Lanes ready = load(times, v);
        for (std::uint32_t bank = 1; bank < banks_per_group_; ++bank) {
          ready = min(ready, load(times, v + bank * stride_));
        }
        all = min(all, max(ready, load(shared_[wish], v)));
      }
    }
    return best_of(all, min);
  }
  // The highest key of what can be done at `at`.
  [[nodiscard]] Key first_at(Tick at) const {
    const Lanes now = splat(at);
    Lanes all{};
    for (std::size_t wish = 0; wish < kWishes; ++wish) {
      if (counts_[wish] == 0) {
        continue;
      }
      const Times& times = times_[wish];
      const Times& keys = keys_[wish / 2];
      for (std::uint32_t v = 0; v < stride_; v += kLanes) {
        Lanes found{};
        for (std::uint32_t bank = 0; bank < banks_per_group_; ++bank) {
          const std::uint32_t lane = v + bank * stride_;
          found = max(found, load(keys, lane) & (load(times, lane) <= now));
        }
        all = max(all, found & (load(shared_[wish], v) <= now));
      }
    }
    return best_of(all, max);
  }

  // `now` becomes the base.
  void move_base(Cycle now) {
    const auto earlier = [by = now - base_](Tick& time) {
      time =
          time == kNever ? kNever : static_cast<Tick>(std::max(Cycle{time} - by, Cycle{kLongPast}));
    };
    for (std::size_t wish = 0; wish < kWishes; ++wish) {
      std::for_each(times_[wish].begin(), times_[wish].end(), earlier);
      std::for_each(shared_[wish].begin(), shared_[wish].end(), earlier);
    }
    base_ = now;
  }

  std::uint32_t stride_;  // lanes from a bank of a group to its next one
  std::uint32_t banks_per_group_;
  Cycle span_;
  Cycle base_ = 0;
  std::array<std::int32_t, kWishes> counts_{};
  alignas(16) std::array<Times, kWishes> times_;    // by lane
  alignas(16) std::array<Times, 2> keys_{};         // of accesses, of rows
  alignas(16) std::array<Shared, kWishes> shared_;  // by group
  alignas(16) Shared groups_{};
  alignas(16) Shared ranks_{};
};

}  // namespace godbox::emulator::model
