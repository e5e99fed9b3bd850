// SPDX-License-Identifier: Apache-2.0
//
// What all operations of a client share: the session, requests on the control connection, the data
// path, the slab layouts, time. Nothing runs inside the network's callbacks: replies are kept and
// handled in step(), so that an operation may use the network freely. When the session is lost,
// every batch and every request ends with lost_status(), and so does every operation, each by its
// own way out; there is no second path for it. Thread-safety: the network's thread.
#pragma once

#include "layer_order.h"
#include <godbox/native/control_client.h>
#include <godbox/ring_queue.h>
#include <godbox/striping/client.h>

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace godbox::striping {

// Bodies are kept to half of the protocol's limit, so that no estimate has to be exact.
inline constexpr std::uint64_t kBodyBytesTarget = wire::kBodyBytesMax / 2;
inline constexpr std::size_t kSlabsPerRequestMax = 1024;
// Slab layouts that are kept: those in use, and others for as long as there is room.
inline constexpr std::size_t kSlabLayoutsMax = 16384;
static_assert(kSlabLayoutsMax >= kWorkSegmentsMax);

struct NoReply {};  // of operations whose response has no body
class SlabHold;

class ClientCore {
 public:
  using OnBatch = std::function<void(std::span<const Errc>)>;

  ClientCore(StreamNetwork& network, ClientOptions options);
  ~ClientCore();
  // Ends the session and each operation, by callbacks that may still use this. Once.
  void close();
  ClientCore(const ClientCore&) = delete;
  ClientCore& operator=(const ClientCore&) = delete;

  Result<void> open(const StreamAddress& address, const Client::TransportFactory& make_transport);

  [[nodiscard]] const ClientOptions& options() const { return options_; }
  [[nodiscard]] const wire::InfoReply& box() const { return box_; }
  [[nodiscard]] const wire::HelloReply& session() const { return control_->session(); }
  // Which it is changes when the one before has ended and the session goes on.
  [[nodiscard]] ConnectionId control_connection() const { return connection_; }
  [[nodiscard]] std::uint64_t sessions_resumed() const { return sessions_resumed_; }
  [[nodiscard]] Transport& transport() { return *transport_; }
  [[nodiscard]] const Executor& executor() const { return *executor_; }
  [[nodiscard]] bool is_open() const { return lost_ == Errc::ok && control_->is_open(); }
  [[nodiscard]] TimePoint now() const { return network_.clock().now(); }
  [[nodiscard]] TimePoint call_deadline() const { return now() + options_.timeout; }
  // A lease's milliseconds as they are asked for.
  [[nodiscard]] std::uint32_t lease_ms() const;

  // Sends a control request; `then` runs later in step(), once.
  template <class Reply>
  void request(wire::Op op, const wire::Body& body, TimePoint deadline,
               std::function<void(Result<Reply>)> then) {
    send(op, body, deadline, [this, then = std::move(then)](Errc status, ConstSpan reply) {
      defer([then, answer = std::make_shared<Result<Reply>>(read_reply<Reply>(status, reply))] {
        then(std::move(*answer));
      });
    });
  }
  // A request whose answer nobody waits for.
  void tell(wire::Op op, const wire::Body& body);

  // Runs a batch of transfers, which stay where they are until `then` runs; once, in step().
  void run_batch(std::span<const Transfer> transfers, TimePoint deadline,
                 const CallOptions& options, OnBatch then);
  // Learns the layouts of the extents' slabs, which are kept as long as the hold that `then` is
  // given; it may run before this returns. A slab that the box does not know any more is no error:
  // what lay there is gone (knows_slabs_of). queue_full: more than kSlabLayoutsMax are in use.
  using OnSlabs = std::function<void(Errc, std::shared_ptr<SlabHold>)>;
  void learn_slabs(std::span<const Extent> extents, TimePoint deadline, OnSlabs then);
  void release_slabs(std::span<const SlabId> slabs);
  [[nodiscard]] bool knows_slabs_of(std::span<const Extent> extents) const;
  [[nodiscard]] const SlabLayout* find_layout(SlabId slab) const;

  void release_leases(std::vector<LeaseId> leases);
  [[nodiscard]] std::shared_ptr<LeaseHold> hold_leases(std::vector<LeaseId> leases);
  // Where what outlives the client finds out that it is gone: then it points to nullptr.
  [[nodiscard]] std::shared_ptr<ClientCore*> self() const { return self_; }

  void defer(std::function<void()> action) { deferred_.push_back(std::move(action)); }
  void after(Duration delay, std::function<void()> action) {
    timers_.push_back({now() + delay, std::move(action)});
  }
  [[nodiscard]] LayerOrder& layer_order() { return layer_order_; }
  // Takes in an operation, which end_operation() counts out again; false: there is no room, and
  // refuse_operation() answers it, with queue_full at once, or with cancelled when the client goes
  // away.
  [[nodiscard]] bool begin_operation() {
    const bool taken = !closing_ && operations_ < Client::kOperationsMax;
    operations_ += taken ? 1U : 0U;
    return taken;
  }
  void refuse_operation(std::function<void(Errc)> answer);
  void end_operation() { operations_ -= 1; }
  // The client is being destroyed: nothing is begun any more, and nobody may wait for an answer.
  [[nodiscard]] bool is_closing() const { return closing_; }
  [[nodiscard]] std::size_t operations_in_flight() const { return operations_; }

  bool progress(TimePoint until);
  template <class Done>
  void drive_until(Done&& done) {
    while (!done()) {
      progress(kNever);
    }
  }

 private:
  struct Timer {
    TimePoint when;
    std::function<void()> action;
  };
  struct KnownSlab {
    SlabLayout layout;
    std::size_t holds = 0;
    bool was_used = true;  // since forget_slabs() last looked
  };
  struct SlabQuestion;

  template <class Reply>
  Result<Reply> read_reply(Errc status, ConstSpan body) const {
    if (status != Errc::ok) {
      return error_reply(status, body);
    }
    if constexpr (std::is_same_v<Reply, NoReply>) {
      return NoReply{};
    } else {
      return wire::decode<Reply>(body);
    }
  }
  [[nodiscard]] Error error_reply(Errc status, ConstSpan body) const;
  [[nodiscard]] Errc lost_status(Errc otherwise) const {
    return lost_ != Errc::ok ? lost_ : otherwise;
  }

  [[nodiscard]] Error lost_error() const;
  [[nodiscard]] Result<void> check_options() const;
  Result<void> open_session(const StreamAddress& address, TimePoint deadline);
  Result<void> learn_box(TimePoint deadline);
  void send(wire::Op op, const wire::Body& body, TimePoint deadline,
            native::ControlClient::OnReply on_reply);
  // The control connection (client_resume.cpp). True if anything happened.
  bool mind_control();
  void resume_control(TimePoint time);
  void begin_attempt(TimePoint time);
  void list_addresses();
  [[nodiscard]] bool has_lane_up(EthPortId eth_port) const;
  [[nodiscard]] TimePoint control_wake() const;
  Result<SuperNicId> super_nic_of(PoolAddress address) const;
  void ask_for_slabs(const std::shared_ptr<SlabQuestion>& question, std::span<const SlabId> unknown,
                     TimePoint deadline);
  Errc take_slabs(std::span<const SlabId> asked, const wire::SlabsReply& reply, SlabHold& hold);
  bool hold_slab(SlabId slab, SlabHold& hold);
  void forget_slabs();
  bool step();
  bool drive(TimePoint until);
  bool run_deferred();
  bool run_timers();
  [[nodiscard]] TimePoint next_wake() const;
  void lose(Errc reason);

  StreamNetwork& network_;
  ClientOptions options_;
  LayerOrder layer_order_;
  std::unique_ptr<native::ControlClient> control_;
  ConnectionId connection_;
  StreamAddress control_address_;
  // While the session waits for another control connection: where to try, how often it was tried,
  // when to try again, and until when the attempt under way may take.
  std::vector<StreamAddress> addresses_;
  std::size_t attempts_ = 0;
  TimePoint next_attempt_{};
  TimePoint attempt_until_{};
  std::uint64_t sessions_resumed_ = 0;
  wire::InfoReply box_;
  std::unordered_map<SlabId, KnownSlab> slabs_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Executor> executor_;

  Errc lost_ = Errc::ok;  // set: the session is over, for this reason
  bool closing_ = false;
  std::optional<TimePoint> left_at_{};  // when progress() ended last
  bool is_stepping_ = false;            // callbacks may be running
  bool answers_late_ = true;
  std::size_t operations_ = 0;                   // at most Client::kOperationsMax
  std::vector<std::function<void(Errc)>> late_;  // submitted while closing; at most as many
  // At most one entry for each part of an operation (those that kBatchItemsMax cuts a list into)
  // and each request of the control connection.
  RingQueue<std::function<void()>> deferred_;
  std::vector<Timer> timers_;
  std::unordered_map<std::uint64_t, BatchId> batches_;  // in flight, by a number of their own
  std::uint64_t next_batch_ = 0;
  // Where leases that outlive the client find out that it is gone.
  std::shared_ptr<ClientCore*> self_;
};

// Gives leases back when its last owner lets go.
class LeaseHold {
 public:
  LeaseHold(std::shared_ptr<ClientCore*> client, std::vector<LeaseId> leases)
      : client_(std::move(client)), leases_(std::move(leases)) {}
  ~LeaseHold() { release(); }
  LeaseHold(const LeaseHold&) = delete;
  LeaseHold& operator=(const LeaseHold&) = delete;

  void release() {
    if (*client_ != nullptr && !leases_.empty()) {
      (*client_)->release_leases(std::exchange(leases_, {}));
    }
  }

 private:
  std::shared_ptr<ClientCore*> client_;
  std::vector<LeaseId> leases_;
};

// Keeps slabs' layouts until its last owner lets go.
class SlabHold {
 public:
  explicit SlabHold(std::shared_ptr<ClientCore*> client) : client_(std::move(client)) {}
  ~SlabHold() {
    if (*client_ != nullptr) {
      (*client_)->release_slabs(slabs_);
    }
  }
  SlabHold(const SlabHold&) = delete;
  SlabHold& operator=(const SlabHold&) = delete;

  void add(SlabId slab) { slabs_.push_back(slab); }

 private:
  std::shared_ptr<ClientCore*> client_;
  std::vector<SlabId> slabs_;
};

// One operation's statuses, filled by its parts; calls back when the last part is done.
struct StatusGather {
  ClientCore& core;
  Client::OnStatuses on_done;
  std::vector<Errc> statuses;
  std::size_t parts_left = 0;

  void part_done() {
    parts_left -= 1;
    if (parts_left == 0) {
      core.end_operation();
      on_done(statuses);
    }
  }
};

// Takes in an operation of `count` items, whose statuses are all the same if it is refused.
[[nodiscard]] inline bool begin_operation(ClientCore& core, std::size_t count,
                                          const Client::OnStatuses& on_done) {
  if (core.begin_operation()) {
    return true;
  }
  core.refuse_operation(
      [count, on_done](Errc status) { on_done(std::vector<Errc>(count, status)); });
  return false;
}

// Asks for a status of each item of one request, which are those of the gather's items `asked`;
// this part of the operation is done with the answer.
void ask_for_statuses(ClientCore& core, const std::shared_ptr<StatusGather>& gather, wire::Op op,
                      const wire::Body& body, TimePoint deadline, std::vector<std::size_t> asked);

// A stretch of a batch that goes into one request.
struct ItemRange {
  std::size_t first = 0;
  std::size_t count = 0;
};
// For estimates of bodies: fixed parts of an item, and the piece size that limits its extents.
inline constexpr std::uint64_t kItemFixedBytes = 64;
inline constexpr std::uint64_t kExtentBytesLeast = 4096;
[[nodiscard]] constexpr std::uint64_t extents_max(std::uint64_t size_bytes) {
  return std::min<std::uint64_t>(wire::kExtentsPerObjectMax, size_bytes / kExtentBytesLeast + 1);
}
// Bytes that an item of a RESERVE takes in it or in its answer, from above.
[[nodiscard]] inline std::uint64_t item_cost(std::string_view name, std::uint64_t size_bytes) {
  return kItemFixedBytes + name.size() + extents_max(size_bytes) * sizeof(wire::ExtentRecord);
}
// Cuts `count` items into ranges within `items_max` and kBodyBytesTarget; an item alone may exceed
// the latter. At least one range, empty if there are no items.
template <class Cost>
std::vector<ItemRange> split_items(std::size_t count, Cost&& cost_of,
                                   std::size_t items_max = wire::kBatchItemsMax) {
  std::vector<ItemRange> ranges(1);
  std::uint64_t cost = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t item_cost = cost_of(i);
    if (ranges.back().count > 0 &&
        (ranges.back().count == items_max || cost + item_cost > kBodyBytesTarget)) {
      ranges.push_back({.first = i, .count = 0});
      cost = 0;
    }
    ranges.back().count += 1;
    cost += item_cost;
  }
  return ranges;
}

