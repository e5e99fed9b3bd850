// SPDX-License-Identifier: Apache-2.0
//
// The pool: slabs and their space, objects by name, leases, reservations, regions, sessions, and
// the protection table that every data access passes. Knows no protocol and no socket.
//
// Space. Slabs are cut from all DRAM channels on demand, one strip size each. An object lies in
// whole stripes of the largest strips that fit, then of the next size, and so on, until strips are
// small enough beside it that the rest needs no whole stripes: so every DRAM channel carries the
// same share of each block within 5 % whatever its size. It is therefore up to four kinds of
// extents, the largest strips first. Objects below a stripe of small strips lie in those. A pool
// of few chunks does without medium and tiny strips.
// Backing (MemoryTarget::back) is taken chunk by chunk when space in it is first reserved. A chunk
// without a live byte is given back by on_timer after a while, or at once when others need the
// room.
//
// Life of an object: reserve (space, write key; invisible) -> writes -> commit (write key dies,
// read key born, visible) -> lookups lease it -> remove or eviction (invisible at once; space
// returns when its last lease and last pin are gone, the read key dies then). A reservation ends
// with its session or at its deadline; space under an access in flight, or mapped by a local
// session, is quarantined until that ends.
//
// Lost memory (poison). An access that meets it is answered with `poison`; an object of which bytes
// are lost is dropped then, so that it is a miss and can be put again, and strips with lost bytes
// are given to nobody any more.
//
// Eviction. When room is wanted, the least recently used object that neither a lease nor a hard pin
// holds goes; a tenant at its quota loses its own. What is held is at most half of the pool and of
// each tenant's quota, and never touches the last quarter of the memory's chunks. Regions and
// reservations are not evicted either: what a tenant has of these, a quota alone limits.
//
// Tenants. What a tenant is given holds zeros or its own bytes of before; a region holds zeros.
// Small objects of several tenants share chunks once half of the backing limit is in use.
//
// Thread-safety: all members from any thread. One internal lock, taken once per call and never per
// strip, and not held while memory is backed, given back or, object by object, scrubbed; what may
// touch more than some thousand objects opens it in between. A call that needs memory waits for
// what others are backing or giving back, at most 200 ms. Ownership:
// the DRAM channels, clock and random source outlive the service.
// Units: bytes, TimePoints. Errors: named at each call; batch calls answer per item.
// At most 300 bytes of memory per indexed object with names of up to 32 bytes.
#pragma once

#include <godbox/clock.h>
#include <godbox/emulator/box_config.h>
#include <godbox/emulator/timing.h>
#include <godbox/memory_target.h>
#include <godbox/random_source.h>
#include <godbox/slab_memory.h>
#include <godbox/transport.h>
#include <godbox/virtual_address.h>
#include <godbox/wire.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator {

inline constexpr std::uint32_t kLargeStripBytes = 64U << 10U;
inline constexpr std::uint32_t kMediumStripBytes = 16U << 10U;
inline constexpr std::uint32_t kSmallStripBytes = 4U << 10U;
inline constexpr std::uint32_t kTinyStripBytes = 1U << 10U;
inline constexpr std::uint32_t kFineStripBytes = 128;

struct SessionInfo {
  SessionId id;
  wire::SessionSecret secret;
};

// A client goes on with its session over another control connection.
struct SessionResume {
  SessionId id;
  wire::SessionSecret secret;
  std::string_view tenant;
  std::uint32_t attempt = 0;  // the number of the new connection: above those of all before
};

// What a request was answered, for when it is asked again.
struct KeptAnswer {
  Errc status = Errc::ok;
  wire::Body body;
};

// Who wants to move bytes: a session, over one of its lanes. Lane 0: over none that can be fenced.
struct AccessBy {
  AccessBy(SessionId of) : session(of) {}  // NOLINT(google-explicit-constructor)
  AccessBy(SessionId of, wire::LaneToken over) : session(of), lane(over) {}
  SessionId session;
  wire::LaneToken lane;
};

// A data access in progress: where its bytes are, and what keeps them there. Reused, so that a warm
// ticket allocates nothing.
struct AccessTicket {
  std::vector<MutableSpan> spans;              // in request order, neighbours merged
  std::vector<DramChannelLoad> dram_channels;  // bytes per DRAM channel
  std::uint64_t total_bytes = 0;
  // A read of sealed objects in memory that the kernel may refer to: the bytes stay as they are
  // until end_access().
  bool is_referable = false;
  std::vector<std::uint32_t> pinned;  // private to the service: each slot once
  SessionId writer;                   // likewise: of a write over a lane
  wire::LaneToken writer_lane;
};

