// SPDX-License-Identifier: Apache-2.0
//
// Fake kernels in the forms in which a box is shown to a guest.
// Thread-safety: pure functions. Errors: none.
#pragma once

#include "fake_kernel.h"
#include <godbox/cxl/channel_serial.h>

#include <memory>

namespace godbox::driver {

inline std::uint64_t serial_of(unsigned channel,
                               cxl::ChannelOwner owner = cxl::ChannelOwner::bound) {
  return cxl::ChannelSerial{
      .owner = owner, .box = 1, .dram_channel = DramChannelId(static_cast<std::uint16_t>(channel))}
      .value();
}

inline std::vector<FakeDevice> two_per_bridge(unsigned bridges,
                                              cxl::ChannelOwner owner = cxl::ChannelOwner::bound) {
  std::vector<FakeDevice> devices;
  // Probed in another order than the channels are numbered in.
  for (unsigned i = bridges * 2; i-- > 0;) {
    devices.push_back({.serial = serial_of(i, owner), .bridge = i / 2});
  }
  return devices;
}

// A window per channel.
inline std::unique_ptr<FakeKernel> form_a(unsigned bridges,
                                          cxl::ChannelOwner owner = cxl::ChannelOwner::bound) {
  std::vector<FakeWindow> windows;
  for (unsigned i = 0; i < bridges * 2; ++i) {
    windows.push_back({.bridges = {i / 2}});
  }
  return std::make_unique<FakeKernel>(two_per_bridge(bridges, owner), windows);
}

// A window per host bridge, as large as its two channels.
inline std::unique_ptr<FakeKernel> form_b(unsigned bridges) {
  std::vector<FakeWindow> windows;
  for (unsigned i = 0; i < bridges; ++i) {
    windows.push_back({.bridges = {i}, .size_bytes = std::uint64_t{512} << 20U});
  }
  return std::make_unique<FakeKernel>(two_per_bridge(bridges), windows);
}

// One window over eight host bridges and one over the ninth.
inline std::unique_ptr<FakeKernel> form_c() {
  const std::uint64_t size_bytes = std::uint64_t{4} << 30U;
  return std::make_unique<FakeKernel>(
      two_per_bridge(9),
      std::vector<FakeWindow>{{.bridges = {0, 1, 2, 3, 4, 5, 6, 7}, .size_bytes = size_bytes},
                              {.bridges = {8}, .size_bytes = std::uint64_t{512} << 20U}});
}

}  // namespace godbox::driver
