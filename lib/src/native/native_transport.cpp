// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/native/native_transport.h>

#include <algorithm>

namespace godbox::native {

NativeTransport::NativeTransport(StreamNetwork& network, NativeTransportOptions options)
    : network_(network), options_(std::move(options)) {
  GODBOX_ASSERT(!options_.lanes.empty() && options_.lanes.size() <= kLanesMax);
  lanes_.reserve(options_.lanes.size());
  for (const LaneTarget& target : options_.lanes) {
    lanes_.push_back(Lane{target, nullptr, ConnectionId()});
  }
  const std::size_t at_start = options_.lanes_at_start == 0
                                   ? lanes_.size()
                                   : std::min(options_.lanes_at_start, lanes_.size());
  for (std::size_t i = 0; i < at_start; ++i) {
    open(i);
  }
}

NativeTransport::~NativeTransport() {
  for (Lane& lane : lanes_) {
    if (lane.client != nullptr) {
      network_.close(lane.connection);
    }
  }
}

void NativeTransport::open(std::size_t index) {
  Lane& lane = lanes_[index];
  LaneClient::Options options;
  options.lane = LaneId(static_cast<std::uint16_t>(index));
  options.session = options_.session;
  options.secret = options_.secret;
  options.epoch = options_.epoch;
  options.opened = network_.clock().now();
  options.reply_timeout = options_.reply_timeout;
  LaneClient::Events events;
  events.on_complete = [this](const Completion& one) { completions_.push_back(one); };
  events.on_writes_lost = [this](wire::LaneToken token) { unfenced_.push_back(token); };
  events.on_fenced = [this](Errc status) { on_fenced(status); };
  lane.client = std::make_unique<LaneClient>(options, std::move(events));
  lane.connection = network_.connect(lane.target.address, *lane.client);
}

LaneStatus NativeTransport::lane_status(LaneId lane) const {
  const Lane& entry = lanes_.at(lane.value());
  LaneStatus status;
  if (entry.client != nullptr) {
    status = entry.client->status();
  } else {
    status.state = LaneState::unopened;
  }
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
  if (entry.client == nullptr) {
    return Errc::lane_closed;
  }
  if (request.op == WorkOp::write && !unfenced_.empty()) {
    return entry.client->status().state == LaneState::up ? Errc::queue_full : Errc::lane_closed;
  }
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

bool NativeTransport::progress() {
  if (!unfenced_.empty() && being_fenced_ == 0) {
    ask_for_fence();
  }
  return false;
}

void NativeTransport::ask_for_fence() {
  const std::size_t count = std::min<std::size_t>(unfenced_.size(), wire::kBatchItemsMax);
  const std::span<const wire::LaneToken> lost = std::span(unfenced_).first(count);
  for (Lane& lane : lanes_) {
    if (lane.client != nullptr && lane.client->fence(lost, network_.clock().now()) == Errc::ok) {
      being_fenced_ = count;
      network_.kick(lane.connection);
      return;
    }
  }
}

void NativeTransport::on_fenced(Errc status) {
  if (status == Errc::ok) {
    unfenced_.erase(unfenced_.begin(),
                    unfenced_.begin() + static_cast<std::ptrdiff_t>(being_fenced_));
  }
  being_fenced_ = 0;  // otherwise asked again by progress()
}

void NativeTransport::fence(LaneId lane) {
  Lane& entry = lanes_.at(lane.value());
  if (entry.client != nullptr) {
    entry.client->abandon(Errc::lane_fenced);
    network_.close(entry.connection);
  }
}

void NativeTransport::reopen(LaneId lane) {
  Lane& entry = lanes_.at(lane.value());
  if (entry.client != nullptr) {
    if (entry.client->status().state != LaneState::down) {
      return;
    }
    network_.close(entry.connection);  // a broken lane may still wait for its close
  }
  open(lane.value());
}

}  // namespace godbox::native