struct PoolUsage {
  SizeBytes capacity;  // address space
  SizeBytes reserved;  // given to objects, regions, reservations and logical devices
  SizeBytes backed;    // present memory, that of logical devices included
  SizeBytes backing_limit;
  SizeBytes index_memory;  // estimate of the service's own memory for names, slots and tables
  std::uint64_t objects = 0;
  std::uint64_t reservations = 0;
  std::uint64_t regions = 0;
  std::uint64_t leases = 0;
  std::uint64_t sessions = 0;
  std::uint64_t slabs = 0;
  std::uint64_t evictions = 0;
  std::uint64_t expiries = 0;      // objects that a hard TTL has ended
  SizeBytes held;                  // of `reserved`: by leases and hard pins
  std::uint64_t quarantined = 0;   // objects and reservations that wait for pins or leases
  std::uint64_t lost_objects = 0;  // dropped, as the memory has lost bytes of theirs
  SizeBytes retired;               // of `reserved`: strips with lost bytes, given to nobody again
  std::uint64_t logical_devices = 0;  // also those that are leaving
  SizeBytes bound;                    // what these have
  SizeBytes bound_slabs;              // of `reserved`: the slabs that they take for it
};

struct DramChannelUsage {
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t requests = 0;
  SizeBytes bound;  // of its capacity, in slabs of logical devices
};

enum class WakeReason : std::uint8_t {
  changed,  // ask again
  gone,     // what was being written will not be: ask for the last time
};
// Who asked for what is not there yet. wake() comes from any thread and under the pool's lock, once
// for each wait, and calls nothing of the pool.
class WakeTarget {
 public:
  virtual void wake(std::uint64_t token, WakeReason reason) = 0;

 protected:
  ~WakeTarget() = default;
};
// A request that may have to wait: whom to wake, with what, and whether there is time left to.
struct Waiter {
  WakeTarget* target = nullptr;
  std::uint64_t token = 0;
  bool may_wait = false;   // false: answer with what there is
  std::size_t resume = 0;  // of several names, the one that was waited for last
};

struct TenantUsage {
  std::string name;
  wire::UsageReply usage;
};

class PoolService {
 public:
  // One target per DRAM channel, all of config.dram_channel_size. `config` must have passed
  // validate().
  PoolService(const BoxConfig& config, const std::vector<MemoryTarget*>& dram_channels,
              SizeBytes backing_limit, const Clock& clock, RandomSource& random,
              SlabMemoryMaker make_slab_memory = {});
  ~PoolService();
  PoolService(const PoolService&) = delete;
  PoolService& operator=(const PoolService&) = delete;

  [[nodiscard]] Epoch epoch() const;

  // --- Sessions. Errors: limit_exceeded; invalid_argument for a tenant of more than
  // wire::kNameBytesMax bytes; session_lost for an unknown or ended one. ---
  [[nodiscard]] Result<SessionInfo> open_session(std::string_view tenant);
  // A lane joins with the proof that it belongs to the session. Errors: session_lost,
  // access_denied, limit_exceeded.
  [[nodiscard]] Result<wire::LaneToken> join_session(SessionId session,
                                                     const wire::SessionSecret& secret);
  // The lane is gone, with all its accesses.
  void leave_lane(SessionId session, wire::LaneToken lane);
  // From now on no access begins over these lanes. ok: none of their writes is in progress either,
  // so nothing of them can touch the pool any more. write_in_flight: ask again.
  [[nodiscard]] Errc fence_lanes(SessionId session, std::span<const wire::LaneToken> lanes);
  // False for a lane that left or was fenced, or whose session ended.
  [[nodiscard]] bool is_lane_open(SessionId session, wire::LaneToken lane) const;
  // Any frame heard from the session; it ends session_timeout after the last one.
  [[nodiscard]] Errc touch_session(SessionId session);
  // Asks without being heard: what watches a session must not keep it alive.
  [[nodiscard]] bool is_session_open(SessionId session) const;
  // The session has the memory mapped: its reservations and leases hold their space until it is
  // closed. Silence loses such a session but gives back nothing; close it when its door has gone.
  // `pins`: it pins the pages too, so none is given back to the machine until it is closed.
  // Errors: write_in_flight (some are being given back just now: ask again).
  [[nodiscard]] Errc mark_mapped(SessionId session, bool pins = false);
  // The control connection of that number is the session's from now on; that of before begins
  // nothing any more. Errors: session_lost; access_denied (wrong secret, another tenant);
  // invalid_argument (a number not above those of before); unsupported (mapped memory, or a box
  // without session_grace); write_in_flight (the connection before is still doing a request: try
  // again with a higher number).
  [[nodiscard]] Errc resume_session(const SessionResume& resume);
  // That connection is gone. The session goes on for session_grace without one while a lane of it
  // stands, and ends with the last; it ends now where it has none, or `for_good`. Ignored from a
  // connection in whose place another has come.
  void leave_control(SessionId session, std::uint32_t attachment, bool for_good);
  // False for a connection in whose place another has come, or whose session ended.
  [[nodiscard]] bool is_control_open(SessionId session, std::uint32_t attachment) const;
  // As touch_session(). lane_fenced: another connection has come in the place of this one.
  [[nodiscard]] Errc touch_control(SessionId session, std::uint32_t attachment);
  // A request that must not be done twice begins; with ok and no answer end_request() follows. With
  // an answer it was done before, and this is what was said. Errors: as of touch_control();
  // session_lost also where the answer was too large to be kept.
  [[nodiscard]] Errc begin_request(SessionId session, std::uint32_t attachment,
                                   std::uint64_t request_id, std::optional<KeptAnswer>& answer);
  // It is done; the last `answers_max` answers are kept.
  void end_request(SessionId session, std::uint64_t request_id, Errc status, ConstSpan body,
                   std::size_t answers_max);
  // Ends the session as silence does: at once for its peers; what it holds returns with the next
  // on_timer, or when it is closed.
  void lose_session(SessionId session);
  void close_session(SessionId session);

