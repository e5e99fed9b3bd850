// SPDX-License-Identifier: Apache-2.0
#include "verbs_lane.h"

#include "socket_address.h"
#include <godbox/assert.h>
#include <godbox/request_crcs.h>
#include <godbox/roce/pool_hello.h>
#include <godbox/virtual_address.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace godbox::driver {
namespace {

constexpr std::uint8_t kReadsMax = 16;

int milliseconds(Duration time) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

}  // namespace

VerbsLane::VerbsLane(LaneId id, const VerbsOptions& options, rdma_event_channel* channel,
                     DeviceOf device_of, const Clock& clock)
    : id_(id),
      options_(options),
      channel_(channel),
      device_of_(std::move(device_of)),
      clock_(clock) {}

void VerbsLane::open() {
  if (step_ != Step::down) {
    return;
  }
  last_error_ = Errc::ok;
  connect_until_ = clock_.now() + 3 * kVerbsConnectMax;
  address_ = 0;
  resolve();
}

void VerbsLane::resolve() {
  step_ = Step::address;
  sockaddr_storage to = *socket_address(address(), kVerbsServicePort);  // open() has looked
  if (rdma_create_id(channel_, &connection_, this, RDMA_PS_TCP) != 0) {
    return give_up(Errc::limit_exceeded, "rdma_create_id", errno);
  }
  std::uint8_t ack_timeout = kVerbsAckTimeoutCode;
  // An older kernel does not know it, and takes a second for each.
  static_cast<void>(rdma_set_option(connection_, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT,
                                    &ack_timeout, sizeof(ack_timeout)));
  if (rdma_resolve_addr(connection_, nullptr, reinterpret_cast<sockaddr*>(&to),
                        milliseconds(kVerbsConnectMax)) != 0) {
    pass_over_address(errno);
  }
}

void VerbsLane::pass_over_address(int error) {
  if (address_ + 1 < options_.lanes[id_.value()].addresses.size()) {
    close();
    ++address_;
    return resolve();
  }
  // Without an answer to ARP or to a neighbour solicitation there is a route, and nobody at its
  // end.
  const bool is_silent = error == ETIMEDOUT || error == EHOSTUNREACH;
  give_up(is_silent ? Errc::lane_timeout : Errc::device_missing,
          is_silent ? "nobody answers at that address" : "no RDMA device here has a route there",
          error);
}

const std::string& VerbsLane::address() const {
  return options_.lanes[id_.value()].addresses[address_];
}

void VerbsLane::give_up(Errc why, std::string_view what, int error) {
  if (step_ != Step::up && options_.on_connect_failed) {
    options_.on_connect_failed(
        id_,
        Error(why, error == 0 ? fmt::format("{}: {}", address(), what)
                              : fmt::format("{}: {} ({})", address(), what, std::strerror(error))));
  }
  break_lane(why);
}

VerbsLane::~VerbsLane() {
  close(true);
  for (const Leaving& leaving : leaving_) {
    rdma_destroy_id(leaving.connection);
  }
}

void VerbsLane::on_event(const rdma_cm_event& event) {
  if (std::erase_if(leaving_, [&](const Leaving& of) { return of.connection == event.id; }) > 0) {
    rdma_destroy_id(event.id);  // it answered, or did not within a minute: no packet lives so long
    return;
  }
  if (event.id != connection_) {
    return;
  }
  const rdma_conn_param& told = event.param.conn;
  const auto* const data = static_cast<const std::uint8_t*>(told.private_data);
  switch (event.event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
      step_ = Step::route;
      if (rdma_resolve_route(connection_, milliseconds(kVerbsConnectMax)) != 0) {
        give_up(Errc::device_missing, "rdma_resolve_route", errno);
      }
      return;
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
      return pass_over_address(-event.status);
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      return connect();
    case RDMA_CM_EVENT_ESTABLISHED: {
      const auto welcome =
          data != nullptr && told.private_data_len >= roce::kPoolWelcomeBytes
              ? roce::decode_pool_welcome(std::span<const std::uint8_t, roce::kPoolWelcomeBytes>(
                    data, roce::kPoolWelcomeBytes))
              : std::nullopt;
      if (!welcome) {
        return give_up(Errc::protocol_error, "what accepts the connection is no box's pool");
      }
      eth_port_ = welcome->eth_port;
      lane_ = welcome->lane;
      step_ = Step::up;
      is_recovering_ = false;
      return;
    }
    case RDMA_CM_EVENT_REJECTED: {
      const auto why =
          data != nullptr && told.private_data_len >= roce::kPoolRefusalBytes
              ? roce::decode_pool_refusal(std::span<const std::uint8_t, roce::kPoolRefusalBytes>(
                    data, roce::kPoolRefusalBytes))
              : std::nullopt;
      if (why) {
        return give_up(*why, fmt::format("the box rejects the connection: {}", to_string(*why)));
      }
      return give_up(Errc::lane_closed,
                     fmt::format("the connection is rejected (IBTA reason {})", event.status));
    }
    case RDMA_CM_EVENT_UNREACHABLE:
      return give_up(Errc::lane_timeout, "nobody answers to the request for a connection");
    case RDMA_CM_EVENT_DISCONNECTED:
      // A refusal is followed by it, and is in the completions.
      (void)take_completions();
      if (step_ == Step::up && event.id == connection_) {
        close(true);
        break_lane(Errc::lane_closed);
      }
      return;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      return break_lane(Errc::device_missing);
    default:
      return give_up(Errc::lane_closed, rdma_event_str(event.event));
  }
}

