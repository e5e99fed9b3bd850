// SPDX-License-Identifier: Apache-2.0
//
// The client that users link: remote memory and KV objects in a box's pool, striped over all its
// DRAM channels and Ethernet ports. Calls come in two forms: submit_* takes a callback and returns
// at once; the plain form drives the network until the answer is there. A miss, a fault and a dead
// box end in an Errc within the deadline; wrong bytes are never returned and, after a get that
// failed, the destination's contents are unspecified.
//
// Driving: a session lives only while the client is driven, by a plain call or by progress(), at
// least every third of session().session_timeout_ms: that is when it says that it is there. One
// that was not has lost its session: each call answers session_lost at once, and what helps is to
// connect anew. A session whose control connection ends goes on over another Ethernet port while a
// lane stands; requests under way are answered then.
//
// Thread-safety: one thread; any number of clients per process. Callbacks run inside progress(),
// and in the destructor, which ends each call with cancelled (session_lost if that came first). A
// submit_* in such a last callback is answered with cancelled once; what that answer submits in
// turn is dropped, its callback never run. Plain calls there answer cancelled at once. No callback
// destroys its client, or the connection that has it: that is for after progress().
// Ownership: names are copied; data memory given to a submit_* stays the caller's to keep alive
// until its callback. Units: bytes, Durations. Errors: per key, in the order of the keys; see each
// call. queue_full: kOperationsMax calls are under way (then the callback runs before submit_*
// returns), or one of the queues behind them is full.
#pragma once

#include <godbox/extent.h>
#include <godbox/native/control_client.h>
#include <godbox/striping/executor.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::striping {

struct ClientOptions {
  std::string tenant;
  LanePolicy lane_policy = LanePolicy::any;
  Duration timeout = std::chrono::seconds(10);  // of each call, unless given
  // Asked for by gets and lookups: more than lease_margin, or 0 for none.
  Duration lease = std::chrono::seconds(5);
  bool crc = true;  // compute on put, check on get
  // A reader stops trusting a lease this long before the box ends it.
  Duration lease_margin = std::chrono::milliseconds(50);
};

// How a call that moves bytes is to be served.
struct CallOptions {
  // Background (prefetch, write-back) gives way to foreground, here and at the box.
  TrafficClass traffic_class = TrafficClass::foreground;
};

struct PutItem {
  std::string_view name;
  std::span<const LocalSegment> data;  // the object's bytes, gathered in order
  SizeBytes sparse_size{};             // > 0 with no data: declare a sparse object of this size
  bool rebinds = false;                // takes the name from the object that has it, if any
  wire::Retention retention{};
};
struct GetItem {
  std::string_view name;
  std::span<const LocalSegment> into;  // scattered in order; total must be the object's size
};

// An object that is written layer by layer (of a model), each of the same size: readers that wait()
// get the layers that are there while later ones are being written.
struct LayeredItem {
  std::string_view name;
  SizeBytes layer_size;
  std::uint32_t layers = 0;  // 1 to wire::kLayersMax
  bool rebinds = false;
  wire::Retention retention{};
};
class LayeredState;  // private to the client

// Objects on the way to be put, layer by layer. Those that have not been put to their last layer
// when the last copy of this goes are dropped, and readers that have their first layers get a miss
// for the others.
class LayeredPut {
 public:
  LayeredPut() = default;
  explicit LayeredPut(std::shared_ptr<LayeredState> state) : state_(std::move(state)) {}
  // Of each item, so far: ok, or why it will not be put.
  [[nodiscard]] std::vector<Errc> statuses() const;

 private:
  friend class Client;
  std::shared_ptr<LayeredState> state_;
};

struct FoundObject {
  RKey read_key;
  SizeBytes size;
  std::uint32_t extent_begin = 0, extent_count = 0;
  std::uint32_t crc_begin = 0, crc_count = 0;
  bool sparse = false;
  std::uint16_t layers = 0;        // 0: none; else extents are cut where a layer ends
  std::uint16_t layers_ready = 0;  // written; all, unless wait() found it being put
  // ok; present_unleased: found, but the box grants no more leases; not_found and invalid_argument
  // (a name that is empty or too long) only in per-key lookups; deadline_exceeded only in waits.
  Errc status = Errc::ok;
};
class LeaseHold;  // private to the client

// Objects found and leased by one lookup; released by Client::release() or with the last copy.
struct Lookup {
  std::vector<FoundObject> objects;  // prefix: the leading hits; else one per name
  std::vector<Extent> extents;
  std::vector<std::uint32_t> crc32c;
  LeaseId lease;                    // 0: none. The first, where the names took several requests
  TimePoint lease_until{};          // by this side's clock, margin taken off
  std::shared_ptr<LeaseHold> hold;  // gives the leases back
};

