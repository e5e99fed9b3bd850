// SPDX-License-Identifier: Apache-2.0
//
// One lane over an RDMA device: a connection of rdma_cm and its queue pair.
// Thread-safety: one thread. Ownership: options, channel and devices outlive it, as its setting
// does; each event of the channel whose id has this lane as its context is its own. Errors:
// status().
#pragma once

#include "device_registrations.h"
#include "order_buffers.h"
#include <godbox/driver/verbs_transport.h>
#include <godbox/rdma/client_lane.h>
#include <godbox/roce/move_order.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <rdma/rdma_cma.h>

namespace godbox::driver {

// The registrations of a device, made when it is met; nullptr: it refuses.
using DeviceOf = std::function<DeviceRegistrations*(ibv_context*)>;

struct VerbsFlight : rdma::Flight {
  RequestRegions regions{};
  std::uint64_t number = 0;  // of a lane that the box moves for
  bool is_inline = false;    // its bytes go with its sends

  void let_go() { regions.clear(); }
};

class VerbsLane final : public rdma::ClientLane<VerbsFlight> {
 public:
  VerbsLane(const Setting& set, const VerbsLaneOptions& of, rdma_event_channel* channel,
            DeviceOf device_of);
  ~VerbsLane() { close(true); }

  void on_event(const rdma_cm_event& event);
  // True: there was something to do.
  bool progress();

 private:
  // Orders to the box, where its device moves the bytes: buffers for them and for its replies.
  struct Orders {
    OrderBuffers buffers{};
    std::vector<std::uint32_t> free{};     // numbers, so places in the buffers
    std::vector<std::uint64_t> flights{};  // by number: whose they are
    std::uint64_t flights_begun = 0;
    roce::MoveOrder next{};  // its lists are used again
  };
  struct DestroyConnection {
    void operator()(rdma_cm_id* connection) const { rdma_destroy_id(connection); }
  };

  void connect() override;
  void disconnect(bool has_ended, bool leaves_writes) override;
  const std::string& port_name() const override { return of_.addresses[address_]; }

  [[nodiscard]] bool is_by_box() const { return of_.moved_by == roce::MovedBy::box; }
  [[nodiscard]] bool create_queue_pair();
  // Begins with the lane's address number address_; where that has no route, with the one after it.
  void resolve();
  void pass_over_address(int error);
  void on_route();
  // As give_up(), with errno's reason.
  void give_up_for(Errc why, std::string_view what, int error);

  // Of lanes of which the box moves the bytes: verbs_orders.cpp.
  [[nodiscard]] bool prepare_orders();
  bool post_orders();
  void fill_order(VerbsFlight& flight);
  [[nodiscard]] bool post_order(VerbsFlight& flight);
  void on_order(const ibv_wc& done);
  void on_reply(const roce::MoveReply& reply);

  [[nodiscard]] Errc begin_flight(VerbsFlight& flight);
  bool post_sends();
  // The next send of a flight, without its link to another.
  void fill_send(VerbsFlight& flight, ibv_send_wr& send, ibv_sge* pieces);
  bool take_completions();
  void on_sent(const ibv_wc& done);
  // Of a connection that is over, but for a refusal.
  void on_failed(ibv_wc_status status);

  const VerbsLaneOptions& of_;
  rdma_event_channel* channel_;
  DeviceOf device_of_;

  std::size_t address_ = 0;  // of the lane's
  TimePoint connect_until_{};
  std::unique_ptr<rdma_cm_id, DestroyConnection> connection_;
  DeviceRegistrations* device_ = nullptr;
  ibv_cq* completion_queue_ = nullptr;
  std::uint32_t pieces_max_ = 1;        // of memory, in one send
  std::uint32_t inline_bytes_max_ = 0;  // of one send
  std::uint8_t reads_max_ = 1;          // under way at a time
  Orders orders_;

  static constexpr std::size_t kPiecesMax = 16;
  static constexpr std::size_t kBatchMax = 16;
  std::array<ibv_send_wr, kBatchMax> batch_{};
  std::array<std::array<ibv_sge, kPiecesMax>, kBatchMax> batch_pieces_{};
};

}  // namespace godbox::driver
