// SPDX-License-Identifier: Apache-2.0
//
// Which of many has to be woken next: a binary heap of nodes that know their own place, so that a
// deadline that moves with every message is moved in O(log n) and nothing is allocated.
// Thread-safety: one thread. Ownership: nodes belong to the caller and are removed before they die.
#pragma once

#include <godbox/assert.h>
#include <godbox/units.h>

#include <cstddef>
#include <vector>

namespace godbox {

class IntrusiveDeadlineHeap {
 public:
  // Derive from it.
  class Node {
   public:
    [[nodiscard]] TimePoint deadline() const { return deadline_; }

   protected:
    ~Node() = default;

   private:
    friend class IntrusiveDeadlineHeap;
    static constexpr std::size_t kNowhere = SIZE_MAX;
    TimePoint deadline_ = kNever;
    std::size_t place_ = kNowhere;
  };

  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  // The node with the earliest deadline; nullptr when there is none.
  [[nodiscard]] Node* first() const { return nodes_.empty() ? nullptr : nodes_.front(); }

  // Its deadline; kNever when there is none.
  [[nodiscard]] TimePoint first_deadline() const {
    return nodes_.empty() ? kNever : nodes_.front()->deadline_;
  }

  // Puts the node in, moves it, or (kNever) takes it out.
  void set(Node& node, TimePoint deadline) {
    if (deadline == kNever) {
      remove(node);
      return;
    }
    const TimePoint before = node.deadline_;
    node.deadline_ = deadline;
    if (node.place_ == Node::kNowhere) {
      nodes_.push_back(&node);
      node.place_ = nodes_.size() - 1;
      sift_up(node.place_);
    } else if (deadline < before) {
      sift_up(node.place_);
    } else {
      sift_down(node.place_);
    }
  }

  void remove(Node& node) {
    const std::size_t place = node.place_;
    if (place == Node::kNowhere) {
      return;
    }
    GODBOX_ASSERT(nodes_[place] == &node);
    put(nodes_.back(), place);
    nodes_.pop_back();
    node.place_ = Node::kNowhere;
    node.deadline_ = kNever;
    if (place < nodes_.size()) {
      sift_up(place);
      sift_down(place);
    }
  }

 private:
  void put(Node* node, std::size_t place) {
    nodes_[place] = node;
    node->place_ = place;
  }

  void swap(std::size_t a, std::size_t b) {
    Node* const node = nodes_[a];
    put(nodes_[b], a);
    put(node, b);
  }

  [[nodiscard]] bool is_earlier(std::size_t a, std::size_t b) const {
    return nodes_[a]->deadline_ < nodes_[b]->deadline_;
  }

  void sift_up(std::size_t place) {
    while (place > 0 && is_earlier(place, (place - 1) / 2)) {
      swap(place, (place - 1) / 2);
      place = (place - 1) / 2;
    }
  }

  void sift_down(std::size_t place) {
    for (;;) {
      std::size_t earliest = place;
      for (const std::size_t child : {2 * place + 1, 2 * place + 2}) {
        if (child < nodes_.size() && is_earlier(child, earliest)) {
          earliest = child;
        }
      }
      if (earliest == place) {
        return;
      }
      swap(place, earliest);
      place = earliest;
    }
  }

  std::vector<Node*> nodes_;
};

}  // namespace godbox