struct Region {
  RKey key;
  SizeBytes size;
  std::vector<Extent> extents;
};
struct RegionPiece {
  RegionOffset offset;
  LocalSegment local;
};

class Client {
 public:
  static constexpr std::size_t kOperationsMax = 4096;  // submitted and not called back
  static_assert(kOperationsMax <= Executor::kBatchesMax);
  using OnStatuses = std::function<void(std::span<const Errc>)>;
  using OnLookup = std::function<void(Result<Lookup>)>;
  using OnLayeredPut = std::function<void(Result<LayeredPut>)>;
  using OnEvents = std::function<void(Result<wire::EventsReply>)>;
  using OnUsage = std::function<void(Result<wire::UsageReply>)>;
  // What a transport is made from, once the session stands and the box is known.
  struct TransportContext {
    StreamNetwork& network;
    const wire::HelloReply& session;
    const wire::InfoReply& box;
    native::ControlClient& control;   // for MAP_MEMORY
    ConnectionId control_connection;  // to kick after a request to `control`
    // A request over whichever control connection the session has by then, for as long as the
    // transport lives; from the network's thread. The answer may come when it is gone.
    std::function<void(wire::Op, const wire::Body&, native::ControlClient::OnReply)> ask;
    // Layouts that are known now. Each slab of a request is, from before the request is posted
    // until it has completed.
    std::function<Result<SlabLayout>(SlabId)> layout_of;
  };
  using TransportFactory =
      std::function<Result<std::unique_ptr<Transport>>(const TransportContext& context)>;

  // Opens a session at `control_address`, learns the box, makes the transport. Drives the network.
  // Errors: invalid_argument (an option), connect_failed, bad_version, deadline_exceeded, those of
  // the factory.
  [[nodiscard]] static Result<std::unique_ptr<Client>> connect(
      StreamNetwork& network, const StreamAddress& control_address, ClientOptions options,
      const TransportFactory& make_transport);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  [[nodiscard]] const wire::InfoReply& box() const;
  [[nodiscard]] const wire::HelloReply& session() const;
  [[nodiscard]] Transport& transport();
  [[nodiscard]] const ExecutorCounters& counters() const;
  // False once the session is lost: each later call answers session_lost; connect anew.
  [[nodiscard]] bool is_open() const;
  // The network's connection that carries the control requests now, and how often another one has
  // come in its place: a session outlives it while a lane stands (docs/wire-protocol.md, 5).
  [[nodiscard]] ConnectionId control_connection() const;
  [[nodiscard]] std::uint64_t sessions_resumed() const;

  // KV. Statuses per item.
  // put: ok, already_exists, pool_full, backing_full, too_large, invalid_argument (empty or long
  // name), deadline_exceeded, session_lost, ... Only ok means that the object is there; after
  // deadline_exceeded it may be. Each object is there as a whole or not at all.
  // reservation_expired: the box ended the reservation meanwhile; put again.
  void submit_put(std::span<const PutItem> items, OnStatuses on_done,
                  const CallOptions& options = {});
  // get: ok, not_found, invalid_argument (size differs), crc_mismatch, not_backed (sparse),
  // deadline_exceeded, ... Without a lease, because the box grants none or it has run out, a key
  // still guards the bytes: key_revoked when the object went away meanwhile. A mapping has no keys:
  // present_unleased or lease_expired, unread.
  void submit_get(std::span<const GetItem> items, OnStatuses on_done,
                  const CallOptions& options = {});
  // get of objects already found: `into[i]` is for objects[i], one for each. key_revoked,
  // lease_expired: look up again.
  void submit_get_found(const Lookup& found, std::span<const std::span<const LocalSegment>> into,
                        OnStatuses on_done, const CallOptions& options = {});
  void submit_lookup(std::span<const std::string_view> names, bool prefix, OnLookup on_done);
  void submit_remove(std::span<const std::string_view> names, OnStatuses on_done);
  void release(Lookup& found);