  // --- KV. Answers are appended to `reply` in order. ---
  // Where a session ends during a call, the items that are left are answered session_lost.
  // Per item: ok, already_exists, invalid_argument (empty or long name, size 0, layers of a sparse
  // object or that do not divide it), too_large, pool_full, backing_full, quota_exceeded,
  // limit_exceeded. Sparse objects get no write key.
  void reserve(SessionId session, const wire::ReserveRequest& request, wire::ReserveReply& reply);
  // Per item: ok, not_found, reservation_expired, write_in_flight (try again), already_exists
  // (another put of this name committed first), invalid_argument (CRC count).
  void commit(SessionId session, const wire::CommitRequest& request, wire::StatusesReply& reply);
  // Per item: ok, not_found; reservation_expired or already_exists for one that ended so lately.
  void abort(SessionId session, const wire::ReservationsRequest& request,
             wire::StatusesReply& reply);
  // An answer that fits a frame: a prefix is cut short to at least one object, else too_large.
  // Errors: too_large, session_lost; then nothing is answered and nothing leased.
  [[nodiscard]] Errc lookup(SessionId session, const wire::LookupRequest& request,
                            wire::LookupReply& reply);
  void release(SessionId session, const wire::LeasesRequest& request);
  // Per item: ok, not_found.
  void remove(SessionId session, const wire::NamesRequest& request, wire::StatusesReply& reply);
  // Commits a layer of each; that of the last one makes the object visible. A layer committed
  // before is committed: ok. Each gives the reservation its whole time again. Per item: as commit,
  // and invalid_argument for a layer that is not the next, or of an object without layers.
  void commit_layer(SessionId session, const wire::CommitLayerRequest& request,
                    wire::StatusesReply& reply);
  // As a lookup of each name, once all of them are written as far as asked for: an object that is
  // being put layer by layer is then found too, with the layers that are there. Where some are not
  // and `waiter` may wait, nothing is answered, and the waiter woken once when it is worth asking
  // again. Per item, when asked for the last time: ok, present_unleased, not_found, or
  // deadline_exceeded for one that is there in part. Errors: too_large (more than
  // wire::kWaitNamesMax names, or an answer beyond a frame), limit_exceeded (too many wait),
  // session_lost.
  struct WaitOutcome {
    Errc status = Errc::ok;
    bool is_waiting = false;
    std::size_t waits_for = 0;  // index of the name
  };
  [[nodiscard]] WaitOutcome wait(SessionId session, const wire::WaitRequest& request,
                                 const Waiter& waiter, wire::LookupReply& reply);
  // What has happened to the tenant's objects since a position, or waits until something does. A
  // position that is none of this life of the box, or that it has forgotten, is answered with
  // `lost` and all that is known. Errors: invalid_argument (no kinds, no events), limit_exceeded,
  // session_lost.
  [[nodiscard]] WaitOutcome events(SessionId session, const wire::EventsRequest& request,
                                   const Waiter& waiter, wire::EventsReply& reply);
  // The target waits no more with this token; it may have been woken before.
  void cancel_wait(WakeTarget& target, std::uint64_t token);
  // Changes how long objects are kept. Per item: ok, not_found; quota_exceeded or limit_exceeded
  // for a hard pin beyond the half of the tenant's quota, or of the pool, that may be held.
  void retain(SessionId session, const wire::RetainRequest& request, wire::StatusesReply& reply);
  // Of the session's tenant. Errors: session_lost.
  [[nodiscard]] Result<wire::UsageReply> tenant_usage(SessionId session) const;
  // Of the tenants with the most bytes, those first.
  [[nodiscard]] std::vector<TenantUsage> tenant_usages(std::size_t tenants_max) const;
  // Names of the session's tenant, sorted. Objects put or removed meanwhile may or may not be told.
  // Costs what the page has of names, and one search for where it begins.
  void list(SessionId session, const wire::ListRequest& request, wire::ListReply& reply);