[[nodiscard]] inline bool is_valid_name(std::string_view name) {
  return !name.empty() && name.size() <= wire::kNameBytesMax;
}
// Every piece that has a size has memory.
[[nodiscard]] bool are_valid(std::span<const LocalSegment> pieces);
[[nodiscard]] std::uint64_t total_bytes(std::span<const LocalSegment> pieces);
[[nodiscard]] std::uint64_t total_bytes(std::span<const Extent> extents);

// Looks names up, as a part of another operation; calls back once, in step().
void find_objects(ClientCore& core, std::span<const std::string_view> names, bool prefix,
                  TimePoint deadline, Client::OnLookup on_done);

// What a wait waits for: until then at most, that this layer of each object is written.
struct LayerWait {
  std::uint32_t layer = 0;
  TimePoint until{};
};
void wait_for_objects(ClientCore& core, std::span<const std::string_view> names,
                      const LayerWait& wait, TimePoint deadline, Client::OnLookup on_done);

// The operations; each calls back once, in step().
void start_put(ClientCore& core, std::span<const PutItem> items, const CallOptions& options,
               Client::OnStatuses on_done);
void start_get(ClientCore& core, std::span<const GetItem> items, const CallOptions& options,
               Client::OnStatuses on_done);
void start_get_found(ClientCore& core, const Lookup& found,
                     std::span<const std::span<const LocalSegment>> into,
                     const CallOptions& options, Client::OnStatuses on_done);
