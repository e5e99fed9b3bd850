// SPDX-License-Identifier: Apache-2.0
//
// Random operations against a model that knows when space has to be held: no two holders overlap,
// bytes stay what was written, every count agrees after every step, and nothing is left at the end.
#include "pool_fixture.h"

#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <algorithm>
#include <map>
#include <random>

namespace godbox::emulator {
namespace {

using test::Pool;
using namespace std::chrono_literals;

struct Holder {
  enum class Kind : std::uint8_t { reserved, object, region };
  Kind kind = Kind::reserved;
  std::size_t session = 0;  // reserved, region
  int tenant = 0;
  std::string name;
  std::uint64_t size_bytes = 0;
  std::vector<Extent> extents;
  RKey key;
  ReservationId reservation;
  TimePoint deadline = kNever;
  std::byte value{0};
  bool is_written = false;
  bool is_over = false;          // not visible, not usable: waits for pins, leases, mappings
  bool held_by_mapping = false;  // an expired reservation of a mapped session
  int leases = 0;
  int reads = 0;
  int writes = 0;
};

struct ModelSession {
  SessionId id;
  int tenant = 0;
  bool is_mapped = false;
};

struct ModelLease {
  LeaseId id;
  std::size_t session = 0;
  TimePoint deadline;
  std::vector<int> holders;
};

struct ModelAccess {
  AccessTicket ticket;
  int holder = 0;
  WorkOp op = WorkOp::read;
};

class Model {
 public:
  // 64 slots and 64 chunks have room for all kinds of strips.
  Model(std::uint64_t seed, bool has_all_kinds)
      : pool_({.dram_channels = 5,
               .channel_size = SizeBytes((has_all_kinds ? 64U : 4U) << 20U),
               .backing_limit = SizeBytes((has_all_kinds ? 20U : 14U) << 20U),
               .eviction = EvictionPolicy::none,
               .seed = seed}),
        random_(seed) {}

  void step() {
    switch (random_() % 16) {
      case 0:
        open_or_close_session();
        break;
      case 1:
      case 2:
      case 3:
        reserve();
        break;
      case 4:
      case 5:
        commit_or_abort();
        break;
      case 6:
      case 7:
        begin_write();
        break;
      case 8:
      case 9:
        begin_read();
        break;
      case 10:
        lookup();
        break;
      case 11:
        release();
        break;
      case 12:
        remove();
        break;
      case 13:
        region();
        break;
      case 14:
        end_access();
        break;
      default:
        advance();
        break;
    }
    check();
  }

  void finish() {
    while (!accesses_.empty()) {
      end_access();
    }
    while (!sessions_.empty()) {
      close_session(0);
    }
    for (int tenant = 0; tenant < kTenants; ++tenant) {
      const SessionId session = pool_.open(tenant_name(tenant));
      for (auto& [id, holder] : holders_) {
        if (holder.kind == Holder::Kind::object && !holder.is_over && holder.tenant == tenant) {
          REQUIRE(pool_.remove(session, holder.name) == Errc::ok);
          holder.is_over = true;
        }
      }
      pool_.service->close_session(session);
    }
    sweep();
    check();
    REQUIRE(holders_.empty());
    const PoolUsage usage = pool_.service->usage();
    REQUIRE(usage.reserved.is_zero());
    REQUIRE(usage.quarantined == 0);
    REQUIRE(usage.leases == 0);
    REQUIRE(usage.sessions == 0);
    REQUIRE(usage.objects == 0);
  }

  int puts = 0;
  int refusals = 0;
  int committed = 0;
  int in_flight = 0;

 private:
  static constexpr int kTenants = 3;
  static std::string tenant_name(int tenant) { return "tenant" + std::to_string(tenant); }

  // --- What the pool should hold. ---
  std::uint64_t reserved_by(const Holder& holder) {
    std::uint64_t total = 0;
    for (const Extent& extent : holder.extents) {
      const std::uint64_t strip = strip_of(extent.address.slab);
      total += (extent.length_bytes + strip - 1) / strip * strip;
    }
    return total;
  }
  std::uint32_t strip_of(SlabId slab) {
    wire::SlabsReply reply;
    pool_.service->describe_slabs({{slab}}, reply);
    REQUIRE(reply.slabs.size() == 1);
    return reply.slabs[0].strip_bytes;
  }

  void sweep() {
    for (auto it = holders_.begin(); it != holders_.end();) {
      const Holder& holder = it->second;
      const bool is_held = !holder.is_over || holder.held_by_mapping || holder.leases > 0 ||
                           holder.reads > 0 || holder.writes > 0;
      it = is_held ? std::next(it) : holders_.erase(it);
    }
  }

