// SPDX-License-Identifier: Apache-2.0
//
// The wires of clients over RoCE by themselves: datagram sockets to the RoCE ports of a box that is
// served here.
#pragma once

#include "served_world.h"
#include <godbox/app/roce_wires.h>

#include <memory>
#include <string>
#include <vector>

namespace godbox::test {

// Ethernet cables between this end and ports of the box: each in a network of its own.
class Cables {
 public:
  explicit Cables(int count, const std::string& mtu = ",mtu=4200") {
    std::vector<std::string> here;
    for (int i = 0; i < count; ++i) {
      const std::string number = std::to_string(i), network = "10.9." + number;
      const std::string box = folder_.path("box" + number), end = folder_.path("end" + number);
      box_.push_back(network + ".2/24" + mtu + "@dgram:" + box + "," + end);
      here.push_back(network + ".9/24" + mtu + "@dgram:" + end + "," + box);
    }
    auto wires = app::RoceWires::open(here, "--wire");
    if (!wires.has_value()) {
      FAIL(wires.error().message());
    }
    wires_ = std::move(*wires);
  }

  [[nodiscard]] const std::vector<std::string>& of_box() const { return box_; }
  [[nodiscard]] ConnectOptions here() const {
    ConnectOptions options;
    options.roce_interfaces = wires_->interfaces();
    return options;
  }

 private:
  ServedFolder folder_;
  std::vector<std::string> box_;
  std::unique_ptr<app::RoceWires> wires_;
};

inline std::unique_ptr<ServedWorld> world_over(const Cables& cables,
                                               const ConnectOptions& options) {
  return std::make_unique<ServedWorld>("roce:", options, nullptr, MemoryForm{}, cables.of_box());
}

}  // namespace godbox::test
