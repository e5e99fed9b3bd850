// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/native/native_transport.h>

namespace godbox::native {

NativeTransport::NativeTransport(StreamNetwork& network, NativeTransportOptions options)
    : network_(network), options_(std::move(options)) {
  GODBOX_ASSERT(!options_.lanes.empty() && options_.lanes.size() <= kLanesMax);
  lanes_.reserve(options_.lanes.size());
  for (const LaneTarget& target : options_.lanes) {
    lanes_.push_back(Lane{target, nullptr, ConnectionId()});
  }
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    open(i);
  }
}

NativeTransport::~NativeTransport() {
  for (Lane& lane : lanes_) {
    network_.close(lane.connection);
  }
}

void NativeTransport::open(std::size_t index) {
  Lane& lane = lanes_[index];
  LaneClient::Options options;
  options.lane = LaneId(static_cast<std::uint16_t>(index));
  options.session = options_.session;
  options.secret = options_.secret;
  options.epoch = options_.epoch;
  options.reply_timeout = options_.reply_timeout;
  lane.client = std::make_unique<LaneClient>(
      options, [this](const Completion& completion) { completions_.push_back(completion); });
  lane.connection = network_.connect(lane.target.address, *lane.client);
}

LaneStatus NativeTransport::lane_status(LaneId lane) const {
  const Lane& entry = lanes_.at(lane.value());
  LaneStatus status = entry.client->status();
  status.eth_port = entry.target.eth_port;
  status.super_nic = entry.target.super_nic;
  return status;
}

Result<void> NativeTransport::register_memory(MutableSpan memory) {
  if (memory.empty()) {
    return Error(Errc::invalid_argument, "memory to register is empty");
  }
  return {};  // sockets take any memory
}

void NativeTransport::deregister_memory(MutableSpan /*memory*/) {}

Errc NativeTransport::post(LaneId lane, const WorkRequest& request) {
  Lane& entry = lanes_.at(lane.value());
  const Errc status = entry.client->post(request, network_.clock().now());
  if (status == Errc::ok) {
    network_.kick(entry.connection);
  }
  return status;
}

std::size_t NativeTransport::poll(std::span<Completion> out) {
  std::size_t count = 0;
  while (count < out.size() && !completions_.empty()) {
    out[count++] = completions_.front();
    completions_.pop_front();
  }
  return count;
}

void NativeTransport::fence(LaneId lane) {
  Lane& entry = lanes_.at(lane.value());
  entry.client->abandon(Errc::lane_fenced);
  network_.close(entry.connection);
}

void NativeTransport::reopen(LaneId lane) {
  Lane& entry = lanes_.at(lane.value());
  if (entry.client->status().state != LaneState::down) {
    return;
  }
  network_.close(entry.connection);  // a broken lane may still wait for its close
  open(lane.value());
}

}  // namespace godbox::native
