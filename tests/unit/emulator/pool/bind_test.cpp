// SPDX-License-Identifier: Apache-2.0
//
// Logical devices: what they take of the box, who gets them, and what brings them back.
#include "pool_fixture.h"
#include <godbox/striping/logical_device_layout.h>

#include <algorithm>
#include <map>
#include <set>

namespace godbox::emulator {

using test::Pool;
using test::PoolOptions;
using wire::LogicalDeviceState;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t kMib = 1U << 20U;
constexpr SizeBytes kUnit = 256_MiB;

// Six DRAM channels of 256 MiB: pieces of 4 MiB, so 64 slabs of 24 MiB; 256 MiB take 11 of them.
constexpr std::uint64_t kSlabBytes = 24 * kMib;
constexpr std::uint64_t kSlabsPerUnit = 11;

PoolOptions six_channels() {
  return {.dram_channels = 6, .channel_size = 256_MiB, .has_memory = false};
}

LdId id_of(const Result<PoolService::Binding>& bound) {
  REQUIRE(bound.has_value());
  return bound->reply.device;
}

template <class T>
Errc code(const Result<T>& result) {
  return result.has_value() ? Errc::ok : result.error().code;
}

// The sentence of a refusal.
template <class T>
std::string reason(const Result<T>& result) {
  REQUIRE(result.has_error());
  return result.error().detail;
}

void check_nothing_is_bound(Pool& pool) {
  CHECK(pool.devices().empty());
  CHECK(pool.service->usage().bound == 0_B);
  CHECK(pool.service->usage().bound_slabs == 0_B);
  CHECK(pool.slab_memories.live == 0);
}

}  // namespace

TEST_CASE("a logical device takes the same of each DRAM channel, and memory of its own",
          "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open("t");
  const auto bound = pool.bind(session, "vm-a", kUnit);
  REQUIRE(bound.has_value());
  CHECK(bound->reply.size == kUnit);
  CHECK_FALSE(bound->reply.sealed);
  CHECK(bound->memory->size() == kUnit);
  CHECK(bound->memory->descriptor() == 1000);
  CHECK(bound->reply.slabs.size() == kSlabsPerUnit);

  const PoolUsage usage = pool.service->usage();
  CHECK(usage.logical_devices == 1);
  CHECK(usage.bound == kUnit);
  CHECK(usage.bound_slabs == SizeBytes(kSlabsPerUnit * kSlabBytes));
  CHECK(usage.reserved == usage.bound_slabs);
  CHECK(usage.backed == kUnit);
  CHECK(pool.backed_in_channels() == 0);
  for (std::uint16_t channel = 0; channel < 6; ++channel) {
    CHECK(pool.service->dram_channel_usage(DramChannelId(channel)).bound ==
          SizeBytes(kSlabsPerUnit * 4 * kMib));
  }
  CHECK(pool.usage_of(session).reserved == kUnit);
  CHECK(pool.devices() ==
        std::vector<wire::LogicalDeviceRecord>{
            {bound->reply.device, LogicalDeviceState::bound, kUnit, "t", {{"vm-a", false}}}});

  // Its slabs are described as others are, and together they are its bytes.
  wire::SlabsReply described;
  pool.service->describe_slabs({bound->reply.slabs}, described);
  std::vector<striping::SlabLayout> slabs;
  for (const wire::SlabRecord& record : described.slabs) {
    slabs.push_back(striping::SlabLayout::create(record).value());
  }
  const auto layout = striping::LogicalDeviceLayout::create(kUnit, std::move(slabs));
  REQUIRE(layout.has_value());
  std::map<std::uint16_t, std::uint64_t> load;
  for (std::uint64_t at = 0; at < kUnit.count(); at += 4096) {
    load[layout->locate(cxl::Dpa(at)).dram_channel.value()] += 4096;
  }
  for (const auto& [channel, bytes] : load) {
    CHECK(bytes >= kUnit.count() / 6 - 4096);
    CHECK(bytes <= kUnit.count() / 6 + 4096);
  }
}

