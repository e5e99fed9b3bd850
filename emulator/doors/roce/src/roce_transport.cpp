// SPDX-License-Identifier: Apache-2.0
#include "client_lane.h"
#include "client_port.h"
#include <godbox/emulator/roce/roce_transport.h>
#include <godbox/roce/parameters.h>

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <utility>

namespace godbox::emulator {
namespace {

// How long whoever drives the transport may wait while frames of requests are expected, while a
// lane connects, is fenced or has no room to send, and else.
constexpr Duration kBusyPause = std::chrono::microseconds(50);
constexpr Duration kWaitingPause = std::chrono::milliseconds(1);
constexpr Duration kIdlePause = std::chrono::milliseconds(10);

class RoceTransport final : public Transport {
 public:
  RoceTransport(RoceTransportOptions options, const Clock& clock, RandomSource& random)
      : options_(std::move(options)), clock_(clock) {
    for (const RoceInterface& interface : options_.interfaces) {
      ports_.push_back(std::make_unique<RoceClientPort>(interface, random));
    }
    for (std::size_t i = 0; i < options_.lanes.size(); ++i) {
      lanes_.push_back(std::make_unique<RoceClientLane>(LaneId(static_cast<LaneId::rep>(i)),
                                                        options_, port_of(i), clock));
      lanes_.back()->open();
    }
  }
  // The box is told at once that the lanes end, as far as the wires take it.
  ~RoceTransport() override {
    lanes_.clear();
    for (const auto& port : ports_) {
      port->send(clock_.now());
    }
  }
  RoceTransport(const RoceTransport&) = delete;
  RoceTransport& operator=(const RoceTransport&) = delete;

  std::string_view name() const override { return "roce"; }
  std::size_t lane_count() const override { return lanes_.size(); }
  LaneStatus lane_status(LaneId lane) const override { return lanes_.at(lane.value())->status(); }

  Result<void> register_memory(MutableSpan memory) override {
    if (memory.empty()) {
      return Error(Errc::invalid_argument, "no memory to register");
    }
    return boost::system::in_place_value;
  }
  void deregister_memory(MutableSpan) override {}

  Errc post(LaneId lane, const WorkRequest& request) override {
    const Errc status = lanes_.at(lane.value())->status().state == LaneState::up
                            ? check_work_request(request)
                            : Errc::lane_closed;
    const bool has_to_wait =
        request.op == WorkOp::write &&
        std::ranges::any_of(lanes_, [](const auto& other) { return other->has_lost_writes(); });
    return status != Errc::ok ? status
           : has_to_wait      ? Errc::queue_full
                              : lanes_[lane.value()]->post(request);
  }
  std::size_t poll(std::span<Completion> out) override {
    std::size_t count = 0;
    for (const auto& lane : lanes_) {
      std::deque<Completion>& done = lane->completions();
      for (; count < out.size() && !done.empty(); ++count) {
        out[count] = done.front();
        done.pop_front();
      }
    }
    return count;
  }
  bool progress() override {
    const TimePoint now = clock_.now();
    bool is_busy = false;
    for (const auto& port : ports_) {
      is_busy = port->receive(now) || is_busy;
    }
    is_busy = take_events() || is_busy;
    for (const auto& lane : lanes_) {
      is_busy = lane->progress() || is_busy;
    }
    mind_fences(now);
    for (const auto& port : ports_) {
      is_busy = port->send(now) || is_busy;
    }
    return is_busy;
  }
  Duration poll_pause() const override {
    if (std::ranges::any_of(lanes_, [](const auto& lane) { return lane->has_requests(); })) {
      return kBusyPause;
    }
    // Each attempt of a dead port takes seconds, and there is one after the other.
    const bool is_waiting =
        std::ranges::any_of(lanes_, [](const auto& lane) { return lane->is_waiting(); }) ||
        std::ranges::any_of(ports_, [](const auto& port) { return port->is_blocked(); });
    const Duration longest = is_waiting ? kWaitingPause : kIdlePause;
    TimePoint next = kNever;
    for (const auto& port : ports_) {
      next = std::min(next, port->port().next_deadline());
    }
    return next == kNever ? longest : std::clamp(next - clock_.now(), kBusyPause, longest);
  }
  void fence(LaneId lane) override { lanes_.at(lane.value())->fence(); }
  void reopen(LaneId lane) override { lanes_.at(lane.value())->open(); }