void start_lookup(ClientCore& core, std::span<const std::string_view> names, bool prefix,
                  Client::OnLookup on_done);
void start_remove(ClientCore& core, std::span<const std::string_view> names,
                  Client::OnStatuses on_done);
void start_begin_layers(ClientCore& core, std::span<const LayeredItem> items,
                        Client::OnLayeredPut on_done);
void start_put_layer(ClientCore& core, const std::shared_ptr<LayeredState>& put,
                     std::uint32_t layer, std::span<const std::span<const LocalSegment>> data,
                     const CallOptions& options, Client::OnStatuses on_done);
void start_wait(ClientCore& core, std::span<const std::string_view> names, std::uint32_t layer,
                Duration wait, Client::OnLookup on_done);
void start_get_layer(ClientCore& core, const Lookup& found, std::uint32_t layer,
                     std::span<const std::span<const LocalSegment>> into,
                     const CallOptions& options, Client::OnStatuses on_done);
void start_retain(ClientCore& core, std::span<const wire::RetainItem> items,
                  Client::OnStatuses on_done);
void start_events(ClientCore& core, const wire::EventsRequest& request, Client::OnEvents on_done);
void start_usage(ClientCore& core, Client::OnUsage on_done);
// Appends what a LOOKUP or WAIT has answered.
void append_found(const wire::LookupReply& reply, Lookup& found);
void start_region(ClientCore& core, WorkOp op, const Region& region,
                  std::span<const RegionPiece> pieces, const CallOptions& options,
                  std::function<void(Errc)> on_done);

}  // namespace godbox::striping