bool VerbsLane::create_queue_pair() {
  device_ = device_of_(connection_->verbs);
  ibv_device_attr limits{};
  if (device_ == nullptr || ibv_query_device(connection_->verbs, &limits) != 0) {
    return false;
  }
  pieces_max_ =
      std::clamp<std::uint32_t>(static_cast<std::uint32_t>(limits.max_sge), 1, kPiecesMax);
  // Of whichever end reads.
  reads_max_ = static_cast<std::uint8_t>(std::clamp<int>(
      is_by_box() ? limits.max_qp_rd_atom : limits.max_qp_init_rd_atom, 1, kReadsMax));
  completion_queue_ =
      ibv_create_cq(connection_->verbs, static_cast<int>(kVerbsSendsMax + roce::kMoveOrdersMax) + 1,
                    nullptr, nullptr, 0);
  if (completion_queue_ == nullptr) {
    return false;
  }
  ibv_qp_init_attr wanted{};
  wanted.send_cq = completion_queue_;
  wanted.recv_cq = completion_queue_;
  wanted.cap.max_send_wr = kVerbsSendsMax;
  wanted.cap.max_recv_wr = is_by_box() ? roce::kMoveOrdersMax : 1;
  wanted.cap.max_send_sge = pieces_max_;
  wanted.cap.max_recv_sge = 1;
  wanted.qp_type = IBV_QPT_RC;
  return rdma_create_qp(connection_, device_->domain(), &wanted) == 0 &&
         (!is_by_box() || prepare_orders());
}

void VerbsLane::connect() {
  step_ = Step::connect;
  if (!create_queue_pair()) {
    return give_up(Errc::limit_exceeded,
                   device_ == nullptr
                       ? "the RDMA device takes no registration of this memory (ulimit -l)"
                       : "the RDMA device has no room for a queue pair",
                   errno);
  }
  std::array<std::uint8_t, roce::kPoolHelloBytes> hello{};
  roce::encode_pool_hello({options_.session, options_.secret, options_.lanes[id_.value()].moved_by},
                          hello);
  rdma_conn_param parameters{};
  parameters.private_data = hello.data();
  parameters.private_data_len = hello.size();
  parameters.responder_resources = is_by_box() ? reads_max_ : 1;
  parameters.initiator_depth = is_by_box() ? 0 : reads_max_;
  parameters.retry_count = kVerbsRetries;
  parameters.rnr_retry_count = kVerbsNotReadyRetries;
  if (rdma_connect(connection_, &parameters) != 0) {
    give_up(Errc::lane_closed, "rdma_connect", errno);
  }
}

bool VerbsLane::has_unanswered_writes() const {
  return (sent_ > done_ || orders_.under_way > 0) &&
         std::ranges::any_of(flights_, [](const Flight& flight) {
           return flight.is_begun && flight.request.op == WorkOp::write;
         });
}

