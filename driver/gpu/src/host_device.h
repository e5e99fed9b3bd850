// SPDX-License-Identifier: Apache-2.0
//
// The queue of the host's device: commands in rings of fixed size, done in order by one thread.
// Thread-safety: its owner's thread alone, but for the worker, which is its own. Ownership: a
// HostEvent and a waiting queue share the progress of the queue that they refer to, so that neither
// has to outlive the other. Units: bytes; sequences count commands. Errors: as DeviceQueue.
#pragma once

#include <godbox/device_memory.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace godbox::driver {

// How many of a queue's commands have been done.
class HostProgress {
 public:
  [[nodiscard]] std::uint64_t done() const { return done_.load(std::memory_order_acquire); }
  void advance();
  void wait_for(std::uint64_t sequence);

 private:
  std::atomic<std::uint64_t> done_ = 0;
  std::mutex mutex_;
  std::condition_variable advanced_;
};

class HostEvent final : public DeviceEvent {
 public:
  [[nodiscard]] Result<bool> is_done() const override;
  [[nodiscard]] void* native_handle() const override { return nullptr; }

 private:
  friend class HostQueue;
  std::shared_ptr<HostProgress> progress_;  // of the queue that recorded it last
  std::uint64_t sequence_ = 0;
};

class HostQueue final : public DeviceQueue {
 public:
  static constexpr std::size_t kCommandsMax = 1024;

  // Throws std::system_error where the machine gives no more threads.
  HostQueue();
  ~HostQueue() override;
  HostQueue(const HostQueue&) = delete;
  HostQueue& operator=(const HostQueue&) = delete;

  [[nodiscard]] Errc move(std::span<const MovePiece> pieces, std::span<CrcBlock> crc) override;
  [[nodiscard]] Errc copy(MutableSpan to, ConstSpan from) override;
  [[nodiscard]] Errc mark(std::uint64_t id) override;
  [[nodiscard]] std::size_t poll(std::span<DeviceMark> out) override;
  [[nodiscard]] Errc record(DeviceEvent& event) override;
  [[nodiscard]] Errc wait(const DeviceEvent& event) override;
  [[nodiscard]] Errc follow(void* native_stream) override;
  [[nodiscard]] void* native_handle() const override { return nullptr; }

 private:
  struct Command {
    std::size_t pieces_begin = 0, pieces_count = 0;  // a move, if any
    std::span<CrcBlock> crc{};
    MutableSpan to{};  // a copy, if any
    ConstSpan from{};
    std::shared_ptr<HostProgress> awaited{};  // a wait, if any
    std::uint64_t awaited_sequence = 0;
  };
  struct Mark {
    std::uint64_t id = 0;
    std::uint64_t sequence = 0;
  };

  [[nodiscard]] bool is_full() const;
  void enqueue(Command command);
  void work();
  void run(Command& command);
  void run_move(const Command& command);

  // The owner's alone.
  std::uint64_t pieces_issued_ = 0;
  std::array<Mark, kMarksMax> marks_;
  std::uint64_t marks_begin_ = 0, marks_end_ = 0;

  // A slot is the owner's until `issued_` has counted it, then the worker's until it is done.
  std::vector<MovePiece> pieces_;
  std::vector<Command> commands_;
  std::atomic<std::uint64_t> pieces_done_ = 0;
  std::shared_ptr<HostProgress> progress_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t issued_ = 0;  // the owner writes it with the lock held
  bool ending_ = false;
  std::thread worker_;
};

}  // namespace godbox::driver
