// SPDX-License-Identifier: Apache-2.0
//
// The RoCE ports of a served box: their wires opened, dealt out to pumps of a thread each, or their
// RDMA devices, each with a thread; and told to the box. Thread-safety: open(), start() and stop()
// from one thread. Ownership: owns ports, wires and threads; box, clock and random source outlive
// it, and nobody asks the box for its status or INFO once it is gone. Units: bytes. Errors:
// config_invalid (an option, an MTU that the wire has not), device_missing (the interface, the
// device, DPDK in this build), address_in_use (the socket, the device), permission_denied,
// limit_exceeded, io_error; the detail names the option and has the wire's own words.
#pragma once

#include <godbox/app/box_server.h>
#include <godbox/clock.h>
#include <godbox/driver/registered_memory.h>
#include <godbox/emulator/roce_port_config.h>
#include <godbox/random_source.h>

#include <memory>

namespace godbox::app {

class RocePorts {
 public:
  // Those of the box's configuration. None of them answers before start(). At most `threads` pumps.
  // `memory` is the box's, for ports on RDMA devices.
  [[nodiscard]] static Result<std::unique_ptr<RocePorts>> open(emulator::Box& box,
                                                               driver::RegisteredMemory& memory,
                                                               const Clock& clock,
                                                               RandomSource& random,
                                                               std::size_t threads);
  // Whether the box's memory has to be watched: a port is on an RDMA device.
  [[nodiscard]] static bool has_verbs(const emulator::BoxConfig& config);
  ~RocePorts();
  RocePorts(const RocePorts&) = delete;
  RocePorts& operator=(const RocePorts&) = delete;

  // Throws std::system_error when the system gives no thread.
  void start();
  // Ends the threads; idempotent.
  void stop();

 private:
  struct Impl;
  explicit RocePorts(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::app
