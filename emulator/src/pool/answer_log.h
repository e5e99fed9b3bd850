// SPDX-License-Identifier: Apache-2.0
//
// What a session was answered last: so that a request which its client sends again, because the
// answer was lost with a connection, is answered and not done a second time. Requests that may be
// done twice need no place here. Bounded in answers, by what the client may have unanswered, and in
// bytes: of what is too large only that it was done is kept.
// Thread-safety: none of its own (PoolService's lock). Units: bytes. Errors: none.
#pragma once

#include <godbox/emulator/pool_service.h>

#include <deque>
#include <optional>

namespace godbox::emulator {

class AnswerLog {
 public:
  static constexpr std::size_t kBytesMax = std::size_t{256} << 10U;  // of one session

  // Keeps the last `answers_max` answers, this one among them, and of each request_id the last.
  void add(std::uint64_t request_id, Errc status, ConstSpan body, std::size_t answers_max);
  // Whether the request was done; `answer` is what was said then, or nothing if that is gone.
  [[nodiscard]] bool find(std::uint64_t request_id, std::optional<KeptAnswer>& answer) const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] std::size_t size_bytes() const { return bytes_; }

 private:
  struct Entry {
    std::uint64_t request_id = 0;
    std::optional<KeptAnswer> answer;
  };
  void drop(Entry& entry);

  std::deque<Entry> entries_;  // oldest first
  std::size_t bytes_ = 0;      // of all bodies
};

}  // namespace godbox::emulator
