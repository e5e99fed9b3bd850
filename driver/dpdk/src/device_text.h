// SPDX-License-Identifier: Apache-2.0
//
// A device of DPDK as it is written: a driver's name with a number, or a PCI address, and its
// arguments behind commas. Thread-safety: pure. Errors: none.
#pragma once

#include <string>
#include <string_view>

namespace godbox::driver {

// "net_vhost0", "0000:3b:00.0".
[[nodiscard]] inline std::string_view driver_name(std::string_view device) {
  return device.substr(0, device.find(','));
}

// The value of an argument; empty: there is none.
[[nodiscard]] inline std::string device_argument(std::string_view device, std::string_view name) {
  while (device.find(',') != std::string_view::npos) {
    device.remove_prefix(device.find(',') + 1);
    const std::string_view word = device.substr(0, device.find(','));
    if (word.starts_with(name) && word.substr(name.size()).starts_with('=')) {
      return std::string(word.substr(name.size() + 1));
    }
  }
  return {};
}

}  // namespace godbox::driver
