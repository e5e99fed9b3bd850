// SPDX-License-Identifier: Apache-2.0
//
// A session goes on when its control connection has ended: over another Ethernet port of the box,
// while a lane shows that the box is there.
#include "client_core.h"
#include <godbox/stream_ports.h>

#include <algorithm>

namespace godbox::striping {

namespace {

// An attempt that has not greeted by then is one of a port that is silent, or of a box that has
// much to do: the next one, once all addresses were tried, is given twice as long.
constexpr Duration kAttemptTime = std::chrono::milliseconds(250);
constexpr Duration kAttemptPause = std::chrono::milliseconds(2);
constexpr std::size_t kRoundsMax = 4;  // of doubling

}  // namespace

bool ClientCore::mind_control() {
  if (control_->is_connected()) {
    sessions_resumed_ += attempts_ > 0 ? 1 : 0;
    attempts_ = 0;
    return false;
  }
  if (!control_->is_closed()) {
    resume_control(now());
  }
  if (control_->is_closed()) {
    lose(Errc::session_lost);
    return true;
  }
  return false;
}

void ClientCore::resume_control(TimePoint time) {
  control_->on_timer(time);
  if (!control_->is_suspended() && !control_->is_closed() && time >= attempt_until_) {
    network_.close(connection_);
  }
  if (!control_->is_suspended()) {
    return;
  }
  if (attempts_ == 0) {
    list_addresses();
    next_attempt_ = time;
  }
  // Without a lane the box has ended the session, or is not there any more.
  const bool is_there =
      std::any_of(box_.eth_ports.begin(), box_.eth_ports.end(),
                  [this](const wire::EthPortInfo& port) { return has_lane_up(port.id); });
  if (!is_there || addresses_.empty()) {
    control_->give_up_session(time);
  } else if (time >= next_attempt_) {
    begin_attempt(time);
  }
}

void ClientCore::begin_attempt(TimePoint time) {
  const std::size_t round = std::min(attempts_ / addresses_.size(), kRoundsMax);
  const StreamAddress& address = addresses_[attempts_ % addresses_.size()];
  attempts_ += 1;
  next_attempt_ = time + kAttemptPause * (std::int64_t{1} << round);
  attempt_until_ = time + kAttemptTime * (std::int64_t{1} << round);
  control_->resume();
  connection_ = network_.connect(address, *control_);
}

// Ports whose lanes stand come first; which of these differs from session to session, so that not
// all clients of a port that died go to the same. The address that has failed comes last.
void ClientCore::list_addresses() {
  addresses_.clear();
  std::vector<StreamAddress> others;
  const std::vector<wire::EthPortInfo> ports = wire::stream_ports(box_.eth_ports);
  const std::size_t first = ports.empty() ? 0 : session().session.value() % ports.size();
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const wire::EthPortInfo& port = ports[(first + i) % ports.size()];
    Result<StreamAddress> address = StreamAddress::parse(port.address);
    if (!address) {
      continue;
    }
    // In a VM the host's loopback is behind the address by which this box was reached.
    if (!control_address_.is_loopback()) {
      address->host = control_address_.host;
    }
    if (*address != control_address_) {
      (has_lane_up(port.id) ? addresses_ : others).push_back(std::move(*address));
    }
  }
  addresses_.insert(addresses_.end(), others.begin(), others.end());
  addresses_.push_back(control_address_);
}

bool ClientCore::has_lane_up(EthPortId eth_port) const {
  for (std::size_t i = 0; transport_ != nullptr && i < transport_->lane_count(); ++i) {
    const LaneStatus status = transport_->lane_status(LaneId(static_cast<LaneId::rep>(i)));
    if (status.eth_port == eth_port && status.state == LaneState::up) {
      return true;
    }
  }
  return false;
}

TimePoint ClientCore::control_wake() const {
  if (lost_ != Errc::ok || control_->is_connected() || control_->is_closed()) {
    return kNever;
  }
  return std::min(control_->next_deadline(),
                  control_->is_suspended() ? next_attempt_ : attempt_until_);
}

}  // namespace godbox::striping