TEST_CASE("what is unbound is emptied and free again, and the next one gets other memory",
          "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  const LdId first = id_of(pool.bind(session, "vm-a", kUnit));
  CHECK(pool.slab_memories.present_bytes == kUnit.count());
  REQUIRE(pool.service->unbind(session, first).has_value());
  CHECK(pool.slab_memories.discarded_bytes == kUnit.count());
  check_nothing_is_bound(pool);
  CHECK(pool.service->usage().backed == 0_B);
  CHECK(pool.usage_of(session).reserved == 0_B);
  CHECK(code(pool.service->unbind(session, first)) == Errc::not_found);

  const auto second = pool.bind(session, "vm-a", kUnit);
  CHECK(id_of(second) != first);
  CHECK(second->memory->descriptor() == 1001);
}

TEST_CASE("memory that its holder still maps is emptied under him", "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  const auto bound = pool.bind(session, "vm-a", kUnit);
  const std::shared_ptr<SlabMemory> kept = bound->memory;
  REQUIRE(pool.service->unbind(session, id_of(bound)).has_value());
  CHECK(pool.slab_memories.live == 1);
  CHECK(pool.slab_memories.present_bytes == 0);
  CHECK(pool.service->usage().bound == 0_B);
}

TEST_CASE("a large device comes back piece by piece, and is counted until it is back",
          "[unit][pool]") {
  PoolOptions options = six_channels();
  options.channel_size = 1_GiB;
  Pool pool(options);
  const SessionId session = pool.open();
  const LdId id = id_of(pool.bind(session, "vm-a", 1_GiB));
  REQUIRE(pool.service->unbind(session, id).has_value());
  for (std::uint64_t step = 1; step <= 4; ++step) {
    CHECK(pool.slab_memories.discarded_bytes == step * kUnit.count());
    if (step < 4) {
      REQUIRE(pool.devices().size() == 1);
      CHECK(pool.devices()[0].state == LogicalDeviceState::leaving);
      CHECK(pool.devices()[0].holders.empty());
      CHECK(pool.service->usage().backed == 1_GiB);
      CHECK(code(pool.service->unbind(session, id)) == Errc::not_found);
      CHECK(code(pool.service->drop(session, id)) == Errc::not_found);
      CHECK(code(pool.share(session, "vm-a", id)) == Errc::not_found);
      pool.advance(100ms);
    }
  }
  check_nothing_is_bound(pool);
}

TEST_CASE("a bind that has no meaning is refused by name", "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  CHECK(reason(pool.bind(session, "vm", 0_B)) ==
        "size 0: a logical device has a positive multiple of 268435456 bytes (256 MiB)");
  CHECK(code(pool.bind(session, "vm", 255_MiB)) == Errc::invalid_argument);
  CHECK(code(pool.bind(session, "vm", SizeBytes(UINT64_MAX))) == Errc::invalid_argument);
  CHECK(code(pool.bind(session, "vm", SizeBytes(std::uint64_t{1} << 63U))) == Errc::too_large);
  CHECK(reason(pool.bind(session, "vm", 2_GiB)) == "2048 MiB are asked for; the box has 1536 MiB");
  for (const std::string_view name : {"", "a b", "../x", "a\n", "a\x1b[2J", "\xff"}) {
    CHECK(code(pool.bind(session, name, kUnit)) == Errc::invalid_argument);
  }
  CHECK(code(pool.bind(session, std::string(65, 'a'), kUnit)) == Errc::invalid_argument);
  CHECK(reason(pool.bind_copy(session, "vm", LdId(1), kUnit)) == "the box has no logical device 1");
  CHECK(reason(pool.share(session, "vm", LdId(9))) == "the box has no logical device 9");
  pool.service->close_session(session);
  CHECK(code(pool.bind(session, "vm", kUnit)) == Errc::session_lost);
  check_nothing_is_bound(pool);
}

TEST_CASE("a box whose memory is not its own gives VMs none, and a machine that has none neither",
          "[unit][pool]") {
  PoolOptions options = six_channels();
  options.has_slab_memory = false;
  Pool without(options);
  CHECK(code(without.bind(without.open(), "vm", kUnit)) == Errc::unsupported);

  Pool pool(six_channels());
  pool.slab_memories.make_status = Errc::backing_full;
  CHECK(reason(pool.bind(pool.open(), "vm", kUnit)) == "the machine has none");
  check_nothing_is_bound(pool);
}

