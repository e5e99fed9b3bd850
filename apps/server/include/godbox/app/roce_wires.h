// SPDX-License-Identifier: Apache-2.0
//
// The Ethernet ports over which a program's client speaks RoCE by itself, opened as they are
// written: "10.0.2.9/24,mtu=4200@dgram:SOCKET,PEER-SOCKET" and so on
// (godbox/emulator/roce_port_config.h).
// Thread-safety: open() and close from one thread; the frames belong to whoever uses the
// interfaces, one at a time. Ownership: owns the wires. Units: bytes. Errors: config_invalid (what
// is written, an MTU that the wire has not), device_missing (the interface, the device, DPDK in
// this build), address_in_use (the socket, the device), permission_denied, limit_exceeded,
// io_error; each names the option and what was written.
#pragma once

#include <godbox/result.h>
#include <godbox/roce_interface.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {

class RoceWires {
 public:
  [[nodiscard]] static Result<std::unique_ptr<RoceWires>> open(
      const std::vector<std::string>& texts, std::string_view option);
  ~RoceWires();
  RoceWires(const RoceWires&) = delete;
  RoceWires& operator=(const RoceWires&) = delete;

  // In the order of their texts.
  [[nodiscard]] const std::vector<RoceInterface>& interfaces() const { return interfaces_; }

 private:
  RoceWires() = default;

  std::vector<std::unique_ptr<FrameSource>> wires_;
  std::vector<RoceInterface> interfaces_;
};

}  // namespace godbox::app
