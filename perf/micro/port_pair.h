// SPDX-License-Identifier: Apache-2.0
//
// Two of DPDK's ports in this process that are each other's other end. Thread-safety: that of its
// ports. Ownership: owns both. Units: bytes, frames. Errors: those of open_dpdk_port(); io_error
// (two ends that do not find each other).
#pragma once

#include <godbox/driver/dpdk_port.h>

#include <chrono>
#include <string>
#include <thread>

#include <unistd.h>

namespace godbox::perf {

inline constexpr std::chrono::seconds kLinkUpMax{10};

struct PortPair {
  driver::DpdkPortPtr near, far;
};

inline Result<driver::DpdkPortPtr> open_one_port(const std::shared_ptr<driver::Eal>& eal,
                                                 const std::string& device, std::uint32_t mtu_bytes,
                                                 std::uint16_t frames) {
  Result<std::vector<driver::DpdkPortPtr>> ports =
      driver::open_dpdk_port(eal, {.device = device,
                                   .mtu_bytes = mtu_bytes,
                                   .receive_descriptors = frames,
                                   .send_descriptors = frames});
  return ports ? Result<driver::DpdkPortPtr>(std::move(ports->front())) : ports.error();
}

// net_ring: frames are handed over, not copied. `frames` on the way in each direction.
inline Result<PortPair> open_ring_pair(const std::shared_ptr<driver::Eal>& eal,
                                       std::uint32_t mtu_bytes, std::uint16_t frames) {
  Result<driver::DpdkRingPair> rings = driver::open_dpdk_ring_pair(
      eal, {.name = "bench", .mtu_bytes = mtu_bytes, .frames_max = frames});
  if (!rings) {
    return rings.error();
  }
  return PortPair{std::move(rings->ends[0]), std::move(rings->ends[1])};
}

// net_virtio_user, near, to net_vhost, far, which copies each frame once; both are up.
inline Result<PortPair> open_vhost_pair(const std::shared_ptr<driver::Eal>& eal,
                                        std::uint32_t mtu_bytes, std::uint16_t frames) {
  const std::string socket = "/tmp/godbox-bench-ports-" + std::to_string(::getpid());
  Result<driver::DpdkPortPtr> far =
      open_one_port(eal, "net_vhost0,iface=" + socket, mtu_bytes, frames);
  if (!far) {
    return far.error();
  }
  Result<driver::DpdkPortPtr> near =
      open_one_port(eal, "net_virtio_user0,path=" + socket, mtu_bytes, frames);
  if (!near) {
    return near.error();
  }
  const auto until = std::chrono::steady_clock::now() + kLinkUpMax;
  while (!(*far)->link_is_up() || !(*near)->link_is_up()) {
    if (std::chrono::steady_clock::now() > until) {
      return Error(Errc::io_error, "net_virtio_user and net_vhost do not find each other");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return PortPair{std::move(*near), std::move(*far)};
}

}  // namespace godbox::perf
