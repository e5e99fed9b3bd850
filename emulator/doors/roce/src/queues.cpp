// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/emulator/roce/limits.h>
#include <godbox/emulator/roce/queues.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace godbox::emulator {
namespace {

constexpr std::size_t kCacheLineBytes = 64;
constexpr std::uint32_t kNumbers = 1U << 24U;
constexpr std::uint32_t kBits = 64;
static_assert((kRoceGivenFramesMax & (kRoceGivenFramesMax - 1)) == 0);

}  // namespace

// Frames from one queue to one other: a ring of slots with one writer and one reader.
class RoceQueues::Way {
 public:
  explicit Way(std::size_t frame_bytes_max)
      : frame_bytes_max_(frame_bytes_max),
        bytes_(std::make_unique_for_overwrite<std::byte[]>(frame_bytes_max * kRoceGivenFramesMax)) {
  }

  // As the writer knows it.
  [[nodiscard]] std::size_t room() const {
    return kRoceGivenFramesMax -
           (given_.load(std::memory_order_relaxed) - taken_.load(std::memory_order_acquire));
  }
  [[nodiscard]] bool put(ConstSpan frame) {
    const std::uint64_t place = given_.load(std::memory_order_relaxed);
    if (room() == 0 || frame.size() > frame_bytes_max_) {
      return false;
    }
    std::memcpy(slot(place), frame.data(), frame.size());
    sizes_[place % kRoceGivenFramesMax] = frame.size();
    // Before the writer looks whether the reader sleeps: see begin_sleep().
    given_.store(place + 1, std::memory_order_seq_cst);
    return true;
  }
  [[nodiscard]] bool has_frame() const {
    return given_.load(std::memory_order_seq_cst) != taken_.load(std::memory_order_relaxed);
  }
  // Of the first one, if there is one.
  [[nodiscard]] ConstSpan front() const {
    const std::uint64_t place = taken_.load(std::memory_order_relaxed);
    return {slot(place), sizes_[place % kRoceGivenFramesMax]};
  }
  void pop() {
    taken_.store(taken_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

 private:
  [[nodiscard]] std::byte* slot(std::uint64_t place) const {
    return bytes_.get() + place % kRoceGivenFramesMax * frame_bytes_max_;
  }

  const std::size_t frame_bytes_max_;
  const std::unique_ptr<std::byte[]> bytes_;
  std::array<std::size_t, kRoceGivenFramesMax> sizes_{};
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> given_{0};  // the writer's
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> taken_{0};  // the reader's
};

struct alignas(kCacheLineBytes) RoceQueues::Queue {
  // Set by the reader before it looks for frames a last time, and looked at by writers after theirs
  // is there: one of both sees the other.
  std::atomic<bool> is_asleep{false};
  std::atomic<bool> is_stalled{false};
  std::function<void()> wake;
  std::size_t next_from = 0;  // whose frames are taken first: each in turn
};

RoceQueues::RoceQueues(std::size_t count, std::uint32_t ethernet_mtu_bytes)
    : open_(std::make_unique<std::atomic<std::uint64_t>[]>(kNumbers / kBits)) {
  GODBOX_ASSERT(count >= 1 && count <= kRoceQueuesMax);
  for (std::size_t i = 0; i < count; ++i) {
    queues_.push_back(std::make_unique<Queue>());
  }
  for (std::size_t i = 0; i < count * count; ++i) {
    ways_.push_back(std::make_unique<Way>(ethernet_mtu_bytes + kRoceEthernetBytesMax));
  }
}

RoceQueues::~RoceQueues() = default;

// Queues share words, so that these are no plain stores.
void RoceQueues::set_open(std::uint32_t number, bool is_open) {
  const std::uint64_t bit = std::uint64_t{1} << number % kBits;
  std::atomic<std::uint64_t>& word = open_[number / kBits];
  if (is_open) {
    word.fetch_or(bit, std::memory_order_relaxed);
  } else {
    word.fetch_and(~bit, std::memory_order_relaxed);
  }
}

bool RoceQueues::is_open(std::uint32_t number) const {
  return (open_[number / kBits].load(std::memory_order_relaxed) >> number % kBits & 1U) != 0;
}

std::size_t RoceQueues::queue_for(std::uint32_t hash, std::size_t came_by) const {
  const std::size_t queue = owner_of(hash);
  return queues_[queue]->is_stalled.load(std::memory_order_relaxed) ? came_by : queue;
}

void RoceQueues::set_stalled(std::size_t queue, bool is_stalled) {
  // A pump says so each round: a store would take the line from those that give frames.
  std::atomic<bool>& known = queues_[queue]->is_stalled;
  if (known.load(std::memory_order_relaxed) != is_stalled) {
    known.store(is_stalled, std::memory_order_relaxed);
  }
}

bool RoceQueues::give(std::size_t from, std::size_t to, ConstSpan frame) {
  if (!way(from, to).put(frame)) {
    return false;
  }
  Queue& reader = *queues_[to];
  if (reader.is_asleep.load(std::memory_order_seq_cst) &&
      reader.is_asleep.exchange(false, std::memory_order_seq_cst)) {
    reader.wake();
  }
  return true;
}

std::size_t RoceQueues::room_for(std::size_t from) const {
  std::size_t room = kRoceGivenFramesMax;
  for (std::size_t to = 0; to < count(); ++to) {
    room = std::min(room, way(from, to).room());
  }
  return room;
}

std::size_t RoceQueues::take(std::size_t queue, std::size_t frames_max,
                             const std::function<void(ConstSpan frame)>& use) {
  Queue& reader = *queues_[queue];
  std::size_t taken = 0;
  for (std::size_t asked = 0; asked < count() && taken < frames_max; ++asked) {
    Way& from = way(reader.next_from, queue);
    for (; taken < frames_max && from.has_frame(); ++taken) {
      use(from.front());
      from.pop();
    }
    reader.next_from = (reader.next_from + 1) % count();
  }
  return taken;
}

void RoceQueues::set_wake(std::size_t queue, std::function<void()> wake) {
  queues_[queue]->wake = std::move(wake);
}

bool RoceQueues::begin_sleep(std::size_t queue) {
  Queue& reader = *queues_[queue];
  reader.is_asleep.store(static_cast<bool>(reader.wake), std::memory_order_seq_cst);
  for (std::size_t from = 0; from < count(); ++from) {
    if (way(from, queue).has_frame()) {
      end_sleep(queue);
      return false;
    }
  }
  return true;
}

void RoceQueues::end_sleep(std::size_t queue) {
  queues_[queue]->is_asleep.store(false, std::memory_order_seq_cst);
}

}  // namespace godbox::emulator
