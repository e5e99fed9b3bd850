// SPDX-License-Identifier: Apache-2.0
//
// A DeviceMemory over another one that goes wrong on demand, and is strict: reaches() is true only
// for what was allocated, pinned or registered here, and a queue refuses anything else
// (invalid_argument) and counts it as stray, as a GPU would fault. After lose() it behaves as one
// that has gone: all answers are device_lost, marks end so, queued work has ended.
// Thread-safety: one thread, that of its queues and their user. Ownership: `inner` outlives it.
// Units: bytes. Errors: those of DeviceMemory, by its faults.
#pragma once

#include <godbox/device_memory.h>

#include <atomic>
#include <map>
#include <optional>
#include <vector>

namespace godbox::test {

class FaultyDevice final : public DeviceMemory {
 public:
  explicit FaultyDevice(DeviceMemory& inner) : inner_(inner) {}
  ~FaultyDevice() override;

  // --- Faults ---
  void lose();
  void lose_at_move(std::uint64_t moves_from_now) { lose_at_ = moves + moves_from_now; }
  bool allocations_fail = false;                 // device_memory_full
  bool staging_fails = false;                    // limit_exceeded
  std::optional<std::size_t> registrations_max;  // beyond: limit_exceeded
  std::optional<std::size_t> queues_max;         // beyond: limit_exceeded
  std::uint64_t full_every = 0;                  // every n-th call of a queue answers queue_full
  bool holds_marks = false;                      // nothing seems to end
  // Nothing that is queued begins, as on a stream behind a long kernel; once it is false again all
  // is done in its order, as the queue is polled or goes. May be set by another thread.
  std::atomic<bool> holds_work{false};

  // --- Counts ---
  std::uint64_t moves = 0, pieces = 0, copies = 0, strays = 0;
  mutable std::uint64_t reach_calls = 0;
  [[nodiscard]] bool is_lost() const { return is_lost_; }
  // True when all that was allocated, pinned and registered has been given back, and no queue is
  // left.
  [[nodiscard]] bool is_clean() const;

  [[nodiscard]] DeviceKind kind() const override { return inner_.kind(); }
  [[nodiscard]] std::string name() const override { return "faulty " + inner_.name(); }
  [[nodiscard]] Result<MutableSpan> allocate(SizeBytes size) override;
  void release(MutableSpan memory) override;
  [[nodiscard]] Result<MutableSpan> allocate_staging(SizeBytes size) override;
  void release_staging(MutableSpan memory) override;
  [[nodiscard]] Result<void> register_host(MutableSpan memory) override;
  void unregister_host(MutableSpan memory) override;
  [[nodiscard]] bool reaches(ConstSpan memory) const override;
  [[nodiscard]] Result<std::unique_ptr<DeviceQueue>> make_queue() override;
  [[nodiscard]] Result<std::unique_ptr<DeviceEvent>> make_event() override;

 private:
  class Queue;
  using Ranges = std::map<const std::byte*, std::size_t>;

  // What a call of a queue answers before it does anything, or ok.
  [[nodiscard]] Errc fault();
  [[nodiscard]] Errc check_reach(ConstSpan a, ConstSpan b);
  [[nodiscard]] bool holds(ConstSpan memory) const;
  void remember(Ranges& ranges, ConstSpan memory);
  void forget(Ranges& ranges, ConstSpan memory);

  DeviceMemory& inner_;
  Ranges allocated_, staging_, registered_;
  std::vector<Queue*> queues_;
  std::uint64_t calls_ = 0;
  std::optional<std::uint64_t> lose_at_;
  bool is_lost_ = false;
};

}  // namespace godbox::test
