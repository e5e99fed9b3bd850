// SPDX-License-Identifier: Apache-2.0
#include "rdma_lanes.h"

#include <algorithm>
#include <utility>

namespace godbox {
namespace {

constexpr Duration kFirstLaneUpMax = std::chrono::seconds(10);
constexpr Duration kOtherLanesUpMax = std::chrono::seconds(1);
constexpr std::size_t kReasonsMax = 4;  // in one error

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

Error no_lane(std::span<const std::string> addresses, LaneFailures failures) {
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    failures.try_emplace(LaneId(static_cast<LaneId::rep>(i)), Errc::lane_timeout,
                         addresses[i] + ": no answer in time");
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

Result<std::vector<wire::RocePort>> roce_ports_of(
    const striping::Client::TransportContext& context) {
  std::vector<wire::RocePort> ports = wire::roce_ports(context.box.eth_ports);
  if (ports.empty()) {
    return Error(Errc::unsupported,
                 "the box offers no RoCE port; godbox serve --roce makes Ethernet ports such");
  }
  return ports;
}

rdma::ClientOptions rdma_options(const striping::Client::TransportContext& context,
                                 const std::shared_ptr<LaneFailures>& failures) {
  rdma::ClientOptions options;
  options.session = context.session.session;
  options.secret = context.session.secret;
  // By the control connection.
  options.ask_for_fence = [ask = context.ask](wire::LaneToken lane,
                                              const std::function<void(Errc)>& on_answer) {
    ask(wire::Op::fence, wire::encode(wire::FenceRequest{{lane}}),
        [on_answer](Errc status, ConstSpan) { on_answer(status); });
  };
  // The transport keeps its copy of the options for as long as it lives.
  options.on_connect_failed = [failures](LaneId lane, const Error& why) {
    failures->insert_or_assign(lane, why);
  };
  return options;
}

Result<std::unique_ptr<Transport>> when_lanes_are_up(std::unique_ptr<Transport> transport,
                                                     StreamNetwork& network,
                                                     const ConnectOptions& options,
                                                     std::span<const std::string> addresses,
                                                     const LaneFailures& failures) {
  wait_for_lanes(*transport, network, options.client.timeout);
  if (lanes_in(*transport, LaneState::up) == 0) {
    return no_lane(addresses, failures);
  }
  return transport;
}

}  // namespace godbox
