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
// connect anew.
//
// Thread-safety: one thread; any number of clients per process. Callbacks run inside progress(),
// and in the destructor, which ends each call with cancelled (session_lost if that came first). A
// submit_* in such a last callback is answered with cancelled once; what that answer submits in
// turn is dropped, its callback never run. Plain calls there answer cancelled at once.
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

struct FoundObject {
  RKey read_key;
  SizeBytes size;
  std::uint32_t extent_begin = 0, extent_count = 0;
  std::uint32_t crc_begin = 0, crc_count = 0;
  bool sparse = false;
  // ok; present_unleased: found, but the box grants no more leases; not_found and invalid_argument
  // (a name that is empty or too long) only in per-key lookups.
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
  // What a transport is made from, once the session stands and the box is known.
  struct TransportContext {
    StreamNetwork& network;
    const wire::HelloReply& session;
    const wire::InfoReply& box;
    native::ControlClient& control;   // for MAP_MEMORY
    ConnectionId control_connection;  // to kick after a request to `control`
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

  // KV. Statuses per item.
  // put: ok, already_exists, pool_full, backing_full, too_large, invalid_argument (empty or long
  // name), deadline_exceeded, session_lost, ... Only ok means that the object is there; after
  // deadline_exceeded it may be. Each object is there as a whole or not at all.
  // reservation_expired: the box ended the reservation meanwhile; put again.
  void submit_put(std::span<const PutItem> items, OnStatuses on_done);
  // get: ok, not_found, invalid_argument (size differs), crc_mismatch, not_backed (sparse),
  // deadline_exceeded, ... Without a lease, because the box grants none or it has run out, a key
  // still guards the bytes: key_revoked when the object went away meanwhile. A mapping has no keys:
  // present_unleased or lease_expired, unread.
  void submit_get(std::span<const GetItem> items, OnStatuses on_done);
  // get of objects already found: `into[i]` is for objects[i], one for each. key_revoked,
  // lease_expired: look up again.
  void submit_get_found(const Lookup& found, std::span<const std::span<const LocalSegment>> into,
                        OnStatuses on_done);
  void submit_lookup(std::span<const std::string_view> names, bool prefix, OnLookup on_done);
  void submit_remove(std::span<const std::string_view> names, OnStatuses on_done);
  void release(Lookup& found);

  [[nodiscard]] std::vector<Errc> put(std::span<const PutItem> items);
  [[nodiscard]] std::vector<Errc> get(std::span<const GetItem> items);
  [[nodiscard]] std::vector<Errc> get_found(const Lookup& found,
                                            std::span<const std::span<const LocalSegment>> into);
  // How many leading names are present (objects.size()), with their places, leased: one round trip.
  [[nodiscard]] Result<Lookup> lookup_prefix(std::span<const std::string_view> names);
  [[nodiscard]] Result<Lookup> lookup(std::span<const std::string_view> names);
  [[nodiscard]] std::vector<Errc> remove(std::span<const std::string_view> names);
  [[nodiscard]] Result<wire::ListReply> list(std::string_view prefix, std::string_view after,
                                             std::uint32_t names_max);
  [[nodiscard]] Result<std::string> status_json();

  // Remote memory. read/write answer one status for all pieces: the first failure.
  [[nodiscard]] Result<Region> allocate(SizeBytes size);
  [[nodiscard]] Result<void> free(Region& region);
  void submit_region(WorkOp op, const Region& region, std::span<const RegionPiece> pieces,
                     std::function<void(Errc)> on_done);
  [[nodiscard]] Errc write(const Region& region, std::span<const RegionPiece> pieces);
  [[nodiscard]] Errc read(const Region& region, std::span<const RegionPiece> pieces);

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
