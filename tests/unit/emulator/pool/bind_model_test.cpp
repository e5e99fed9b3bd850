// SPDX-License-Identifier: Apache-2.0
//
// Random binds, seals, unbinds and ends of sessions among objects that come and go, against a model
// that knows who has what: after every step the books of capacity, memory, tenants and VMs agree
// with it and with each other, and no byte of a DRAM channel is two holders' at a time.
#include "pool_fixture.h"

#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace godbox::emulator {
namespace {

using test::Pool;
using wire::LogicalDeviceState;
using namespace std::chrono_literals;

constexpr std::uint64_t kMib = 1U << 20U;
constexpr SizeBytes kUnit = 256_MiB;
constexpr std::uint64_t kSlabBytes = 48 * kMib;  // six DRAM channels of 512 MiB: pieces of 8 MiB
constexpr std::uint64_t kSlots = 64;
constexpr SizeBytes kLimit = 2_GiB;
constexpr SizeBytes kVmQuota = 1_GiB;
constexpr SizeBytes kTenantQuota = SizeBytes(1280 * kMib);
constexpr int kTenants = 2;
constexpr int kVms = 3;

struct Holder {
  SessionId session;
  int vm = 0;
  bool has_let_go = false;
};

struct Device {
  LogicalDeviceState state = LogicalDeviceState::bound;
  SizeBytes size;
  int tenant = 0;
  std::vector<Holder> holders;
  std::vector<SlabId> slabs;
  int maker = 0;  // the VM that it was made for
  [[nodiscard]] bool is_active() const {
    return std::any_of(holders.begin(), holders.end(),
                       [](const Holder& holder) { return !holder.has_let_go; });
  }
};

class Model {
 public:
  explicit Model(std::uint64_t seed)
      : pool_({.dram_channels = 6,
               .channel_size = 512_MiB,
               .backing_limit = kLimit,
               .seed = seed,
               .tenant_quota = kTenantQuota,
               .vm_quota = kVmQuota}),
        random_(seed) {}

