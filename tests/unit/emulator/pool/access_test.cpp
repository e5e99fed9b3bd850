// SPDX-License-Identifier: Apache-2.0
#include "pool_fixture.h"
#include <godbox_test/allocation_count.h>

#include <algorithm>
#include <numeric>

namespace godbox::emulator {

using test::Pool;
using test::PoolOptions;

namespace {

RemoteSegment segment(RKey key, SlabId slab, std::uint64_t offset, std::uint32_t length) {
  return {key, {slab, SlabOffset(offset)}, length};
}

}  // namespace

TEST_CASE("bytes written through the write key are read through the read key", "[unit][pool]") {
  Pool pool({.dram_channels = 7});
  const SessionId session = pool.open();
  const wire::ReserveAnswer answer = pool.reserve(session, "a", 1'121'976);
  REQUIRE(answer.status == Errc::ok);
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access(session, WorkOp::write,
                                     Pool::segments_of(answer.write_key, answer.extents),
                                     ticket) == Errc::ok);
  CHECK(ticket.total_bytes == 1'121'976);
  std::uint32_t next = 0;
  for (const MutableSpan span : ticket.spans) {
    for (std::byte& byte : span) {
      byte = static_cast<std::byte>(next++ * 2654435761U >> 24U);
    }
  }
  pool.service->end_access(ticket);
  REQUIRE(pool.commit(session, answer.reservation) == Errc::ok);

  const wire::LookupReply found = pool.lookup(session, {"a"});
  REQUIRE(pool.service->begin_access(session, WorkOp::read,
                                     Pool::segments_of(found.objects[0].read_key, found.extents),
                                     ticket) == Errc::ok);
  std::uint32_t at = 0;
  bool same = true;
  for (const MutableSpan span : ticket.spans) {
    for (const std::byte byte : span) {
      same = same && byte == static_cast<std::byte>(at++ * 2654435761U >> 24U);
    }
  }
  pool.service->end_access(ticket);
  CHECK(same);
  CHECK(at == 1'121'976);
}

TEST_CASE("a ticket names each DRAM channel once, with its bytes, and usage counts them",
          "[unit][pool]") {
  Pool pool({.dram_channels = 3});
  const SessionId session = pool.open();
  const Result<wire::RegionReply> region =
      pool.service->allocate_region(session, SizeBytes(65536) * 3);
  REQUIRE(region.has_value());
  REQUIRE(region->extents.size() == 1);
  const SlabId slab = region->extents[0].address.slab;
  const std::uint64_t begin = region->extents[0].address.offset.count();
  // The last 100 bytes of the first strip, all of the second, the first 28 of the third.
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access(session, WorkOp::write,
                                     std::vector<RemoteSegment>{segment(
                                         region->key, slab, begin + 65436, 100 + 65536 + 28)},
                                     ticket) == Errc::ok);
  REQUIRE(ticket.spans.size() == 3);
  CHECK(ticket.spans[0].size() == 100);
  CHECK(ticket.spans[1].size() == 65536);
  CHECK(ticket.spans[2].size() == 28);
  std::vector<std::uint64_t> bytes;
  std::vector<std::uint16_t> ids;
  for (const DramChannelLoad& load : ticket.dram_channels) {
    bytes.push_back(load.bytes);
    ids.push_back(load.dram_channel.value());
  }
  std::sort(bytes.begin(), bytes.end());
  CHECK(bytes == std::vector<std::uint64_t>{28, 100, 65536});
  CHECK(ids == std::vector<std::uint16_t>{0, 1, 2});
  pool.service->end_access(ticket);
  CHECK(ticket.spans.empty());

  // Two neighbouring segments become one span.
  REQUIRE(pool.service->begin_access(
              session, WorkOp::read,
              std::vector<RemoteSegment>{segment(region->key, slab, begin, 1000),
                                         segment(region->key, slab, begin + 1000, 24),
                                         segment(region->key, slab, begin + 2000, 1)},
              ticket) == Errc::ok);
  REQUIRE(ticket.spans.size() == 2);
  CHECK(ticket.spans[0].size() == 1024);
  CHECK(ticket.total_bytes == 1025);
  pool.service->end_access(ticket);
  std::uint64_t written = 0;
  std::uint64_t read = 0;
  std::uint64_t requests = 0;
  for (std::uint16_t i = 0; i < 3; ++i) {
    const DramChannelUsage usage = pool.service->dram_channel_usage(DramChannelId(i));
    written += usage.bytes_written;
    read += usage.bytes_read;
    requests += usage.requests;
  }
  CHECK(written == 100 + 65536 + 28);
  CHECK(read == 1025);
  CHECK(requests == 4);
}

