// SPDX-License-Identifier: Apache-2.0
//
// The control operations as frames: that each reaches the pool and its answer comes back. What the
// pool does with them is tested with the pool.
#include "door_fixture.h"

#include <catch2/catch_test_macros.hpp>

namespace godbox::emulator {
namespace {

using test::Bytes;
using test::DoorPeer;
using test::PeerFrame;

template <class Reply, class Request>
Reply ask(DoorPeer& peer, wire::Op op, const Request& request) {
  const PeerFrame frame = peer.call(op, request);
  REQUIRE(frame.header.op == op);
  REQUIRE(frame.header.status == Errc::ok);
  const Result<Reply> reply = wire::decode<Reply>(frame.body);
  REQUIRE(reply.has_value());
  return *reply;
}

wire::LookupRequest lookup_of(std::vector<std::string_view> names, std::uint32_t lease_ms = 0) {
  wire::LookupRequest request;
  request.lease_ms = lease_ms;
  request.names = std::move(names);
  return request;
}

TEST_CASE("an object is put, found, read, listed and removed through frames alone",
          "[unit][native_door]") {
  DoorFixture fixture;
  DoorPeer& control = *fixture.control;
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  const Bytes content = test::pattern_bytes(100000, 4);

  const wire::ReserveAnswer reserved = fixture.reserve("kv/1", content.size());
  CHECK(
      ask<wire::LookupReply>(control, wire::Op::lookup, lookup_of({"kv/1"})).objects.at(0).status ==
      Errc::not_found);
  lane->send_write(test::segments_of(reserved.write_key, reserved.extents), content);
  REQUIRE(lane->take_frame()->header.status == Errc::ok);
  wire::CommitRequest commit;
  commit.items.push_back(
      {reserved.reservation, std::vector<std::uint32_t>(crc_block_count(reserved.extents), 77)});
  commit.items.push_back({ReservationId(1), {}});
  CHECK(ask<wire::StatusesReply>(control, wire::Op::commit, commit).statuses ==
        std::vector{Errc::ok, Errc::not_found});

  const auto found =
      ask<wire::LookupReply>(control, wire::Op::lookup, lookup_of({"kv/1", "kv/2"}, 1000));
  REQUIRE(found.objects.size() == 2);
  CHECK(found.objects[0].status == Errc::ok);
  CHECK(found.objects[0].size == SizeBytes(100000));
  CHECK(found.objects[1].status == Errc::not_found);
  CHECK(found.lease != LeaseId(0));
  CHECK(found.crc32c == std::vector<std::uint32_t>(crc_block_count(reserved.extents), 77));
  lane->send_read(test::segments_of(found.objects[0].read_key, found.extents));
  CHECK(lane->take_frame()->payload == content);

  CHECK(fixture.box.service().usage().leases == 1);
  const PeerFrame released = control.call(wire::Op::release, wire::LeasesRequest{{found.lease}});
  CHECK(released.header.status == Errc::ok);
  CHECK(released.body.empty());
  CHECK(fixture.box.service().usage().leases == 0);

  wire::ListRequest list;
  list.prefix = "kv/";
  list.names_max = UINT32_MAX;  // more than a reply may hold
  const auto listed = ask<wire::ListReply>(control, wire::Op::list, list);
  REQUIRE(listed.entries.size() == 1);
  CHECK(listed.entries[0].name == "kv/1");
  CHECK_FALSE(listed.more);

  wire::NamesRequest remove;
  remove.names = {"kv/1", "kv/2"};
  CHECK(ask<wire::StatusesReply>(control, wire::Op::remove, remove).statuses ==
        std::vector{Errc::ok, Errc::not_found});
  CHECK(fixture.box.service().usage().objects == 0);
}

TEST_CASE("a sealed object that left by reference is pinned until it was taken",
          "[unit][native_door]") {
  DoorFixture fixture;
  DoorPeer& control = *fixture.control;
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  const Bytes content = test::pattern_bytes(100000, 4);
  const wire::ReserveAnswer reserved = fixture.reserve("kv/1", content.size());
  const std::vector<RemoteSegment> segments =
      test::segments_of(reserved.write_key, reserved.extents);
  lane->refers = true;
  lane->send_write(segments, content);
  REQUIRE(lane->take_frame()->header.status == Errc::ok);

  // What others may write, or nobody has sealed yet, is never referred to.
  const wire::RegionReply region = fixture.allocate(100000);
  lane->send_read(test::segments_of(region.key, region.extents));
  REQUIRE(lane->take_frame()->header.status == Errc::ok);
  lane->send_read(segments);
  REQUIRE(lane->take_frame()->payload == content);
  CHECK(lane->referred_bytes() == 0);

  wire::CommitRequest commit;
  commit.items.push_back({reserved.reservation, {}});
  commit.items[0].crc32c.resize(crc_block_count(reserved.extents));
  REQUIRE(ask<wire::StatusesReply>(control, wire::Op::commit, commit).statuses.at(0) == Errc::ok);
  const auto found = ask<wire::LookupReply>(control, wire::Op::lookup, lookup_of({"kv/1"}));
  const std::vector<RemoteSegment> sealed =
      test::segments_of(found.objects.at(0).read_key, found.extents);
  lane->send_read(sealed);
  lane->send_read(sealed);
  CHECK(lane->take_frame()->payload == content);
  CHECK(lane->take_frame()->payload == content);
  CHECK(lane->referred_bytes() == 200000);

  wire::NamesRequest remove;
  remove.names = {"kv/1"};
  REQUIRE(ask<wire::StatusesReply>(control, wire::Op::remove, remove).statuses.at(0) == Errc::ok);
  const auto quarantined = [&] { return fixture.box.service().usage().quarantined; };
  REQUIRE(quarantined() == 1);
  SECTION("one reply after the other") {
    lane->endpoint().on_taken(250000);  // the region, the unsealed object, and half of a reply
    CHECK(quarantined() == 1);
    lane->endpoint().on_taken(350000);
    CHECK(quarantined() == 1);
    lane->endpoint().on_taken(450000);
    CHECK(quarantined() == 0);
  }
  SECTION("also past the end of the connection, if the network keeps it") {
    const auto& lingering = fixture.box.eth_port().counters().connections_lingering;
    std::shared_ptr<void> kept = lane->endpoint().keep_referred();
    lane->close();
    CHECK(quarantined() == 1);
    CHECK(lingering == 1);
    kept.reset();
    CHECK(quarantined() == 0);
    CHECK(lingering == 0);
  }
  SECTION("not past the end of the connection, if it does not") {
    lane->close();
    CHECK(quarantined() == 0);
  }
}

TEST_CASE("what is on its way by reference when a connection ends is kept whole",
          "[unit][native_door]") {
  DoorFixture fixture;
  DoorPeer& control = *fixture.control;
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  const wire::ReserveAnswer reserved = fixture.reserve("kv/1", 100000);
  wire::CommitRequest commit;
  commit.items.push_back({reserved.reservation, {}});
  commit.items[0].crc32c.resize(crc_block_count(reserved.extents));
  REQUIRE(ask<wire::StatusesReply>(control, wire::Op::commit, commit).statuses.at(0) == Errc::ok);
  const auto found = ask<wire::LookupReply>(control, wire::Op::lookup, lookup_of({"kv/1"}));
  lane->refers = true;
  int chunks = 0;
  lane->chunk_bytes = [&]() -> std::size_t {
    lane->takes_output = ++chunks < 3;  // the header, then a part of the payload
    return 1000;
  };
  lane->send_read(test::segments_of(found.objects.at(0).read_key, found.extents));
  REQUIRE(lane->referred_bytes() > 0);
  REQUIRE(lane->referred_bytes() < 100000);
  wire::NamesRequest remove;
  remove.names = {"kv/1"};
  REQUIRE(ask<wire::StatusesReply>(control, wire::Op::remove, remove).statuses.at(0) == Errc::ok);
  std::shared_ptr<void> kept = lane->endpoint().keep_referred();
  lane->close();
  CHECK(fixture.box.service().usage().quarantined == 1);
  kept.reset();
  CHECK(fixture.box.service().usage().quarantined == 0);
}

TEST_CASE("ABORT, FREE_REGION and their errors come back as frames", "[unit][native_door]") {
  DoorFixture fixture;
  DoorPeer& control = *fixture.control;
  const wire::ReserveAnswer reserved = fixture.reserve("object", 5000);
  CHECK(fixture.abort(reserved.reservation) == Errc::ok);
  CHECK(fixture.abort(reserved.reservation) == Errc::not_found);

  const wire::RegionReply region = fixture.allocate(5000);
  CHECK(fixture.box.service().usage().regions == 1);
  CHECK(control.call(wire::Op::free_region, wire::FreeRegionRequest{region.key}).header.status ==
        Errc::ok);
  CHECK(fixture.box.service().usage().regions == 0);
  CHECK(control.call(wire::Op::free_region, wire::FreeRegionRequest{region.key}).header.status ==
        Errc::not_found);

  // Too large for the pool: the status, and a sentence for people.
  const PeerFrame refused = control.call(
      wire::Op::allocate_region, wire::AllocateRegionRequest{SizeBytes(std::uint64_t{1} << 40U)});
  CHECK(refused.header.status != Errc::ok);
  const auto text = wire::decode<wire::TextReply>(refused.body);
  REQUIRE(text.has_value());
  CHECK_FALSE(text->text.empty());
  CHECK_FALSE(control.is_closed());
}

TEST_CASE("INFO names the ports that listen, DESCRIBE_SLABS the slabs of an object",
          "[unit][native_door]") {
  DoorFixture fixture;
  fixture.box.box().set_eth_port_address(EthPortId(1), *StreamAddress::parse("tcp:127.0.0.1:7401"));
  const PeerFrame frame = fixture.control->call(wire::Op::info);
  const auto info = wire::decode<wire::InfoReply>(frame.body);
  REQUIRE(info.has_value());
  CHECK(info->box_name == "test");
  CHECK(info->mode == "free");
  REQUIRE(info->eth_ports.size() == 1);
  CHECK(info->eth_ports[0].id == EthPortId(1));
  CHECK(info->eth_ports[0].super_nic == SuperNicId(1));
  CHECK(info->eth_ports[0].address == "tcp:127.0.0.1:7401");
  CHECK(info->dram_channel_super_nic ==
        std::vector{SuperNicId(0), SuperNicId(0), SuperNicId(1), SuperNicId(1)});
  CHECK(info->dram_channel_size == SizeBytes(8U << 20U));
  CHECK(info->capacity == SizeBytes(32U << 20U));

  const wire::RegionReply region = fixture.allocate(5000);
  const auto slabs = ask<wire::SlabsReply>(
      *fixture.control, wire::Op::describe_slabs,
      wire::SlabIdsRequest{{region.extents[0].address.slab, SlabId(UINT32_MAX)}});
  REQUIRE(slabs.slabs.size() == 1);
  CHECK(slabs.slabs[0].id == region.extents[0].address.slab);
  CHECK(slabs.slabs[0].members.size() == 4);
}

TEST_CASE("STATUS answers the box's JSON", "[unit][native_door]") {
  DoorFixture fixture;
  const auto text = wire::decode<wire::TextReply>(fixture.control->call(wire::Op::status).body);
  REQUIRE(text.has_value());
  CHECK(text->text.starts_with("{\"name\":\"test\","));
}

TEST_CASE("a control request of another epoch is refused and does nothing", "[unit][native_door]") {
  DoorFixture fixture;
  wire::Header header = fixture.control->request(wire::Op::allocate_region);
  header.epoch = Epoch(1);
  fixture.control->send_frame(header, wire::encode(wire::AllocateRegionRequest{SizeBytes(100)}));
  CHECK(fixture.control->take_frame()->header.status == Errc::wrong_epoch);
  CHECK(fixture.box.service().usage().regions == 0);
}

TEST_CASE("control frames may arrive in any pieces", "[unit][native_door]") {
  DoorFixture fixture;
  DoorPeer& control = *fixture.control;
  control.chunk_bytes = [] { return std::size_t{1}; };
  // A body that does not fit the read-ahead, and grows its buffer more than once.
  std::vector<std::string> names;
  for (int i = 0; i < 1000; ++i) {
    names.push_back(std::string(150, 'n') + std::to_string(i));
  }
  wire::LookupRequest lookup;
  lookup.names.assign(names.begin(), names.end());
  const auto reply = ask<wire::LookupReply>(control, wire::Op::lookup, lookup);
  REQUIRE(reply.objects.size() == 1000);
  CHECK(reply.objects[999].status == Errc::not_found);
  control.chunk_bytes = [] { return SIZE_MAX; };
  CHECK(ask<wire::LookupReply>(control, wire::Op::lookup, lookup).objects.size() == 1000);
}

TEST_CASE("a lookup whose answer is larger than a frame", "[unit][native_door]") {
  DoorFixture fixture;
  DoorPeer& control = *fixture.control;
  constexpr std::uint64_t kSize = 16U << 20U;
  const wire::ReserveAnswer reserved = fixture.reserve("large", kSize);
  wire::CommitRequest commit;
  commit.items.push_back(
      {reserved.reservation, std::vector<std::uint32_t>(crc_block_count(reserved.extents), 1)});
  REQUIRE(control.call(wire::Op::commit, commit).header.status == Errc::ok);
  wire::LookupRequest lookup = lookup_of({16384, "large"}, 1000);
  SECTION("of a prefix gives a shorter prefix") {
    lookup.prefix = true;
    const auto reply = ask<wire::LookupReply>(control, wire::Op::lookup, lookup);
    // As many as there is room for: 28 bytes per object, 16 per extent, 4 per CRC.
    const std::size_t each = 28 + 16 * reserved.extents.size() + std::size_t{4} * 256;
    CHECK(reply.objects.size() == ((16U << 20U) - 24) / each);
    CHECK(reply.objects.size() < 16384);
    CHECK(reply.lease != LeaseId(0));
  }
  SECTION("of names is refused and leases nothing") {
    CHECK(control.call(wire::Op::lookup, lookup).header.status == Errc::too_large);
    CHECK(fixture.box.service().usage().leases == 0);
  }
  CHECK_FALSE(control.is_closed());
}

// --- MAP_MEMORY ----------------------------------------------------------------------------------

TEST_CASE("MAP_MEMORY hands out one descriptor per DRAM channel on the control socket",
          "[unit][native_door]") {
  test::TestBoxOptions options;
  options.has_descriptors = true;
  DoorFixture fixture(options);
  const PeerFrame frame = fixture.control->call(wire::Op::map_memory);
  CHECK(frame.header.status == Errc::ok);
  const auto reply = wire::decode<wire::MapReply>(frame.body);
  REQUIRE(reply.has_value());
  CHECK(reply->dram_channel_sizes == std::vector(4, SizeBytes(8U << 20U)));
  CHECK(reply->writable);
  CHECK(fixture.control->descriptors() == std::vector{100, 101, 102, 103});

  // From now on the session's reservations hold their space until it ends: it may still write.
  static_cast<void>(fixture.reserve("object", 5000));
  fixture.box.clock().advance(std::chrono::seconds(61));
  fixture.box.box().on_timer();
  CHECK(fixture.box.service().usage().reservations == 0);
  CHECK(fixture.box.service().usage().quarantined == 1);
  fixture.control->close();
  CHECK(fixture.box.service().usage().quarantined == 0);
}

TEST_CASE("a client that pins the memory says so, and a flag that is none is refused",
          "[unit][native_door]") {
  test::TestBoxOptions options;
  options.has_descriptors = true;
  DoorFixture fixture(options);
  const PeerFrame frame =
      fixture.control->call(wire::Op::map_memory, wire::MapRequest{.pins = true});
  CHECK(frame.header.status == Errc::ok);
  CHECK(fixture.control->descriptors().size() == 4);
  CHECK(wire::encode(wire::MapRequest{}).empty());
  for (const std::size_t size : {3U, 4U, 5U, 8U}) {
    CHECK_FALSE(wire::decode<wire::MapRequest>(wire::Body(size)).has_value());
  }
}

TEST_CASE("the descriptors ride on the first bytes of their own reply", "[unit][native_door]") {
  test::TestBoxOptions options;
  options.has_descriptors = true;
  DoorFixture fixture(options);
  DoorPeer& control = *fixture.control;
  StreamEndpoint& endpoint = control.endpoint();
  const TimePoint now = fixture.box.clock().now();
  const auto offered = [&] {
    std::size_t bytes = 0;
    for (const ConstSpan span : endpoint.send_spans()) {
      bytes += span.size();
    }
    return bytes;
  };
  control.takes_output = false;
  control.send_frame(control.request(wire::Op::ping), {});
  control.send_frame(control.request(wire::Op::map_memory), {});
  control.send_frame(control.request(wire::Op::ping), {});
  CHECK(offered() == 64);  // the ping alone
  CHECK(endpoint.descriptors_to_send().empty());
  endpoint.on_sent(64, now);
  CHECK(endpoint.descriptors_to_send().size() == 4);
  CHECK(offered() > 64);
  endpoint.on_descriptors_sent();
  endpoint.on_sent(1, now);
  CHECK(endpoint.descriptors_to_send().empty());
  control.takes_output = true;
  control.pump();
  CHECK(control.descriptors().empty());
}

TEST_CASE("a box that is told so gives nobody its memory to map", "[unit][native_door]") {
  test::TestBoxOptions options;
  options.has_descriptors = true;
  options.map_memory = MapMemory::off;
  DoorFixture fixture(options);
  CHECK(fixture.control->call(wire::Op::map_memory).header.status == Errc::unsupported);
  CHECK(fixture.control->descriptors().empty());
  CHECK(fixture.box.box().status_json().find("\"map_memory\":\"off\"") != std::string::npos);
}

TEST_CASE("control requests are handled a few at a time, and none is forgotten",
          "[unit][native_door]") {
  DoorFixture fixture;
  DoorPeer& control = *fixture.control;
  StreamEndpoint& endpoint = control.endpoint();
  const TimePoint now = fixture.box.clock().now();
  // By hand: what the peer's pump would do at once is looked at here step by step.
  Bytes stream;
  constexpr int kFrames = 30;
  for (int i = 0; i < kFrames; ++i) {
    const Bytes frame = wire::encode_frame(control.request(wire::Op::ping), {});
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  const std::span<const MutableSpan> spans = endpoint.receive_spans();
  REQUIRE(spans.size() == 1);
  REQUIRE(spans[0].size() >= stream.size());
  std::copy(stream.begin(), stream.end(), spans[0].begin());
  endpoint.on_received(stream.size(), now);
  const auto answered = [&endpoint] {
    std::size_t bytes = 0;
    for (const ConstSpan span : endpoint.send_spans()) {
      bytes += span.size();
    }
    return bytes / wire::kHeaderBytes;
  };
  std::size_t total = answered();
  int turns = 1;
  CHECK(total == 4);
  while (total < kFrames) {
    // More is here: the timer is wanted now, nothing is read before, and what leaves starts
    // nothing.
    REQUIRE(endpoint.next_deadline() <= now);
    REQUIRE(endpoint.receive_spans().empty());
    endpoint.on_sent(answered() * wire::kHeaderBytes, now);
    REQUIRE(answered() == 0);
    endpoint.on_timer(now);
    REQUIRE(answered() > 0);
    REQUIRE(answered() <= 4);
    total += answered();
    ++turns;
  }
  CHECK(total == kFrames);
  CHECK(turns == 8);
  CHECK(endpoint.next_deadline() > now);
  CHECK_FALSE(endpoint.receive_spans().empty());
}

TEST_CASE("MAP_MEMORY is not offered on Ethernet ports, nor without descriptors",
          "[unit][native_door]") {
  test::TestBoxOptions options;
  SECTION("an Ethernet port") {
    options.has_descriptors = true;
    test::TestBox box(options);
    DoorPeer peer(box.eth_port(), box.clock());
    static_cast<void>(peer.open_control());
    CHECK(peer.call(wire::Op::map_memory).header.status == Errc::unsupported);
    CHECK(peer.descriptors().empty());
  }
  SECTION("memory that cannot be mapped") {
    DoorFixture fixture;
    CHECK(fixture.control->call(wire::Op::map_memory).header.status == Errc::unsupported);
  }
}

}  // namespace
}  // namespace godbox::emulator
