// SPDX-License-Identifier: Apache-2.0
//
// The requests in flight of a transport that uses a device, and their completions until they are
// polled. A reference names a request and which use of its slot, so what comes late finds nothing.
// Warm, nothing is allocated. Thread-safety: one thread. Errors: none.
#pragma once

#include "device_launcher.h"
#include <godbox/assert.h>
#include <godbox/ring_queue.h>
#include <godbox/transport.h>

#include <algorithm>
#include <deque>
#include <vector>

namespace godbox::striping {

template <class Extra>
class DeviceRequests {
 public:
  struct Entry {
    std::uint32_t generation = 1;
    bool is_active = false;
    bool is_on_device = false;  // part of a batch that was launched
    bool is_fenced = false;     // ends with lane_fenced once the device is through with it
    LaneId lane;
    WorkRequest request;
    Extra extra;
  };

  explicit DeviceRequests(std::size_t lanes) : lanes_(lanes) {}

  [[nodiscard]] SlotRef add(LaneId lane, const WorkRequest& request) {
    std::uint32_t index = 0;
    if (free_.empty()) {
      index = static_cast<std::uint32_t>(entries_.size());
      entries_.emplace_back();
    } else {
      index = free_.back();
      free_.pop_back();
    }
    Entry& entry = entries_[index];
    entry.is_active = true;
    entry.is_on_device = false;
    entry.is_fenced = false;
    entry.lane = lane;
    entry.request = request;
    lanes_[lane.value()].requests += 1;
    lanes_[lane.value()].bytes += request.total_bytes;
    return {.index = index, .generation = entry.generation};
  }
  // nullptr: it has ended.
  [[nodiscard]] Entry* find(SlotRef ref) {
    if (ref.index >= entries_.size() || !entries_[ref.index].is_active ||
        entries_[ref.index].generation != ref.generation) {
      return nullptr;
    }
    return &entries_[ref.index];
  }
  // In flight still, until it is polled.
  void complete(SlotRef ref, Errc status) {
    Entry* const entry = find(ref);
    GODBOX_ASSERT(entry != nullptr);
    done_.push_back({.completion = {.id = entry->request.id, .lane = entry->lane, .status = status},
                     .bytes = entry->request.total_bytes});
    forget(ref);
  }
  // As if it had never been added.
  void take_back(SlotRef ref) {
    Entry* const entry = find(ref);
    GODBOX_ASSERT(entry != nullptr);
    lanes_[entry->lane.value()].requests -= 1;
    lanes_[entry->lane.value()].bytes -= entry->request.total_bytes;
    forget(ref);
  }
  [[nodiscard]] std::size_t poll(std::span<Completion> out) {
    const std::size_t count = std::min(out.size(), done_.size());
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = done_.front().completion;
      lanes_[out[i].lane.value()].requests -= 1;
      lanes_[out[i].lane.value()].bytes -= done_.front().bytes;
      done_.pop_front();
    }
    return count;
  }
  [[nodiscard]] std::uint32_t requests_in_flight(LaneId lane) const {
    return lanes_[lane.value()].requests;
  }
  [[nodiscard]] std::uint64_t bytes_in_flight(LaneId lane) const {
    return lanes_[lane.value()].bytes;
  }
  // As Transport::requests_held().
  [[nodiscard]] std::uint32_t held(LaneId lane) const {
    return static_cast<std::uint32_t>(
        std::count_if(entries_.begin(), entries_.end(), [lane](const Entry& entry) {
          return entry.is_active && entry.is_fenced && entry.is_on_device && entry.lane == lane;
        }));
  }
  // Calls visit(ref, entry) for each that has not ended; it may complete it.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (std::uint32_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].is_active) {
        visit(SlotRef{.index = i, .generation = entries_[i].generation}, entries_[i]);
      }
    }
  }

  // Of the lane's: what the device has is held until it is through; end(ref) for all else.
  template <class End>
  void fence(LaneId lane, End&& end) {
    for_each([&](SlotRef ref, Entry& entry) {
      if (entry.lane != lane) {
        return;
      }
      if (entry.is_on_device) {
        entry.is_fenced = true;
      } else {
        end(ref);
      }
    });
  }

 private:
  struct Lane {
    std::uint32_t requests = 0;
    std::uint64_t bytes = 0;
  };
  struct Done {
    Completion completion;
    std::uint64_t bytes = 0;
  };

  void forget(SlotRef ref) {
    entries_[ref.index].is_active = false;
    entries_[ref.index].generation += 1;
    free_.push_back(ref.index);
  }

  std::deque<Entry> entries_;  // which stay where they are
  std::vector<std::uint32_t> free_;
  std::vector<Lane> lanes_;
  RingQueue<Done> done_;
};

}  // namespace godbox::striping
