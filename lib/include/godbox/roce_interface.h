// SPDX-License-Identifier: Apache-2.0
//
// An Ethernet port of this machine over which godbox itself speaks RoCE: the frames that it sends
// and receives, and the IP addresses that it has there.
// Thread-safety: plain values; the frames are one thread's. Ownership: the frames outlive whatever
// uses them. Units: bytes. Errors: none.
#pragma once

#include <godbox/frame_source.h>
#include <godbox/roce/frame.h>

#include <string>
#include <vector>

namespace godbox {

// How many of its first bits are its network's: who has an address there needs no router.
struct RoceAddress {
  roce::Gid ip;
  std::uint8_t prefix_bits = 128;  // of IPv4 at most 32
  bool operator==(const RoceAddress&) const = default;
};
// Whether `ip` is of the address's version and in its network.
[[nodiscard]] bool is_in_network(const RoceAddress& address, const roce::Gid& ip);

struct RoceInterface {
  std::string name;  // for errors
  FrameSource* frames = nullptr;
  std::vector<RoceAddress> addresses;  // one at least
  std::uint32_t mtu_bytes = 1500;      // of the Ethernet; at most that of the frames
};

}  // namespace godbox
