// SPDX-License-Identifier: Apache-2.0
//
// What the banks of a sub-channel want to do next, and which of it can be done first. A bank has at
// most two wishes: an access to its open row, and the opening or closing of a row; each with the
// cycle from which it is allowed and a key that says who goes first. What a bank shares with its
// group, its rank and the channel is kept by group, and is in the times of all wishes already. The
// times are numbers of 16 bits, eight bank groups to a vector, so that the first of all wishes is
// found without a branch.
// Thread-safety: none. Units: cycles; ticks are cycles from a base that moves along, and what is
// long past is kept as just past. Errors: none.
#pragma once

#include <godbox/emulator/model/dram_spec.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace godbox::emulator::model {

using Cycle = std::int64_t;
inline constexpr Cycle kCycleNever = std::numeric_limits<Cycle>::max() / 2;

class BankAgenda {
 public:
  using Key = std::int16_t;
  // A bank's access is a read or a write, and its other wish an activate or a precharge.
  enum class Wish : std::uint8_t { read, write, activate, precharge };
  static constexpr std::size_t kWishes = 4;

  // Where a bank's wishes are kept, and its group, counted over ranks.
  struct Place {
    std::uint16_t lane = 0;
    std::uint16_t group = 0;
  };
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
  struct Spacings {
    // By the command that was issued, by what follows it: read or write.
    std::array<std::array<Spacing, 2>, 2> accesses;
    std::uint32_t activates = 0;   // of a group; those of a rank are given with each command
    std::uint32_t precharges = 0;  // of a rank
  };

  // No time that is given lies further than `ahead` after the cycle of the command that is issued.
  BankAgenda(const DramOrganization& organization, const Spacings& spacings, std::uint32_t ahead);

  // Of a bank that counts over ranks, groups and banks.
  [[nodiscard]] Place place(std::uint32_t bank) const {
    const std::uint32_t group = bank / banks_per_group_;
    const std::uint32_t vector = group / kLanes * banks_per_group_ + bank % banks_per_group_;
    return {static_cast<std::uint16_t>(vector * kLanes + group % kLanes),
            static_cast<std::uint16_t>(group)};
  }

  // Keys are above 0, and the highest goes first. A wish takes the place of the bank's other one of
  // its kind.
  void set(Place bank, Wish wish, Cycle ready, Key key) {
    const auto index = static_cast<std::size_t>(wish);
    const std::size_t kind = index / 2;
    put(kind, bank.lane, std::max(tick(ready), shared_[index][bank.group]));
    keys_[kind][bank.lane] = key;
    is_second_[kind][bank.lane] = static_cast<Tick>(index % 2 != 0 ? -1 : 0);
  }
  void clear_access(Place bank) { put(kAccess, bank.lane, kNever); }
  void clear_row(Place bank) { put(kRow, bank.lane, kNever); }

  // A command was issued at `at` to a bank of that group.
  void accessed(std::uint32_t group, bool is_write, Cycle at) {
    const auto& spacing = access_spacing_[is_write ? 1 : 0];
    hold(
        kAccess, at, [&](std::uint32_t g) { return load(spacing[0][group], g); },
        [&](std::uint32_t g) { return load(spacing[1][group], g); });
  }
  // The next one of its rank may follow after `in_rank`.
  void activated(std::uint32_t group, Cycle at, std::uint32_t in_rank) {
    const Lanes distance = splat(static_cast<Tick>(in_rank));
    hold(
        kRow, at,
        [&](std::uint32_t g) {
          return max(load(activate_spacing_[group], g), distance & load(is_same_rank_[group], g));
        },
        [](std::uint32_t) { return Lanes{}; });
  }
  void precharged(std::uint32_t group, Cycle at) {
    if (precharge_spacing_ > 1) {  // two commands are never in one cycle
      const Lanes distance = splat(precharge_spacing_);
      hold(
          kRow, at, [](std::uint32_t) { return Lanes{}; },
          [&](std::uint32_t g) { return distance & load(is_same_rank_[group], g); });
    }
  }

  // Not before `now`.
  [[nodiscard]] Next next(Cycle now) {
    come_near(now);
    Lanes at = splat(kNever);
    for (std::uint32_t lane = 0; lane < lane_count_; lane += kLanes) {
      at = min(at, min(load(ready_[kAccess], lane), load(ready_[kRow], lane)));
    }
    at = max(in_all_lanes(at, min), splat(tick(now)));
    Lanes key{};
    for (std::uint32_t lane = 0; lane < lane_count_; lane += kLanes) {
      key = max(key, max(load(keys_[kAccess], lane) & (load(ready_[kAccess], lane) <= at),
                         load(keys_[kRow], lane) & (load(ready_[kRow], lane) <= at)));
    }
    return at[0] == kNever ? Next{} : Next{.at = cycle(at[0]), .key = in_all_lanes(key, max)[0]};
  }

