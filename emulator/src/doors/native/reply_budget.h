// SPDX-License-Identifier: Apache-2.0
//
// What a box keeps for clients that have not read it yet: the bodies of replies, through all doors.
// Tenants share it as they do a FairShare: whoever has as much as is free, or more, is served no
// further request until some of it has left. One reply at a time may go beyond that, for each of
// the threads that answer, as its size is known afterwards only.
// Thread-safety: any thread; a share's own calls one at a time. Ownership: the budget outlives its
// shares. Units: bytes. Errors: none.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace godbox::emulator {

class ReplyBudget {
  struct Part {
    std::atomic<std::uint64_t> bytes{0};
    std::uint64_t shares = 0;  // that stand for it
  };
  using Parts = std::map<std::string, Part, std::less<>>;

 public:
  // A connection's way to its tenant's part. Without a tenant it has room, and counts nothing.
  class Share {
   public:
    Share() = default;
    ~Share() { leave(); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    void join(ReplyBudget& budget, std::string_view tenant);
    [[nodiscard]] bool has_room() const;
    void add(std::uint64_t bytes);
    void remove(std::uint64_t bytes);

   private:
    void leave();

    ReplyBudget* budget_ = nullptr;
    Parts::iterator part_;
  };

  explicit ReplyBudget(std::uint64_t bytes_max) : bytes_max_(bytes_max) {}
  [[nodiscard]] std::uint64_t bytes_max() const { return bytes_max_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  const std::uint64_t bytes_max_;
  std::atomic<std::uint64_t> bytes_{0};
  std::mutex mutex_;  // of parts_, not of the bytes in them
  Parts parts_;       // of the tenants that have shares
};

}  // namespace godbox::emulator
