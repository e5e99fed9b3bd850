// SPDX-License-Identifier: Apache-2.0
#include "model/number_check.h"
#include <godbox/emulator/model/box_run.h>
#include <godbox/emulator/model/rack_spec.h>
#include <godbox/emulator/model/rendezvous.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace godbox::emulator::model {
namespace {

constexpr std::uint32_t kLeast = 2;  // leaves and spines, if nothing is said: one may be lost

Error invalid(std::string text) { return {Errc::config_invalid, std::move(text)}; }

Result<void> check(const RackSpec& spec, const BoxShape& box, std::uint32_t nics_per_host) {
  const std::uint32_t ports = box.super_nics * box.eth_ports_per_super_nic;
  for (const NumberCheck& number :
       {NumberCheck{"rack.boxes", static_cast<double>(spec.boxes), 1, kRackBoxesMax},
        NumberCheck{"rack.hosts", static_cast<double>(spec.hosts), 1, kRackHostsMax},
        NumberCheck{"nics_per_host", static_cast<double>(nics_per_host), 1, kNicsPerHostMax},
        NumberCheck{"network.oversubscription", spec.oversubscription, 1, kOversubscriptionMax},
        NumberCheck{"network.switch_tbit_per_s", spec.switch_tbit_per_s, 0.1, 1000},
        NumberCheck{"network.notice_ms", spec.notice_ms, 0.001, 60'000},
        // 0 stands for the least that works.
        NumberCheck{"network.box_leaves", static_cast<double>(spec.box_leaves), 0, kLeavesMax},
        NumberCheck{"network.host_leaves", static_cast<double>(spec.host_leaves), 0, kLeavesMax},
        NumberCheck{"network.spines", static_cast<double>(spec.spines), 0, kSpinesMax},
        NumberCheck{"network.leaves_per_box", static_cast<double>(spec.leaves_per_box), 0,
                    static_cast<double>(ports)},
        NumberCheck{"network.leaves_per_host", static_cast<double>(spec.leaves_per_host), 0,
                    static_cast<double>(nics_per_host)}}) {
    if (Result<void> valid = check(number); !valid) {
      return valid;
    }
  }
  return {};
}

// What of the leaves is said of one kind: of boxes, or of hosts.
struct Side {
  std::string_view what;  // "box", "host"
  std::uint32_t members;
  std::uint32_t ports_per_member;
  std::uint32_t& leaves;
  std::uint32_t& leaves_per_member;
};

// Ports that a leaf can have beside its uplinks.
std::uint32_t ports_max(const RackSpec& spec, Rate port) {
  const double bits = port.bytes_per_second() * 8 * (1 + 1 / spec.oversubscription);
  return static_cast<std::uint32_t>(
      std::min(spec.switch_tbit_per_s * 1e12 / bits * (1 + 1e-12), 1e6));
}

Result<void> set_leaves(const RackSpec& spec, Rate port, const Side& side) {
  const std::uint32_t most = ports_max(spec, port);
  const double port_gbit = port.bytes_per_second() * 8e-9;
  if (most == 0) {
    return invalid(fmt::format(
        "network.switch_tbit_per_s = {}: allowed is at least a port of {:.0f} Gb/s and "
        "its uplink, {:.4g} Tb/s",
        spec.switch_tbit_per_s, port_gbit, port_gbit * 1e-3 * (1 + 1 / spec.oversubscription)));
  }
  const std::uint32_t ports = side.members * side.ports_per_member;
  std::uint32_t each = side.leaves_per_member;
  std::uint32_t& leaves = side.leaves;
  if (each == 0) {
    const bool is_box = side.what == "box";
    const std::uint32_t wanted =
        is_box ? std::max((ports + most - 1) / most, kLeast) : side.ports_per_member;
    each = std::min(leaves == 0 ? wanted : leaves, side.ports_per_member);
  }
  const auto fullest = [&](std::uint32_t groups) {
    const std::uint32_t members = (side.members + groups - 1) / groups;
    return (members * side.ports_per_member + each - 1) / each;
  };
  std::uint32_t groups = 1;
  while (fullest(groups) > most && groups < side.members) {
    ++groups;
  }
  const std::uint32_t least = groups * each;
  leaves = leaves == 0 ? least : leaves;
  if (leaves % each != 0 || leaves / each > side.members) {
    return invalid(
        fmt::format("network.{}_leaves = {}: allowed are multiples of "
                    "network.leaves_per_{} = {}, {} to {}",
                    side.what, leaves, side.what, each, least, std::uint64_t{each} * side.members));
  }
  if (const std::uint32_t on_leaf = fullest(leaves / each); on_leaf > most) {
    const double tbit = on_leaf * port_gbit * 1e-3 * (1 + 1 / spec.oversubscription);
    return invalid(
        fmt::format("network.{}_leaves = {}: a leaf of {} ports of {:.0f} Gb/s and "
                    "their uplinks has {:.4g} Tb/s; allowed is at most "
                    "network.switch_tbit_per_s = {}, {} ports",
                    side.what, leaves, on_leaf, port_gbit, tbit, spec.switch_tbit_per_s, most));
  }
  side.leaves_per_member = each;
  return {};
}

std::vector<std::uint32_t> counted(std::uint32_t leaves, std::uint32_t members, std::uint32_t ports,
                                   const auto& leaf_of) {
  std::vector<std::uint32_t> counts(leaves);
  for (std::uint32_t member = 0; member < members; ++member) {
    for (std::uint32_t port = 0; port < ports; ++port) {
      ++counts[leaf_of(member, port)];
    }
  }
  return counts;
}

}  // namespace

std::vector<std::uint32_t> RackShape::ports_of_leaves() const {
  return counted(spec.box_leaves, spec.boxes, ports_per_box,
                 [this](std::uint32_t box, std::uint32_t port) { return leaf_of_port(box, port); });
}

std::vector<std::uint32_t> RackShape::nics_of_leaves() const {
  return counted(spec.host_leaves, spec.hosts, nics_per_host,
                 [this](std::uint32_t host, std::uint32_t nic) { return leaf_of_nic(host, nic); });
}

Result<RackShape> rack_shape(const RackSpec& spec, const BoxShape& box,
                             std::uint32_t nics_per_host) {
  if (const Result<void> valid = check(spec, box, nics_per_host); !valid) {
    return valid.error();
  }
  RackShape shape{.spec = spec,
                  .ports_per_box = box.super_nics * box.eth_ports_per_super_nic,
                  .nics_per_host = nics_per_host,
                  .port_rate = box.eth_port};
  RackSpec& full = shape.spec;
  for (const Side& side :
       {Side{"box", spec.boxes, shape.ports_per_box, full.box_leaves, full.leaves_per_box},
        Side{"host", spec.hosts, nics_per_host, full.host_leaves, full.leaves_per_host}}) {
    if (const Result<void> set = set_leaves(spec, shape.port_rate, side); !set) {
      return set.error();
    }
  }
  const double ports = static_cast<double>(spec.boxes) * shape.ports_per_box +
                       static_cast<double>(spec.hosts) * nics_per_host;
  const double up_tbit =
      ports * shape.port_rate.bytes_per_second() * 8e-12 / spec.oversubscription * (1 - 1e-12);
  const double least = std::ceil(up_tbit / spec.switch_tbit_per_s);
  if (spec.spines == 0) {
    full.spines = std::max(
        kLeast, static_cast<std::uint32_t>(std::min(least, static_cast<double>(kSpinesMax))));
  }
  if (full.spines < least) {
    return invalid(
        fmt::format("network.spines = {}: uplinks of {:.4g} Tb/s in all take {:.0f} "
                    "switches of network.switch_tbit_per_s = {}; allowed is {:.0f} to {}",
                    full.spines, up_tbit, least, spec.switch_tbit_per_s, least, kSpinesMax));
  }
  return shape;
}

}  // namespace godbox::emulator::model
