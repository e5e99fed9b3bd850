// SPDX-License-Identifier: Apache-2.0
//
// A double-ended queue over one array that only grows: once it has seen its longest content,
// pushing and popping allocate nothing (std::deque gives chunks back and takes them again as it
// moves). Thread-safety: none of its own.
#pragma once

#include <godbox/assert.h>

#include <cstddef>
#include <utility>
#include <vector>

namespace godbox {

template <class T>
class RingQueue {
 public:
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }

  [[nodiscard]] T& front() { return (*this)[0]; }
  [[nodiscard]] const T& front() const { return (*this)[0]; }
  [[nodiscard]] T& operator[](std::size_t index) {
    GODBOX_ASSERT(index < size_);
    return slots_[(begin_ + index) & (slots_.size() - 1)];
  }
  [[nodiscard]] const T& operator[](std::size_t index) const {
    GODBOX_ASSERT(index < size_);
    return slots_[(begin_ + index) & (slots_.size() - 1)];
  }

  void push_back(T value) {
    grow_if_full();
    slots_[(begin_ + size_) & (slots_.size() - 1)] = std::move(value);
    ++size_;
  }
  void push_front(T value) {
    grow_if_full();
    begin_ = (begin_ + slots_.size() - 1) & (slots_.size() - 1);
    slots_[begin_] = std::move(value);
    ++size_;
  }
  void pop_front() {
    front() = T{};
    begin_ = (begin_ + 1) & (slots_.size() - 1);
    --size_;
  }

  // Takes out what `unwanted` says yes to; the rest keeps its order.
  template <class Predicate>
  void remove_if(Predicate&& unwanted) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      if (!unwanted((*this)[i])) {
        if (kept != i) {
          (*this)[kept] = std::move((*this)[i]);
        }
        ++kept;
      }
    }
    for (std::size_t i = kept; i < size_; ++i) {
      (*this)[i] = T{};
    }
    size_ = kept;
  }

 private:
  static constexpr std::size_t kSlotsAtFirst = 16;  // a power of two, as is each later size

  void grow_if_full() {
    if (size_ < slots_.size()) {
      return;
    }
    std::vector<T> larger(slots_.empty() ? kSlotsAtFirst : slots_.size() * 2);
    for (std::size_t i = 0; i < size_; ++i) {
      larger[i] = std::move((*this)[i]);
    }
    slots_ = std::move(larger);
    begin_ = 0;
  }

  std::vector<T> slots_;
  std::size_t begin_ = 0;
  std::size_t size_ = 0;
};

}  // namespace godbox
