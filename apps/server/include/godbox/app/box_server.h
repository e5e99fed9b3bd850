// SPDX-License-Identifier: Apache-2.0
//
// A box that serves: its DRAM channels made from the machine's memory, its Ethernet ports listening
// on TCP and, those that are to, on the wires of their RoCE, its control socket open, its threads
// running. What `godbox serve` runs, and what the demo, the benches and the tests run in their own
// process. Threads: config.server_threads, or one per two cores, at most one per Ethernet port. The
// ports are dealt out to them in turn; the first one also has the control socket and the box's
// timer. Thread-safety: all members from any thread; stop() and the destructor from one. Ownership:
// owns everything it made; nothing of it may be used after stop(). Units: bytes. Errors:
// config_invalid, address_in_use and the others of StreamNetwork::listen naming the port or socket,
// and those of the memory targets naming the DRAM channel.
#pragma once

#include <godbox/emulator/box.h>

#include <memory>
#include <string>
#include <vector>

namespace godbox::app {

class BoxServer {
 public:
  static constexpr std::uint32_t kThreadsMax = 64;

  // Returns when every port listens. An empty config.control_socket means the default path; an
  // unset config.backing_limit half of the machine's memory, or the whole capacity where that is
  // devices or NUMA nodes. As many connections are taken as the process has descriptors for
  // (limit_exceeded: for hardly any); raise that limit first. Throws std::system_error when the
  // system gives no thread.
  [[nodiscard]] static Result<std::unique_ptr<BoxServer>> start(
      emulator::BoxConfig config, emulator::NativeDoorOptions door_options = {});
  ~BoxServer();
  BoxServer(const BoxServer&) = delete;
  BoxServer& operator=(const BoxServer&) = delete;

  // Closes all connections and ends the threads. Idempotent.
  void stop();

  [[nodiscard]] emulator::Box& box();
  [[nodiscard]] const std::vector<StreamAddress>& eth_port_addresses() const;
  [[nodiscard]] const StreamAddress& control_address() const;
  [[nodiscard]] std::size_t thread_count() const;
  [[nodiscard]] SizeBytes backing_limit() const;
  // The box's status (docs/status.md) and, under "process", what only its process knows:
  // {"server_threads", "resident_bytes"}.
  [[nodiscard]] std::string status_json() const;

 private:
  struct Impl;
  explicit BoxServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::app