  void check() {
    sweep();
    PoolUsage expected;
    std::uint64_t reserved = 0;
    for (const auto& [id, holder] : holders_) {
      reserved += reserved_by(holder);
      expected.quarantined += holder.is_over ? 1 : 0;
      expected.objects += holder.kind == Holder::Kind::object && !holder.is_over ? 1 : 0;
      expected.regions += holder.kind == Holder::Kind::region && !holder.is_over ? 1 : 0;
      expected.reservations += holder.kind == Holder::Kind::reserved && !holder.is_over ? 1 : 0;
    }
    const PoolUsage usage = pool_.service->usage();
    REQUIRE(usage.reserved.count() == reserved);
    REQUIRE(usage.quarantined == expected.quarantined);
    REQUIRE(usage.objects == expected.objects);
    REQUIRE(usage.regions == expected.regions);
    REQUIRE(usage.reservations == expected.reservations);
    REQUIRE(usage.leases == leases_.size());
    REQUIRE(usage.sessions == sessions_.size());
    REQUIRE(usage.backed.count() == pool_.backed_in_channels());
    REQUIRE(usage.backed <= usage.backing_limit);
  }

  // Two holders never share a byte; slab ids are never reused, so (slab, offset) is enough.
  void add(Holder holder) {
    for (const Extent& extent : holder.extents) {
      const std::uint64_t begin = extent.address.offset.count();
      const std::uint64_t end = begin + extent.length_bytes;
      for (const auto& [id, other] : holders_) {
        for (const Extent& theirs : other.extents) {
          const std::uint64_t their_begin = theirs.address.offset.count();
          REQUIRE((theirs.address.slab != extent.address.slab || their_begin >= end ||
                   their_begin + theirs.length_bytes <= begin));
        }
      }
    }
    holders_.emplace(next_holder_++, std::move(holder));
  }

  template <class Predicate>
  int pick(Predicate&& predicate) {
    std::vector<int> fitting;
    for (const auto& [id, holder] : holders_) {
      if (predicate(holder)) {
        fitting.push_back(id);
      }
    }
    return fitting.empty() ? -1 : fitting[random_() % fitting.size()];
  }
  bool has_session() const { return !sessions_.empty(); }
  std::size_t pick_session() { return random_() % sessions_.size(); }
  std::uint64_t pick_size() { return 1 + random_() % (std::uint64_t{1} << random_() % 20); }

  // --- Operations. ---
  void open_or_close_session() {
    if (sessions_.size() < 6 || random_() % 3 != 0) {
      if (sessions_.size() < 12) {
        const int tenant = static_cast<int>(random_() % kTenants);
        sessions_.push_back({pool_.open(tenant_name(tenant)), tenant, random_() % 4 == 0});
        if (sessions_.back().is_mapped) {
          REQUIRE(pool_.service->mark_mapped(sessions_.back().id) == Errc::ok);
        }
      }
    } else {
      close_session(pick_session());
    }
  }

