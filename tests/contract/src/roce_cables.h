// SPDX-License-Identifier: Apache-2.0
//
// The wires of clients over RoCE by themselves: datagram sockets to the RoCE ports of a box that is
// served here.
#pragma once

#include "served_world.h"
#include "transport_work.h"
#include <godbox/app/roce_wires.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace godbox::test {

// Whose addresses 10.9.0.2 and 10.9.1.2 are, and on, or 10.9.0.2, 10.9.0.3 and on.
enum class Networks : std::uint8_t { one_each, one_for_all };

// For a frame source's receive(): as many of the frames that have come as there is room for. They
// stay in `shown` until the next call.
inline std::size_t show(std::deque<Bytes>& came, std::vector<Bytes>& shown,
                        std::span<ConstSpan> frames) {
  shown.clear();
  while (shown.size() < frames.size() && !came.empty()) {
    shown.push_back(std::move(came.front()));
    came.pop_front();
  }
  std::ranges::copy(shown, frames.begin());
  return shown.size();
}

// Ethernet cables between this end and ports of the box.
class Cables {
 public:
  explicit Cables(int count, const std::string& mtu = ",mtu=4200",
                  Networks networks = Networks::one_each) {
    std::vector<std::string> here;
    for (int i = 0; i < count; ++i) {
      const int network = networks == Networks::one_each ? i : 0, host = i - network;
      const auto address = [&](int first) {
        return "10.9." + std::to_string(network) + "." + std::to_string(first + host) + "/24" + mtu;
      };
      const std::string box = folder_.path("box" + std::to_string(i));
      const std::string end = folder_.path("end" + std::to_string(i));
      box_.push_back(address(2).append("@dgram:").append(box).append(",").append(end));
      here.push_back(address(9).append("@dgram:").append(end).append(",").append(box));
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
