// SPDX-License-Identifier: Apache-2.0
//
// One lane at a box with an RDMA device: a connection, its queue pair, the orders that came over it
// and how far each is. A read's bytes are written into the client's memory, and the reply follows
// them on the same queue pair, so that it comes after them; a write's are read from there, and the
// reply goes out once they all lie in the pool.
// Thread-safety: the server's thread; counters from any. Ownership: owns connection and queue
// pair; what it is made with outlives it. Errors: is_over().
#pragma once

#include "backed_units.h"
#include "order_buffers.h"
#include <godbox/clock.h>
#include <godbox/driver/verbs_server.h>
#include <godbox/driver/verbs_transport.h>
#include <godbox/roce/move_order.h>

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <vector>

#include <rdma/rdma_cma.h>

namespace godbox::driver {

struct ServerCounters {
  std::atomic<std::uint64_t> requested{0}, established{0}, rejected{0}, closed{0};
  std::atomic<std::uint64_t> reads{0}, writes{0}, bytes_read{0}, bytes_written{0};
  std::atomic<std::uint64_t> refused{0}, malformed{0}, failed{0}, lanes{0};
};

// What the lanes of a server share.
struct ServerContext {
  PoolAccess& pool;
  RegisteredMemory::State& memory;
  const Clock& clock;
  ServerCounters counters{};
  ibv_pd* domain = nullptr;
  ibv_comp_channel* wakeups = nullptr;
  std::uint32_t write_pieces_max = 1, read_pieces_max = 1;  // of memory, in one WRITE or READ
  std::uint8_t reads_max = 1;                               // under way at a time
};

class ServerLane {
 public:
  // The lane of the pool is this one's from now on: it leaves the session with it.
  ServerLane(ServerContext& context, rdma_cm_id* connection, const PoolAccess::Lane& lane);
  ~ServerLane();
  ServerLane(const ServerLane&) = delete;
  ServerLane& operator=(const ServerLane&) = delete;

  // False: the device has no room; the connection is to be rejected.
  [[nodiscard]] bool accept(std::span<const std::uint8_t> welcome, std::uint8_t client_reads_max);
  void on_established();
  // True: there was something to do.
  [[nodiscard]] bool progress(TimePoint now);
  // Asked about once in a while. Sets is_over().
  void sweep(TimePoint now);
  // When there is something to do that no completion tells of.
  [[nodiscard]] TimePoint next_deadline() const;
  // To be destroyed: it failed, the client or the pool has ended it.
  [[nodiscard]] bool is_over() const { return is_over_; }
  void end() { is_over_ = true; }
  // Its next completion wakes whoever waits for the server's.
  void ask_for_wakeup();

 private:
  struct Order {
    roce::MoveOrder order;
    std::unique_ptr<PoolAccess::Transfer> transfer;
    bool is_begun = false;  // the transfer is
    TimePoint ready{};      // not answered before
    Errc status = Errc::ok;
    std::size_t span = 0, piece = 0;  // how far it is posted
    std::size_t span_inside = 0, piece_inside = 0;
  };
  using Slot = std::size_t;
  // A stage of an order ends with this send.
  struct Awaited {
    Slot slot = 0;
    std::uint64_t send = 0;
    bool is_reply = false;
  };
  static constexpr std::size_t kSlots = 2 * roce::kMoveOrdersMax;

  [[nodiscard]] bool create_queue_pair();
  [[nodiscard]] bool take_completions();
  [[nodiscard]] bool take_orders(TimePoint now);
  void begin(Slot slot, TimePoint now);
  void on_sent(std::uint64_t send);
  [[nodiscard]] bool post_moves(TimePoint now);
  // The next READ or WRITE of an order, or its status: why there is none. False: the queue pair
  // takes nothing.
  [[nodiscard]] bool post_move(Order& order);
  [[nodiscard]] bool post_replies(TimePoint now);
  [[nodiscard]] bool post_reply(Slot slot);
  [[nodiscard]] bool has_room() const { return sent_ - done_ < kVerbsServerSendsMax; }
  // Its bytes are let go; its status, if they were not all moved.
  void finish(Order& order);
  void fail();

  ServerContext& context_;
  rdma_cm_id* connection_;
  PoolAccess::Lane lane_;
  TimePoint established_until_;
  bool is_established_ = false, is_over_ = false, was_heard_ = false;
  ibv_cq* completion_queue_ = nullptr;
  std::uint32_t inline_bytes_max_ = 0;  // of one send

  // Orders as they come in, and replies as they go out; registered.
  OrderBuffers buffers_;
  std::deque<std::pair<std::size_t, std::uint32_t>> received_;  // buffers and how much is in them

  std::array<Order, kSlots> orders_;
  std::vector<Slot> free_;
  std::deque<Slot> moving_;  // begun, and not posted whole; in order
  std::deque<Awaited> awaited_;
  std::vector<Slot> replies_;  // moved, or refused: their replies are to go out
  std::uint64_t sent_ = 0, done_ = 0;
};

}  // namespace godbox::driver
