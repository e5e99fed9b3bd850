// SPDX-License-Identifier: Apache-2.0
//
// A server that takes one connection, waits for so many bytes, and then says what it was told to,
// in the pieces that it was told. Thread-safety: it has a thread of its own; received() after
// the client is gone. Errors: assertions of the test.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox_test {

struct StoreScript {
  std::size_t wait_for_bytes = 0;    // before it answers
  std::vector<std::string> answers;  // each sent by itself
  bool hang_up = true;               // after them; else it stays until the client is gone
};

class ScriptedStore {
 public:
  explicit ScriptedStore(StoreScript script) : script_(std::move(script)) {
    listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(at);
    REQUIRE(::bind(listening_, reinterpret_cast<sockaddr*>(&at), size) == 0);
    REQUIRE(::listen(listening_, 1) == 0);
    REQUIRE(::getsockname(listening_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    tcp_port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedStore() {
    join();
    ::close(listening_);
  }
  ScriptedStore(const ScriptedStore&) = delete;
  ScriptedStore& operator=(const ScriptedStore&) = delete;

  [[nodiscard]] std::uint16_t tcp_port() const { return tcp_port_; }
  [[nodiscard]] const std::string& received() {
    join();
    return received_;
  }

 private:
  void join() {
    if (thread_.joinable()) {
      thread_.join();
    }
  }
  void serve() {
    const int client = ::accept(listening_, nullptr, nullptr);
    const int one = 1;
    (void)::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    while (received_.size() < script_.wait_for_bytes && receive(client)) {
    }
    for (const std::string& answer : script_.answers) {
      (void)::send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    while (!script_.hang_up && receive(client)) {
    }
    ::close(client);
  }
  bool receive(int client) {
    std::array<char, 4096> part{};
    const ssize_t got = ::recv(client, part.data(), part.size(), 0);
    if (got > 0) {
      received_.append(part.data(), static_cast<std::size_t>(got));
    }
    return got > 0;
  }

  StoreScript script_;
  int listening_ = -1;
  std::uint16_t tcp_port_ = 0;
  std::string received_;
  std::thread thread_;
};

}  // namespace godbox_test
