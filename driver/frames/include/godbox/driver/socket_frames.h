// SPDX-License-Identifier: Apache-2.0
//
// Ethernet ports over sockets of the kernel, one message of a socket for one frame:
//   a pair of Unix datagram sockets, which a VM's network device is at the other end of (QEMU's
//     -netdev dgram with local.type=unix), or another process: no rights are needed;
//   a packet socket on a network interface of this machine: needs CAP_NET_RAW.
// Where the other end takes nothing now, frames wait here, kSocketFramesMax at most, and
// room_to_send() has none until they are gone; ask it, or flush(), again after a while. Where there
// is no other end, frames are lost and counted.
// Thread-safety: as FrameSource. Ownership: the source owns its socket, and the file of a datagram
// socket. Units: bytes. Errors: named at each call; the detail names the path or the interface.
#pragma once

#include <godbox/frame_source.h>
#include <godbox/result.h>

#include <memory>
#include <string>

namespace godbox::driver {

inline constexpr std::size_t kSocketFramesMax = 64;     // that wait to be sent
inline constexpr std::uint32_t kFrameMtuBytesMin = 68;  // RFC 791
inline constexpr std::uint32_t kFrameMtuBytesMax = 9198;

struct DatagramFramesOptions {
  std::string local_path;   // made here, with the rights 0600; what a dead process left is replaced
  std::string remote_path;  // need not be there yet
  MacAddress mac{};
  std::uint32_t mtu_bytes = 1500;
};
// Errors: invalid_argument (an MTU out of range, a MAC address of a group or of zeros, a path that
// is empty or too long for a socket), already_exists (something else, or a living socket, is at
// local_path), io_error.
[[nodiscard]] Result<std::unique_ptr<FrameSource>> open_datagram_frames(
    const DatagramFramesOptions& options);

// All frames of the interface but those that this machine sends itself. The kernel takes tags of
// VLANs out of them; each is put back where it was. MAC address and MTU are the interface's. The
// addresses it has are the kernel's to answer for: the port needs others.
// Errors: not_found (no such interface, or it is no Ethernet), permission_denied, io_error.
[[nodiscard]] Result<std::unique_ptr<FrameSource>> open_packet_frames(const std::string& interface);

}  // namespace godbox::driver
