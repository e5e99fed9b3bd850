// SPDX-License-Identifier: Apache-2.0
//
// Ethernet ports on DPDK's devices, as frame sources: NICs, and the virtual devices by which guests
// (net_vhost), other programs (net_virtio_user, net_memif), the kernel (net_tap, net_af_packet,
// net_af_xdp), files (net_pcap) and this process itself (net_ring) are reached. docs/dpdk.md has an
// example of each.
// A frame lies in one piece of DPDK's memory: what a sender writes into room_to_send() is what the
// device reads, and what receive() gives is where the device wrote. Frames go in bursts of up to
// kDpdkBurstFrames. While the device does not take what was committed, room_to_send() is empty, and
// asks it again each time; where nobody is behind it (link_is_up() is false), what was committed is
// dropped and counted.
// Waiting: a device that can interrupt has a wait_descriptor(), and receive() arms it when it finds
// nothing: net_vhost, net_virtio_user, net_tap and most NICs. The others have none; ask them again
// at once while frames come, then after a time that doubles from 50 us to 1 ms.
// Checksums: frames are sent as they are given. What a NIC finds wrong in those of IP, UDP and TCP
// is dropped and counted; of virtual devices nothing is believed, the receiver has to check.
// Counters: receive_drops and send_drops of a whole device are those of its first queue. A frame
// that a device took and then failed to send counts as sent, too.
// Thread-safety: each source has one thread of its own, also those of one device; counters() and
// link_is_up() from any. Opening and closing: one thread at a time. Ownership: the sources of a
// device own it together and the Eal with it. Units: bytes. Errors: see open_dpdk_port().
// Source: DPDK 22.11, Programmer's Guide, "Poll Mode Driver", "Mbuf Library"; rte_ethdev.h.
#pragma once

#include <godbox/driver/dpdk_eal.h>
#include <godbox/frame_source.h>

#include <optional>

namespace godbox::driver {

inline constexpr std::size_t kDpdkBurstFrames = 64;
inline constexpr std::uint32_t kDpdkMtuMin = 68;    // RFC 791
inline constexpr std::uint32_t kDpdkMtuMax = 9600;  // what net_virtio_user takes, and most NICs
inline constexpr std::uint16_t kDpdkQueuesMax = 16;
inline constexpr std::uint16_t kDpdkDescriptorsMin = 64;
inline constexpr std::uint16_t kDpdkDescriptorsMax = 4096;

struct DpdkPortOptions {
  // "net_vhost0,iface=/run/godbox/port0": a driver's name with a number, and its arguments; or one
  // of EalOptions::pci_addresses.
  std::string device{};
  std::uint32_t mtu_bytes = 1500;  // kDpdkMtuMin to kDpdkMtuMax, and what the device takes
  // One source each, which the device spreads flows of IP over: as many as cores are to serve it.
  std::uint16_t queues = 1;
  // Frames that wait in the device, per queue and direction; rounded to what it allows.
  std::uint16_t receive_descriptors = 512;
  std::uint16_t send_descriptors = 512;
  std::optional<MacAddress> mac{};  // else the device's own; where it has none, a random one
};

// DPDK memory that a port of these options takes, with a little to spare: more without huge pages.
[[nodiscard]] SizeBytes dpdk_port_memory(const DpdkPortOptions& options, const EalOptions& eal);

class DpdkPort : public FrameSource {
 public:
  // Somebody is at the other end, as far as the device knows.
  [[nodiscard]] virtual bool link_is_up() const = 0;
};
using DpdkPortPtr = std::unique_ptr<DpdkPort>;

// Opens the device and starts it: one source per queue, in their order. Errors: config_invalid (an
// option; a device that no driver knows, or arguments that its driver refuses), out_of_range (more
// than this device has: MTU, queues), already_exists (a device of that name is open),
// device_missing, permission_denied, limit_exceeded (DPDK's memory), io_error; the detail names the
// option and has DPDK's own reason.
[[nodiscard]] Result<std::vector<DpdkPortPtr>> open_dpdk_port(const std::shared_ptr<Eal>& eal,
                                                              const DpdkPortOptions& options);

struct DpdkRingPairOptions {
  std::string name = "pair";  // of the pair; its devices are net_ring_<name>0 and _<name>1
  std::uint32_t mtu_bytes = 1500;
  std::uint16_t frames_max = 512;  // on the way in each direction, less one; a power of two
};
struct DpdkRingPair {
  DpdkPortPtr ends[2];
};
// Two ports of this process that are each other's other end (net_ring): no rights, no files, no
// copy. A box and its client in one process, and tests. Errors: as open_dpdk_port().
[[nodiscard]] Result<DpdkRingPair> open_dpdk_ring_pair(const std::shared_ptr<Eal>& eal,
                                                       const DpdkRingPairOptions& options);

}  // namespace godbox::driver
