// SPDX-License-Identifier: Apache-2.0
#include "verbs_lane.h"

#include "inline_sends.h"
#include "socket_address.h"
#include <godbox/roce/pool_hello.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace godbox::driver {
namespace {

int milliseconds(Duration time) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

}  // namespace

VerbsLane::VerbsLane(const Setting& set, const VerbsLaneOptions& of, rdma_event_channel* channel,
                     DeviceOf device_of)
    : ClientLane(set), of_(of), channel_(channel), device_of_(std::move(device_of)) {}

// --- Connecting ---

void VerbsLane::connect() {
  connect_until_ = clock().now() + 3 * kVerbsConnectMax;
  address_ = 0;
  resolve();
}

void VerbsLane::resolve() {
  sockaddr_storage to = *socket_address(port_name(), kVerbsServicePort);  // open() has looked
  rdma_cm_id* made = nullptr;
  if (rdma_create_id(channel_, &made, this, RDMA_PS_TCP) != 0) {
    return give_up_for(Errc::limit_exceeded, "rdma_create_id", errno);
  }
  connection_.reset(made);
  std::uint8_t ack_timeout = rdma::kAckTimeoutCode;
  // An older kernel does not know it, and takes a second for each.
  static_cast<void>(rdma_set_option(made, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &ack_timeout,
                                    sizeof(ack_timeout)));
  if (rdma_resolve_addr(made, nullptr, reinterpret_cast<sockaddr*>(&to),
                        milliseconds(kVerbsConnectMax)) != 0) {
    pass_over_address(errno);
  }
}

void VerbsLane::pass_over_address(int error) {
  if (address_ + 1 < of_.addresses.size()) {
    disconnect(false, false);
    ++address_;
    return resolve();
  }
  // Without an answer to ARP or to a neighbour solicitation there is a route, and nobody at its
  // end.
  const bool is_silent = error == ETIMEDOUT || error == EHOSTUNREACH;
  give_up_for(
      is_silent ? Errc::lane_timeout : Errc::device_missing,
      is_silent ? "nobody answers at that address" : "no RDMA device here has a route there",
      error);
}

void VerbsLane::give_up_for(Errc why, std::string_view what, int error) {
  give_up(why, error == 0 ? std::string(what)
                          : fmt::format("{} ({})", what, std::generic_category().message(error)));
}

void VerbsLane::on_event(const rdma_cm_event& event) {
  // It answered, or did not within a minute: no packet lives so long.
  if (unfenced().on_answered(event.id) || event.id != connection_.get()) {
    return;
  }
  const rdma_conn_param& told = event.param.conn;
  const std::span data(static_cast<const std::uint8_t*>(told.private_data),
                       told.private_data != nullptr ? told.private_data_len : 0U);
  switch (event.event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
      if (rdma_resolve_route(event.id, milliseconds(kVerbsConnectMax)) != 0) {
        give_up_for(Errc::device_missing, "rdma_resolve_route", errno);
      }
      return;
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
      return pass_over_address(-event.status);
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      return on_route();
    case RDMA_CM_EVENT_ESTABLISHED:
      return on_accepted(data.size() >= roce::kPoolWelcomeBytes
                             ? roce::decode_pool_welcome(data.first<roce::kPoolWelcomeBytes>())
                             : std::nullopt);
    case RDMA_CM_EVENT_REJECTED:
      return on_rejected(data.size() >= roce::kPoolRefusalBytes
                             ? roce::decode_pool_refusal(data.first<roce::kPoolRefusalBytes>())
                             : std::nullopt,
                         static_cast<unsigned>(event.status));
    case RDMA_CM_EVENT_UNREACHABLE:
      return on_unanswered();
    case RDMA_CM_EVENT_DISCONNECTED:
      // A refusal is followed by it, and is in the completions.
      (void)take_completions();
      if (is_up() && event.id == connection_.get()) {
        on_far_side_ended();
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
      is_by_box() ? limits.max_qp_rd_atom : limits.max_qp_init_rd_atom, 1, rdma::kLaneReadsMax));
  completion_queue_ = ibv_create_cq(
      connection_->verbs, static_cast<int>(rdma::kLaneSendsMax + roce::kMoveOrdersMax) + 1, nullptr,
      nullptr, 0);
  if (completion_queue_ == nullptr) {
    return false;
  }
  ibv_qp_init_attr wanted{};
  wanted.send_cq = completion_queue_;
  wanted.recv_cq = completion_queue_;
  wanted.cap.max_send_wr = rdma::kLaneSendsMax;
  wanted.cap.max_recv_wr = is_by_box() ? roce::kMoveOrdersMax : 1;
  wanted.cap.max_send_sge = pieces_max_;
  wanted.cap.max_recv_sge = 1;
  wanted.qp_type = IBV_QPT_RC;
  const auto inline_bytes = create_inline_queue_pair(connection_.get(), device_->domain(), wanted);
  inline_bytes_max_ = inline_bytes.value_or(0);
  return inline_bytes.has_value() && (!is_by_box() || prepare_orders());
}

