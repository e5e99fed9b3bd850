// SPDX-License-Identifier: Apache-2.0
//
// An Ethernet port with several queues, as fast NICs and virtio have them: each queue is a RocePort
// of its own, with a pump and a thread, and all have one MAC and the same addresses. A queue pair
// or connection belongs to the queue that its number says (number modulo queues), so none of its
// state is shared. Which queue a frame comes to is for the NIC, or for the guest's processor, to
// say: one of another queue's is copied to that one, in the order in which this one got it.
// Thread-safety: owner_of(), number_of(), is_open(), queue_for() from any thread; give() from the
// thread of `from`; all that names one queue from that one's; set_wake() while no pump runs.
// Nothing waits for anybody: where there is no room for a frame it is refused. Ownership: outlives
// its ports and their pumps; `wake` is called as long as any of them runs. Units: bytes. Errors:
// none.
#pragma once

#include <godbox/units.h>

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

namespace godbox::emulator {

inline constexpr std::size_t kRoceQueuesMax = 16;
// Frames on the way from one queue to another: a power of two, two bursts.
inline constexpr std::size_t kRoceGivenFramesMax = 128;

class RoceQueues {
 public:
  // Asserts 1 to kRoceQueuesMax queues. Frames are at most those of this MTU.
  RoceQueues(std::size_t count, std::uint32_t ethernet_mtu_bytes);
  ~RoceQueues();
  RoceQueues(const RoceQueues&) = delete;
  RoceQueues& operator=(const RoceQueues&) = delete;

  // --- Whose is what ---
  [[nodiscard]] std::size_t count() const { return queues_.size(); }
  [[nodiscard]] std::size_t owner_of(std::uint32_t number) const { return number % count(); }
  // A number of the queue's near one that was drawn; it may be one too large by up to count() - 1.
  [[nodiscard]] std::uint64_t number_of(std::size_t queue, std::uint32_t drawn) const {
    return std::uint64_t{drawn} - drawn % count() + queue;
  }
  // Queue pairs that are there, by their numbers of 24 bits; set by their owner.
  void set_open(std::uint32_t number, bool is_open);
  [[nodiscard]] bool is_open(std::uint32_t number) const;
  // Of what has no number yet, by a hash of what it is: always the same one, but that a queue whose
  // wire takes nothing gets nothing new. In its place `came_by`, which the peer is known to use.
  [[nodiscard]] std::size_t queue_for(std::uint32_t hash, std::size_t came_by) const;
  void set_stalled(std::size_t queue, bool is_stalled);

  // --- Frames ---
  // Copies the frame for `to`, whose pump is woken if it sleeps. False: no room.
  [[nodiscard]] bool give(std::size_t from, std::size_t to, ConstSpan frame);
  // So many frames of `from` fit, whoever they are for.
  [[nodiscard]] std::size_t room_for(std::size_t from) const;
  // Calls `use` with each of at most `frames_max` frames; how many there were. The bytes are valid
  // during the call.
  std::size_t take(std::size_t queue, std::size_t frames_max,
                   const std::function<void(ConstSpan frame)>& use);

  // --- Sleep ---
  // An empty one: nobody is to be woken.
  void set_wake(std::size_t queue, std::function<void()> wake);
  // From now on, until end_sleep(), a frame that is given calls `wake`, once. False: one is there
  // already, and nobody may sleep.
  [[nodiscard]] bool begin_sleep(std::size_t queue);
  void end_sleep(std::size_t queue);

 private:
  class Way;
  struct Queue;
  [[nodiscard]] Way& way(std::size_t from, std::size_t to) const {
    return *ways_[to * count() + from];
  }

  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<std::unique_ptr<Way>> ways_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> open_;  // a bit for each number
};

}  // namespace godbox::emulator
