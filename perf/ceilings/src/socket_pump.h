// SPDX-License-Identifier: Apache-2.0
//
// Moves one job's bytes from a source buffer through many sockets into a target buffer. The pieces
// are handed to whichever connection is ready, as a striping client does.
// Thread-safety: a job is shared by all its pumps; each pump owns its sockets while it runs.
#pragma once

#include <godbox/units.h>

#include <atomic>
#include <chrono>
#include <vector>

namespace godbox::perf {

class PumpJob {
 public:
  PumpJob(std::uint64_t total_bytes, std::size_t piece_bytes, std::uint64_t first_byte)
      : total_bytes_(total_bytes), piece_bytes_(piece_bytes), first_byte_(first_byte) {}

  MutableSpan source;
  MutableSpan target;
  int source_descriptor = -1;  // >= 0: sendfile from it

  struct Piece {
    std::size_t offset = 0;
    std::size_t size = 0;  // 0: nothing is left
  };
  [[nodiscard]] Piece next_to_send();
  // Where the next received piece goes; never ends, because TCP decides which socket carries how
  // much.
  [[nodiscard]] Piece next_target();
  void add_received(std::size_t bytes);
  void fail(int error_number);
  [[nodiscard]] bool is_over() const { return over_.load(std::memory_order_acquire); }
  [[nodiscard]] int error() const { return error_.load(); }
  [[nodiscard]] std::chrono::steady_clock::time_point finished_at() const { return finished_at_; }

 private:
  [[nodiscard]] std::size_t place(MutableSpan buffer, std::uint64_t index) const;

  const std::uint64_t total_bytes_;
  const std::size_t piece_bytes_;
  const std::uint64_t first_byte_;
  std::atomic<std::uint64_t> pieces_sent_{0};
  std::atomic<std::uint64_t> pieces_received_{0};
  std::atomic<std::uint64_t> bytes_received_{0};
  std::atomic<int> error_{0};
  std::atomic<bool> over_{false};
  std::chrono::steady_clock::time_point finished_at_{};
};

void pump_out(PumpJob& job, const std::vector<int>& sockets);
void pump_in(PumpJob& job, const std::vector<int>& sockets);

}  // namespace godbox::perf
