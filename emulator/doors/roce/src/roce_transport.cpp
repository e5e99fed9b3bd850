// SPDX-License-Identifier: Apache-2.0
#include "client_lane.h"
#include "client_port.h"
#include <godbox/emulator/roce/roce_transport.h>
#include <godbox/rdma/client_transport.h>
#include <godbox/roce/parameters.h>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace godbox::emulator {
namespace {

// How long whoever drives the transport may wait while frames of requests are expected, while a
// lane connects, is fenced or has no room to send, and else.
constexpr Duration kBusyPause = std::chrono::microseconds(50);
constexpr Duration kWaitingPause = std::chrono::milliseconds(1);
constexpr Duration kIdlePause = std::chrono::milliseconds(10);

class RoceTransport final : public rdma::ClientTransport<RoceClientLane> {
 public:
  RoceTransport(RoceTransportOptions options, const Clock& clock, RandomSource& random)
      : ClientTransport(options.ask_for_fence, clock), options_(std::move(options)), clock_(clock) {
    for (const RoceInterface& interface : options_.interfaces) {
      ports_.push_back(std::make_unique<RoceClientPort>(interface, random));
    }
    for (std::size_t i = 0; i < options_.lanes.size(); ++i) {
      const RoceClientLane::Setting set{LaneId(static_cast<LaneId::rep>(i)),
                                        options_.lanes[i].super_nic, options_, unfenced(), clock};
      add_lane(std::make_unique<RoceClientLane>(set, options_, ports_));
    }
  }
  // The box is told at once that the lanes end, as far as the wires take it.
  ~RoceTransport() override {
    end_lanes();
    for (const auto& port : ports_) {
      port->send(clock_.now());
    }
  }

  std::string_view name() const override { return "roce"; }
  Result<void> register_memory(MutableSpan memory) override {
    if (memory.empty()) {
      return Error(Errc::invalid_argument, "no memory to register");
    }
    return boost::system::in_place_value;
  }
  void deregister_memory(MutableSpan) override {}

  bool progress() override {
    const TimePoint now = clock_.now();
    bool is_busy = false;
    for (const auto& port : ports_) {
      is_busy = port->receive(now) || is_busy;
    }
    is_busy = take_events() || is_busy;
    is_busy = progress_lanes() || is_busy;
    for (const auto& port : ports_) {
      is_busy = port->send(now) || is_busy;
    }
    return is_busy;
  }
  Duration poll_pause() const override {
    if (has_requests()) {
      return kBusyPause;
    }
    // Each attempt of a dead port takes seconds, and there is one after the other.
    const bool waits = is_waiting() || std::ranges::any_of(ports_, [](const auto& port) {
                         return port->is_blocked();
                       });
    const Duration longest = waits ? kWaitingPause : kIdlePause;
    TimePoint next = kNever;
    for (const auto& port : ports_) {
      next = std::min(next, port->port().next_deadline());
    }
    return next == kNever ? longest : std::clamp(next - clock_.now(), kBusyPause, longest);
  }

 private:
  bool take_events() {
    bool is_busy = false;
    for (const auto& port : ports_) {
      while (const std::optional<ConnectionEvent> event = port->port().take_connection_event()) {
        is_busy = true;
        // Those of connections that ended here are nobody's.
        const auto of = std::ranges::find_if(
            lanes(), [&](const auto& lane) { return lane->has(*port, event->id); });
        if (of != lanes().end()) {
          (*of)->on_event(*event);
        }
      }
    }
    return is_busy;
  }

  const RoceTransportOptions options_;
  const Clock& clock_;
  std::vector<std::unique_ptr<RoceClientPort>> ports_;
};

Result<void> check_interface(const RoceInterface& interface) {
  if (interface.frames == nullptr || interface.addresses.empty() ||
      interface.addresses.size() > kRoceAddressesMax) {
    return Error(Errc::config_invalid,
                 fmt::format("{}: an interface has frames, and 1 to {} addresses", interface.name,
                             kRoceAddressesMax));
  }
  if (interface.mtu_bytes > interface.frames->mtu_bytes()) {
    return Error(
        Errc::config_invalid,
        fmt::format("{}: mtu {} is more than the {} of {}", interface.name, interface.mtu_bytes,
                    interface.frames->mtu_bytes(), interface.frames->name()));
  }
  if (!roce::path_mtu_for(interface.mtu_bytes)) {
    return Error(Errc::config_invalid, fmt::format("{}: its MTU, {}, has no room for RoCE",
                                                   interface.name, interface.mtu_bytes));
  }
  return {};
}

Result<void> check_way(const RoceWay& way, const RoceTransportOptions& options) {
  if (way.interface_index >= options.interfaces.size()) {
    return Error(Errc::config_invalid,
                 fmt::format("{}: there is no interface {}", way.name, way.interface_index));
  }
  if (!roce::path_mtu_for(way.mtu_bytes)) {
    return Error(Errc::config_invalid,
                 fmt::format("{}: its MTU, {}, has no room for RoCE", way.name, way.mtu_bytes));
  }
  const RoceInterface& interface = options.interfaces[way.interface_index];
  const auto& own = interface.addresses;
  if (std::ranges::any_of(own, [&](const RoceAddress& one) { return one.ip == way.address; })) {
    return Error(Errc::config_invalid,
                 fmt::format("{}: {} has the address of the box's port; give it another one",
                             way.name, interface.name));
  }
  if (std::ranges::none_of(
          own, [&](const RoceAddress& one) { return one.ip.is_ipv4() == way.address.is_ipv4(); })) {
    return Error(Errc::config_invalid, fmt::format("{}: {} has no address of that version of IP",
                                                   way.name, interface.name));
  }
  return {};
}

Result<void> check(const RoceTransportOptions& options) {
  if (Result<void> checked = check_client_options(options, options.lanes.size()); !checked) {
    return checked;
  }
  if (options.interfaces.size() > kRoceInterfacesMax || !options.ask_for_fence) {
    return Error(Errc::config_invalid, fmt::format("{} interfaces; {} are possible, and a way to "
                                                   "ask for fences is needed",
                                                   options.interfaces.size(), kRoceInterfacesMax));
  }
  for (const RoceInterface& interface : options.interfaces) {
    if (Result<void> checked = check_interface(interface); !checked) {
      return checked;
    }
  }
  for (const RoceLaneOptions& lane : options.lanes) {
    if (lane.ways.empty() || lane.ways.size() > kRoceInterfacesMax) {
      return Error(Errc::config_invalid, fmt::format("{} ways for a lane; 1 to {} are possible",
                                                     lane.ways.size(), kRoceInterfacesMax));
    }
    for (const RoceWay& way : lane.ways) {
      if (Result<void> checked = check_way(way, options); !checked) {
        return checked;
      }
    }
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Transport>> open_roce_transport(RoceTransportOptions options,
                                                       const Clock& clock, RandomSource& random) {
  if (Result<void> checked = check(options); !checked) {
    return checked.error();
  }
  return std::unique_ptr<Transport>(
      std::make_unique<RoceTransport>(std::move(options), clock, random));
}

}  // namespace godbox::emulator
