// SPDX-License-Identifier: Apache-2.0
#include "client_lane.h"

#include <godbox/assert.h>
#include <godbox/request_crcs.h>
#include <godbox/roce/pool_hello.h>
#include <godbox/virtual_address.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace godbox::emulator {
namespace {

// A packet that nobody answers goes out again after 134 ms, seven times before its queue pair
// fails: a dead port holds up what it had for a second.
constexpr std::uint8_t kAckTimeoutCode = 15;
constexpr std::uint8_t kRetries = 7;
// A port that does not answer is given up after 2 s: eight times 268 ms.
constexpr std::uint8_t kConnectTimeoutCode = 16;
constexpr std::uint8_t kConnectRetries = 7;
constexpr std::uint8_t kReadsMax = 16;

}  // namespace

void RoceClientLane::open() {
  if (step_ != Step::down) {
    return;
  }
  last_error_ = Errc::ok;
  ConnectionAttempt attempt;
  attempt.destination = of().address;
  attempt.next_hop = of().next_hop;
  attempt.service = roce::kPoolService;
  attempt.path_mtu = *roce::path_mtu_for(
      std::min(of().mtu_bytes, options_.interfaces[of().interface_index].mtu_bytes));
  send_bytes_max_ = std::uint64_t{kRoceLaneSendPacketsMax} * bytes_of(attempt.path_mtu);
  attempt.reads_max = kReadsMax;
  attempt.timeout = kAckTimeoutCode;
  attempt.retries_max = kRetries;
  attempt.response_timeout = kConnectTimeoutCode;
  attempt.cm_retries_max = kConnectRetries;
  roce::encode_pool_hello({options_.session, options_.secret, roce::MovedBy::client},
                          std::span(attempt.private_data).first<roce::kPoolHelloBytes>());
  const Result<ConnectionId> asked = port_.connect(attempt, clock_.now());
  if (!asked) {
    return give_up(asked.error().code, "this end has no room for a connection");
  }
  connection_ = *asked;
  step_ = Step::connecting;
}

void RoceClientLane::on_event(const ConnectionEvent& event) {
  if (event.kind == ConnectionEvent::Kind::established) {
    return on_established(event);
  }
  if (event.refusal) {
    return on_refused(*event.refusal);
  }
  // A refusal is followed by it, and is in the completions.
  (void)take_completions();
  if (event.id == connection_) {
    close(true);
    break_lane(Errc::lane_closed);
  }
}

void RoceClientLane::on_established(const ConnectionEvent& event) {
  number_ = event.number;
  const auto welcome =
      roce::decode_pool_welcome(std::span(event.reply).first<roce::kPoolWelcomeBytes>());
  if (!welcome) {
    return give_up(Errc::protocol_error, "what accepts the connection is no box's pool");
  }
  eth_port_ = welcome->eth_port;
  lane_ = welcome->lane;
  step_ = Step::up;
  is_recovering_ = false;
}

void RoceClientLane::on_refused(const ConnectionRefusal& refusal) {
  connection_ = {};  // the port has forgotten it
  switch (refusal.reason) {
    case roce::RejReason::timeout:
      return give_up(Errc::lane_timeout, "nobody answers to the request for a connection");
    case roce::RejReason::bad_mtu: {
      const auto most = roce::path_mtu_from_number(refusal.info[0]);
      return give_up(
          Errc::lane_closed,
          fmt::format("the box's port has no room for a path MTU of {}{}; a smaller mtu of the "
                      "wire here fits",
                      bytes_of(*roce::path_mtu_for(std::min(
                          of().mtu_bytes, options_.interfaces[of().interface_index].mtu_bytes))),
                      most ? fmt::format(", at most for {}", bytes_of(*most)) : ""));
    }
    case roce::RejReason::consumer:
      if (const auto why = roce::decode_pool_refusal(
              std::span(refusal.private_data).first<roce::kPoolRefusalBytes>())) {
        return give_up(*why, fmt::format("the box rejects the connection: {}", to_string(*why)));
      }
      break;
    default:
      break;
  }
  give_up(Errc::lane_closed, fmt::format("the connection is rejected (IBTA reason {})",
                                         static_cast<unsigned>(refusal.reason)));
}