  // Layer by layer. begin_layers() reserves, in as many requests as the items need; where an item
  // fails, put.statuses() says so, as of put (invalid_argument: a name, no layers), and the others
  // go on. The box drops what gets no further layer for its reservation_max. Errors of the whole
  // call, before anything is asked: queue_full, session_lost, cancelled; what ends it later, a lost
  // session too, is each item's status.
  void submit_begin_layers(std::span<const LayeredItem> items, OnLayeredPut on_done);
  // Writes a layer of each object and commits it; `data` is in the order of the items, each of the
  // item's layer_size. Layers are submitted in order, and as many at a time as there is data for.
  // After the last one is ok, the object is there. Per item: ok, and errors as of put, each of
  // which ends the item; invalid_argument for a layer that is not the next, which ends nothing.
  void submit_put_layer(const LayeredPut& put, std::uint32_t layer,
                        std::span<const std::span<const LocalSegment>> data, OnStatuses on_done,
                        const CallOptions& options = {});
  // Finds objects once layer `layer` (from 0) of each is written, or the object is there as a
  // whole; the box tells it, nobody polls. Calls back once all names have their answers, however
  // many requests they take. Per key: ok or present_unleased; invalid_argument (a name that none
  // can have, at once); when `wait` is over, or a producer has gone, not_found or deadline_exceeded
  // (less than that is there), both misses. Errors: those of the requests.
  void submit_wait(std::span<const std::string_view> names, std::uint32_t layer, Duration wait,
                   OnLookup on_done);
  // get of one layer of objects found, each into layer_size bytes. not_found: that layer is not
  // among layers_ready; key_revoked: its producer has gone, so the rest will never be there. Gets
  // of one traffic class whose first object that has this layer is the same call back in the order
  // in which they were submitted, so that a model gets its layers in order.
  void submit_get_layer(const Lookup& found, std::uint32_t layer,
                        std::span<const std::span<const LocalSegment>> into, OnStatuses on_done,
                        const CallOptions& options = {});

  // Changes how long objects are kept: ok, not_found, invalid_argument; quota_exceeded or
  // limit_exceeded for a hard pin beyond what may be held (docs/wire-protocol.md, section 8.9).
  void submit_retain(std::span<const wire::RetainItem> items, OnStatuses on_done);
  // Events of the tenant's objects behind request.after, or, after 0, the position to begin with;
  // waits for request.wait_ms if there are none. A position may be kept for longer than the box
  // lives: `lost` is not 0 where some were missed. Errors: invalid_argument, limit_exceeded.
  void submit_events(const wire::EventsRequest& request, OnEvents on_done);
  // What the session's tenant has in the pool, and what it may have.
  void submit_usage(OnUsage on_done);

  [[nodiscard]] std::vector<Errc> put(std::span<const PutItem> items,
                                      const CallOptions& options = {});
  [[nodiscard]] std::vector<Errc> get(std::span<const GetItem> items,
                                      const CallOptions& options = {});
  [[nodiscard]] std::vector<Errc> get_found(const Lookup& found,
                                            std::span<const std::span<const LocalSegment>> into,
                                            const CallOptions& options = {});
  // How many leading names are present (objects.size()), with their places, leased: one round trip.
  [[nodiscard]] Result<Lookup> lookup_prefix(std::span<const std::string_view> names);
  [[nodiscard]] Result<Lookup> lookup(std::span<const std::string_view> names);
  [[nodiscard]] std::vector<Errc> remove(std::span<const std::string_view> names);
  [[nodiscard]] Result<LayeredPut> begin_layers(std::span<const LayeredItem> items);
  [[nodiscard]] std::vector<Errc> put_layer(const LayeredPut& put, std::uint32_t layer,
                                            std::span<const std::span<const LocalSegment>> data,
                                            const CallOptions& options = {});
  [[nodiscard]] Result<Lookup> wait(std::span<const std::string_view> names, std::uint32_t layer,
                                    Duration wait);
  [[nodiscard]] std::vector<Errc> get_layer(const Lookup& found, std::uint32_t layer,
                                            std::span<const std::span<const LocalSegment>> into,
                                            const CallOptions& options = {});
  [[nodiscard]] std::vector<Errc> retain(std::span<const wire::RetainItem> items);
  [[nodiscard]] Result<wire::EventsReply> events(const wire::EventsRequest& request);
  [[nodiscard]] Result<wire::UsageReply> usage();
  [[nodiscard]] Result<wire::ListReply> list(std::string_view prefix, std::string_view after,
                                             std::uint32_t names_max);
  [[nodiscard]] Result<std::string> status_json();

  // Remote memory. read/write answer one status for all pieces: the first failure.
  [[nodiscard]] Result<Region> allocate(SizeBytes size);
  [[nodiscard]] Result<void> free(Region& region);
  void submit_region(WorkOp op, const Region& region, std::span<const RegionPiece> pieces,
                     std::function<void(Errc)> on_done, const CallOptions& options = {});
  [[nodiscard]] Errc write(const Region& region, std::span<const RegionPiece> pieces,
                           const CallOptions& options = {});
  [[nodiscard]] Errc read(const Region& region, std::span<const RegionPiece> pieces,
                          const CallOptions& options = {});

  // Runs callbacks and the data path until something happened or `until` is reached (a past time
  // polls). True if anything happened.
  bool progress(TimePoint until);
  [[nodiscard]] std::size_t operations_in_flight() const;

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::striping