  void close_session(std::size_t index) {
    pool_.service->close_session(sessions_[index].id);
    for (auto& [id, holder] : holders_) {
      if (holder.kind != Holder::Kind::object && holder.session == index) {
        holder.is_over = true;
        holder.held_by_mapping = false;
      }
      holder.session -= holder.session > index ? 1 : 0;
    }
    for (std::size_t i = leases_.size(); i-- > 0;) {
      if (leases_[i].session == index) {
        end_lease(i);
      } else {
        leases_[i].session -= leases_[i].session > index ? 1 : 0;
      }
    }
    sessions_.erase(sessions_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  void reserve() {
    if (!has_session()) {
      return;
    }
    const std::size_t session = pick_session();
    Holder holder;
    holder.session = session;
    holder.tenant = sessions_[session].tenant;
    holder.name = "n" + std::to_string(random_() % 60);
    holder.size_bytes = pick_size();
    const bool is_there = pick([&](const Holder& other) {
                            return other.kind == Holder::Kind::object && !other.is_over &&
                                   other.tenant == holder.tenant && other.name == holder.name;
                          }) >= 0;
    const std::uint32_t deadline_ms = 1 + static_cast<std::uint32_t>(random_() % 5000);
    const wire::ReserveAnswer answer =
        pool_.reserve(sessions_[session].id, holder.name, holder.size_bytes, false, deadline_ms);
    ++puts;
    if (is_there) {
      REQUIRE(answer.status == Errc::already_exists);
      return;
    }
    if (answer.status != Errc::ok) {
      REQUIRE((answer.status == Errc::backing_full || answer.status == Errc::pool_full));
      ++refusals;
      return;
    }
    holder.extents = answer.extents;
    holder.key = answer.write_key;
    holder.reservation = answer.reservation;
    holder.deadline = pool_.clock.now() + std::chrono::milliseconds(deadline_ms);
    add(std::move(holder));
  }

  void commit_or_abort() {
    const int id = pick([](const Holder& holder) {
      return holder.kind == Holder::Kind::reserved && !holder.is_over;
    });
    if (id < 0) {
      return;
    }
    Holder& holder = holders_.at(id);
    const ModelSession& session = sessions_[holder.session];
    if (random_() % 4 == 0) {
      REQUIRE(pool_.abort(session.id, holder.reservation) == Errc::ok);
      holder.is_over = true;
      return;
    }
    const bool is_there = pick([&](const Holder& other) {
                            return other.kind == Holder::Kind::object && !other.is_over &&
                                   other.tenant == holder.tenant && other.name == holder.name;
                          }) >= 0;
    const Errc status = pool_.commit(session.id, holder.reservation);
    if (holder.deadline <= pool_.clock.now()) {
      REQUIRE(status == Errc::reservation_expired);
      holder.is_over = true;
      holder.held_by_mapping = session.is_mapped;
    } else if (holder.writes > 0) {
      REQUIRE(status == Errc::write_in_flight);
      ++in_flight;
    } else if (is_there) {
      REQUIRE(status == Errc::already_exists);
      holder.is_over = true;
    } else {
      REQUIRE(status == Errc::ok);
      holder.kind = Holder::Kind::object;
      ++committed;
    }
  }

  void begin_write() {
    const int id = pick([](const Holder& holder) {
      return holder.kind != Holder::Kind::object && !holder.is_over && holder.writes == 0;
    });
    if (id < 0) {
      return;
    }
    Holder& holder = holders_.at(id);
    ModelAccess access;
    access.holder = id;
    access.op = WorkOp::write;
    REQUIRE(pool_.service->begin_access(sessions_[holder.session].id, WorkOp::write,
                                        Pool::segments_of(holder.key, holder.extents),
                                        access.ticket) == Errc::ok);
    holder.value = static_cast<std::byte>(1 + random_() % 255);
    holder.is_written = true;
    ++holder.writes;
    accesses_.push_back(std::move(access));
  }

  void begin_read() {
    const int id = pick([](const Holder& holder) {
      return holder.kind == Holder::Kind::object && (!holder.is_over || holder.leases > 0);
    });
    if (id < 0 || !has_session()) {
      return;
    }
    Holder& holder = holders_.at(id);
    const ModelSession& session = sessions_[pick_session()];
    if (!holder.is_over && session.tenant == holder.tenant) {
      const wire::LookupReply found = pool_.lookup(session.id, {holder.name});
      REQUIRE(found.objects.at(0).status == Errc::ok);
      REQUIRE(found.objects[0].size.count() == holder.size_bytes);
      REQUIRE(found.extents == holder.extents);
      holder.key = found.objects[0].read_key;
    }
    ModelAccess access;
    access.holder = id;
    const Errc status = pool_.service->begin_access(
        session.id, WorkOp::read, Pool::segments_of(holder.key, holder.extents), access.ticket);
    if (session.tenant != holder.tenant) {
      REQUIRE((status == Errc::access_denied || status == Errc::key_revoked));
      return;
    }
    REQUIRE(status == Errc::ok);
    ++holder.reads;
    accesses_.push_back(std::move(access));
  }

  void end_access() {
    if (accesses_.empty()) {
      return;
    }
    const std::size_t index = random_() % accesses_.size();
    ModelAccess access = std::move(accesses_[index]);
    accesses_.erase(accesses_.begin() + static_cast<std::ptrdiff_t>(index));
    Holder& holder = holders_.at(access.holder);
    for (const MutableSpan span : access.ticket.spans) {
      if (access.op == WorkOp::write) {
        std::memset(span.data(), static_cast<int>(holder.value), span.size());
      } else if (holder.is_written) {
        REQUIRE(std::all_of(span.begin(), span.end(),
                            [&](std::byte byte) { return byte == holder.value; }));
      }
    }
    (access.op == WorkOp::write ? holder.writes : holder.reads) -= 1;
    pool_.service->end_access(access.ticket);
  }

  void lookup() {
    if (!has_session()) {
      return;
    }
    const std::size_t session = pick_session();
    std::vector<std::string> names;
    std::vector<std::string_view> views;
    for (int i = 0; i < 8; ++i) {
      names.push_back("n" + std::to_string(random_() % 60));
    }
    views.assign(names.begin(), names.end());
    const std::uint32_t lease_ms = 1 + static_cast<std::uint32_t>(random_() % 3000);
    const wire::LookupReply reply = pool_.lookup(sessions_[session].id, views, lease_ms);
    ModelLease lease{
        reply.lease, session, pool_.clock.now() + std::chrono::milliseconds(lease_ms), {}};
    for (std::size_t i = 0; i < names.size(); ++i) {
      const int id = pick([&](const Holder& other) {
        return other.kind == Holder::Kind::object && !other.is_over &&
               other.tenant == sessions_[session].tenant && other.name == names[i];
      });
      const Errc status = reply.objects.at(i).status;
      REQUIRE((status == Errc::not_found) == (id < 0));
      if (status == Errc::ok) {
        holders_.at(id).key = reply.objects[i].read_key;
        ++holders_.at(id).leases;
        lease.holders.push_back(id);
      }
    }
    REQUIRE((reply.lease == LeaseId()) == lease.holders.empty());
    if (!lease.holders.empty()) {
      leases_.push_back(std::move(lease));
    }
  }

  void end_lease(std::size_t index) {
    for (const int id : leases_[index].holders) {
      --holders_.at(id).leases;
    }
    leases_.erase(leases_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  void release() {
    if (!leases_.empty()) {
      const std::size_t index = random_() % leases_.size();
      pool_.release(sessions_[leases_[index].session].id, leases_[index].id);
      end_lease(index);
    }
  }

  void remove() {
    const int id = pick([](const Holder& holder) {
      return holder.kind == Holder::Kind::object && !holder.is_over;
    });
    if (id < 0 || !has_session()) {
      return;
    }
    Holder& holder = holders_.at(id);
    const ModelSession& session = sessions_[pick_session()];
    if (session.tenant == holder.tenant) {
      REQUIRE(pool_.remove(session.id, holder.name) == Errc::ok);
      holder.is_over = true;
    }
  }

  void region() {
    const int id = pick([](const Holder& holder) {
      return holder.kind == Holder::Kind::region && !holder.is_over;
    });
    if (id >= 0 && random_() % 2 == 0) {
      Holder& holder = holders_.at(id);
      REQUIRE(pool_.service->free_region(sessions_[holder.session].id, holder.key) == Errc::ok);
      holder.is_over = true;
    } else if (has_session()) {
      const std::size_t session = pick_session();
      Holder holder;
      holder.kind = Holder::Kind::region;
      holder.session = session;
      holder.tenant = sessions_[session].tenant;
      holder.size_bytes = pick_size();
      const Result<wire::RegionReply> reply =
          pool_.service->allocate_region(sessions_[session].id, SizeBytes(holder.size_bytes));
      if (reply) {
        holder.key = reply->key;
        holder.extents = reply->extents;
        add(std::move(holder));
      }
    }
  }

  void advance() {
    pool_.clock.advance(std::chrono::milliseconds(random_() % 1500));
    for (const ModelSession& session : sessions_) {
      REQUIRE(pool_.service->touch_session(session.id) == Errc::ok);
    }
    pool_.service->on_timer();
    const TimePoint now = pool_.clock.now();
    for (auto& [id, holder] : holders_) {
      if (holder.kind == Holder::Kind::reserved && !holder.is_over && holder.deadline <= now) {
        holder.is_over = true;
        holder.held_by_mapping = sessions_[holder.session].is_mapped;
      }
    }
    for (std::size_t i = leases_.size(); i-- > 0;) {
      if (leases_[i].deadline <= now && !sessions_[leases_[i].session].is_mapped) {
        end_lease(i);
      }
    }
  }

  Pool pool_;
  std::mt19937_64 random_;
  std::vector<ModelSession> sessions_;
  std::map<int, Holder> holders_;
  int next_holder_ = 0;
  std::vector<ModelLease> leases_;
  std::vector<ModelAccess> accesses_;
};

}  // namespace

TEST_CASE("the pool agrees with its model after every one of many random steps", "[unit][pool]") {
  const std::uint64_t seed = GENERATE(range(1U, 13U));
  const bool has_all_kinds = GENERATE(false, true);
  INFO("seed=" << seed << " has_all_kinds=" << has_all_kinds);
  Model model(seed, has_all_kinds);
  for (int step = 0; step < 4000; ++step) {
    INFO("step=" << step);
    model.step();
  }
  // The run was not idle.
  CHECK(model.puts > 500);
  CHECK(model.committed > 50);
  CHECK(model.in_flight > 5);
  model.finish();
}

}  // namespace godbox::emulator