void RoceClientLane::give_up(Errc why, std::string_view what) {
  if (options_.on_connect_failed) {
    options_.on_connect_failed(id_, Error(why, fmt::format("{}: {}", of().name, what)));
  }
  break_lane(why);
}

// The far side is told, as it need not find out by itself. Once the queue pair is destroyed nothing
// touches memory of its requests.
void RoceClientLane::close(bool far_side_ended) {
  const bool has_unanswered_writes =
      sent_ > done_ && std::ranges::any_of(flights_, [](const Flight& flight) {
        return flight.is_begun && flight.request.op == WorkOp::write;
      });
  if (step_ == Step::up && !far_side_ended && has_unanswered_writes) {
    unfenced_.push_back({lane_});
  }
  if (number_ != roce::QueuePairNumber()) {
    if (!far_side_ended) {
      static_cast<void>(port_.disconnect(number_, clock_.now()));
    }
    port_.destroy_queue_pair(number_);
  } else if (connection_ != ConnectionId()) {
    static_cast<void>(port_.abandon(connection_));
  }
  number_ = {};
  connection_ = {};
  step_ = Step::down;
  sent_ = 0;
  done_ = 0;
}

void RoceClientLane::break_lane(Errc why) {
  close();
  last_error_ = why;
  is_recovering_ = false;
  // Whatever befell this lane, others may take what it had under way.
  const Errc of_lane = scope_of(why) == ErrcScope::lane ? why : Errc::lane_closed;
  while (!flights_.empty()) {
    finish_front(of_lane);
  }
  posting_ = 0;
}

void RoceClientLane::begin_again() {
  close(true);  // it takes nothing after a refusal
  posting_ = 0;
  for (Flight& flight : flights_) {
    flight = Flight{.request = flight.request};
  }
  is_recovering_ = true;
  open();
}

void RoceClientLane::fence() {
  if (step_ != Step::down) {
    break_lane(Errc::lane_fenced);
  }
}

std::optional<wire::LaneToken> RoceClientLane::next_unfenced(TimePoint now) {
  for (Unfenced& each : unfenced_) {
    if (each.ask_at <= now) {
      each.ask_at = kNever;
      return each.lane;
    }
  }
  return std::nullopt;
}

void RoceClientLane::on_fenced(wire::LaneToken lane) {
  std::erase_if(unfenced_, [lane](const Unfenced& each) { return each.lane == lane; });
}

void RoceClientLane::on_fence_failed(wire::LaneToken lane, TimePoint now) {
  for (Unfenced& each : unfenced_) {
    if (each.lane == lane) {
      each.ask_at = now + kRoceFencePause;
    }
  }
}

Errc RoceClientLane::post(const WorkRequest& request) {
  if (flights_.size() >= options_.requests_max ||
      request.total_bytes > options_.bytes_max - bytes_in_flight_) {
    return Errc::queue_full;
  }
  flights_.push_back({.request = request});
  bytes_in_flight_ += request.total_bytes;
  return Errc::ok;
}

bool RoceClientLane::progress() {
  if (step_ != Step::up) {
    return false;
  }
  const bool was_busy = take_completions();
  return (step_ == Step::up && post_sends()) || was_busy;
}

LaneStatus RoceClientLane::status() const {
  LaneStatus status;
  status.state = step_ == Step::up || is_recovering_ ? LaneState::up
                 : step_ == Step::down               ? LaneState::down
                                                     : LaneState::connecting;
  status.eth_port = eth_port_;
  status.super_nic = of().super_nic;
  status.requests_in_flight = static_cast<std::uint32_t>(flights_.size());
  status.bytes_in_flight = bytes_in_flight_;
  status.requests_in_flight_max = options_.requests_max;
  status.bytes_in_flight_max = options_.bytes_max;
  status.last_error = last_error_;
  return status;
}

// --- Posting ---