TEST_CASE("a VM gets no more than its quota, and a tenant no more than its own", "[unit][pool]") {
  PoolOptions options = six_channels();
  options.tenant_quotas = {{"small", 512_MiB}};
  options.vm_quota = 512_MiB;
  options.vm_quotas = {{"none", 0_B}, {"much", 1_GiB}};
  Pool pool(options);
  const SessionId large = pool.open("large");
  CHECK(code(pool.bind(large, "none", kUnit)) == Errc::quota_exceeded);
  const LdId first = id_of(pool.bind(large, "vm-a", kUnit));
  CHECK(reason(pool.bind(large, "vm-a", 512_MiB)) ==
        "VM vm-a has 256 MiB and asks for 512 MiB; its quota is 512 MiB");
  CHECK(code(pool.bind(large, "vm-a", kUnit)) == Errc::ok);
  CHECK(code(pool.bind(large, "vm-a", kUnit)) == Errc::quota_exceeded);
  CHECK(code(pool.bind(large, "much", 1_GiB)) == Errc::pool_full);  // not the quota
  REQUIRE(pool.service->unbind(large, first).has_value());
  CHECK(code(pool.bind(large, "vm-a", kUnit)) == Errc::ok);

  const SessionId small = pool.open("small");
  CHECK(code(pool.bind(small, "vm-b", kUnit)) == Errc::ok);
  CHECK(code(pool.bind(small, "vm-c", kUnit)) == Errc::ok);
  CHECK(reason(pool.bind(small, "vm-d", kUnit)) ==
        "the tenant has 512 MiB and asks for 256 MiB; its quota is 512 MiB");
  CHECK(pool.put(small, "object", kMib) == Errc::quota_exceeded);
}

TEST_CASE("a copy for sealing takes its original's place in the VM's quota, which sealing keeps",
          "[unit][pool]") {
  PoolOptions options = six_channels();
  options.vm_quota = kUnit;
  Pool pool(options);
  const SessionId session = pool.open("t");
  const SessionId for_copy = pool.open("t");
  const LdId original = id_of(pool.bind(session, "vm-a", kUnit));
  CHECK(code(pool.bind(session, "vm-a", kUnit)) == Errc::quota_exceeded);
  CHECK(code(pool.bind_copy(for_copy, "vm-b", original, kUnit)) == Errc::access_denied);
  CHECK(code(pool.bind_copy(pool.open("u"), "vm-a", original, kUnit)) == Errc::access_denied);
  CHECK(code(pool.bind_copy(for_copy, "vm-a", original, 512_MiB)) == Errc::invalid_argument);
  CHECK(code(pool.bind_copy(for_copy, "vm-a", LdId(77), kUnit)) == Errc::not_found);
  const LdId copy = id_of(pool.bind_copy(for_copy, "vm-a", original, kUnit));
  CHECK(code(pool.bind_copy(for_copy, "vm-a", original, kUnit)) == Errc::invalid_argument);
  REQUIRE(pool.service->seal(for_copy, copy).has_value());
  REQUIRE(pool.service->unbind(session, original).has_value());

  // Sealed, and with nobody, it is still what the VM made of its quota, until it is dropped.
  CHECK(code(pool.bind(session, "vm-a", kUnit)) == Errc::quota_exceeded);
  CHECK(code(pool.bind_copy(for_copy, "vm-a", copy, kUnit)) == Errc::invalid_argument);
  REQUIRE(pool.service->drop(session, copy).has_value());
  CHECK(code(pool.bind(session, "vm-a", kUnit)) == Errc::ok);
}

TEST_CASE("a tenant at its quota evicts its own objects for a device, and no other's",
          "[unit][pool]") {
  PoolOptions options = six_channels();
  options.tenant_quotas = {{"small", 300_MiB}};
  Pool pool(options);
  const SessionId small = pool.open("small");
  const SessionId other = pool.open("other");
  REQUIRE(pool.put(other, "theirs", 6 * kMib) == Errc::ok);
  for (int i = 0; i < 10; ++i) {
    REQUIRE(pool.put(small, "o" + std::to_string(i), 6 * kMib) == Errc::ok);
  }
  REQUIRE(pool.bind(small, "vm", kUnit).has_value());
  CHECK(pool.usage_of(small).objects == 7);
  CHECK(pool.status_of(other, "theirs") == Errc::ok);
}