  void step() {
    switch (random_() % 14) {
      case 0:
        open_or_close();
        break;
      case 1:
      case 2:
        bind();
        break;
      case 3:
      case 4:
        unbind();
        break;
      case 5:
        seal();
        break;
      case 6:
      case 7:
      case 8:
        share();
        break;
      case 9:
        drop();
        break;
      case 10:
      case 11:
      case 12:
        object();
        break;
      default:
        pool_.advance(std::chrono::milliseconds(random_() % 20'000));
        keep_alive();
        break;
    }
    check();
  }

  void finish() {
    while (!sessions_.empty()) {
      close(sessions_.begin()->first);
    }
    settle();
    for (auto device = devices_.begin(); device != devices_.end();) {
      const SessionId session = pool_.open(tenant_name(device->second.tenant));
      REQUIRE(pool_.service->drop(session, (device++)->first).has_value());
      pool_.service->close_session(session);
    }
    settle();
    REQUIRE(pool_.devices().empty());
    REQUIRE(pool_.service->usage().bound_slabs == 0_B);
    REQUIRE(pool_.slab_memories.live == 0);
  }

  [[nodiscard]] std::uint64_t evictions() { return pool_.service->usage().evictions; }

  int binds = 0;
  int refusals = 0;
  int shares = 0;

 private:
  static std::string tenant_name(int tenant) { return "tenant" + std::to_string(tenant); }
  static std::string vm_name(int vm) { return "vm" + std::to_string(vm); }

  SessionId some_session() {
    if (sessions_.empty()) {
      open_or_close();
    }
    auto at = sessions_.begin();
    std::advance(at, random_() % sessions_.size());
    return at->first;
  }

  Device* some_device(LdId& id) {
    if (devices_.empty()) {
      return nullptr;
    }
    auto at = devices_.begin();
    std::advance(at, random_() % devices_.size());
    id = at->first;
    return &at->second;
  }

  void open_or_close() {
    if (sessions_.size() < 6 && (sessions_.empty() || random_() % 2 == 0)) {
      const int tenant = static_cast<int>(random_() % kTenants);
      sessions_[pool_.open(tenant_name(tenant))] = tenant;
    } else {
      close(some_session());
    }
  }

  void close(SessionId session) {
    pool_.service->close_session(session);
    sessions_.erase(session);
    for (auto device = devices_.begin(); device != devices_.end();) {
      auto& holders = device->second.holders;
      const auto had = std::erase_if(
          holders, [session](const Holder& holder) { return holder.session == session; });
      const bool is_gone = had > 0 && device->second.state == LogicalDeviceState::bound;
      const bool is_last =
          device->second.state == LogicalDeviceState::leaving && holders.empty() && had > 0;
      device = is_gone || is_last ? devices_.erase(device) : std::next(device);
    }
  }

  [[nodiscard]] SizeBytes bytes_of(int vm) const {
    SizeBytes total;
    for (const auto& [id, device] : devices_) {
      const bool counts = device.state != LogicalDeviceState::leaving && device.maker == vm;
      total += counts ? device.size : 0_B;
    }
    return total;
  }

  void bind() {
    const SessionId session = some_session();
    const int vm = static_cast<int>(random_() % kVms);
    const SizeBytes size = kUnit * (1 + random_() % 3);
    const auto bound = pool_.bind(session, vm_name(vm), size);
    const bool is_beyond_vm = bytes_of(vm) + size > kVmQuota;
    if (!bound) {
      ++refusals;
      // What is left when all objects have gone is enough, or one of these is the reason.
      const Errc why = bound.error().code;
      REQUIRE((why == Errc::quota_exceeded || why == Errc::pool_full || why == Errc::backing_full));
      REQUIRE_FALSE(bound.error().detail.empty());
      REQUIRE((!is_beyond_vm || why == Errc::quota_exceeded));
      return;
    }
    REQUIRE_FALSE(is_beyond_vm);
    ++binds;
    REQUIRE_FALSE(devices_.contains(bound->reply.device));
    devices_[bound->reply.device] = {LogicalDeviceState::bound, size,
                                     sessions_.at(session),     {{session, vm, false}},
                                     bound->reply.slabs,        vm};
  }

  void unbind() {
    LdId id;
    Device* const device = some_device(id);
    if (device == nullptr || device->holders.empty()) {
      return;
    }
    Holder& holder = device->holders[random_() % device->holders.size()];
    const bool done = pool_.service->unbind(holder.session, id).has_value();
    REQUIRE(done == !holder.has_let_go);
    if (device->state == LogicalDeviceState::bound) {
      devices_.erase(id);
    } else {
      holder.has_let_go = true;
    }
  }

  void seal() {
    LdId id;
    Device* const device = some_device(id);
    if (device == nullptr) {
      return;
    }
    const SessionId session = some_session();
    const bool may =
        device->state == LogicalDeviceState::bound && device->holders.front().session == session;
    REQUIRE(pool_.service->seal(session, id).has_value() == may);
    if (may) {
      device->state = LogicalDeviceState::sealed;
      device->holders.clear();
    }
  }

  void share() {
    LdId id;
    Device* const device = some_device(id);
    if (device == nullptr) {
      return;
    }
    const SessionId session = some_session();
    const int vm = static_cast<int>(random_() % kVms);
    const bool may =
        device->state == LogicalDeviceState::sealed && device->tenant == sessions_.at(session) &&
        std::none_of(device->holders.begin(), device->holders.end(), [&](const Holder& holder) {
          return holder.session == session || (!holder.has_let_go && holder.vm == vm);
        });
    const auto bound = pool_.share(session, vm_name(vm), id);
    REQUIRE(bound.has_value() == may);
    if (may) {
      ++shares;
      REQUIRE(bound->reply.slabs == device->slabs);
      REQUIRE(bound->reply.size == device->size);
      device->holders.push_back({session, vm, false});
    }
  }

  void drop() {
    LdId id;
    Device* const device = some_device(id);
    if (device == nullptr) {
      return;
    }
    const SessionId session = some_session();
    const bool may = device->state == LogicalDeviceState::sealed && !device->is_active() &&
                     device->tenant == sessions_.at(session);
    REQUIRE(pool_.service->drop(session, id).has_value() == may);
    if (may && device->holders.empty()) {
      devices_.erase(id);
    } else if (may) {
      device->state = LogicalDeviceState::leaving;
    }
  }

  void object() {
    const SessionId session = some_session();
    const std::string name = "o" + std::to_string(random_() % 40);
    if (random_() % 4 == 0) {
      (void)pool_.remove(session, name);
    } else if (random_() % 8 == 0) {
      (void)pool_.lookup(session, {name}, 5000);
    } else {
      (void)pool_.put(session, name, 1 + random_() % (40 * kMib), random_() % 8 == 0);
    }
  }

  void keep_alive() {
    for (const auto& [session, tenant] : sessions_) {
      REQUIRE(pool_.service->touch_session(session) == Errc::ok);
    }
  }

  // What is on its way back comes back.
  void settle() {
    for (int i = 0; i < 20; ++i) {
      pool_.service->on_timer();
    }
  }

  void check() {
    settle();
    check_devices();
    check_books();
    check_places();
  }

  void check_devices() {
    const std::vector<wire::LogicalDeviceRecord> listed = pool_.devices();
    REQUIRE(listed.size() == devices_.size());
    for (const wire::LogicalDeviceRecord& record : listed) {
      const Device& device = devices_.at(record.device);
      REQUIRE(record.state == device.state);
      REQUIRE(record.size == device.size);
      REQUIRE(record.tenant == tenant_name(device.tenant));
      REQUIRE(record.holders.size() == device.holders.size());
      for (std::size_t i = 0; i < record.holders.size(); ++i) {
        REQUIRE(record.holders[i].vm == vm_name(device.holders[i].vm));
        REQUIRE(record.holders[i].has_let_go == device.holders[i].has_let_go);
      }
    }
  }

  void check_books() {
    SizeBytes bound;
    std::uint64_t slabs = 0;
    for (const auto& [id, device] : devices_) {
      bound += device.size;
      slabs += device.slabs.size();
      REQUIRE(device.slabs.size() == (device.size.count() + kSlabBytes - 1) / kSlabBytes);
    }
    const PoolUsage usage = pool_.service->usage();
    REQUIRE(usage.logical_devices == devices_.size());
    REQUIRE(usage.bound == bound);
    REQUIRE(usage.bound_slabs == SizeBytes(slabs * kSlabBytes));
    REQUIRE(slabs <= kSlots);
    REQUIRE(usage.reserved <= usage.capacity);
    REQUIRE(usage.backed <= kLimit);
    REQUIRE(usage.backed.count() == bound.count() + pool_.backed_in_channels());
    REQUIRE(pool_.slab_memories.present_bytes == bound.count());
    REQUIRE(pool_.slab_memories.live == devices_.size());
    for (std::uint16_t channel = 0; channel < 6; ++channel) {
      REQUIRE(pool_.service->dram_channel_usage(DramChannelId(channel)).bound * 6 ==
              usage.bound_slabs);
    }
    // Tenants pay for what a device has, not for what its last slab leaves over.
    SizeBytes of_tenants;
    for (const TenantUsage& tenant : pool_.service->tenant_usages(10)) {
      REQUIRE(tenant.usage.reserved <= kTenantQuota);
      of_tenants += tenant.usage.reserved;
    }
    REQUIRE(of_tenants + usage.bound_slabs == usage.reserved + bound);
  }

  // By the slabs' own word on where they are.
  void check_places() {
    std::set<std::pair<std::uint16_t, std::uint64_t>> pieces;
    wire::SlabIdsRequest request;
    for (const auto& [id, device] : devices_) {
      request.ids.insert(request.ids.end(), device.slabs.begin(), device.slabs.end());
    }
    std::set<SlabId> bound_slabs(request.ids.begin(), request.ids.end());
    REQUIRE(bound_slabs.size() == request.ids.size());
    std::vector<Extent> extents = extents_of_objects();
    for (const Extent& extent : extents) {
      REQUIRE_FALSE(bound_slabs.contains(extent.address.slab));
      request.ids.push_back(extent.address.slab);
    }
    std::sort(request.ids.begin(), request.ids.end());
    request.ids.erase(std::unique(request.ids.begin(), request.ids.end()), request.ids.end());
    wire::SlabsReply described;
    pool_.service->describe_slabs(request, described);
    REQUIRE(described.slabs.size() == request.ids.size());
    for (const wire::SlabRecord& record : described.slabs) {
      for (const wire::SlabMember& member : record.members) {
        REQUIRE(pieces.emplace(member.dram_channel.value(), member.offset.count()).second);
      }
    }
  }

  std::vector<Extent> extents_of_objects() {
    std::vector<Extent> extents;
    for (int tenant = 0; tenant < kTenants; ++tenant) {
      const SessionId session = pool_.open(tenant_name(tenant));
      for (int i = 0; i < 40; ++i) {
        const std::string name = "o" + std::to_string(i);
        const wire::LookupReply found = pool_.lookup(session, {name});
        extents.insert(extents.end(), found.extents.begin(), found.extents.end());
      }
      pool_.service->close_session(session);
    }
    return extents;
  }

  Pool pool_;
  std::mt19937_64 random_;
  std::map<SessionId, int> sessions_;  // and their tenants
  std::map<LdId, Device> devices_;
};

TEST_CASE("whatever VMs and objects do, the books of a box agree", "[unit][pool]") {
  const int seed = GENERATE(range(1, 9));
  CAPTURE(seed);
  Model model(static_cast<std::uint64_t>(seed));
  for (int step = 0; step < 2000; ++step) {
    CAPTURE(step);
    model.step();
  }
  CHECK(model.binds > 50);
  CHECK(model.refusals > 20);
  CHECK(model.shares > 20);
  CHECK(model.evictions() > 0);
  model.finish();
}

}  // namespace
}  // namespace godbox::emulator
