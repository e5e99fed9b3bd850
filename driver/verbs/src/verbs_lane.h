// SPDX-License-Identifier: Apache-2.0
//
// One lane: a connection of rdma_cm, its queue pair, and the requests that go through it, in order.
// Thread-safety: one thread. Ownership: the channel, the devices and the clock outlive it; each
// event of the channel whose id has this lane as its context is its own. Errors: status().
#pragma once

#include "device_registrations.h"
#include "order_buffers.h"
#include <godbox/clock.h>
#include <godbox/driver/verbs_transport.h>
#include <godbox/roce/move_order.h>

#include <array>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rdma/rdma_cma.h>

namespace godbox::driver {

// The registrations of a device, made when it is met; nullptr: it refuses.
using DeviceOf = std::function<DeviceRegistrations*(ibv_context*)>;

class VerbsLane {
 public:
  VerbsLane(LaneId id, const VerbsOptions& options, rdma_event_channel* channel, DeviceOf device_of,
            const Clock& clock);
  ~VerbsLane();
  VerbsLane(const VerbsLane&) = delete;
  VerbsLane& operator=(const VerbsLane&) = delete;

  void open();
  void on_event(const rdma_cm_event& event);
  // Of a lane that is up, and a request that check_work_request() takes. Errors: queue_full.
  [[nodiscard]] Errc post(const WorkRequest& request);
  // True: there was something to do.
  bool progress();
  void fence();
  [[nodiscard]] LaneStatus status() const;
  [[nodiscard]] bool is_waiting() const {
    return (step_ != Step::down && !is_idle()) || has_lost_writes();
  }
  // WRITEs of a connection that ended may still be on their way: the far side has not said that it
  // takes no more of them.
  [[nodiscard]] bool has_lost_writes() const { return !leaving_.empty(); }

  // A lane at the box that this one was, until it is fenced there: each once, and again after
  // on_fence_failed(); nothing while there is none.
  [[nodiscard]] std::optional<wire::LaneToken> next_unfenced(TimePoint now);
  // The box has fenced it, and takes no more of its WRITEs; or it has not, to be asked again.
  void on_fenced(wire::LaneToken lane);
  void on_fence_failed(wire::LaneToken lane, TimePoint now);

  // What has completed since it was taken last.
  [[nodiscard]] std::deque<Completion>& completions() { return completions_; }

 private:
  enum class Step : std::uint8_t { down, address, route, connect, up };

  // A request, and how far it has been posted.
  struct Flight {
    WorkRequest request;
    RequestRegions regions{};
    bool is_begun = false;
    std::size_t remote = 0, local = 0;                  // pieces
    std::uint64_t remote_offset = 0, local_offset = 0;  // in them
    std::uint64_t last_send = 0;                        // of its sends, once all are posted
    std::uint64_t number = 0;                           // of a lane that the box moves for
    std::uint32_t orders = 0;                           // without a reply
    Errc status = Errc::ok;                             // decided before its sends are through

    [[nodiscard]] bool is_posted() const {
      return status != Errc::ok || remote == request.remote.size();
    }
  };

  // Orders to the box, where its device moves the bytes: buffers for them and for its replies.
  struct Orders {
    OrderBuffers buffers{};
    std::vector<std::uint32_t> free{};     // numbers, so places in the buffers
    std::vector<std::uint64_t> flights{};  // by number: whose they are
    std::uint64_t flights_begun = 0;
    std::uint32_t under_way = 0;
    roce::MoveOrder next{};  // its lists are used again
  };

  [[nodiscard]] bool is_by_box() const {
    return options_.lanes[id_.value()].moved_by == roce::MovedBy::box;
  }
  [[nodiscard]] bool is_idle() const { return step_ == Step::up && flights_.empty(); }
  [[nodiscard]] bool create_queue_pair();
  // Begins with the lane's address number address_; where that has no route, with the one after it.
  void resolve();
  [[nodiscard]] const std::string& address() const;
  void pass_over_address(int error);
  void connect();
  // An attempt to connect is over, and says why; `error`: errno's, or 0.
  void give_up(Errc why, std::string_view what, int error = 0);
  [[nodiscard]] bool has_unanswered_writes() const;
  void close(bool far_side_ended = false);
  void break_lane(Errc why);
  // After a refusal, which the queue pair does not survive: all but what failed begins again.
  void begin_again();

  // Of lanes of which the box moves the bytes: verbs_orders.cpp.
  [[nodiscard]] bool prepare_orders();
  bool post_orders();
  void fill_order(Flight& flight);
  [[nodiscard]] bool post_order(Flight& flight);
  void on_order(const ibv_wc& done);
  void on_reply(const roce::MoveReply& reply);
  void finish_moved();

  [[nodiscard]] Errc begin(Flight& flight);
  bool post_sends();
  // The next send of a flight, without its link to another.
  void fill_send(Flight& flight, ibv_send_wr& send, ibv_sge* pieces);
  bool take_completions();
  void on_sent(const ibv_wc& done);
  void finish_up_to(std::uint64_t send);
  void finish_front(Errc status);

  LaneId id_;
  const VerbsOptions& options_;
  rdma_event_channel* channel_;
  DeviceOf device_of_;
  const Clock& clock_;

  Step step_ = Step::down;
  std::size_t address_ = 0;  // of the lane's
  TimePoint connect_until_{};
  bool is_recovering_ = false;  // it was up, and shall be again
  Errc last_error_ = Errc::ok;
  EthPortId eth_port_{};
  rdma_cm_id* connection_ = nullptr;
  // A connection that ended here, and the far side is yet to answer.
  struct Leaving {
    rdma_cm_id* connection = nullptr;
    wire::LaneToken lane;
    TimePoint ask_at{};  // the box, for a fence; kNever: it is asked
  };
  wire::LaneToken lane_;  // as the box names it
  std::vector<Leaving> leaving_;
  DeviceRegistrations* device_ = nullptr;
  ibv_cq* completion_queue_ = nullptr;
  std::uint32_t pieces_max_ = 1;  // of memory, in one send
  std::uint8_t reads_max_ = 1;    // under way at a time

  std::deque<Flight> flights_;
  std::uint64_t bytes_in_flight_ = 0;
  std::size_t posting_ = 0;            // the first flight that is not posted whole
  std::uint64_t sent_ = 0, done_ = 0;  // sends, by number
  Orders orders_;
  std::deque<Completion> completions_;

  static constexpr std::size_t kPiecesMax = 16;
  static constexpr std::size_t kBatchMax = 16;
  std::array<ibv_send_wr, kBatchMax> batch_{};
  std::array<std::array<ibv_sge, kPiecesMax>, kBatchMax> batch_pieces_{};
};

}  // namespace godbox::driver
