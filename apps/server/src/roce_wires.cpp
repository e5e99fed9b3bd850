// SPDX-License-Identifier: Apache-2.0
#include "wires.h"
#include <godbox/app/roce_wires.h>

#include <utility>

namespace godbox::app {

RoceWires::~RoceWires() = default;

Result<std::unique_ptr<RoceWires>> RoceWires::open(const std::vector<std::string>& texts,
                                                   std::string_view option) {
  const Result<std::vector<emulator::RocePortConfig>> configs =
      emulator::parse_roce_wires(texts, option);
  if (!configs) {
    return configs.error();
  }
  const auto eal = start_dpdk(*configs, false, option);
  if (!eal) {
    return eal.error();
  }
  std::unique_ptr<RoceWires> made(new RoceWires());
  for (const emulator::RocePortConfig& config : *configs) {
    auto wires = open_wire(config, *eal);
    if (!wires) {
      return wire_error(option, config, wires.error());
    }
    std::unique_ptr<FrameSource>& wire = wires->front();  // a client has no more
    const Result<std::uint32_t> mtu_bytes = mtu_on(config, *wire);
    if (!mtu_bytes) {
      return wire_error(option, config, mtu_bytes.error());
    }
    made->interfaces_.push_back({.name = std::string(option) + " " + config.text,
                                 .frames = wire.get(),
                                 .addresses = config.addresses,
                                 .mtu_bytes = *mtu_bytes});
    made->wires_.push_back(std::move(wire));
  }
  return made;
}

}  // namespace godbox::app