void VerbsLane::on_route() {
  if (!create_queue_pair()) {
    return give_up_for(Errc::limit_exceeded,
                       device_ == nullptr
                           ? "the RDMA device takes no registration of this memory (ulimit -l)"
                           : "the RDMA device has no room for a queue pair",
                       errno);
  }
  std::array<std::uint8_t, roce::kPoolHelloBytes> hello{};
  roce::encode_pool_hello({options().session, options().secret, of_.moved_by}, hello);
  rdma_conn_param parameters{};
  parameters.private_data = hello.data();
  parameters.private_data_len = hello.size();
  parameters.responder_resources = is_by_box() ? reads_max_ : 1;
  parameters.initiator_depth = is_by_box() ? 0 : reads_max_;
  parameters.retry_count = kVerbsRetries;
  parameters.rnr_retry_count = kVerbsNotReadyRetries;
  if (rdma_connect(connection_.get(), &parameters) != 0) {
    give_up_for(Errc::lane_closed, "rdma_connect", errno);
  }
}

void VerbsLane::disconnect(bool /*has_ended*/, bool leaves_writes) {
  if (connection_ == nullptr) {
    return;
  }
  bool has_to_answer = false;
  if (connection_->qp != nullptr) {
    has_to_answer = rdma_disconnect(connection_.get()) == 0 && leaves_writes;
    rdma_destroy_qp(connection_.get());
  }
  if (completion_queue_ != nullptr) {
    ibv_destroy_cq(std::exchange(completion_queue_, nullptr));
  }
  if (has_to_answer) {
    unfenced().add(lane(), std::move(connection_));
  }
  connection_.reset();
  orders_ = {};
}

// --- Posting ---

bool VerbsLane::progress() {
  if (is_connecting() && clock().now() >= connect_until_) {
    give_up(Errc::lane_timeout, "no connection in time");
    return true;
  }
  if (!is_up()) {
    return false;
  }
  const bool was_busy = take_completions();
  return (is_up() && (is_by_box() ? post_orders() : post_sends())) || was_busy;
}

Errc VerbsLane::begin_flight(VerbsFlight& flight) {
  const WorkRequest& request = flight.request;
  const auto use = device_->dma_buf_use(request);
  if (use == DeviceRegistrations::DmaBufUse::refused ||
      (use == DeviceRegistrations::DmaBufUse::some && !request.crc.empty())) {
    flight.is_begun = true;
    return use == DeviceRegistrations::DmaBufUse::refused ? Errc::unsupported
                                                          : Errc::invalid_argument;
  }
  const Errc status = begin(flight, clock().now());
  flight.is_inline = !is_by_box() && use == DeviceRegistrations::DmaBufUse::none &&
                     request.op == WorkOp::write && request.total_bytes <= inline_bytes_max_;
  return status == Errc::ok && !flight.is_inline ? device_->cover(request, flight.regions) : status;
}

bool VerbsLane::post_sends() {
  std::size_t count = 0;
  const bool is_busy = post_flights([this](VerbsFlight& flight) { return begin_flight(flight); },
                                    [this, &count](VerbsFlight& flight) {
                                      if (count == kBatchMax || !has_room_to_send()) {
                                        return Posting::no_room;
                                      }
                                      fill_send(flight, batch_[count], batch_pieces_[count].data());
                                      ++count;
                                      return Posting::posted;
                                    });
  if (count > 0) {
    for (std::size_t i = 0; i + 1 < count; ++i) {
      batch_[i].next = &batch_[i + 1];
    }
    ibv_send_wr* refused = nullptr;
    if (ibv_post_send(connection_->qp, batch_.data(), &refused) != 0) {
      break_lane(Errc::lane_closed);
      return true;
    }
  }
  finish_done();
  return is_busy;
}

void VerbsLane::fill_send(VerbsFlight& flight, ibv_send_wr& send, ibv_sge* pieces) {
  send = {};
  send.wr_id = number_send();
  send.opcode = flight.request.op == WorkOp::read ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
  send.wr.rdma.remote_addr = flight.remote_address();
  send.wr.rdma.rkey = flight.segment().key.value();
  std::uint32_t count = 0;
  bool is_through = false;
  while (!is_through && count < pieces_max_) {
    const MutableSpan bytes = flight.next_bytes();
    const DevicePiece piece = flight.is_inline
                                  ? DevicePiece{.size_bytes = bytes.size()}
                                  : device_->piece(flight.regions, bytes.data(), bytes.size());
    pieces[count++] = {.addr = reinterpret_cast<std::uintptr_t>(bytes.data()),
                       .length = static_cast<std::uint32_t>(piece.size_bytes),
                       .lkey = piece.key};
    is_through = flight.advance(piece.size_bytes);
  }
  send.sg_list = pieces;
  send.num_sge = static_cast<int>(count);
  const bool is_asked = flight.is_posted() || send.wr_id % kVerbsSignalEvery == 0;
  send.send_flags = (is_asked ? static_cast<unsigned>(IBV_SEND_SIGNALED) : 0U) |
                    (flight.is_inline ? static_cast<unsigned>(IBV_SEND_INLINE) : 0U);
}

// --- Completing ---

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
    return finish_up_to(done.wr_id);
  }
  // It comes for the first one that failed, whether or not it asked for a completion.
  const bool is_refused = done.status == IBV_WC_REM_ACCESS_ERR;
  if (!is_refused && done.status != IBV_WC_REM_OP_ERR) {
    return on_failed(done.status);
  }
  finish_up_to(done.wr_id - 1);
  on_refused(is_refused ? Errc::key_revoked : Errc::poison);
}

void VerbsLane::on_failed(ibv_wc_status status) {
  break_lane(status == IBV_WC_RETRY_EXC_ERR ? Errc::lane_timeout : Errc::lane_closed);
}

}  // namespace godbox::driver