  // --- Remote memory. A region begins as zeros. One that a mapped session holds and another
  // session of the tenant frees keeps its space until the holder is closed. Errors:
  // invalid_argument (size 0), pool_full, backing_full, too_large, limit_exceeded, session_lost;
  // not_found. ---
  [[nodiscard]] Result<wire::RegionReply> allocate_region(SessionId session, SizeBytes size);
  [[nodiscard]] Errc free_region(SessionId session, RKey key);
  void describe_slabs(const wire::SlabIdsRequest& request, wire::SlabsReply& reply) const;

  // --- Logical devices. A session's bindings end when it is closed, and never by silence: its
  // process may have the memory mapped. Each error has a sentence that says why. ---
  struct Binding {
    wire::BindReply reply;
    std::shared_ptr<SlabMemory> memory;
  };
  // A new device, of whole slabs and with memory of its own, zeros; or one more holder of a sealed
  // one. Errors: invalid_argument (a size that is no positive multiple of 256 MiB, a name that is
  // none), unsupported (no maker of memory), too_large, quota_exceeded (the VM's or the tenant's),
  // pool_full, backing_full, limit_exceeded, not_found, access_denied (another tenant's),
  // already_exists (a VM's own; or this VM has it already), session_lost.
  [[nodiscard]] Result<Binding> bind(SessionId session, const wire::BindRequest& request);
  // The holder's guest has it no more. What was bound to it alone is given back, zeros for whoever
  // has it mapped; a sealed one stays, and counts this holder until its session is closed.
  // Errors: not_found, write_in_flight (it is being sealed).
  [[nodiscard]] Result<void> unbind(SessionId session, LdId device);
  // The device that the session alone has is nobody's from now on, can only be read, and stays
  // until it is dropped. Errors: not_found, access_denied (another session's), already_exists (it
  // is sealed), write_in_flight (mapped for writing: nothing has changed), io_error.
  [[nodiscard]] Result<void> seal(SessionId session, LdId device);
  // A sealed device that no VM has goes. Errors: not_found, access_denied (another tenant's),
  // already_exists (VMs have it).
  [[nodiscard]] Result<void> drop(SessionId session, LdId device);
  void list_bound(wire::ListBoundReply& reply) const;

  // --- Data path. ---
  // Checks session, keys, bounds and rights of all segments, fills the ticket and pins what it
  // covers until end_access. Errors: key_revoked, access_denied, out_of_range, not_backed (sparse),
  // session_lost, lane_fenced, queue_full (too many accesses of one object at a time), poison (the
  // memory has lost some of the bytes). On an error nothing is pinned.
  // Memory of software coherence: its lines are dropped here, and what was written is flushed by
  // end_access, so before any commit.
  [[nodiscard]] Errc begin_access(const AccessBy& by, WorkOp op,
                                  std::span<const RemoteSegment> segments, AccessTicket& ticket);
  void end_access(AccessTicket& ticket);
  // The same for bytes as RDMA names them; out_of_range also where no slab of that name is there.
  [[nodiscard]] Errc begin_access(const AccessBy& by, WorkOp op, const VirtualRange& range,
                                  AccessTicket& ticket);
  // What that would answer now, but for poison; pins nothing. For a long transfer, which is refused
  // before its first byte and then pins piece by piece.
  [[nodiscard]] Errc allows_access(const AccessBy& by, WorkOp op, const VirtualRange& range) const;
  // poison if an access of this ticket's bytes met some by now: they have not all been moved.
  [[nodiscard]] Errc check_access(const AccessTicket& ticket) const;
  // True once any of the memory is known to be lost.
  [[nodiscard]] bool has_poison() const;
  // Touches each page of the ticket, so that what the kernel alone has met is found and noted.
  void find_poison(const AccessTicket& ticket);

  // Ends what is overdue: reservations, leases, sessions. Call a few times per second.
  void on_timer();

  [[nodiscard]] PoolUsage usage() const;
  [[nodiscard]] DramChannelUsage dram_channel_usage(DramChannelId id) const;

 private:
  struct Impl;
  [[nodiscard]] Errc enter_access(AccessTicket& ticket, bool met_poison);

  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::emulator
