// SPDX-License-Identifier: Apache-2.0
//
// An Ethernet port as a program holds it: whole frames in, whole frames out, without FCS. DPDK, a
// packet socket, a TAP interface, a VM's datagram socket and tests are behind it; the RoCE door
// pumps it.
// Thread-safety: one thread, but counters() from any. No call blocks or allocates. Units: bytes.
#pragma once

#include <godbox/units.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace godbox {

// IEEE 802: an EUI-48, first byte first on the wire.
using MacAddress = std::array<std::uint8_t, 6>;

struct FrameCounters {
  std::uint64_t received_frames = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_frames = 0;
  std::uint64_t sent_bytes = 0;
  std::uint64_t receive_drops = 0;  // lost before receive() could hand them over, as far as known
  std::uint64_t send_drops = 0;     // committed, and then not taken by the device
};

class FrameSource {
 public:
  virtual ~FrameSource() = default;

  // What the port is, for logs and errors: "dpdk net_vhost0", "packet eth0".
  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual MacAddress mac() const = 0;
  // The largest payload of a frame: its bytes after the Ethernet header (14, with a VLAN tag 18).
  [[nodiscard]] virtual std::uint32_t mtu_bytes() const = 0;

  // Frames that came, at most frames.size() of them: how many. Their bytes are valid until the next
  // receive().
  [[nodiscard]] virtual std::size_t receive(std::span<ConstSpan> frames) = 0;

  // Room for the next frame to send, of exactly size_bytes; empty: the port takes none now (later
  // there is room again, without an event of its own), or size_bytes is more than a frame has.
  // Asking again before commit() gives the room back.
  [[nodiscard]] virtual MutableSpan room_to_send(std::size_t size_bytes) = 0;
  // The frame in the room that was given last is complete. It may wait until flush().
  virtual void commit() = 0;
  // What was committed goes out now.
  virtual void flush() = 0;

  // A descriptor that is readable while frames wait to be received (after the ones that receive()
  // gave last), for poll(2). Negative: there is none, and the port has to be asked at intervals.
  [[nodiscard]] virtual int wait_descriptor() const = 0;

  [[nodiscard]] virtual FrameCounters counters() const = 0;
};

}  // namespace godbox
