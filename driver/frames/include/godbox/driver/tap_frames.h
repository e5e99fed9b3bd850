// SPDX-License-Identifier: Apache-2.0
//
// An Ethernet port at the far end of a TAP interface: what the kernel sends through the interface
// comes here, and what is sent here the kernel receives through it. So a namespace, a bridge or a
// container is a port's other end without a second interface, without DPDK and, where the interface
// was made for this user before (ip tuntap add ... mode tap user NAME), without any right.
// A frame is a system call each way, unlike a packet socket's: for tests and small machines.
// Frames wait here as those of socket_frames.h do. While the interface is down, or once it is gone
// for good, frames are lost and counted. Thread-safety: as FrameSource. Ownership: an interface
// that was made here goes with the source; one that was there stays, and is its maker's to set up.
// Units: bytes. Source: Linux, Documentation/networking/tuntap.
#pragma once

#include <godbox/frame_source.h>
#include <godbox/result.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace godbox::driver {

struct TapFramesOptions {
  std::string interface;                     // 1 to 15 bytes; made, and set up, where there is none
  MacAddress mac{};                          // of this end; the kernel's end has its own
  std::optional<std::uint32_t> mtu_bytes{};  // of one that is made: 1500; else the interface's
};

// The port's MTU is the interface's, kFrameMtuBytesMax at most. The addresses that the interface
// has are the kernel's: the port needs others of its network.
// Errors: invalid_argument (an MTU out of range or above the interface's, a MAC address of a group
// or of zeros, a name that no interface can have), permission_denied (to make it needs
// CAP_NET_ADMIN, and so does another user's or group's), already_exists (somebody is at its far
// end), not_found (the interface is no TAP), unsupported (a kernel without TAP), io_error; each
// names the interface.
[[nodiscard]] Result<std::unique_ptr<FrameSource>> open_tap_frames(const TapFramesOptions& options);

}  // namespace godbox::driver
