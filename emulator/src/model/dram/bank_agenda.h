// SPDX-License-Identifier: Apache-2.0
//
// What the banks of a sub-channel want to do next. An item is one wish of one bank, with the cycle
// from which the bank itself allows it and the age of the request behind it. Items that are not
// ready wait in a timing wheel; those that are ready stand in one of four lists, oldest first. All
// operations take constant time, but for finding an age's place, which is near the end of a list.
// Thread-safety: none. Units: cycles. Errors: none.
#pragma once

#include <godbox/assert.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>

namespace godbox::emulator::model {

using Cycle = std::int64_t;
inline constexpr Cycle kCycleNever = std::numeric_limits<Cycle>::max() / 2;

class BankAgenda {
 public:
  static constexpr std::uint16_t kNone = 0xFFFF;
  static constexpr std::uint32_t kItemsMax = 512;
  // pinned: an access that its row was opened for; hit: another access to an open row.
  enum class Wish : std::uint8_t { pinned, hit, activate, precharge };
  static constexpr std::size_t kWishes = 4;

  struct Item {
    Cycle ready = 0;
    std::uint64_t age = 0;
    std::uint16_t previous = kNone;
    std::uint16_t next = kNone;
    Wish wish = Wish::hit;
    std::uint8_t place = kAbsent;
  };

  BankAgenda() { slots_.fill(kNone); }

  [[nodiscard]] const Item& item(std::uint16_t index) const { return items_[index]; }
  [[nodiscard]] bool has(std::uint16_t index) const { return items_[index].place != kAbsent; }
  // The oldest of the ready items with this wish; then item(i).next.
  [[nodiscard]] std::uint16_t first(Wish wish) const {
    return lists_[static_cast<std::size_t>(wish)].head;
  }

  void set(std::uint16_t index, Wish wish, Cycle ready, std::uint64_t age) {
    remove(index);
    Item& item = items_[index];
    item.ready = ready;
    item.age = age;
    item.wish = wish;
    if (ready <= now_) {
      insert_by_age(index);
    } else {
      insert_in_wheel(index);
    }
  }

  void remove(std::uint16_t index) {
    Item& item = items_[index];
    if (item.place == kAbsent) {
      return;
    }
    if (item.place == kInWheel) {
      const std::size_t slot = wheel_slot_[index];
      unlink(item, slots_[slot]);
      if (slots_[slot] == kNone) {
        occupied_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
      }
    } else {
      List& list = lists_[static_cast<std::size_t>(item.wish)];
      if (list.tail == index) {
        list.tail = item.previous;
      }
      unlink(item, list.head);
    }
    item.place = kAbsent;
  }

  // Items that have become ready by `now` go to their lists. Time does not go back.
  void advance(Cycle now) {
    for (Cycle next = next_ready(); next <= now; next = next_ready()) {
      now_ = next;
      expire(slot_at(next));
    }
    now_ = std::max(now_, now);
  }

  // The cycle at which advance() may next find something; kCycleNever when nothing waits.
  [[nodiscard]] Cycle next_ready() const {
    const std::size_t from = slot_at(now_ + 1);
    const std::uint64_t first_word = occupied_[from / 64] & (~std::uint64_t{0} << (from % 64));
    if (first_word != 0) {
      return cycle_at(from / 64, first_word);
    }
    for (std::size_t i = 1; i <= kWords; ++i) {
      const std::size_t word = (from / 64 + i) % kWords;
      if (occupied_[word] != 0) {
        return cycle_at(word, occupied_[word]);
      }
    }
    return kCycleNever;
  }

 private:
  static constexpr std::size_t kSlots = 2048;
  static constexpr std::size_t kWords = kSlots / 64;
  static constexpr std::uint8_t kAbsent = 0;
  static constexpr std::uint8_t kInWheel = 1;
  static constexpr std::uint8_t kInList = 2;

  struct List {
    std::uint16_t head = kNone;
    std::uint16_t tail = kNone;
  };

  static std::size_t slot_at(Cycle cycle) { return static_cast<std::size_t>(cycle) % kSlots; }
  [[nodiscard]] Cycle cycle_at(std::size_t word, std::uint64_t bits) const {
    const std::size_t slot = word * 64 + static_cast<std::size_t>(std::countr_zero(bits));
    const std::size_t distance = (slot + kSlots - slot_at(now_ + 1)) % kSlots;
    return now_ + 1 + static_cast<Cycle>(distance);
  }

  // What is further away than one turn waits at its end and is put back from there.
  void insert_in_wheel(std::uint16_t index) {
    Item& item = items_[index];
    const Cycle at = std::min(item.ready, now_ + static_cast<Cycle>(kSlots) - 1);
    const std::size_t slot = slot_at(at);
    wheel_slot_[index] = static_cast<std::uint16_t>(slot);
    item.place = kInWheel;
    item.previous = kNone;
    item.next = slots_[slot];
    if (item.next != kNone) {
      items_[item.next].previous = index;
    }
    slots_[slot] = index;
    occupied_[slot / 64] |= std::uint64_t{1} << (slot % 64);
  }

  void insert_by_age(std::uint16_t index) {
    Item& item = items_[index];
    List& list = lists_[static_cast<std::size_t>(item.wish)];
    std::uint16_t after = list.tail;
    while (after != kNone && items_[after].age > item.age) {
      after = items_[after].previous;
    }
    item.place = kInList;
    item.previous = after;
    item.next = after == kNone ? list.head : items_[after].next;
    (after == kNone ? list.head : items_[after].next) = index;
    if (item.next == kNone) {
      list.tail = index;
    } else {
      items_[item.next].previous = index;
    }
  }

  void unlink(Item& item, std::uint16_t& head) {
    if (item.previous == kNone) {
      head = item.next;
    } else {
      items_[item.previous].next = item.next;
    }
    if (item.next != kNone) {
      items_[item.next].previous = item.previous;
    }
  }

  void expire(std::size_t slot) {
    std::uint16_t index = slots_[slot];
    slots_[slot] = kNone;
    occupied_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
    while (index != kNone) {
      const std::uint16_t next = items_[index].next;
      if (items_[index].ready <= now_) {
        insert_by_age(index);
      } else {
        insert_in_wheel(index);
      }
      index = next;
    }
  }

  Cycle now_ = -1;
  std::array<Item, kItemsMax> items_{};
  std::array<std::uint16_t, kItemsMax> wheel_slot_{};
  std::array<List, kWishes> lists_{};
  std::array<std::uint16_t, kSlots> slots_{};
  std::array<std::uint64_t, kWords> occupied_{};
};

}  // namespace godbox::emulator::model
