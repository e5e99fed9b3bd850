// SPDX-License-Identifier: Apache-2.0
#include <godbox/roce_ports.h>

#include <algorithm>
#include <string_view>

namespace godbox::wire {

std::vector<RocePort> roce_ports(const std::vector<EthPortInfo>& ports) {
  constexpr std::string_view kByClient = "roce:", kByBox = "verbs:";
  std::vector<RocePort> found;
  for (const EthPortInfo& port : ports) {
    const bool is_by_box = port.address.starts_with(kByBox);
    if (!is_by_box && !port.address.starts_with(kByClient)) {
      continue;
    }
    const roce::MovedBy moved_by = is_by_box ? roce::MovedBy::box : roce::MovedBy::client;
    const std::string_view rest =
        std::string_view(port.address).substr((is_by_box ? kByBox : kByClient).size());
    auto same = std::ranges::find_if(found, [&](const RocePort& other) {
      return other.id == port.id && other.moved_by == moved_by;
    });
    if (same == found.end()) {
      same = found.insert(found.end(), {port.id, port.super_nic, {}, moved_by});
    }
    same->addresses.emplace_back(rest.substr(0, rest.find_first_of("/,")));
  }
  return found;
}

}  // namespace godbox::wire