// The far side is told, as it need not find out by itself. Once the queue pair is destroyed the
// device touches no byte of this side.
void VerbsLane::close(bool far_side_ended) {
  if (connection_ != nullptr) {
    const bool is_answer_needed = step_ == Step::up && !far_side_ended && has_unanswered_writes();
    bool is_leaving = false;
    if (connection_->qp != nullptr) {
      is_leaving = rdma_disconnect(connection_) == 0 && is_answer_needed;
      rdma_destroy_qp(connection_);
    }
    if (completion_queue_ != nullptr) {
      ibv_destroy_cq(std::exchange(completion_queue_, nullptr));
    }
    if (is_leaving) {
      leaving_.push_back({std::exchange(connection_, nullptr), lane_});
    } else {
      rdma_destroy_id(std::exchange(connection_, nullptr));
    }
  }
  step_ = Step::down;
  sent_ = 0;
  done_ = 0;
  orders_ = {};
}

void VerbsLane::break_lane(Errc why) {
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

void VerbsLane::begin_again() {
  close(true);  // it takes nothing after a refusal
  posting_ = 0;
  for (Flight& flight : flights_) {
    flight = Flight{.request = flight.request};
  }
  is_recovering_ = true;
  open();
}

void VerbsLane::fence() {
  if (step_ != Step::down || is_recovering_) {
    break_lane(Errc::lane_fenced);
  }
}

std::optional<wire::LaneToken> VerbsLane::next_unfenced(TimePoint now) {
  for (Leaving& leaving : leaving_) {
    if (leaving.ask_at <= now) {
      leaving.ask_at = kNever;
      return leaving.lane;
    }
  }
  return std::nullopt;
}

void VerbsLane::on_fenced(wire::LaneToken lane) {
  std::erase_if(leaving_, [lane](const Leaving& leaving) {
    return leaving.lane == lane && rdma_destroy_id(leaving.connection) == 0;
  });
}

void VerbsLane::on_fence_failed(wire::LaneToken lane, TimePoint now) {
  for (Leaving& leaving : leaving_) {
    if (leaving.lane == lane) {
      leaving.ask_at = now + kVerbsFencePause;
    }
  }
}

Errc VerbsLane::post(const WorkRequest& request) {
  if (flights_.size() >= options_.requests_max ||
      request.total_bytes > options_.bytes_max - bytes_in_flight_) {
    return Errc::queue_full;
  }
  flights_.push_back({.request = request});
  bytes_in_flight_ += request.total_bytes;
  return Errc::ok;
}

bool VerbsLane::progress() {
  if (step_ == Step::down) {
    return false;
  }
  if (step_ != Step::up) {
    if (clock_.now() >= connect_until_) {
      give_up(Errc::lane_timeout, "no connection in time");
      return true;
    }
    return false;
  }
  const bool was_busy = take_completions();
  return step_ == Step::up && ((is_by_box() ? post_orders() : post_sends()) || was_busy);
}

LaneStatus VerbsLane::status() const {
  LaneStatus status;
  status.state = step_ == Step::up || is_recovering_ ? LaneState::up
                 : step_ == Step::down               ? LaneState::down
                                                     : LaneState::connecting;
  status.eth_port = eth_port_;
  status.super_nic = options_.lanes[id_.value()].super_nic;
  status.requests_in_flight = static_cast<std::uint32_t>(flights_.size());
  status.bytes_in_flight = bytes_in_flight_;
  status.requests_in_flight_max = options_.requests_max;
  status.bytes_in_flight_max = options_.bytes_max;
  status.last_error = last_error_;
  return status;
}

// --- Posting
// -----------------------------------------------------------------------------------

Errc VerbsLane::begin(Flight& flight) {
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
  return device_->cover(request, flight.regions);
}

bool VerbsLane::post_sends() {
  bool is_busy = false;
  std::size_t count = 0;
  while (posting_ < flights_.size()) {
    Flight& flight = flights_[posting_];
    if (!flight.is_begun) {
      flight.status = begin(flight);
      is_busy = true;
    }
    while (!flight.is_posted() && count < kBatchMax && sent_ - done_ < kVerbsSendsMax) {
      fill_send(flight, batch_[count], batch_pieces_[count].data());
      ++count;
    }
    if (!flight.is_posted()) {
      break;
    }
    flight.last_send = sent_;
    if (count > 0 && flight.status == Errc::ok) {
      batch_[count - 1].send_flags = IBV_SEND_SIGNALED;
    }
    ++posting_;
  }
  if (count > 0) {
    for (std::size_t i = 0; i + 1 < count; ++i) {
      batch_[i].next = &batch_[i + 1];
    }
    batch_[count - 1].next = nullptr;
    ibv_send_wr* refused = nullptr;
    if (ibv_post_send(connection_->qp, batch_.data(), &refused) != 0) {
      break_lane(Errc::lane_closed);
      return true;
    }
  }
  finish_up_to(done_);  // those that ended without a send
  return is_busy || count > 0;
}

void VerbsLane::fill_send(Flight& flight, ibv_send_wr& send, ibv_sge* pieces) {
  const WorkRequest& request = flight.request;
  const RemoteSegment& remote = request.remote[flight.remote];
  std::uint64_t left = remote.length_bytes - flight.remote_offset;
  std::uint32_t count = 0;
  std::uint64_t total = 0;
  while (left > 0 && count < pieces_max_) {
    const LocalSegment& local = request.local[flight.local];
    const std::size_t size = std::min<std::uint64_t>(local.size_bytes - flight.local_offset, left);
    if (size > 0) {
      std::byte* const data = local.data + flight.local_offset;
      const DevicePiece piece = device_->piece(flight.regions, data, size);
      pieces[count++] = {.addr = reinterpret_cast<std::uintptr_t>(data),
                         .length = static_cast<std::uint32_t>(piece.size_bytes),
                         .lkey = piece.key};
      flight.local_offset += piece.size_bytes;
      total += piece.size_bytes;
      left -= piece.size_bytes;
    }
    if (flight.local_offset == local.size_bytes) {
      ++flight.local;
      flight.local_offset = 0;
    }
  }
  send = {};
  send.wr_id = ++sent_;
  send.sg_list = pieces;
  send.num_sge = static_cast<int>(count);
  send.opcode = request.op == WorkOp::read ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
  send.send_flags = sent_ % kVerbsSignalEvery == 0 ? static_cast<unsigned>(IBV_SEND_SIGNALED) : 0U;
  send.wr.rdma.remote_addr = to_virtual(remote.address)->value() + flight.remote_offset;
  send.wr.rdma.rkey = remote.key.value();
  flight.remote_offset += total;
  if (flight.remote_offset == remote.length_bytes) {
    ++flight.remote;
    flight.remote_offset = 0;
  }
}

// --- Completing
// --------------------------------------------------------------------------------

bool VerbsLane::take_completions() {
  bool is_busy = false;
  std::array<ibv_wc, kBatchMax> done;
  while (completion_queue_ != nullptr) {
    const int count = ibv_poll_cq(completion_queue_, static_cast<int>(done.size()), done.data());
    if (count < 0) {
      break_lane(Errc::lane_closed);
      return true;
    }
    if (count == 0) {
      break;
    }
    is_busy = true;
    const ibv_cq* const queue = completion_queue_;
    for (int i = 0; i < count && completion_queue_ == queue; ++i) {
      on_sent(done[static_cast<std::size_t>(i)]);
    }
  }
  return is_busy;
}

void VerbsLane::on_sent(const ibv_wc& done) {
  if (is_by_box()) {
    return on_order(done);
  }
  if (done.status == IBV_WC_SUCCESS) {
    done_ = done.wr_id;
    return finish_up_to(done_);
  }
  // It comes for the first one that failed, whether or not it asked for a completion.
  const bool is_refused = done.status == IBV_WC_REM_ACCESS_ERR;
  if (!is_refused && done.status != IBV_WC_REM_OP_ERR) {
    return break_lane(done.status == IBV_WC_RETRY_EXC_ERR ? Errc::lane_timeout : Errc::lane_closed);
  }
  done_ = done.wr_id - 1;
  finish_up_to(done_);
  GODBOX_ASSERT(!flights_.empty());
  finish_front(is_refused ? Errc::key_revoked : Errc::poison);
  begin_again();
}

void VerbsLane::finish_up_to(std::uint64_t send) {
  while (posting_ > 0 && flights_.front().last_send <= send) {
    finish_front(flights_.front().status);
  }
}

void VerbsLane::finish_front(Errc status) {
  Flight& flight = flights_.front();
  flight.regions.clear();
  if (status == Errc::ok && flight.request.op == WorkOp::read && !has_right_crcs(flight.request)) {
    status = Errc::crc_mismatch;
  }
  bytes_in_flight_ -= flight.request.total_bytes;
  completions_.push_back({flight.request.id, id_, status});
  flights_.pop_front();
  posting_ -= posting_ > 0 ? 1 : 0;
}

}  // namespace godbox::driver