TEST_CASE("two VMs do not get one device, unless it is sealed", "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId a = pool.open("t");
  const SessionId b = pool.open("t");
  const LdId id = id_of(pool.bind(a, "vm-a", kUnit));
  CHECK(code(pool.share(b, "vm-b", id)) == Errc::already_exists);
  CHECK(reason(pool.share(b, "vm-b", id)) ==
        "logical device 1 is VM vm-a's own; several share it once it is sealed");
  CHECK(code(pool.service->unbind(b, id)) == Errc::not_found);
  CHECK(code(pool.service->seal(b, id)) == Errc::access_denied);
  CHECK(reason(pool.service->drop(b, id)) == "logical device 1 is bound to VM vm-a");

  REQUIRE(pool.service->seal(a, id).has_value());
  CHECK(pool.devices()[0].state == LogicalDeviceState::sealed);
  CHECK(pool.devices()[0].holders.empty());
  CHECK(code(pool.service->seal(a, id)) == Errc::already_exists);
  const auto shared_a = pool.share(a, "vm-a", id);
  const auto shared_b = pool.share(b, "vm-b", id);
  REQUIRE(shared_b.has_value());
  CHECK(shared_b->reply.sealed);
  CHECK(shared_b->memory == shared_a->memory);
  CHECK(reason(pool.share(b, "vm-c", id)) == "VM vm-c has logical device 1 already");
  CHECK(code(pool.share(pool.open("t"), "vm-a", id)) == Errc::already_exists);
  CHECK(code(pool.share(pool.open("other"), "vm-c", id)) == Errc::access_denied);
  CHECK(reason(pool.service->drop(b, id)) == "logical device 1 is bound to VMs vm-a, vm-b");
  // What is shared is nobody's own.
  CHECK(pool.service->usage().bound == kUnit);
}

TEST_CASE("a sealed device outlives who made it and goes when it is dropped", "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId maker = pool.open("t");
  const LdId id = id_of(pool.bind(maker, "vm-a", kUnit));
  REQUIRE(pool.service->seal(maker, id).has_value());
  pool.service->close_session(maker);
  CHECK(pool.service->usage().bound == kUnit);

  const SessionId reader = pool.open("t");
  REQUIRE(pool.share(reader, "vm-b", id).has_value());
  CHECK(code(pool.service->drop(reader, id)) == Errc::already_exists);
  // Its guest has let go; its process may still map what nobody can take back from it.
  REQUIRE(pool.service->unbind(reader, id).has_value());
  CHECK(code(pool.service->unbind(reader, id)) == Errc::not_found);
  CHECK(pool.devices()[0].holders == std::vector<wire::BoundHolder>{{"vm-b", true}});
  CHECK(code(pool.service->drop(pool.open("other"), id)) == Errc::access_denied);
  const SessionId operator_session = pool.open("t");
  REQUIRE(pool.service->drop(operator_session, id).has_value());
  CHECK(pool.devices()[0].state == LogicalDeviceState::leaving);
  CHECK(code(pool.share(operator_session, "vm-c", id)) == Errc::not_found);
  pool.advance(10s);
  CHECK(pool.service->usage().bound == kUnit);
  pool.service->close_session(reader);
  check_nothing_is_bound(pool);
  CHECK(pool.slab_memories.discarded_bytes == 0);  // sealed memory goes with its last descriptor
  CHECK(pool.usage_of(operator_session).reserved == 0_B);
}

TEST_CASE("what is mapped for writing is not sealed, and stays as it was", "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  const LdId id = id_of(pool.bind(session, "vm-a", kUnit));
  pool.slab_memories.seal_status = Errc::write_in_flight;
  CHECK(code(pool.service->seal(session, id)) == Errc::write_in_flight);
  CHECK(pool.devices()[0].state == LogicalDeviceState::bound);
  CHECK(pool.devices()[0].holders == std::vector<wire::BoundHolder>{{"vm-a", false}});
  REQUIRE(pool.service->unbind(session, id).has_value());
  check_nothing_is_bound(pool);
}

TEST_CASE("a device comes back when its session's connection is gone, not when it is silent",
          "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  REQUIRE(pool.bind(session, "vm-a", kUnit).has_value());
  pool.advance(1h);
  CHECK_FALSE(pool.service->is_session_open(session));
  CHECK(pool.devices()[0].state == LogicalDeviceState::bound);
  CHECK(pool.service->usage().bound == kUnit);
  pool.service->close_session(session);
  check_nothing_is_bound(pool);
  CHECK(pool.slab_memories.discarded_bytes == kUnit.count());
}

