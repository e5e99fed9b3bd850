// SPDX-License-Identifier: Apache-2.0
#include "device_text.h"
#include <godbox/driver/dpdk_kernel_devices.h>
#include <godbox/driver/kernel_rights.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <net/if.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

constexpr KernelRight kToSniff[] = {KernelRight::net_raw};
constexpr KernelRight kToUseXdp[] = {KernelRight::net_raw, KernelRight::net_admin,
                                     KernelRight::bpf};
constexpr KernelRight kToMakeInterfaces[] = {KernelRight::net_admin};

// What a device takes of the kernel; nothing: it has no share in it.
struct Share {
  std::span<const KernelRight> rights;
  std::vector<std::string> interfaces;  // that have to be there
  bool needs_interface = false;
  const char* file = nullptr;  // of the kernel's, to be read and written
};

Share share_of(std::string_view device) {
  const std::string_view driver = driver_name(device);
  Share share;
  for (const char* const name : {"iface", "rx_iface", "rx_iface_in", "tx_iface"}) {
    if (std::string interface = device_argument(device, name); !interface.empty()) {
      share.interfaces.push_back(std::move(interface));
    }
  }
  if (driver.starts_with("net_af_packet") || driver.starts_with("net_af_xdp")) {
    share.needs_interface = true;
    share.rights = driver.starts_with("net_af_xdp") ? std::span<const KernelRight>(kToUseXdp)
                                                    : std::span<const KernelRight>(kToSniff);
    return share;
  }
  if (driver.starts_with("net_pcap") && !share.interfaces.empty()) {
    share.rights = kToSniff;
    return share;
  }
  share.interfaces.clear();  // those are the device's to make
  if (driver.starts_with("net_tap")) {
    share.rights = kToMakeInterfaces;
    share.file = "/dev/net/tun";
  } else if (driver.starts_with("net_virtio_user") &&
             device_argument(device, "path") == "/dev/vhost-net") {
    share.rights = kToMakeInterfaces;
    share.file = "/dev/vhost-net";
  }
  return share;
}

}  // namespace

bool is_shared_with_kernel(std::string_view device) {
  const std::string_view name = driver_name(device);
  if (name.find(':') == std::string_view::npos) {
    return !share_of(device).rights.empty();
  }
  std::error_code none;
  return std::filesystem::exists(std::filesystem::path("/sys/bus/pci/devices") / name / "net",
                                 none);
}

Result<void> check_kernel_device(std::string_view device) {
  const Share share = share_of(device);
  const std::string name(driver_name(device));
  if (share.needs_interface && share.interfaces.empty()) {
    return Error(
        Errc::config_invalid,
        fmt::format("{} is of an interface of this machine: {},iface=INTERFACE", name, name));
  }
  for (const std::string& interface : share.interfaces) {
    if (if_nametoindex(interface.c_str()) == 0) {
      return Error(Errc::device_missing,
                   fmt::format("{}: there is no network interface \"{}\"", name, interface));
    }
  }
  if (share.file != nullptr && access(share.file, R_OK | W_OK) != 0) {
    const int reason = errno;
    return Error(
        reason == ENOENT ? Errc::device_missing : Errc::permission_denied,
        fmt::format("{} takes {}: {}", name, share.file, std::generic_category().message(reason)));
  }
  if (const auto missing = missing_rights(share.rights); !missing.empty()) {
    return lacks_rights(name, missing);
  }
  return {};
}

}  // namespace godbox::driver
