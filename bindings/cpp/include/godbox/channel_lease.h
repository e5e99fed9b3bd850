// SPDX-License-Identifier: Apache-2.0
//
// The memory of a box's DRAM channels, lent to a process that shows it to others, as a VM's CXL
// devices. The box gives descriptors over its control socket (MAP_MEMORY) and keeps the session
// that has them until this object is gone; the session is kept alive by a thread of its own.
// Thread-safety: all members from any thread. Ownership: owns descriptors, session and thread.
// Units: bytes. Errors: those of connect("local:PATH"); unsupported where the box does not let VMs
// have its memory (map_memory = "cxl").
#pragma once

#include <godbox/cxl/channel_order.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godbox {

class ChannelLease {
 public:
  // `control_socket` empty: the box's default one.
  [[nodiscard]] static Result<std::unique_ptr<ChannelLease>> take(std::string_view control_socket);
  ~ChannelLease();
  ChannelLease(const ChannelLease&) = delete;
  ChannelLease& operator=(const ChannelLease&) = delete;

  [[nodiscard]] const std::vector<int>& descriptors() const;  // by DRAM channel
  // By DRAM channel: how its bytes lie in what is behind the descriptor. Channels of one
  // interleaved region have the same memory.
  [[nodiscard]] const std::vector<cxl::ChannelOrder>& orders() const;
  // The channels that share the memory of this one, by position; alone, of one that shares it not.
  [[nodiscard]] std::vector<DramChannelId> sharers(DramChannelId channel) const;
  [[nodiscard]] SizeBytes dram_channel_size() const;
  // The SuperNICs that own them; each has as many.
  [[nodiscard]] std::uint32_t super_nics() const;
  [[nodiscard]] std::uint32_t box_number() const;  // in the serial numbers of its devices
  // "127.0.0.1:7400" of each Ethernet port.
  [[nodiscard]] const std::vector<std::string>& eth_ports() const;
  // The box is gone or has given the session up: what is written to the memory reaches nobody.
  [[nodiscard]] bool is_lost() const;

 private:
  struct Impl;
  explicit ChannelLease(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox
