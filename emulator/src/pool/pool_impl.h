// SPDX-License-Identifier: Apache-2.0
//
// The state behind PoolService, and the steps that its operations share: what ends an object's,
// reservation's or region's life, and making room. One file per family of operations implements it
// (service_*.cpp).
// Thread-safety: the caller holds `mutex` wherever nothing else is said. Units: bytes.
#pragma once

#include "pool/backing.h"
#include "pool/bound_table.h"
#include "pool/event_logs.h"
#include "pool/eviction_order.h"
#include "pool/key_table.h"
#include "pool/lease_table.h"
#include "pool/lifetime_table.h"
#include "pool/object_index.h"
#include "pool/reservation_table.h"
#include "pool/session_table.h"
#include "pool/slab_table.h"
#include "pool/space_allocator.h"
#include "pool/tenant_table.h"
#include "pool/wait_table.h"
#include <godbox/emulator/pool_service.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace godbox::emulator {

inline constexpr std::uint32_t kReservationsPerSessionMax = 4 * wire::kBatchItemsMax;
inline constexpr std::uint32_t kRegionsPerSessionMax = 4096;
inline constexpr std::uint32_t kLeasesPerSessionMax = 65536;
inline constexpr std::uint32_t kListNamesMax = wire::kBatchItemsMax;
// Work done under the lock at a time by what may touch millions of objects.
inline constexpr std::size_t kEvictionsPerStepMax = 256;
inline constexpr std::size_t kExpiriesPerStepMax = 1024;
inline constexpr std::size_t kLeasedObjectsPerStepMax = 16384;
// Times that a put backs memory only to find it taken by others.
inline constexpr int kBackingRoundsMax = 8;
// Times that it waits for chunks which others are backing or giving back, and how long each time.
inline constexpr int kBusyWaitsMax = 8;
inline constexpr std::chrono::milliseconds kBusyWaitMax{25};

struct PoolService::Impl {
  using WaitOutcome = PoolService::WaitOutcome;
  using Binding = PoolService::Binding;

  Impl(const BoxConfig& box_config, const std::vector<MemoryTarget*>& dram_channels,
       SizeBytes backing_limit, const Clock& box_clock, RandomSource& random,
       SlabMemoryMaker slab_memory_maker);

  // --- Sessions (service_sessions.cpp) ---
  [[nodiscard]] Result<SessionInfo> open_session(std::string_view tenant);
  [[nodiscard]] static bool is_secret_of(const Session& session, const wire::SessionSecret& secret);
  [[nodiscard]] Errc resume_session(const SessionResume& resume);
  // Its client is there while a lane stands; without one it is gone, or cut off altogether.
  [[nodiscard]] bool may_outlive_its_connection(const Session& session) const;
  // A session that stands; nullptr for an unknown or lost one.
  [[nodiscard]] Session* session_of(SessionId id);
  // Ends a part of what the session holds; true once it holds nothing, and is gone.
  [[nodiscard]] bool close_step(Session& session);
  // What is done when a session has been silent for too long. One without a mapping is put on the
  // list of those to be closed.
  void lose_session(Session& session);
  [[nodiscard]] bool close_lost_sessions();
  // Each ends at most kExpiriesPerStepMax of its kind; true if there may be more.
  [[nodiscard]] bool expire_reservations(TimePoint now);
  [[nodiscard]] bool expire_leases(TimePoint now);
  [[nodiscard]] bool expire_sessions(TimePoint now);

  // --- Put (service_put.cpp) ---
  // What one call that takes space has to do without the lock.
  struct Pending {
    BackingWork backing;
    bool may_back = true;    // false once the machine has no more memory
    bool must_wait = false;  // for chunks that are busy
    int waits = 0;
    Errc evict_why = Errc::ok;       // with evict_bytes: what an eviction has to make room for
    std::uint32_t evict_tenant = 0;  // with quota_exceeded: whose
    std::uint32_t evict_tenant_number = 0;
    std::uint64_t evict_bytes = 0;
    std::uint64_t evicted_bytes = 0;
    bool is_out_of_victims = false;
    std::uint64_t clear_slabs = 0;  // so many have to be free
    int clear_rounds = 0;
    std::vector<Extent> scrub;
    std::vector<std::uint32_t> scrub_slots;  // pinned until they are scrubbed
  };
  // Space and slot for an object or region. With anything left to do in `pending` nothing is held:
  // do it, and call again.
  struct Placed {
    Errc status = Errc::ok;
    std::uint32_t index = kNoIndex;
  };
  [[nodiscard]] Placed place_object(const Session& session, const NewObject& object,
                                    Pending& pending);
  // ok, or why the tenant's quota leaves no room; or ok with something to evict in `pending`.
  [[nodiscard]] Errc check_quota(const Session& session, std::uint64_t wanted_bytes,
                                 Pending& pending);
  struct Until {
    TimePoint deadline;
    Duration life;  // that it is from the call
  };
  void reserve_item(Session& session, const wire::ReserveItem& item, const Until& until,
                    wire::ReserveAnswer& answer, Pending& pending);
  [[nodiscard]] Errc allocate_region(Session& session, SizeBytes size, wire::RegionReply& reply,
                                     Pending& pending);
  // A reservation whose time is over ends here.
  [[nodiscard]] ReservationTable::Found find_live(const Session& session, ReservationId id,
                                                  TimePoint now);
  [[nodiscard]] Errc commit_item(Session& session, const wire::CommitItem& item, TimePoint now);
  [[nodiscard]] Errc commit_layer_item(Session& session, const wire::CommitLayerItem& item,
                                       TimePoint now);
  // ok, or already_exists where another put of the name is that far already.
  [[nodiscard]] Errc claim_name(std::uint32_t index);
  // Commits each item of a call by `commit_one`.
  template <class Item>
  void commit_all(SessionId session_id, const std::vector<Item>& items,
                  Errc (Impl::*commit_one)(Session&, const Item&, TimePoint),
                  wire::StatusesReply& reply) {
    Session* const session = session_of(session_id);
    const TimePoint now = clock.now();
    found_slots.clear();
    for (const Item& item : items) {
      reply.statuses.push_back(session == nullptr ? Errc::session_lost
                                                  : (this->*commit_one)(*session, item, now));
    }
    touch_sealed();
  }
  // As in a lookup, the first of a call's objects counts as used last.
  void touch_sealed();
  // The reservation of this name, of the tenant's, that has written a layer, or kNoIndex.
  [[nodiscard]] std::uint32_t find_claim(std::uint32_t tenant, std::string_view name) const;
  [[nodiscard]] Errc seal(Session& session, std::uint32_t reservation, TimePoint now);
  [[nodiscard]] Errc abort_item(Session& session, ReservationId id);
  // Why there was no space, or ok where `pending` says what to do before the next try: waiting for
  // busy chunks comes first, then evicting.
  [[nodiscard]] Errc no_space(Errc why, std::uint64_t size_bytes, Pending& pending) const;
  // Calls attempt() until it leaves nothing to do, and does that with `lock` open. Backs memory
  // with it closed after many rounds, in which others were faster.
  template <class Attempt>
  void with_space(std::unique_lock<std::mutex>& lock, Pending& pending, Attempt&& attempt) {
    pending.waits = 0;
    pending.evicted_bytes = 0;
    pending.is_out_of_victims = false;
    pending.clear_rounds = 0;
    for (int round = 0;;) {
      attempt();
      if (pending.must_wait) {
        wait_for_busy(lock, pending);
      } else if (pending.evict_bytes > 0) {
        evict_for(lock, pending);
      } else if (pending.clear_slabs > 0) {
        clear_slabs(lock, pending);
      } else if (!pending.backing.empty()) {
        do_backing(lock, pending, round < kBackingRoundsMax);
        pending.may_back = pending.may_back && round < 2 * kBackingRoundsMax;
        ++round;
      } else {
        return;
      }
    }
  }
  void wait_for_busy(std::unique_lock<std::mutex>& lock, Pending& pending);
  void do_backing(std::unique_lock<std::mutex>& lock, Pending& pending, bool open_lock);
  // Zeroes what place_object() found to hold bytes that must not be seen, with `lock` open
  // meanwhile.
  void do_scrub(std::unique_lock<std::mutex>& lock, Pending& pending);

  // --- Lookup (service_lookup.cpp) ---
  [[nodiscard]] Errc lookup(Session& session, const wire::LookupRequest& request,
                            wire::LookupReply& reply);
  [[nodiscard]] WaitOutcome wait(Session& session, const wire::WaitRequest& request,
                                 const Waiter& waiter, wire::LookupReply& reply);
  [[nodiscard]] WaitOutcome events(Session& session, const wire::EventsRequest& request,
                                   const Waiter& waiter, wire::EventsReply& reply);
  // A request that has its answer takes no share of the waits any more.
  [[nodiscard]] WaitOutcome ended_unless_waiting(const Waiter& waiter, WaitOutcome outcome);
  // The object of that name as far as it is written: visible, or with a layer at least.
  [[nodiscard]] std::uint32_t find_partial(std::uint32_t tenant, std::string_view name,
                                           TimePoint now) const;
  [[nodiscard]] bool is_ready(std::uint32_t index, std::uint32_t layer) const;
  [[nodiscard]] std::uint32_t layers_ready(const ObjectSlot& slot) const;
  // Answers what is in looked_up.
  void answer_all(Session& session, std::uint32_t lease_ms, wire::LookupReply& reply);
  // Finds all names before anything is answered, so that an answer larger than a frame is seen in
  // time: a prefix ends there, else too_large.
  [[nodiscard]] Errc find_all(const Session& session, const wire::LookupRequest& request);
  // Of one object in the encoded reply; kNoIndex: of a miss.
  [[nodiscard]] std::uint64_t answer_bytes(std::uint32_t index) const;
  void answer_found(const ObjectSlot& slot, wire::LookupReply& reply);
  void lease_object(std::uint32_t index);
  // Returns how many objects it covered.
  std::size_t end_lease(std::uint32_t lease);
  [[nodiscard]] Errc remove_item(const Session& session, std::string_view name);
  [[nodiscard]] bool is_over(std::uint32_t index, TimePoint now) const;  // its hard TTL
  void expire(std::uint32_t index);
  // The visible object of that name, or kNoIndex. One whose hard TTL is over goes here.
  [[nodiscard]] std::uint32_t find_visible(std::uint32_t tenant, std::string_view name);
  [[nodiscard]] Errc retain_item(const Session& session, const wire::RetainItem& item);
  void set_ttls(std::uint32_t index, const wire::Retention& retention);
  // --- List (service_list.cpp) ---
  struct ListPage {
    std::string from;  // goes on here, or behind it
    bool is_behind = false;
    std::size_t names_max = 0;
  };
  [[nodiscard]] bool list_step(const Session& session, const wire::ListRequest& request,
                               ListPage& page, wire::ListReply& reply);
  // Ends objects whose TTL is over, by steps; true if there may be more.
  [[nodiscard]] bool expire_objects(TimePoint now);

  // --- Holding: what leases and hard pins keep from eviction (pool_impl.cpp) ---
  [[nodiscard]] static bool is_held(const ObjectSlot& slot) {
    return slot.leases > 0 || slot.pin == wire::Pin::hard;
  }
  // ok, or whose half is used up: quota_exceeded, the tenant's; limit_exceeded, the pool's.
  // Pins may hold a quarter, so that they leave as much to leases.
  [[nodiscard]] Errc may_hold_bytes(std::uint32_t tenant, std::uint64_t size_bytes, bool is_sparse,
                                    bool is_pin) const;
  [[nodiscard]] Errc may_pin_bytes(std::uint64_t size_bytes) const;
  // Counts what hard pins hold.
  void set_pin(ObjectSlot& slot, wire::Pin pin);
  // may_hold_bytes(), and for the object's place.
  [[nodiscard]] Errc may_hold(const ObjectSlot& slot, bool is_pin) const;
  // Counts an object that is held from now on, or no longer. A visible one leaves the eviction
  // order, and comes back as the last used.
  void begin_hold(std::uint32_t index);
  void end_hold(std::uint32_t index);
  void unpin_for_good(std::uint32_t index);
  void change_use(const ObjectSlot& slot, SpaceAllocator::Use from, SpaceAllocator::Use to);

  // --- Logical devices (service_bind.cpp) ---
  [[nodiscard]] std::uint64_t vm_quota_bytes(std::string_view vm) const;
  // How many devices there may be, the VM's quota, and what a copy is of.
  [[nodiscard]] Result<void> check_bind_limits(const Session& session,
                                               const wire::BindRequest& request);
  // Whether the device would fit if all were evicted that can be.
  [[nodiscard]] Result<void> check_device_room(SizeBytes size, const Pending& pending) const;
  // Slabs, appended to `slots`, and backing. With anything left to do in `pending` nothing is held:
  // do it, and call again.
  [[nodiscard]] Result<void> place_device(SizeBytes size, std::vector<std::uint32_t>& slots,
                                          Pending& pending);
  [[nodiscard]] Error backing_full(SizeBytes size) const;
  [[nodiscard]] Result<Binding> bind_new(SessionId session_id, const wire::BindRequest& request,
                                         const std::shared_ptr<SlabMemory>& memory,
                                         Pending& pending);
  [[nodiscard]] Result<Binding> bind_sealed(SessionId session_id, const wire::BindRequest& request);
  [[nodiscard]] Binding add_holder(Session& session, LogicalDevice& device, std::string_view vm);
  // Evicts what lies in the slabs whose objects have the fewest bytes in all, until there are
  // pending.clear_slabs free ones, or nearly; by steps with `lock` open in between.
  void clear_slabs(std::unique_lock<std::mutex>& lock, Pending& pending);
  // visit(index, slot) of every object that may be evicted, by steps with `lock` open in between.
  template <class Visit>
  void for_each_evictable(std::unique_lock<std::mutex>& lock, Visit&& visit);
  // The session has none any more.
  void release_devices(const Session& session);
  // That nobody has, and whose memory nobody is giving back.
  [[nodiscard]] LogicalDevice* next_leaving();
  // Gives some of what is leaving back, with `lock` open meanwhile.
  void settle_leaving(std::unique_lock<std::mutex>& lock);
  void forget(const LogicalDevice& device);

  // --- Data path (service_access.cpp) ---
  [[nodiscard]] Errc check_segment(const Session& session, WorkOp op, const RemoteSegment& segment,
                                   std::uint32_t& slot_index);
  // All segments of a request; appends each slot to `pinned` once. On an error nothing.
  [[nodiscard]] Errc check_segments(const Session& session, WorkOp op,
                                    std::span<const RemoteSegment> segments,
                                    std::vector<std::uint32_t>& pinned);
  // Checks and pins; on an error nothing is.
  [[nodiscard]] Errc pin_access(const AccessBy& by, WorkOp op,
                                std::span<const RemoteSegment> segments, AccessTicket& ticket);
  // Who may touch something still; else session_lost or lane_fenced.
  [[nodiscard]] Errc find_accessor(const AccessBy& by, Session*& session);
  // Of slab 0, in which no object lies, where no slab has that name.
  [[nodiscard]] RemoteSegment segment_of(const VirtualRange& range) const;
  // Checks, pins and locates.
  [[nodiscard]] Errc begin_access(const AccessBy& by, WorkOp op,
                                  std::span<const RemoteSegment> segments, AccessTicket& ticket,
                                  bool& met_poison);
  // Fills in where the bytes are and counts them. True if some are known to be poisoned.
  [[nodiscard]] bool locate_access(WorkOp op, std::span<const RemoteSegment> segments,
                                   AccessTicket& ticket);
  void unpin(std::uint32_t pinned);

  // --- Life and death (pool_impl.cpp) ---
  // A reservation is over without a commit. `may_still_write`: by a mapping that nobody can revoke.
  void end_reservation(std::uint32_t reservation, Errc outcome, bool may_still_write);
  // Freed by this session, of the tenant's: where that is another than the holder, and the holder
  // has it mapped, its space waits until the holder is closed.
  void end_region(std::uint32_t index, std::uint32_t session);
  void revoke_key(std::uint32_t index);
  // An object that nobody can find any more: its space returns now, or with its last lease and pin.
  void retire(std::uint32_t index);
  void free_if_unused(std::uint32_t index);
  void destroy(std::uint32_t index);
  void release_tenant(std::uint32_t tenant);
  // Takes the object out of sight, for the reason that its tenant is told; none: another has its
  // name.
  void unpublish(std::uint32_t index, std::optional<wire::EventKind> why);
  void tell(const ObjectSlot& slot, wire::EventKind kind);
  // An object with bytes that the memory has lost is no more: a miss, which can be put again.
  void drop_if_lost(std::uint32_t index);
  [[nodiscard]] bool is_lost(const Extent& extent);
  // Strips with lost bytes stay taken, so that nobody is given them.
  void free_space(std::span<const Extent> extents, bool is_sparse);

  // --- LRU and making room (pool_impl.cpp) ---
  // `from`, `to`: what its space was before, or is afterwards.
  void make_evictable(std::uint32_t index, SpaceAllocator::Use from = SpaceAllocator::Use::taken);
  void make_unevictable(std::uint32_t index, SpaceAllocator::Use to = SpaceAllocator::Use::taken);
  [[nodiscard]] std::uint64_t reserved_bytes_for(std::uint64_t size_bytes) const;
  [[nodiscard]] UseStamp use_stamp() const;
  void evict(std::uint32_t index);
  // Evicts the next object with bytes, or sparse one; false if there is none.
  [[nodiscard]] bool evict_one(bool is_sparse);
  // The same of those that take more address space, or of the others.
  [[nodiscard]] bool evict_for_space();
  // The tenant's next; false if there is none, or the tenant has gone.
  [[nodiscard]] bool evict_of(std::uint32_t tenant, std::uint32_t tenant_number);
  // Keeps usage below the high watermark before `incoming` bytes are added, by steps.
  void keep_watermark(std::uint64_t incoming_bytes, bool is_sparse);
  // ok, or why even evicting everything would not make room: then nothing is evicted in vain.
  [[nodiscard]] Errc check_room(std::uint64_t size_bytes, bool is_sparse) const;
  // Evicts pending.evict_bytes, or what there is of them, by steps with `lock` open in between.
  void evict_for(std::unique_lock<std::mutex>& lock, Pending& pending);
  [[nodiscard]] std::uint64_t live_limit_bytes() const;
  // Between two steps of something long: others may have their turn.
  static void open_briefly(std::unique_lock<std::mutex>& lock);

  [[nodiscard]] std::uint64_t index_memory_bytes() const;

  mutable std::mutex mutex;
  std::condition_variable chunks_finished;  // what was busy is not any more
  const BoxConfig config;
  const Clock& clock;
  const Epoch epoch;
  SlabTable slabs;
  Backing backing;
  SpaceAllocator space;
  ObjectIndex index;
  KeyTable keys;
  TenantTable tenants;
  SessionTable sessions;
  ReservationTable reservations;
  LeaseTable leases;
  WaitTable waits;
  EventLogs event_logs;
  BoundTable bound;
  const SlabMemoryMaker make_slab_memory;
  // Reservations with a layer at least, by the hash of their name: one for each.
  std::unordered_map<std::uint64_t, std::uint32_t> partial_objects;

  const TimePoint started;

  // Visible objects that nothing holds. Sparse ones apart: evicting them frees no memory.
  EvictionOrder eviction_order;
  LifetimeTable lifetimes;
  std::uint64_t evictable_live_bytes = 0;
  std::uint64_t evictable_sparse_bytes = 0;
  bool is_evicting = false;  // between the watermarks, on the way down

  std::uint64_t held_live_bytes = 0;  // reserved by objects that leases and hard pins hold
  std::uint64_t held_bytes = 0;       // the same with sparse ones
  std::uint64_t pinned_bytes = 0;     // of them, by hard pins
  std::vector<SessionId> closing;     // lost, and not closed yet
  std::uint64_t evictions = 0;
  std::uint64_t expiries = 0;  // by hard TTLs
  std::uint64_t regions = 0;
  std::uint64_t quarantined = 0;
  std::uint64_t lost_objects = 0;
  std::uint64_t retired_bytes = 0;  // of strips with lost bytes

  std::vector<DramChannelUsage> dram_channel_usage;
  // Of the call in progress; kept for their capacity.
  std::vector<Extent> new_extents;
  std::vector<std::uint32_t> looked_up;
  std::vector<std::uint32_t> found_slots;
  std::vector<std::uint32_t> leased_slots;
};

}  // namespace godbox::emulator