 private:
  RoceClientPort& port_of(std::size_t lane_index) {
    return *ports_[options_.lanes[lane_index].interface_index];
  }

  bool take_events() {
    bool is_busy = false;
    for (const auto& port : ports_) {
      while (const std::optional<ConnectionEvent> event = port->port().take_connection_event()) {
        is_busy = true;
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
          // Those of connections that ended here are nobody's.
          if (&port_of(i) == port.get() && lanes_[i]->connection() == event->id) {
            lanes_[i]->on_event(*event);
            break;
          }
        }
      }
    }
    return is_busy;
  }

  void mind_fences(TimePoint now) {
    for (const auto& [index, lane, status] : std::exchange(*fence_answers_, {})) {
      if (status == Errc::ok) {
        lanes_[index]->on_fenced(lane);
      } else {
        lanes_[index]->on_fence_failed(lane, now);
      }
    }
    for (std::size_t index = 0; index < lanes_.size(); ++index) {
      while (const auto lane = lanes_[index]->next_unfenced(now)) {
        options_.ask_for_fence(*lane, [answers = fence_answers_, index, lane = *lane](Errc status) {
          answers->push_back({index, lane, status});
        });
      }
    }
  }

  struct FenceAnswer {
    std::size_t lane_index = 0;
    wire::LaneToken lane;
    Errc status = Errc::ok;
  };

  const RoceTransportOptions options_;
  const Clock& clock_;
  // May be filled in when the transport is gone.
  std::shared_ptr<std::vector<FenceAnswer>> fence_answers_ =
      std::make_shared<std::vector<FenceAnswer>>();
  std::vector<std::unique_ptr<RoceClientPort>> ports_;
  std::vector<std::unique_ptr<RoceClientLane>> lanes_;  // go before their ports
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

Result<void> check_lane(const RoceLaneOptions& lane, const RoceTransportOptions& options) {
  if (lane.interface_index >= options.interfaces.size()) {
    return Error(Errc::config_invalid,
                 fmt::format("{}: there is no interface {}", lane.name, lane.interface_index));
  }
  if (!roce::path_mtu_for(lane.mtu_bytes)) {
    return Error(Errc::config_invalid,
                 fmt::format("{}: its MTU, {}, has no room for RoCE", lane.name, lane.mtu_bytes));
  }
  const RoceInterface& interface = options.interfaces[lane.interface_index];
  const auto& own = interface.addresses;
  if (std::ranges::any_of(own, [&](const RoceAddress& one) { return one.ip == lane.address; })) {
    return Error(Errc::config_invalid,
                 fmt::format("{}: {} has the address of the box's port; give it another one",
                             lane.name, interface.name));
  }
  if (std::ranges::none_of(own, [&](const RoceAddress& one) {
        return one.ip.is_ipv4() == lane.address.is_ipv4();
      })) {
    return Error(Errc::config_invalid, fmt::format("{}: {} has no address of that version of IP",
                                                   lane.name, interface.name));
  }
  return {};
}

Result<void> check(const RoceTransportOptions& options) {
  if (options.lanes.empty() || options.lanes.size() > kRoceLanesMax) {
    return Error(Errc::config_invalid, fmt::format("{} lanes; 1 to {} are possible",
                                                   options.lanes.size(), kRoceLanesMax));
  }
  if (options.interfaces.size() > kRoceInterfacesMax || !options.ask_for_fence) {
    return Error(Errc::config_invalid, fmt::format("{} interfaces; {} are possible, and a way to "
                                                   "ask for fences is needed",
                                                   options.interfaces.size(), kRoceInterfacesMax));
  }
  if (options.requests_max == 0 || options.bytes_max < kWorkBytesMax) {
    return Error(Errc::config_invalid,
                 fmt::format("requests_max {}, bytes_max {}; at least 1 and {} are needed",
                             options.requests_max, options.bytes_max, kWorkBytesMax));
  }
  for (const RoceInterface& interface : options.interfaces) {
    if (Result<void> checked = check_interface(interface); !checked) {
      return checked;
    }
  }
  for (const RoceLaneOptions& lane : options.lanes) {
    if (Result<void> checked = check_lane(lane, options); !checked) {
      return checked;
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