Errc RoceClientLane::begin(Flight& flight) const {
  flight.is_begun = true;
  const WorkRequest& request = flight.request;
  if (clock_.now() >= request.deadline) {
    return Errc::deadline_exceeded;
  }
  for (const RemoteSegment& segment : request.remote) {
    const auto address = to_virtual(segment.address);
    if (!address || segment.length_bytes - 1 > kSlabOffsetMask - segment.address.offset.count()) {
      return Errc::out_of_range;
    }
  }
  if (request.op == WorkOp::write) {
    make_crcs(request);
  }
  return Errc::ok;
}

bool RoceClientLane::post_sends() {
  bool is_busy = false;
  while (posting_ < flights_.size()) {
    Flight& flight = flights_[posting_];
    if (!flight.is_begun) {
      flight.status = begin(flight);
      is_busy = true;
    }
    while (!flight.is_posted() && sent_ - done_ < kRoceLaneSendsMax) {
      if (!post_send(flight)) {
        break_lane(Errc::lane_closed);
        return true;
      }
      is_busy = true;
    }
    if (!flight.is_posted()) {
      break;
    }
    flight.last_send = sent_;
    ++posting_;
  }
  finish_up_to(done_);  // those that ended without a send
  return is_busy;
}

bool RoceClientLane::post_send(Flight& flight) {
  const WorkRequest& request = flight.request;
  const RemoteSegment& remote = request.remote[flight.remote];
  SendRequest send;
  send.op = request.op == WorkOp::read ? SendOp::read : SendOp::write;
  send.remote_address = to_virtual(remote.address)->value() + flight.remote_offset;
  send.key = remote.key;
  std::array<MutableSpan, kRoceLocalPiecesMax> pieces;
  std::size_t count = 0;
  std::uint64_t left =
      std::min<std::uint64_t>(remote.length_bytes - flight.remote_offset, send_bytes_max_);
  while (left > 0 && count < pieces.size()) {
    const LocalSegment& local = request.local[flight.local];
    const std::size_t size = std::min<std::uint64_t>(local.size_bytes - flight.local_offset, left);
    if (size > 0) {
      pieces[count++] = {local.data + flight.local_offset, size};
      flight.local_offset += size;
      flight.remote_offset += size;
      left -= size;
    }
    if (flight.local_offset == local.size_bytes) {
      ++flight.local;
      flight.local_offset = 0;
    }
  }
  if (flight.remote_offset == remote.length_bytes) {
    ++flight.remote;
    flight.remote_offset = 0;
  }
  send.local = std::span(pieces).first(count);
  send.id = WorkId(++sent_);
  return port_.post_send(number_, send) == Errc::ok;
}

// --- Completing ---

bool RoceClientLane::take_completions() {
  bool is_busy = false;
  while (number_ != roce::QueuePairNumber()) {
    const std::optional<SendCompletion> done = port_.take_completed(number_);
    if (!done) {
      break;
    }
    is_busy = true;
    if (done->status != WorkStatus::ok) {
      on_failed(done->status);
      break;
    }
    done_ = done->id.value();
    finish_up_to(done_);
  }
  return is_busy;
}

// It comes for the oldest of those that are not done.
void RoceClientLane::on_failed(WorkStatus status) {
  const bool is_refused = status == WorkStatus::remote_access;
  if (!is_refused && status != WorkStatus::remote_operational) {
    return break_lane(status == WorkStatus::retries_exceeded ? Errc::lane_timeout
                                                             : Errc::lane_closed);
  }
  GODBOX_ASSERT(!flights_.empty());
  finish_front(is_refused ? Errc::key_revoked : Errc::poison);
  begin_again();
}

void RoceClientLane::finish_up_to(std::uint64_t send) {
  while (posting_ > 0 && flights_.front().last_send <= send) {
    finish_front(flights_.front().status);
  }
}

void RoceClientLane::finish_front(Errc status) {
  const Flight& flight = flights_.front();
  if (status == Errc::ok && flight.request.op == WorkOp::read && !has_right_crcs(flight.request)) {
    status = Errc::crc_mismatch;
  }
  bytes_in_flight_ -= flight.request.total_bytes;
  completions_.push_back({flight.request.id, id_, status});
  flights_.pop_front();
  posting_ -= posting_ > 0 ? 1 : 0;
}

}  // namespace godbox::emulator
