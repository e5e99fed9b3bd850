// SPDX-License-Identifier: Apache-2.0
#include <godbox/stream_ports.h>

#include <algorithm>
#include <iterator>

namespace godbox::wire {

std::vector<EthPortInfo> stream_ports(const std::vector<EthPortInfo>& ports) {
  std::vector<EthPortInfo> streams;
  std::ranges::copy_if(ports, std::back_inserter(streams), [](const EthPortInfo& port) {
    return port.address.starts_with("tcp:") || port.address.starts_with("unix:");
  });
  return streams;
}

}  // namespace godbox::wire
