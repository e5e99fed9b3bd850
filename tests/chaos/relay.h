// SPDX-License-Identifier: Apache-2.0
//
// A TCP relay in front of a box's Ethernet ports, with a thread of its own, that spoils connections
// when told to: cuts them in the middle of a frame, holds them up, or lets them go silent for ever.
// Thread-safety: all members from one thread beside its own. Ownership: owns its sockets.
// Units: bytes. Errors: the constructor throws std::system_error, it is start-up.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace godbox::chaos {

class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  ~OwnedFd() { reset(); }
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.release()) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
    }
    return *this;
  }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset();

 private:
  int fd_ = -1;
};

class Relay {
 public:
  static constexpr std::size_t kBufferBytes = std::size_t{64} << 10U;
  static constexpr std::size_t kConnectionsMax = 512;

  Relay(std::size_t ports, std::uint32_t seed);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Where relay port i listens; never changes.
  [[nodiscard]] const std::vector<std::uint16_t>& tcp_ports() const { return tcp_ports_; }
  // Where relay port i leads; a box that starts again has other ports.
  void set_targets(const std::vector<std::uint16_t>& tcp_ports);

  // Each picks one connection or several, and tells how many.
  std::size_t cut_some();      // at once, with or without what it still holds
  std::size_t silence_some();  // delivers nothing any more; the ends stay open
  void end_silenced();         // closes both ends of those
  std::size_t hold_up_some(std::chrono::milliseconds time);
  [[nodiscard]] std::uint64_t relayed_bytes() const { return relayed_bytes_; }
  [[nodiscard]] std::uint64_t cuts() const { return cuts_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Flow {
    std::vector<char> bytes;
    std::size_t begin = 0;
    bool ended = false;  // the sender has closed
  };
  struct Pair {
    OwnedFd ends[2];  // client, box
    Flow flows[2];    // from that end to the other
    bool silent = false;
    bool dead = false;
    Clock::time_point held_until{};
  };

  void run();
  void accept_on(std::size_t index);
  void move_bytes(Pair& pair, short client_events, short box_events);
  void receive(Pair& pair, int from);
  void send(Pair& pair, int from);
  template <class Act>
  std::size_t for_some(Act&& act);
  void wake();

  std::vector<OwnedFd> listeners_;
  std::vector<std::uint16_t> tcp_ports_;
  OwnedFd wake_;
  std::mutex mutex_;  // of all below
  std::vector<std::uint16_t> targets_;
  std::list<Pair> pairs_;
  std::mt19937 random_;
  std::atomic<std::uint64_t> relayed_bytes_{0};
  std::atomic<std::uint64_t> cuts_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace godbox::chaos
