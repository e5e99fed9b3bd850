// SPDX-License-Identifier: Apache-2.0
#include <godbox/roce_ports.h>

#include <algorithm>
#include <string_view>

namespace godbox::wire {

std::vector<RocePort> roce_ports(const std::vector<EthPortInfo>& ports) {
  constexpr std::string_view kWord = "roce:";
  std::vector<RocePort> found;
  for (const EthPortInfo& port : ports) {
    if (!port.address.starts_with(kWord)) {
      continue;
    }
    const std::string_view rest = std::string_view(port.address).substr(kWord.size());
    auto same = std::ranges::find(found, port.id, &RocePort::id);
    if (same == found.end()) {
      same = found.insert(found.end(), {port.id, port.super_nic, {}});
    }
    same->addresses.emplace_back(rest.substr(0, rest.find_first_of("/,")));
  }
  return found;
}

}  // namespace godbox::wire
