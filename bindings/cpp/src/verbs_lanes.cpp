// SPDX-License-Identifier: Apache-2.0
#include "verbs_lanes.h"

#include <godbox/roce_ports.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

namespace godbox {
namespace {

constexpr Duration kFirstLaneUpMax = std::chrono::seconds(10);
constexpr Duration kOtherLanesUpMax = std::chrono::seconds(1);
constexpr std::size_t kReasonsMax = 4;  // in one error

using Failures = std::map<LaneId, Error>;  // of each lane's last attempt

std::size_t lanes_in(const Transport& transport, LaneState state) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < transport.lane_count(); ++i) {
    const LaneId lane(static_cast<LaneId::rep>(i));
    count += transport.lane_status(lane).state == state ? 1 : 0;
  }
  return count;
}

void wait_for_lanes(Transport& transport, StreamNetwork& network, Duration timeout) {
  const Clock& clock = network.clock();
  TimePoint until = clock.now() + std::min(timeout, kFirstLaneUpMax);
  bool has_one = false;
  for (;;) {
    if (!has_one && lanes_in(transport, LaneState::up) > 0) {
      has_one = true;
      until = std::min(until, clock.now() + kOtherLanesUpMax);
    }
    if (lanes_in(transport, LaneState::connecting) == 0 || clock.now() >= until) {
      return;
    }
    if (!transport.progress()) {
      network.run_until(clock.now() + std::min(until - clock.now(), transport.poll_pause()));
    }
  }
}

Error no_lane(const driver::VerbsOptions& verbs, Failures failures) {
  for (std::size_t i = 0; i < verbs.lanes.size(); ++i) {
    failures.try_emplace(LaneId(static_cast<LaneId::rep>(i)), Errc::lane_timeout,
                         verbs.lanes[i].addresses.front() + ": no answer in time");
  }
  std::string reasons;
  std::size_t count = 0;
  for (const auto& [lane, why] : failures) {
    const bool is_new = reasons.find(why.detail) == std::string::npos;
    if (is_new && count++ < kReasonsMax) {
      reasons += (reasons.empty() ? "" : "; ") + why.detail;
    }
  }
  return {failures.begin()->second.code, "no lane over RDMA: " + reasons};
}

}  // namespace

Result<std::unique_ptr<Transport>> make_verbs_lanes(
    const striping::Client::TransportContext& context, const ConnectOptions& options,
    const OpenVerbs& open) {
  std::vector<wire::RocePort> ports = wire::roce_ports(context.box.eth_ports);
  if (ports.empty()) {
    return Error(Errc::unsupported,
                 "the box offers no RoCE port; godbox serve --roce makes Ethernet ports such");
  }
  if (options.eth_ports_max > 0 && options.eth_ports_max < ports.size()) {
    ports.resize(options.eth_ports_max);
  }
  driver::VerbsOptions verbs;
  verbs.session = context.session.session;
  verbs.secret = context.session.secret;
  // The first lane of each port comes before the second of any.
  for (std::uint32_t i = 0; i < std::max<std::uint32_t>(options.lanes_per_eth_port, 1); ++i) {
    for (const wire::RocePort& port : ports) {
      verbs.lanes.push_back({port.addresses, port.super_nic, port.moved_by});
    }
  }
  if (verbs.lanes.size() > driver::kVerbsLanesMax) {
    return Error(Errc::limit_exceeded, std::to_string(verbs.lanes.size()) +
                                           " lanes over RDMA are too many; fewer lanes per port");
  }
  verbs.ask_for_fence = [ask = context.ask](wire::LaneToken lane,
                                            const std::function<void(Errc)>& on_answer) {
    ask(wire::Op::fence, wire::encode(wire::FenceRequest{{lane}}),
        [on_answer](Errc status, ConstSpan) { on_answer(status); });
  };
  // The transport keeps its copy of the options for as long as it lives.
  const auto failures = std::make_shared<Failures>();
  verbs.on_connect_failed = [failures](LaneId lane, const Error& why) {
    failures->insert_or_assign(lane, why);
  };
  Result<std::unique_ptr<Transport>> transport = open(verbs, context.network.clock());
  if (!transport) {
    return transport;
  }
  wait_for_lanes(**transport, context.network, options.client.timeout);
  if (lanes_in(**transport, LaneState::up) == 0) {
    return no_lane(verbs, *failures);
  }
  return transport;
}

}  // namespace godbox
