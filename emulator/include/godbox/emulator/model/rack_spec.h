// SPDX-License-Identifier: Apache-2.0
//
// Boxes and hosts, and the leaf-spine network between them: what the sections [rack] and [network]
// of a parameter file say, and what becomes of it with boxes of one shape. Leaf switches have the
// ports of boxes or of hosts, so that all traffic between them crosses a spine switch; each box's
// ports are spread over the leaves of its group, each host's NICs over those of its own. A leaf has
// as much bandwidth to the spines as to its ports, divided by the oversubscription, and as much to
// each spine.
// Thread-safety: plain values and pure functions. Ownership: values. Units: in the names.
// Errors: config_invalid, with key, value and what is allowed.
#pragma once

#include <godbox/emulator/model/box_model.h>
#include <godbox/emulator/model/device_file.h>

#include <span>
#include <string_view>
#include <vector>

namespace godbox::emulator::model {

struct RackSpec {
  std::uint32_t boxes = 8;
  std::uint32_t hosts = 64;
  // 0 of the following: as many as it takes, and two at least.
  std::uint32_t box_leaves = 0;
  std::uint32_t leaves_per_box = 0;  // 0: all that boxes have
  std::uint32_t host_leaves = 0;
  std::uint32_t leaves_per_host = 0;  // 0: one for each NIC
  std::uint32_t spines = 0;
  double oversubscription = 1;
  double switch_tbit_per_s = 51.2;  // of all ports of a switch, one direction
  double notice_ms = 67.1;          // from a loss until hosts act on it
};
inline constexpr std::uint32_t kRackHostsMax = 1024;
inline constexpr std::uint32_t kLeavesMax = 4096;
inline constexpr std::uint32_t kSpinesMax = 1024;
inline constexpr double kOversubscriptionMax = 64;

// Of a device's parameter file, with the same settings as for parse_device().
[[nodiscard]] Result<RackSpec> parse_rack(std::string_view text, std::string_view where,
                                          std::span<const DeviceSetting> settings = {});

// A rack with everything counted.
struct RackShape {
  RackSpec spec;  // nothing of it is 0
  std::uint32_t ports_per_box = 0;
  std::uint32_t nics_per_host = 0;
  Rate port_rate;  // raw, and of a NIC

  [[nodiscard]] std::uint32_t box_groups() const { return spec.box_leaves / spec.leaves_per_box; }
  [[nodiscard]] std::uint32_t host_groups() const {
    return spec.host_leaves / spec.leaves_per_host;
  }
  [[nodiscard]] std::uint32_t box_group(std::uint32_t box) const { return box % box_groups(); }
  [[nodiscard]] std::uint32_t host_group(std::uint32_t host) const { return host % host_groups(); }
  // The leaf of a port (of a NIC) among those of boxes (of hosts). Ports of the boxes of a group
  // are dealt out in turn, so that leaves differ by one of them at most.
  [[nodiscard]] std::uint32_t leaf_of_port(std::uint32_t box, std::uint32_t port) const {
    const std::uint32_t turn = box / box_groups() * ports_per_box + port;
    return box_group(box) * spec.leaves_per_box + turn % spec.leaves_per_box;
  }
  [[nodiscard]] std::uint32_t leaf_of_nic(std::uint32_t host, std::uint32_t nic) const {
    const std::uint32_t turn = host / host_groups() * nics_per_host + nic;
    return host_group(host) * spec.leaves_per_host + turn % spec.leaves_per_host;
  }
  // Ports (NICs) on each leaf.
  [[nodiscard]] std::vector<std::uint32_t> ports_of_leaves() const;
  [[nodiscard]] std::vector<std::uint32_t> nics_of_leaves() const;
};
// Errors: config_invalid where leaves or spines cannot be wired so, or where a switch would have
// more ports than it can switch for.
[[nodiscard]] Result<RackShape> rack_shape(const RackSpec& spec, const BoxShape& box,
                                           std::uint32_t nics_per_host);

}  // namespace godbox::emulator::model