TEST_CASE("a session that ends while its device is emptied by another call loses nothing twice",
          "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  const LdId id = id_of(pool.bind(session, "vm-a", kUnit));
  int calls = 0;
  pool.slab_memories.on_discard = [&] {
    ++calls;
    pool.service->close_session(session);
    pool.service->on_timer();
    CHECK(pool.devices().size() == 1);
  };
  REQUIRE(pool.service->unbind(session, id).has_value());
  CHECK(calls == 1);
  check_nothing_is_bound(pool);
}

TEST_CASE("a box that is full of objects makes room for a device, and of little more than it takes",
          "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  // 1.3 GiB, each object used again in an order that has nothing to do with its place.
  std::vector<std::string> names;
  for (int i = 0; i < 220; ++i) {
    names.push_back("o" + std::to_string(i));
    REQUIRE(pool.put(session, names.back(), 6 * kMib) == Errc::ok);
  }
  for (int i = 0; i < 220; ++i) {
    CHECK(pool.status_of(session, names[static_cast<std::size_t>(i * 37 % 220)]) == Errc::ok);
  }
  REQUIRE(pool.bind(session, "vm", kUnit).has_value());
  const PoolUsage usage = pool.service->usage();
  // 9 of the 11 slabs were free; the other two held 8 objects, and some that straddle their ends.
  CHECK(usage.evictions >= 8);
  CHECK(usage.evictions <= 12);
  CHECK(usage.objects == 220 - usage.evictions);
}

TEST_CASE("what leases hold is not evicted for a device, which is refused then", "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  std::vector<std::string> names;
  for (int i = 0; i < 60; ++i) {
    names.push_back("o" + std::to_string(i));
    REQUIRE(pool.put(session, names.back(), 24 * kMib) == Errc::ok);
  }
  // Of every other object, so that hardly a slab is free of them.
  std::vector<std::string_view> every_other;
  for (std::size_t i = 0; i < names.size(); i += 2) {
    every_other.emplace_back(names[i]);
  }
  const wire::LookupReply leased = pool.lookup(session, every_other, 10'000);
  const auto refused = pool.bind(session, "vm", 1_GiB);
  CHECK(code(refused) == Errc::pool_full);
  CHECK(reason(refused).find("1024 MiB take 43 slabs of 24 MiB, and ") == 0);
  check_nothing_is_bound(pool);
  CHECK(pool.service->usage().evictions == 0);  // none in vain
  pool.release(session, leased.lease);
  CHECK(code(pool.bind(session, "vm", 1_GiB)) == Errc::ok);
}

TEST_CASE("nothing is evicted for a device that cannot be backed", "[unit][pool]") {
  PoolOptions options = six_channels();
  options.backing_limit = 512_MiB;
  Pool pool(options);
  const SessionId session = pool.open();
  SECTION("while clients have pinned the pages") {
    for (int i = 0; i < 20; ++i) {
      REQUIRE(pool.put(session, "o" + std::to_string(i), 24 * kMib) == Errc::ok);
    }
    REQUIRE(pool.service->mark_mapped(session, true) == Errc::ok);
    CHECK(code(pool.bind(session, "vm", kUnit)) == Errc::backing_full);
    CHECK(pool.usage_of(session).objects == 20);
  }
  SECTION("nor for the tenant's quota") {
    PoolOptions limited = options;
    limited.tenant_quotas = {{"small", 600_MiB}};
    Pool other(limited);
    const SessionId large = other.open("large");
    REQUIRE(other.bind(large, "vm-a", kUnit).has_value());
    const SessionId small = other.open("small");
    for (int i = 0; i < 10; ++i) {
      REQUIRE(other.put(small, "o" + std::to_string(i), 20 * kMib) == Errc::ok);
    }
    CHECK(code(other.bind(small, "vm-c", 512_MiB)) == Errc::backing_full);
    CHECK(other.usage_of(small).objects == 10);
  }
}

TEST_CASE("the slabs that are cleared are those whose objects are worth least", "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  // 224 KiB over six channels: whole strips in one kind of slab, and a tail in another, where the
  // tails of thousands lie together.
  int stored = 0;
  while (pool.service->usage().evictions == 0) {
    REQUIRE(pool.put(session, "o" + std::to_string(stored++), 224U << 10U) == Errc::ok);
  }
  const std::uint64_t before = pool.usage_of(session).objects;
  REQUIRE(pool.bind(session, "vm", kUnit).has_value());
  const std::uint64_t evicted = before - pool.usage_of(session).objects;
  // 11 of 64 slabs are 17 % of the box.
  CHECK(evicted > 0);
  CHECK(evicted <= before * 25 / 100);
}

TEST_CASE("without eviction a device finds only what is free", "[unit][pool]") {
  PoolOptions options = six_channels();
  options.eviction = EvictionPolicy::none;
  Pool pool(options);
  const SessionId session = pool.open();
  for (int i = 0; i < 54; ++i) {
    REQUIRE(pool.put(session, "o" + std::to_string(i), 24 * kMib) == Errc::ok);
  }
  CHECK(code(pool.bind(session, "vm", kUnit)) == Errc::pool_full);
  for (int i = 0; i < 10; ++i) {
    REQUIRE(pool.remove(session, "o" + std::to_string(i)) == Errc::ok);
  }
  CHECK(code(pool.bind(session, "vm", kUnit)) == Errc::ok);
}

TEST_CASE("devices and objects share the backing limit, whoever comes first", "[unit][pool]") {
  PoolOptions options = six_channels();
  options.backing_limit = 512_MiB;
  options.has_memory = false;
  Pool pool(options);
  const SessionId session = pool.open();
  const LdId id = id_of(pool.bind(session, "vm-a", kUnit));
  CHECK(reason(pool.bind(session, "vm-b", 512_MiB)) ==
        "512 MiB of memory are asked for; of 512 MiB (backing_limit), 256 MiB are in use");
  // Objects find the other half, and evict each other in it.
  for (int i = 0; i < 30; ++i) {
    REQUIRE(pool.put(session, "o" + std::to_string(i), 12 * kMib) == Errc::ok);
    CHECK(pool.service->usage().backed <= 512_MiB);
    CHECK(pool.service->usage().backed.count() == kUnit.count() + pool.backed_in_channels());
  }
  CHECK(pool.backed_in_channels() <= kUnit.count());
  CHECK(pool.service->usage().evictions > 0);
  // A second device takes the objects' memory, all of it.
  REQUIRE(pool.bind(session, "vm-b", kUnit).has_value());
  CHECK(pool.backed_in_channels() == 0);
  CHECK(pool.service->usage().backed == 512_MiB);
  CHECK(pool.put(session, "object", kMib) == Errc::backing_full);
  CHECK(code(pool.bind(session, "vm-c", kUnit)) == Errc::backing_full);
  REQUIRE(pool.service->unbind(session, id).has_value());
  CHECK(pool.put(session, "object", kMib) == Errc::ok);
}

TEST_CASE("idle memory goes back to the machine for a device", "[unit][pool]") {
  PoolOptions options = six_channels();
  options.backing_limit = 300_MiB;
  Pool pool(options);
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "object", 120 * kMib) == Errc::ok);
  REQUIRE(pool.remove(session, "object") == Errc::ok);
  CHECK(pool.backed_in_channels() > 44 * kMib);
  REQUIRE(pool.bind(session, "vm", kUnit).has_value());
  CHECK(pool.backed_in_channels() <= 44 * kMib);
}

