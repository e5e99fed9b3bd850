// SPDX-License-Identifier: Apache-2.0
//
// Devices of DPDK that this machine's kernel has a share in: net_af_packet, net_af_xdp, net_pcap on
// an interface, net_tap, net_virtio_user on /dev/vhost-net, and NICs whose kernel driver stays. The
// kernel hears their frames too, and answers for its own addresses; and it gives such devices to
// those who have the right. Asked is the kernel, and DPDK need not be there.
// Thread-safety: any thread; rights are the calling one's. Ownership: none. Errors: see each call.
// Source: DPDK 22.11, Network Interface Controller Drivers; packet(7), tun.rst of Linux.
#pragma once

#include <godbox/result.h>

#include <string_view>

namespace godbox::driver {

// Of DpdkPortOptions::device.
[[nodiscard]] bool is_shared_with_kernel(std::string_view device);

// Whether the kernel would give the device to this process. Errors: config_invalid (an interface
// has to be named), device_missing (there is no such interface, or no device file),
// permission_denied (a right is missing, with how to come by it); ok of all other devices.
[[nodiscard]] Result<void> check_kernel_device(std::string_view device);

}  // namespace godbox::driver
