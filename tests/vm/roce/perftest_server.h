// SPDX-License-Identifier: Apache-2.0
//
// The server's end of perftest's tests (ib_read_bw and so on) over a RoCE port: the exchange over
// TCP in which both ends tell each other about their queue pairs, and what the tests want of a
// server's verbs. A region of the pool is the memory that clients read, write and add to.
// Thread-safety: start() and stop() from one thread; turn() on the pump's, which keeps turning
// until stop() has returned. Ownership: end and pump outlive it. Errors: counted as failures, with
// a line on standard error.
// Source: perftest 4.5-0.17 (protocol version 6.06), src/perftest_communication.c.
#pragma once

#include <godbox/emulator/roce/pump.h>
#include <godbox_test/roce_end.h>

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace godbox::test {

struct PerftestOptions {
  MacAddress client_mac{};
  SizeBytes region{std::uint64_t{192} << 10U};  // in one extent of the pool
  // What ib_write_lat wants instead: so many WRITEs of as many bytes as the region has, of which
  // the last one is 1 and then one more each time; the next follows the client's of the same last
  // byte.
  std::uint64_t latency_rounds = 0;
};

class PerftestServer {
 public:
  PerftestServer(RoceEnd& end, const PerftestOptions& options);

  // Listens on 127.0.0.1, for one client at a time: the TCP port. `wake` has the pump call turn().
  [[nodiscard]] std::uint16_t start(std::function<void()> wake);
  void stop();
  // True: something was done.
  bool turn(TimePoint now);

  // Of any thread.
  [[nodiscard]] std::uint64_t failures() const { return failures_; }

 private:
  // A client's queue pair, as it says.
  struct Remote {
    roce::QueuePairNumber number{};
    roce::Psn first_psn;
    RKey key{};
    std::uint64_t address = 0;
    roce::Gid gid;
  };
  struct Pair {
    Remote remote;
    emulator::RocePort::LocalQueuePair local;
    std::uint64_t messages = 0;  // of the client, about this pair
    std::uint64_t writes = 0;    // posted, of ib_write_lat
  };

  [[nodiscard]] static std::optional<Remote> parse(std::string_view message);
  void serve_clients();
  void serve(int client);
  [[nodiscard]] std::string answer_to(std::string_view message);
  [[nodiscard]] std::string pair_message(const emulator::RocePort::LocalQueuePair& local) const;
  void on_pump(std::function<void(TimePoint)> work);

  // Of the pair that talks to the client's, which is made when it is new.
  [[nodiscard]] emulator::RocePort::LocalQueuePair pair_with(const Remote& remote, TimePoint now);
  bool turn(Pair& pair);
  void write_next(Pair& pair);
  void post_receive(const Pair& pair);
  void close_pairs();
  void fail(std::string_view what);

  RoceEnd& end_;
  PerftestOptions options_;
  RemoteMemory region_;
  std::function<void()> wake_;
  int listener_ = -1, client_ = -1;
  std::thread thread_;
  roce::PathMtu path_mtu_ = roce::PathMtu::bytes_1024;  // of the client that is served

  std::mutex mutex_;  // work_ and client_
  std::packaged_task<void(TimePoint)> work_;

  // Of the pump's thread.
  std::map<std::uint32_t, Pair> pairs_;  // by the client's number
  Bytes received_, written_;
  std::atomic<std::uint64_t> failures_{0};
};

}  // namespace godbox::test
