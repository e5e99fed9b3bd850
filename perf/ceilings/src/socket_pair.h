// SPDX-License-Identifier: Apache-2.0
//
// Connected, non-blocking TCP sockets on loopback with TCP_NODELAY. Thread-safety: plain owners.
#pragma once

#include <godbox/result.h>

#include <utility>
#include <vector>

namespace godbox::perf {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }

 private:
  int value_ = -1;
};

class SocketPair {
 public:
  SocketPair(Descriptor client, Descriptor server)
      : client_(std::move(client)), server_(std::move(server)) {}
  [[nodiscard]] int client() const { return client_.get(); }
  [[nodiscard]] int server() const { return server_.get(); }

 private:
  Descriptor client_;
  Descriptor server_;
};

// Errors: io_error naming the system call.
[[nodiscard]] Result<std::vector<SocketPair>> connect_pairs(std::size_t count);

}  // namespace godbox::perf