  // Of this bank's wishes alone.
  [[nodiscard]] Next next_of(Place bank, Cycle now) {
    come_near(now);
    const Tick access = std::max(ready_[kAccess][bank.lane], tick(now));
    const Tick row = std::max(ready_[kRow][bank.lane], tick(now));
    const Tick at = std::min(access, row);
    if (at == kNever) {
      return {};
    }
    const Key access_key = access == at ? keys_[kAccess][bank.lane] : Key{0};
    const Key row_key = row == at ? keys_[kRow][bank.lane] : Key{0};
    return {.at = cycle(at), .key = std::max(access_key, row_key)};
  }

  // Before any time after it is given.
  void issue_at(Cycle at) { come_near(at); }

 private:
  using Tick = std::int16_t;
  using Lanes = Tick __attribute__((vector_size(16)));
  static constexpr std::uint32_t kLanes = 8;
  static constexpr std::uint32_t kGroupsMax = kRanksMax * 8;
  static constexpr std::size_t kKinds = 2;
  static constexpr std::size_t kAccess = 0;
  static constexpr std::size_t kRow = 1;
  static constexpr Tick kNever = std::numeric_limits<Tick>::max();
  static constexpr Tick kLongPast = std::numeric_limits<Tick>::min();
  static constexpr Cycle kTicks = Cycle{kNever} - kLongPast;
  // A bank of each of eight groups, the next bank of each, ..., the same of eight other groups.
  struct alignas(16) ByBank : std::array<Tick, kBanksMax> {};
  struct alignas(16) ByGroup : std::array<Tick, kGroupsMax> {};
  using ByTwoGroups = std::vector<ByGroup>;

  // `first` is the first lane of a vector.
  template <class Array>
  static Lanes load(const Array& from, std::uint32_t first) {
    Lanes lanes;
    std::memcpy(&lanes, __builtin_assume_aligned(from.data() + first, sizeof(lanes)),
                sizeof(lanes));
    return lanes;
  }
  template <class Array>
  static void store(Array& to, std::uint32_t first, Lanes lanes) {
    std::memcpy(__builtin_assume_aligned(to.data() + first, sizeof(lanes)), &lanes, sizeof(lanes));
  }
  static Lanes splat(Tick value) { return Lanes{} + value; }
  static Lanes min(Lanes a, Lanes b) { return a < b ? a : b; }
  static Lanes max(Lanes a, Lanes b) { return a > b ? a : b; }
  // The best of the lanes.
  template <class Better>
  static Lanes in_all_lanes(Lanes lanes, Better better) {
    lanes = better(lanes, __builtin_shufflevector(lanes, lanes, 4, 5, 6, 7, 0, 1, 2, 3));
    lanes = better(lanes, __builtin_shufflevector(lanes, lanes, 2, 3, 0, 1, 6, 7, 4, 5));
    return better(lanes, __builtin_shufflevector(lanes, lanes, 1, 0, 3, 2, 5, 4, 7, 6));
  }

  [[nodiscard]] Tick tick(Cycle at) const {
    return static_cast<Tick>(std::max(at - base_, Cycle{0}) + kLongPast);
  }
  [[nodiscard]] Cycle cycle(Tick at) const { return base_ + (Cycle{at} - kLongPast); }

  void put(std::size_t kind, std::uint32_t lane, Tick at) { ready_[kind][lane] = at; }

  // A command at `at`: the distances to the first wish and to the second one of the kind that may
  // follow it, by group.
  template <class First, class Second>
  void hold(std::size_t kind, Cycle at, First first, Second second) {
    const Lanes base = splat(tick(at));
    std::uint32_t lane = 0;
    for (std::uint32_t g = 0; g < stride_; g += kLanes) {
      const Lanes until_first = base + first(g);
      const Lanes until_second = base + second(g);
      ByGroup& shared_first = shared_[2 * kind];
      ByGroup& shared_second = shared_[2 * kind + 1];
      store(shared_first, g, max(load(shared_first, g), until_first));
      store(shared_second, g, max(load(shared_second, g), until_second));
      const Lanes difference = until_first ^ until_second;
      for (const std::uint32_t end = lane + lanes_per_group_; lane < end; lane += kLanes) {
        const Lanes until = until_first ^ (difference & load(is_second_[kind], lane));
        store(ready_[kind], lane, max(load(ready_[kind], lane), until));
      }
    }
  }

  void come_near(Cycle at) {
    if (at - base_ > span_) {
      move_base(at);
    }
  }
  void move_base(Cycle now);

  std::uint32_t banks_per_group_;
  std::uint32_t stride_;           // groups, in whole vectors
  std::uint32_t lanes_per_group_;  // of the banks of eight groups
  std::uint32_t lane_count_;
  Cycle span_;
  Cycle base_ = 0;
  std::array<ByBank, kKinds> ready_;
  std::array<ByBank, kKinds> keys_{};
  std::array<ByBank, kKinds> is_second_{};  // -1: a write, a precharge; 0: a read, an activate
  std::array<ByGroup, kWishes> shared_;
  // By the group of the command that was issued.
  std::array<std::array<ByTwoGroups, 2>, 2> access_spacing_;
  ByTwoGroups activate_spacing_;
  ByTwoGroups is_same_rank_;  // -1 or 0
  Tick precharge_spacing_;
};

}  // namespace godbox::emulator::model