TEST_CASE("what devices take is not counted as the pool's own for leases", "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  REQUIRE(pool.bind(session, "vm", 1_GiB).has_value());  // 43 of 64 slabs
  int leased = 0;
  for (int i = 0; i < 40; ++i) {
    const std::string name = "o" + std::to_string(i);
    REQUIRE(pool.put(session, name, 12 * kMib) == Errc::ok);
    const wire::LookupReply found = pool.lookup(session, {name}, 30'000);
    leased += found.objects.at(0).status == Errc::ok ? 1 : 0;
  }
  // Half of what is left, 21 slabs of 24 MiB.
  CHECK(leased > 10);
  CHECK(leased <= 21);
}

TEST_CASE("numbers of devices are used again as late as possible", "[unit][pool]") {
  Pool pool(six_channels());
  const SessionId session = pool.open();
  const LdId stays = id_of(pool.bind(session, "stays", kUnit));
  std::set<LdId> seen{stays};
  for (std::uint32_t i = 1; i < wire::kLdIdMax; ++i) {
    const LdId id = id_of(pool.bind(session, "vm", kUnit));
    REQUIRE(id.value() >= 1);
    REQUIRE(id.value() <= wire::kLdIdMax);
    REQUIRE(seen.insert(id).second);
    REQUIRE(pool.service->unbind(session, id).has_value());
  }
  const LdId again = id_of(pool.bind(session, "vm", kUnit));
  CHECK(again != stays);
  CHECK(seen.contains(again));
}

}  // namespace godbox::emulator