TEST_CASE("on one DRAM channel a long run is one span", "[unit][pool]") {
  Pool pool({.dram_channels = 1});
  const SessionId session = pool.open();
  const Result<wire::RegionReply> region =
      pool.service->allocate_region(session, SizeBytes(65536) * 10);
  REQUIRE(region.has_value());
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access(session, WorkOp::read,
                                     Pool::segments_of(region->key, region->extents),
                                     ticket) == Errc::ok);
  REQUIRE(ticket.spans.size() == 1);
  CHECK(ticket.spans[0].size() == std::size_t{10} * 65536);
  pool.service->end_access(ticket);
}

TEST_CASE("a segment outside of its key's extents pins nothing", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  REQUIRE(pool.put(session, "before", 5000) == Errc::ok);
  const wire::ReserveAnswer answer = pool.reserve(session, "a", 10'000);
  REQUIRE(pool.reserve(session, "behind", 5000).status == Errc::ok);
  REQUIRE(answer.extents.size() == 1);
  const SlabId slab = answer.extents[0].address.slab;
  const std::uint64_t begin = answer.extents[0].address.offset.count();
  const RKey key = answer.write_key;
  REQUIRE(begin > 0);
  const std::vector<RemoteSegment> wrong{
      segment(key, slab, begin - 1, 1),
      segment(key, slab, begin - 1, 10'000),
      segment(key, slab, begin, 10'001),
      segment(key, slab, begin, UINT32_MAX),
      segment(key, slab, begin + 9'999, 2),
      segment(key, slab, begin + 10'000, 1),
      segment(key, slab, begin, 0),
      segment(key, slab, UINT64_MAX, 1),
      segment(key, slab, UINT64_MAX - 5, 10),
      segment(key, slab, UINT64_MAX - 4095, 4096),
      segment(key, SlabId(slab.value() + 1), begin, 1),
      segment(key, SlabId(0), begin, 1),
      segment(key, SlabId(UINT32_MAX), begin, 1),
  };
  for (const RemoteSegment& bad : wrong) {
    INFO("offset " << bad.address.offset.count() << " length " << bad.length_bytes);
    // A good segment in front does not help.
    const std::vector<RemoteSegment> segments{segment(key, slab, begin, 1), bad};
    AccessTicket ticket;
    CHECK(pool.service->begin_access(session, WorkOp::write, segments, ticket) ==
          Errc::out_of_range);
    CHECK(ticket.pinned.empty());
    CHECK(ticket.spans.empty());
  }
  CHECK(pool.access(session, WorkOp::write, {segment(key, slab, begin, 10'000)}) == Errc::ok);
  CHECK(pool.access(session, WorkOp::write, {segment(key, slab, begin + 9'999, 1)}) == Errc::ok);
  CHECK(pool.commit(session, answer.reservation) == Errc::ok);  // no pin is left
}

TEST_CASE("keys open what they are for and nothing else", "[unit][pool]") {
  Pool pool;
  const SessionId mine = pool.open("mine");
  const SessionId sibling = pool.open("mine");
  const SessionId stranger = pool.open("theirs");
  const wire::ReserveAnswer answer = pool.reserve(mine, "a", 100);
  const auto writes = Pool::segments_of(answer.write_key, answer.extents);
  CHECK(pool.access(mine, WorkOp::write, writes) == Errc::ok);
  CHECK(pool.access(mine, WorkOp::read, writes) == Errc::ok);
  CHECK(pool.access(sibling, WorkOp::write, writes) == Errc::ok);
  CHECK(pool.access(sibling, WorkOp::read, writes) == Errc::access_denied);
  CHECK(pool.access(stranger, WorkOp::write, writes) == Errc::access_denied);
  CHECK(pool.access(SessionId(77), WorkOp::write, writes) == Errc::session_lost);
  REQUIRE(pool.commit(mine, answer.reservation) == Errc::ok);
  CHECK(pool.access(mine, WorkOp::write, writes) == Errc::key_revoked);
  CHECK(pool.access(mine, WorkOp::read, writes) == Errc::key_revoked);

  const wire::LookupReply found = pool.lookup(mine, {"a"});
  const auto reads = Pool::segments_of(found.objects[0].read_key, found.extents);
  CHECK(pool.access(mine, WorkOp::read, reads) == Errc::ok);
  CHECK(pool.access(sibling, WorkOp::read, reads) == Errc::ok);
  CHECK(pool.access(mine, WorkOp::write, reads) == Errc::access_denied);
  CHECK(pool.access(stranger, WorkOp::read, reads) == Errc::access_denied);

  const Result<wire::RegionReply> region = pool.service->allocate_region(mine, SizeBytes(100));
  REQUIRE(region.has_value());
  const auto both = Pool::segments_of(region->key, region->extents);
  CHECK(pool.access(sibling, WorkOp::write, both) == Errc::ok);
  CHECK(pool.access(sibling, WorkOp::read, both) == Errc::ok);
  CHECK(pool.access(stranger, WorkOp::read, both) == Errc::access_denied);
  CHECK(pool.service->free_region(mine, answer.write_key) == Errc::not_found);
  CHECK(pool.service->free_region(mine, found.objects[0].read_key) == Errc::not_found);
  CHECK(pool.service->free_region(mine, RKey(0)) == Errc::not_found);
  CHECK(pool.service->free_region(mine, region->key) == Errc::ok);
  CHECK(pool.access(mine, WorkOp::read, both) == Errc::key_revoked);
  CHECK(pool.access(mine, WorkOp::read, {segment(RKey(0), SlabId(1), 0, 1)}) == Errc::key_revoked);
}

TEST_CASE("a freed region's space waits for the access in flight", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const Result<wire::RegionReply> region = pool.service->allocate_region(session, SizeBytes(100));
  REQUIRE(region.has_value());
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access(session, WorkOp::write,
                                     Pool::segments_of(region->key, region->extents),
                                     ticket) == Errc::ok);
  CHECK(pool.service->free_region(session, region->key) == Errc::ok);
  CHECK(pool.service->usage().regions == 0);
  CHECK(pool.service->usage().reserved == SizeBytes(4096));
  pool.service->end_access(ticket);
  CHECK(pool.service->usage().reserved.is_zero());
}

TEST_CASE("regions have limits of size", "[unit][pool]") {
  Pool pool({.backing_limit = SizeBytes(32U << 20U)});
  const SessionId session = pool.open();
  CHECK(pool.service->allocate_region(session, SizeBytes(0)).error().code ==
        Errc::invalid_argument);
  CHECK(pool.service->allocate_region(session, SizeBytes((96U << 20U) + 1)).error().code ==
        Errc::too_large);
  CHECK(pool.service->allocate_region(session, SizeBytes(33U << 20U)).error().code ==
        Errc::backing_full);
  CHECK(pool.service->allocate_region(session, SizeBytes(30U << 20U)).has_value());
}

TEST_CASE("slabs are described as they lie, and unknown ones are left out", "[unit][pool]") {
  Pool pool({.dram_channels = 5});
  const SessionId session = pool.open();
  const Result<wire::RegionReply> region =
      pool.service->allocate_region(session, SizeBytes(65536) * 5);
  REQUIRE(region.has_value());
  const SlabId id = region->extents[0].address.slab;
  wire::SlabsReply reply;
  pool.service->describe_slabs({{SlabId(0), id, SlabId(id.value() + 1), id}}, reply);
  REQUIRE(reply.slabs.size() == 2);
  CHECK(reply.slabs[0].id == id);
  CHECK(reply.slabs[0].strip_bytes == 65536);
  CHECK(reply.slabs[0].members.size() == 5);
  CHECK(reply.slabs[0].piece_size == SizeBytes(1U << 20U));
  // The first strip lies where the description says.
  const wire::SlabMember& member = reply.slabs[0].members[reply.slabs[0].rotation];
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access(session, WorkOp::write,
                                     Pool::segments_of(region->key, region->extents),
                                     ticket) == Errc::ok);
  CHECK(ticket.spans[0].data() == pool.channels[member.dram_channel.value()]->data() +
                                      member.offset.count() +
                                      region->extents[0].address.offset.count());
  pool.service->end_access(ticket);
}

TEST_CASE("a warm ticket allocates nothing", "[unit][pool]") {
  Pool pool({.dram_channels = 18});
  const SessionId session = pool.open();
  const Result<wire::RegionReply> region =
      pool.service->allocate_region(session, SizeBytes(20U << 20U));
  REQUIRE(region.has_value());
  auto segments = Pool::segments_of(region->key, region->extents);
  SECTION("of one object") {}
  SECTION("of two objects in turn") {
    const Result<wire::RegionReply> other = pool.service->allocate_region(session, SizeBytes(4096));
    REQUIRE(other.has_value());
    for (int i = 0; i < 100; ++i) {
      segments.push_back({i % 2 == 0 ? other->key : region->key,
                          (i % 2 == 0 ? other : region)->extents[0].address, 1});
    }
  }
  AccessTicket ticket;
  REQUIRE(pool.service->begin_access(session, WorkOp::read, segments, ticket) == Errc::ok);
  pool.service->end_access(ticket);
  const std::uint64_t before = godbox::test::allocation_count();
  for (int i = 0; i < 100; ++i) {
    static_cast<void>(pool.service->begin_access(session, WorkOp::read, segments, ticket));
    pool.service->end_access(ticket);
  }
  CHECK(godbox::test::allocation_count() == before);
}

TEST_CASE("a request pins an object once, however often its segments come back to it",
          "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const wire::ReserveAnswer a = pool.reserve(session, "a", 4096);
  const wire::ReserveAnswer b = pool.reserve(session, "b", 4096);
  const SizeBytes both = pool.service->usage().reserved;
  std::vector<RemoteSegment> segments;
  for (std::size_t i = 0; i < wire::kSegmentsPerRequestMax; ++i) {
    const wire::ReserveAnswer& answer = i % 2 == 0 ? a : b;
    segments.push_back({answer.write_key, answer.extents[0].address, 1});
  }
  // So many withheld writes that 16 bits would not hold a pin per change of object.
  std::vector<AccessTicket> tickets(2 * 65536 / wire::kSegmentsPerRequestMax);
  for (AccessTicket& ticket : tickets) {
    REQUIRE(pool.service->begin_access(session, WorkOp::write, segments, ticket) == Errc::ok);
    CHECK(ticket.pinned.size() == 2);
  }
  CHECK(pool.commit(session, a.reservation) == Errc::write_in_flight);
  CHECK(pool.abort(session, a.reservation) == Errc::ok);
  CHECK(pool.service->usage().quarantined == 1);
  CHECK(pool.service->usage().reserved == both);
  for (std::size_t i = 1; i < tickets.size(); ++i) {
    pool.service->end_access(tickets[i]);
  }
  CHECK(pool.service->usage().reserved == both);
  CHECK(pool.commit(session, b.reservation) == Errc::write_in_flight);
  pool.service->end_access(tickets[0]);
  CHECK(pool.service->usage().quarantined == 0);
  CHECK(pool.service->usage().reserved == SizeBytes(4096));
  CHECK(pool.commit(session, b.reservation) == Errc::ok);
}

TEST_CASE("more writes of one object at a time than can be counted are refused", "[unit][pool]") {
  Pool pool;
  const SessionId session = pool.open();
  const wire::ReserveAnswer answer = pool.reserve(session, "a", 4096);
  const auto segments = Pool::segments_of(answer.write_key, answer.extents);
  std::vector<AccessTicket> tickets(65535);
  for (AccessTicket& ticket : tickets) {
    if (pool.service->begin_access(session, WorkOp::write, segments, ticket) != Errc::ok) {
      FAIL("refused too early");
    }
  }
  AccessTicket one_more;
  CHECK(pool.service->begin_access(session, WorkOp::write, segments, one_more) == Errc::queue_full);
  CHECK(one_more.pinned.empty());
  pool.service->end_access(tickets.front());
  CHECK(pool.access(session, WorkOp::write, segments) == Errc::ok);
  CHECK(pool.abort(session, answer.reservation) == Errc::ok);
  CHECK(pool.service->usage().reserved == SizeBytes(4096));
  for (std::size_t i = 1; i < tickets.size(); ++i) {
    pool.service->end_access(tickets[i]);
  }
  CHECK(pool.service->usage().reserved.is_zero());
}

TEST_CASE("another tenant finds zeros where somebody else's bytes were", "[unit][pool]") {
  PoolOptions options;
  options.dram_channels = 3;
  options.channel_size = SizeBytes(2U << 20U);
  SECTION("in memory given back between them") {}
  SECTION("in memory that was never given back") { options.backing_limit = SizeBytes(1U << 20U); }
  Pool pool(options);
  const SessionId mine = pool.open("mine");
  const SessionId theirs = pool.open("theirs");
  // Filled by one tenant, then half of it freed in small holes, then all taken by the other.
  std::vector<std::string> names;
  std::uint64_t stored = 0;
  for (int i = 0; i < 64; ++i) {
    const std::string name = "n" + std::to_string(i);
    const wire::ReserveAnswer answer = pool.reserve(mine, name, 12'000);
    if (answer.status != Errc::ok) {
      break;
    }
    REQUIRE(pool.fill(mine, answer.write_key, answer.extents, std::byte{0xAB}) == Errc::ok);
    REQUIRE(pool.commit(mine, answer.reservation) == Errc::ok);
    ++stored;
  }
  REQUIRE(stored > 10);
  for (std::uint64_t i = 0; i < stored; i += 2) {
    static_cast<void>(pool.remove(mine, "n" + std::to_string(i)));
  }
  for (std::uint64_t i = 0; i < stored; ++i) {
    const wire::ReserveAnswer answer = pool.reserve(theirs, "t" + std::to_string(i), 9'000);
    REQUIRE(answer.status == Errc::ok);
    REQUIRE(pool.holds(theirs, answer.write_key, answer.extents, std::byte{0}));
    REQUIRE(pool.fill(theirs, answer.write_key, answer.extents, std::byte{0xCD}) == Errc::ok);
    REQUIRE(pool.commit(theirs, answer.reservation) == Errc::ok);
  }
  // What the first tenant kept is untouched.
  for (std::uint64_t i = 1; i < stored; i += 2) {
    const std::string name = "n" + std::to_string(i);
    const wire::LookupReply found = pool.lookup(mine, {name});
    if (found.objects[0].status == Errc::ok) {
      REQUIRE(pool.holds(mine, found.objects[0].read_key, found.extents, std::byte{0xAB}));
    }
  }
  // And back again, in a region.
  pool.service->close_session(theirs);
  const SessionId third = pool.open("third");
  const Result<wire::RegionReply> region = pool.service->allocate_region(third, SizeBytes(300'000));
  REQUIRE(region.has_value());
  CHECK(pool.holds(third, region->key, region->extents, std::byte{0}));
}

TEST_CASE("a region begins as zeros where its own tenant wrote before", "[unit][pool]") {
  Pool pool({.dram_channels = 3, .channel_size = SizeBytes(2U << 20U)});
  const SessionId session = pool.open();
  for (const std::uint64_t size :
       {std::uint64_t{100}, std::uint64_t{9'000}, std::uint64_t{700'000}}) {
    INFO("size " << size);
    const wire::ReserveAnswer object = pool.reserve(session, "object", size);
    REQUIRE(pool.fill(session, object.write_key, object.extents, std::byte{0x55}) == Errc::ok);
    // Around it, so that the memory stays.
    REQUIRE(pool.put(session, "beside" + std::to_string(size), size) == Errc::ok);
    REQUIRE(pool.abort(session, object.reservation) == Errc::ok);
    // So many that one of them gets the object's place.
    for (int i = 0; i < 3; ++i) {
      const Result<wire::RegionReply> region =
          pool.service->allocate_region(session, SizeBytes(size));
      REQUIRE(region.has_value());
      CHECK(pool.holds(session, region->key, region->extents, std::byte{0}));
      REQUIRE(pool.fill(session, region->key, region->extents, std::byte{0x66}) == Errc::ok);
      CHECK(pool.service->free_region(session, region->key) == Errc::ok);
    }
  }
}

TEST_CASE("a device that cannot give memory back is scrubbed before its first and each next tenant",
          "[unit][pool]") {
  Pool pool({.dram_channels = 2, .channel_size = SizeBytes(1U << 20U)});
  for (const auto& channel : pool.channels) {
    channel->always_present = true;
    channel->discard_status = Errc::unsupported;
    // What an earlier life left behind.
    REQUIRE(channel->back(DramOffset(0), channel->size()).has_value());
    std::memset(channel->data(), 0xEE, channel->size().count());
  }
  const char* tenants[] = {"one", "two", "two", "three"};
  for (int round = 0; round < 4; ++round) {
    const SessionId session = pool.open(tenants[round]);
    const Result<wire::RegionReply> region =
        pool.service->allocate_region(session, SizeBytes(1'500'000));
    REQUIRE(region.has_value());
    CHECK(pool.holds(session, region->key, region->extents, std::byte{0}));
    REQUIRE(pool.fill(session, region->key, region->extents, std::byte{0x77}) == Errc::ok);
    pool.service->close_session(session);
  }
}

}  // namespace godbox::emulator
