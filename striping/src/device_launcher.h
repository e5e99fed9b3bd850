// SPDX-License-Identifier: Apache-2.0
//
// Work of a device in batches: copies, one move, copies, in this order, for several requests at
// once. Each queue has kBatchesPerQueue batches, so that it always has the next one while one is
// done; batches of different queues overlap. Nothing here waits but the destructor, and time alone
// loses no device: one that is slow still moves bytes.
// A batch that a queue cannot take as a whole (queue_full) is queued piece by piece as there is
// room. One that a queue refuses (invalid_argument) ends with that, after what it had queued.
// Thread-safety: one thread. Ownership: batches belong to the launcher; from launch() until
// `on_done` the memory of their pieces, copies and blocks belongs to the device. The destructor
// waits for what is queued. Errors: device_lost, after which no `on_done` comes any more: what was
// under way has ended and will never be done.
#pragma once

#include "move_batch.h"
#include <godbox/device_memory.h>

#include <functional>
#include <memory>
#include <vector>

namespace godbox::striping {

// A slot of a table, and which of its uses is meant.
struct SlotRef {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;
};

struct DeviceBatch {
  struct Copy {
    MutableSpan to;
    ConstSpan from;
  };
  struct Member {
    SlotRef request;
    std::size_t crc_begin = 0;
  };

  // Joins it to the last one where they touch on both sides.
  static void add_copy(std::vector<Copy>& copies, MutableSpan to, ConstSpan from);

  std::vector<Copy> copies_before;
  MoveBatch moves;
  std::vector<Copy> copies_after;
  std::vector<Member> members;
  Errc status = Errc::ok;

 private:
  friend class DeviceLauncher;
  enum class State : std::uint8_t { free, open, queueing, queued };
  void clear();
  State state_ = State::free;
  std::size_t queue_ = 0;
  std::size_t steps_done_ = 0;  // of copies, move, copies, mark
};

class DeviceLauncher {
 public:
  static constexpr std::size_t kBatchesPerQueue = 8;
  static constexpr std::size_t kQueuesMax = 64;
  // Polls that find nothing before the driving thread may sleep between them, and for how long.
  static constexpr std::uint32_t kEagerPolls = 4096;
  static constexpr Duration kPause = std::chrono::microseconds(50);
  using OnDone = std::function<void(DeviceBatch& batch)>;

  // Errors: those of make_queue().
  [[nodiscard]] static Result<std::unique_ptr<DeviceLauncher>> create(DeviceMemory& device,
                                                                      std::size_t queues,
                                                                      OnDone on_done);

  // An empty batch of a queue; nullptr while the queue has enough to do.
  [[nodiscard]] DeviceBatch* begin(std::size_t queue);
  // Queues it / drops it unused. It is not touched by the caller after either.
  void launch(DeviceBatch& batch);
  void drop(DeviceBatch& batch);

  // Queues what there is room for, takes what has been done. True if anything was.
  bool progress();
  [[nodiscard]] bool is_idle() const { return under_way_ == 0; }
  [[nodiscard]] bool is_lost() const { return is_lost_; }
  // As Transport::poll_pause(), for a caller that is waiting for the device.
  [[nodiscard]] Duration poll_pause() const {
    return idle_polls_ < kEagerPolls ? Duration::zero() : kPause;
  }

 private:
  DeviceLauncher() = default;
  bool queue_up(DeviceBatch& batch);
  [[nodiscard]] Errc queue_step(DeviceBatch& batch);
  bool take_marks(std::size_t queue);
  void lose();

  std::vector<DeviceBatch> batches_;  // kBatchesPerQueue of the first queue, of the second, ...
  // Go first, and wait for their work: batches belong to it.
  std::vector<std::unique_ptr<DeviceQueue>> queues_;
  std::vector<DeviceBatch*> queueing_;  // per queue: the batch that it has not taken as a whole
  OnDone on_done_;
  std::size_t under_way_ = 0;
  std::uint32_t idle_polls_ = 0;
  bool is_lost_ = false;
};

}  // namespace godbox::striping
