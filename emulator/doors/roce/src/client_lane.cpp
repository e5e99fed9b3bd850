// SPDX-License-Identifier: Apache-2.0
#include "client_lane.h"

#include <godbox/roce/pool_hello.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace godbox::emulator {
namespace {

constexpr std::uint8_t kRetries = 7;
// A port that does not answer is given up after 2 s: eight times 268 ms on its one way, or shared
// among several, two at least.
constexpr std::uint8_t kConnectTimeoutCode = 16;
constexpr std::size_t kConnectSends = 8, kConnectSendsMin = 2;

}  // namespace

// --- Connecting ---

void RoceClientLane::connect() {
  ways_left_ = of_.ways.size() - 1;
  too_large_.clear();
  ask();
}

void RoceClientLane::ask() {
  path_mtu_ = *roce::path_mtu_for(
      std::min(way().mtu_bytes, options_.interfaces[way().interface_index].mtu_bytes));
  ConnectionAttempt attempt;
  attempt.destination = way().address;
  attempt.next_hop = way().next_hop;
  attempt.service = roce::kPoolService;
  attempt.path_mtu = path_mtu_;
  attempt.reads_max = rdma::kLaneReadsMax;
  attempt.timeout = rdma::kAckTimeoutCode;
  attempt.retries_max = kRetries;
  attempt.response_timeout = kConnectTimeoutCode;
  attempt.cm_retries_max = kConnectSends - 1;
  attempt.request_retries_max =
      static_cast<std::uint8_t>(std::max(kConnectSends / of_.ways.size(), kConnectSendsMin) - 1);
  roce::encode_pool_hello({options().session, options().secret, roce::MovedBy::client},
                          std::span(attempt.private_data).first<roce::kPoolHelloBytes>());
  const Result<ConnectionId> asked = port().connect(attempt, clock().now());
  if (!asked) {
    return give_up(asked.error().code, "this end has no room for a connection");
  }
  connection_ = *asked;
}

void RoceClientLane::on_event(const ConnectionEvent& event) {
  if (event.kind == ConnectionEvent::Kind::established) {
    return on_established(event);
  }
  if (event.refusal) {
    return on_refusal(*event.refusal);
  }
  // A refusal is followed by it, and is in the completions.
  (void)take_completions();
  if (event.id == connection_) {
    on_far_side_ended();
  }
}

void RoceClientLane::on_established(const ConnectionEvent& event) {
  number_ = event.number;
  on_accepted(roce::decode_pool_welcome(std::span(event.reply).first<roce::kPoolWelcomeBytes>()));
}

void RoceClientLane::on_refusal(const ConnectionRefusal& refusal) {
  connection_ = {};  // the port has forgotten it
  const bool is_unanswered = refusal.reason == roce::RejReason::timeout;
  const bool is_too_large = refusal.reason == roce::RejReason::bad_mtu;
  if (is_too_large && too_large_.empty()) {
    const auto most = roce::path_mtu_from_number(refusal.info[0]);
    too_large_ = fmt::format(
        "the box's port has no room for a path MTU of {}{}; a smaller mtu of the "
        "wire here fits",
        bytes_of(path_mtu_), most ? fmt::format(", at most for {}", bytes_of(*most)) : "");
  }
  if ((is_unanswered || is_too_large) && ways_left_ > 0) {
    --ways_left_;
    go_next_way();
    return ask();
  }
  if ((is_unanswered || is_too_large) && !too_large_.empty()) {
    return give_up(Errc::lane_closed, too_large_);
  }
  if (is_unanswered) {
    return on_unanswered();
  }
  on_rejected(refusal.reason == roce::RejReason::consumer
                  ? roce::decode_pool_refusal(
                        std::span(refusal.private_data).first<roce::kPoolRefusalBytes>())
                  : std::nullopt,
              static_cast<unsigned>(refusal.reason));
}

void RoceClientLane::disconnect(bool has_ended, bool leaves_writes) {
  if (leaves_writes) {
    unfenced().add(lane());
  }
  if (number_ != roce::QueuePairNumber()) {
    if (!has_ended) {
      static_cast<void>(port().disconnect(number_, clock().now()));
    }
    port().destroy_queue_pair(number_);
  } else if (connection_ != ConnectionId()) {
    static_cast<void>(port().abandon(connection_));
  }
  number_ = {};
  connection_ = {};
}

// --- Posting ---

bool RoceClientLane::progress() {
  if (!is_up()) {
    return false;
  }
  const bool was_busy = take_completions();
  return (is_up() && post_sends()) || was_busy;
}

bool RoceClientLane::post_sends() {
  const bool is_busy =
      post_flights([this](rdma::Flight& flight) { return begin(flight, clock().now()); },
                   [this](rdma::Flight& flight) {
                     return !has_room_to_send()             ? Posting::no_room
                            : post_send(flight) == Errc::ok ? Posting::posted
                                                            : Posting::refused;
                   });
  finish_done();
  return is_busy;
}

Errc RoceClientLane::post_send(rdma::Flight& flight) {
  SendRequest send;
  send.op = flight.request.op == WorkOp::read ? SendOp::read : SendOp::write;
  send.remote_address = flight.remote_address();
  send.key = flight.segment().key;
  std::array<MutableSpan, kRoceLocalPiecesMax> pieces;
  std::size_t count = 0, left = std::size_t{kRoceLaneSendPacketsMax} * bytes_of(path_mtu_);
  bool is_through = false;
  while (!is_through && left > 0 && count < pieces.size()) {
    const MutableSpan bytes = flight.next_bytes();
    pieces[count] = bytes.first(std::min(bytes.size(), left));
    left -= pieces[count].size();
    is_through = flight.advance(pieces[count++].size());
  }
  send.local = std::span(pieces).first(count);
  send.id = WorkId(number_send());
  return port().post_send(number_, send);
}

// --- Completing ---

bool RoceClientLane::take_completions() {
  bool is_busy = false;
  while (number_ != roce::QueuePairNumber()) {
    const std::optional<SendCompletion> done = port().take_completed(number_);
    if (!done) {
      break;
    }
    is_busy = true;
    if (done->status != WorkStatus::ok) {
      on_failed(*done);
      break;
    }
    finish_up_to(done->id.value());
  }
  return is_busy;
}

// It is the oldest of those that are not done. A refused one comes behind those that are flushed
// because the answers to them were lost.
void RoceClientLane::on_failed(SendCompletion failed) {
  while (failed.status == WorkStatus::flushed) {
    const std::optional<SendCompletion> next = port().take_completed(number_);
    if (!next) {
      break;
    }
    failed = *next;
  }
  switch (failed.status) {
    case WorkStatus::remote_access:
      return on_refused(failed.id.value(), Errc::key_revoked);
    case WorkStatus::remote_operational:
      return on_refused(failed.id.value(), Errc::poison);
    case WorkStatus::retries_exceeded:
      break_lane(Errc::lane_timeout);
      return go_next_way();
    default:
      return break_lane(Errc::lane_closed);
  }
}

}  // namespace godbox::emulator
