// SPDX-License-Identifier: Apache-2.0
//
// Bodies that are none, and bodies with the largest numbers, of every operation that has one
// (docs/wire-protocol.md, sections 2 and 10): the one closes its connection without an answer, the
// other is answered, and whatever came, the box serves others.
#include "door_fixture.h"

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

namespace godbox::emulator {
namespace {

using test::Bytes;
using test::DoorPeer;
using test::PeerFrame;

constexpr std::uint64_t kMost64 = UINT64_MAX;
constexpr std::uint32_t kMost32 = UINT32_MAX;

struct Text {
  std::size_t at = 0;  // its length
  std::uint16_t bytes_max = 0;
};
struct BadByte {
  std::size_t at = 0;
  std::uint8_t value = 0;
};

// A request with a good body, and where in it numbers are that a peer may lie with.
struct Operation {
  const char* name;
  wire::Op op;
  Bytes body;
  std::vector<std::size_t> counts{};
  // Of counts[0], in which zeros are no matter of form; 0: there is no list.
  std::size_t item_bytes = 0;
  std::vector<Text> texts{};
  std::vector<BadByte> bad_bytes{};
};

template <class Request>
Bytes encoded(const Request& request) {
  return wire::encode(request);
}

std::vector<Operation> object_operations() {
  constexpr std::uint16_t kName = wire::kNameBytesMax;
  return {
      {"RESERVE",
       wire::Op::reserve,
       encoded(wire::ReserveRequest{0, {{"kv/0", SizeBytes(100)}}}),
       {4},
       22,
       {{28, kName}},
       {{16, 4}, {17, 3}, {19, 0x10}}},
      {"COMMIT",
       wire::Op::commit,
       encoded(wire::CommitRequest{{{ReservationId(9), {1, 2}}}}),
       {0, 12},
       12},
      {"COMMIT_LAYER",
       wire::Op::commit_layer,
       encoded(wire::CommitLayerRequest{{{ReservationId(9), 1, {1, 2}}}}),
       {0, 16},
       16},
      {"ABORT", wire::Op::abort, encoded(wire::ReservationsRequest{{ReservationId(9)}}), {0}, 8},
      {"LOOKUP",
       wire::Op::lookup,
       encoded(wire::LookupRequest{false, 10, {"kv/0"}}),
       {8},
       2,
       {{12, kName}},
       {{0, 2}}},
      {"WAIT",
       wire::Op::wait,
       encoded(wire::WaitRequest{0, 10, 0, {"kv/0"}}),
       {12},
       2,
       {{16, kName}}},
      {"RELEASE", wire::Op::release, encoded(wire::LeasesRequest{{LeaseId(9)}}), {0}, 8},
      {"REMOVE", wire::Op::remove, encoded(wire::NamesRequest{{"kv/1"}}), {0}, 2, {{4, kName}}},
      {"RETAIN",
       wire::Op::retain,
       encoded(wire::RetainRequest{{{"kv/0", {}}}}),
       {0},
       14,
       {{16, kName}},
       {{4, 3}, {5, 1}, {7, 1}}},
      {"LIST",
       wire::Op::list,
       encoded(wire::ListRequest{"kv/", "kv/0", 10}),
       {},
       0,
       {{4, kName}, {9, kName}}},
      {"EVENTS",
       wire::Op::events,
       encoded(wire::EventsRequest{.after = 0, .kinds = 1}),
       {},
       0,
       {},
       {{8, 0x40}, {11, 0x80}}},
  };
}

std::vector<Operation> operations() {
  std::vector<Operation> all = object_operations();
  const std::vector<Operation> others = {
      {"FENCE", wire::Op::fence, encoded(wire::FenceRequest{{wire::LaneToken(9)}}), {0}, 4},
      {"DESCRIBE_SLABS",
       wire::Op::describe_slabs,
       encoded(wire::SlabIdsRequest{{SlabId(9)}}),
       {0},
       4},
      {"MAP_MEMORY",
       wire::Op::map_memory,
       encoded(wire::MapRequest{.pins = true}),
       {},
       0,
       {},
       {{0, 0}, {0, 3}, {3, 1}}},
      {"ALLOCATE_REGION", wire::Op::allocate_region,
       encoded(wire::AllocateRegionRequest{SizeBytes(100)})},
      {"FREE_REGION", wire::Op::free_region, encoded(wire::FreeRegionRequest{RKey(9)})},
      {"BIND",
       wire::Op::bind,
       encoded(wire::BindRequest{SizeBytes(kMost64), LdId(), "vm-a"}),
       {},
       0,
       {{10, wire::kVmNameBytesMax}},
       {{9, 0x80}}},
      {"UNBIND",
       wire::Op::unbind,
       encoded(wire::LogicalDeviceRequest{LdId(9)}),
       {},
       0,
       {},
       {{1, 0x80}}},
      {"SEAL",
       wire::Op::seal,
       encoded(wire::LogicalDeviceRequest{LdId(9)}),
       {},
       0,
       {},
       {{1, 0x80}}},
      {"DROP",
       wire::Op::drop,
       encoded(wire::LogicalDeviceRequest{LdId(9)}),
       {},
       0,
       {},
       {{1, 0x80}}},
  };
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

std::uint32_t u32_at(const Bytes& body, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, body.data() + at, sizeof(value));
  return value;
}

Bytes with_count(Bytes body, std::size_t at, std::uint32_t count) {
  put_u32(body, at, count);
  return body;
}

// The list, which is the body's last field, has so many items of zeros.
Bytes with_items(const Operation& operation, std::uint32_t count) {
  Bytes body(operation.body.begin(),
             operation.body.begin() + static_cast<std::ptrdiff_t>(operation.counts[0]));
  body.resize(body.size() + sizeof(count) + count * operation.item_bytes);
  put_u32(body, operation.counts[0], count);
  return body;
}

// The text says that it has `says` bytes, and has `has`.
Bytes with_text(const Bytes& body, std::size_t at, std::uint16_t says, std::size_t has) {
  std::uint16_t old = 0;
  std::memcpy(&old, body.data() + at, sizeof(old));
  Bytes changed(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(at));
  changed.resize(at + sizeof(says) + has, std::byte{'a'});
  std::memcpy(changed.data() + at, &says, sizeof(says));
  changed.insert(changed.end(), body.begin() + static_cast<std::ptrdiff_t>(at + sizeof(old) + old),
                 body.end());
  return changed;
}

struct NamedBody {
  std::string name;
  Bytes body;
};

void add_bad_ends(std::vector<NamedBody>& bad, const Operation& operation) {
  const Bytes& good = operation.body;
  bad.push_back({"a byte short", Bytes(good.begin(), good.end() - 1)});
  bad.push_back({"a byte too long", good});
  bad.back().body.push_back(std::byte{0});
  bad.push_back({"twice", good});
  bad.back().body.insert(bad.back().body.end(), good.begin(), good.end());
  if (good.size() > 1) {
    bad.push_back({"its first byte", Bytes(good.begin(), good.begin() + 1)});
  }
  if (operation.op != wire::Op::map_memory) {  // which needs none
    bad.push_back({"none", {}});
  }
}

std::vector<NamedBody> bad_bodies(const Operation& operation) {
  const Bytes& good = operation.body;
  std::vector<NamedBody> bad;
  add_bad_ends(bad, operation);
  for (const std::size_t at : operation.counts) {
    const std::uint32_t count = u32_at(good, at);
    // The last ones come to little, or to 0, as a number of bytes in 32 bits.
    for (const std::uint32_t lie : {count - 1, count + 1, wire::kBatchItemsMax + 1, kMost32,
                                    0x80000000U, 0x40000000U, 0x20000001U, 0x10000001U}) {
      bad.push_back({"count " + std::to_string(lie) + " at " + std::to_string(at),
                     with_count(good, at, lie)});
    }
  }
  if (operation.item_bytes > 0) {
    bad.push_back({"one item too many", with_items(operation, wire::kBatchItemsMax + 1)});
  }
  for (const Text& text : operation.texts) {
    const std::uint16_t over = text.bytes_max + 1;
    bad.push_back({"a text too long", with_text(good, text.at, over, over)});
    bad.push_back({"a text beyond the end", with_text(good, text.at, 0xFFFF, 4)});
  }
  for (const BadByte& byte : operation.bad_bytes) {
    bad.push_back({"byte " + std::to_string(byte.at) + " = " + std::to_string(byte.value), good});
    bad.back().body[byte.at] = std::byte{byte.value};
  }
  return bad;
}

struct BodiesFixture : DoorFixture {
  explicit BodiesFixture(const test::TestBoxOptions& options) : DoorFixture(options) {}

  [[nodiscard]] std::unique_ptr<DoorPeer> open_control(std::string_view tenant = "hostile") {
    auto peer = std::make_unique<DoorPeer>(box.box().control_door(), box.clock());
    static_cast<void>(peer->open_control(tenant));
    return peer;
  }
  [[nodiscard]] std::uint64_t controls_rejected() {
    return box.box().control_door().counters().frames_rejected.load();
  }
  // Another client gets what it asks for, and its bytes.
  void check_serves_others(const std::string& name) {
    const Bytes bytes = test::pattern_bytes(5000, 7);
    const wire::ReserveAnswer reserved = reserve(name, bytes.size());
    const std::unique_ptr<DoorPeer> lane = open_lane();
    lane->send_write(test::segments_of(reserved.write_key, reserved.extents), bytes);
    REQUIRE(lane->take_frame()->header.status == Errc::ok);
    const PeerFrame committed =
        control->call(wire::Op::commit, wire::CommitRequest{{{reserved.reservation, {}}}});
    CHECK(wire::decode<wire::StatusesReply>(committed.body)->statuses.at(0) == Errc::ok);
    const PeerFrame answer = control->call(wire::Op::lookup, wire::LookupRequest{false, 0, {name}});
    const auto found = wire::decode<wire::LookupReply>(answer.body);
    REQUIRE(found->objects.at(0).status == Errc::ok);
    lane->send_read(test::segments_of(found->objects[0].read_key, found->extents));
    CHECK(lane->take_frame()->payload == bytes);
  }
};

test::TestBoxOptions box_with_devices() {
  test::TestBoxOptions options;
  options.has_devices = true;
  return options;
}

// The connection is closed without an answer, and its session over.
void check_rejects(BodiesFixture& fixture, wire::Op op, const Bytes& body) {
  const std::unique_ptr<DoorPeer> peer = fixture.open_control();
  const std::uint64_t before = fixture.controls_rejected();
  peer->send_frame(peer->request(op), body);
  CHECK(peer->is_closed());
  CHECK_FALSE(peer->take_frame());
  CHECK(fixture.controls_rejected() == before + 1);
  CHECK(fixture.box.service().usage().sessions == 1);
}

TEST_CASE("the body of every operation is answered as long as it is one", "[unit][native_door]") {
  BodiesFixture fixture(box_with_devices());
  for (const Operation& operation : operations()) {
    INFO(operation.name);
    std::vector<NamedBody> good{{"as it is", operation.body}};
    if (operation.item_bytes > 0) {
      good.push_back({"no item", with_items(operation, 0)});
      good.push_back({"the most items", with_items(operation, wire::kBatchItemsMax)});
    }
    for (const Text& text : operation.texts) {
      good.push_back(
          {"the longest text", with_text(operation.body, text.at, text.bytes_max, text.bytes_max)});
    }
    for (const NamedBody& each : good) {
      INFO(each.name);
      const std::unique_ptr<DoorPeer> peer = fixture.open_control();
      const wire::Header header = peer->request(operation.op);
      peer->send_frame(header, each.body);
      const std::optional<PeerFrame> answer = peer->take_frame();
      REQUIRE(answer.has_value());
      CHECK(answer->header.op == operation.op);
      CHECK(answer->header.request_id == header.request_id);
      CHECK_FALSE(peer->is_closed());
    }
  }
  CHECK(fixture.controls_rejected() == 0);
}

TEST_CASE("a body that is none closes its connection without an answer, whatever the operation",
          "[unit][native_door]") {
  BodiesFixture fixture(box_with_devices());
  for (const Operation& operation : operations()) {
    for (const NamedBody& bad : bad_bodies(operation)) {
      INFO(operation.name << ": " << bad.name);
      check_rejects(fixture, operation.op, bad.body);
    }
    CHECK(fixture.control->call(wire::Op::ping).header.status == Errc::ok);
  }
  // And those that have none.
  for (const wire::Op op : {wire::Op::ping, wire::Op::goodbye, wire::Op::info, wire::Op::status,
                            wire::Op::usage, wire::Op::list_bound}) {
    INFO(static_cast<int>(op));
    check_rejects(fixture, op, Bytes(1));
  }
  CHECK(fixture.box.service().usage().quarantined == 0);
  CHECK(fixture.box.service().usage().reservations == 0);
  fixture.check_serves_others("after all");
}

TEST_CASE("a FENCE that is none costs its lane, and the session nothing", "[unit][native_door]") {
  BodiesFixture fixture(box_with_devices());
  std::uint64_t rejected = 0;
  for (const Operation& operation : operations()) {
    if (operation.op != wire::Op::fence) {
      continue;
    }
    for (const NamedBody& bad : bad_bodies(operation)) {
      INFO(bad.name);
      const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
      lane->send_frame(lane->request(wire::Op::fence), bad.body);
      CHECK(lane->is_closed());
      CHECK_FALSE(lane->take_frame());
      CHECK(fixture.frames_rejected() == ++rejected);
    }
  }
  CHECK(rejected > 0);
  CHECK(fixture.control->call(wire::Op::ping).header.status == Errc::ok);
  fixture.check_serves_others("after all");
}

TEST_CASE("a HELLO that is none opens, joins and resumes nothing", "[unit][native_door]") {
  BodiesFixture fixture(box_with_devices());
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  wire::HelloRequest joining;
  joining.kind = wire::ConnectionKind::lane;
  joining.session = fixture.session.session;
  joining.secret = fixture.session.secret;
  wire::HelloRequest resuming = joining;
  resuming.kind = wire::ConnectionKind::resume;
  resuming.tenant = "test";
  resuming.attempt = 1;
  std::uint64_t rejected = 0;
  for (const wire::HelloRequest& hello : {wire::HelloRequest(), joining, resuming}) {
    const std::size_t tenant_at = sizeof(wire::HelloRequestHead);
    const std::size_t auth_at = tenant_at + 2 + hello.tenant.size();
    const Operation operation{"HELLO",
                              wire::Op::hello,
                              encoded(hello),
                              {},
                              0,
                              {{tenant_at, wire::kNameBytesMax}, {auth_at, wire::kAuthBytesMax}},
                              {{0, 2}, {4, 3}}};
    for (const NamedBody& bad : bad_bodies(operation)) {
      INFO(static_cast<int>(hello.kind) << ": " << bad.name);
      const std::unique_ptr<DoorPeer> peer = fixture.connect();
      wire::Header header;
      header.op = wire::Op::hello;
      header.epoch = hello.kind == wire::ConnectionKind::resume ? fixture.session.epoch : Epoch();
      peer->send_frame(header, bad.body);
      CHECK(peer->is_closed());
      CHECK_FALSE(peer->take_frame());
      CHECK(fixture.frames_rejected() == ++rejected);
    }
  }
  CHECK(fixture.box.service().usage().sessions == 1);
  CHECK(fixture.control->call(wire::Op::ping).header.status == Errc::ok);
  CHECK_FALSE(lane->is_closed());
  fixture.check_serves_others("after all");
}

// Nothing is wrong with their form, and each is beyond all that there is.
std::vector<Operation> extreme_operations(ReservationId layered) {
  const wire::Retention longest{wire::Pin::hard, kMost32, kMost32};
  wire::ReserveRequest reserve{kMost32, {}};
  for (const std::uint64_t size : {kMost64, kMost64 - 4095, std::uint64_t{1} << 63U}) {
    reserve.items.push_back({"huge", SizeBytes(size), false, false, 0, longest});
    reserve.items.push_back({"sparse", SizeBytes(size), true, true, 0, longest});
    reserve.items.push_back({"layers", SizeBytes(size), false, false, 2, {}});
  }
  std::vector<Operation> all{
      {"RESERVE", wire::Op::reserve, encoded(reserve)},
      {"COMMIT", wire::Op::commit, encoded(wire::CommitRequest{{{ReservationId(kMost64), {1}}}})},
      {"COMMIT_LAYER", wire::Op::commit_layer,
       encoded(wire::CommitLayerRequest{{{ReservationId(kMost64), kMost32, {1}},
                                         {layered, kMost32, {}},
                                         {layered, 4096, {1}},
                                         {layered, 0, std::vector<std::uint32_t>(5000)}}})},
      {"ABORT", wire::Op::abort, encoded(wire::ReservationsRequest{{ReservationId(kMost64)}})},
      {"LOOKUP", wire::Op::lookup, encoded(wire::LookupRequest{true, kMost32, {"there"}})},
      {"WAIT", wire::Op::wait, encoded(wire::WaitRequest{kMost32, kMost32, kMost32, {"there"}})},
      {"RELEASE", wire::Op::release, encoded(wire::LeasesRequest{{LeaseId(kMost64)}})},
      {"RETAIN", wire::Op::retain, encoded(wire::RetainRequest{{{"there", longest}}})},
      {"LIST", wire::Op::list, encoded(wire::ListRequest{"", "", kMost32})},
      {"EVENTS", wire::Op::events, encoded(wire::EventsRequest{kMost64, 1, kMost32, kMost32})},
      {"FENCE", wire::Op::fence, encoded(wire::FenceRequest{{wire::LaneToken(kMost32)}})},
      {"DESCRIBE_SLABS", wire::Op::describe_slabs,
       encoded(wire::SlabIdsRequest{{SlabId(kMost32)}})},
      {"FREE_REGION", wire::Op::free_region, encoded(wire::FreeRegionRequest{RKey(kMost32)})},
      {"DROP", wire::Op::drop, encoded(wire::LogicalDeviceRequest{LdId(wire::kLdIdMax)})}};
  for (const std::uint64_t size : {kMost64, kMost64 - 4095, kMost64 << 28U, kMost64 << 63U}) {
    all.push_back({"ALLOCATE_REGION", wire::Op::allocate_region,
                   encoded(wire::AllocateRegionRequest{SizeBytes(size)})});
    all.push_back({"BIND", wire::Op::bind,
                   encoded(wire::BindRequest{SizeBytes(size), LdId(wire::kLdIdMax), "vm-a"})});
    all.push_back(
        {"BIND", wire::Op::bind, encoded(wire::BindRequest{SizeBytes(size), LdId(), "vm-a"})});
  }
  return all;
}

TEST_CASE("the largest numbers are answered, and nothing comes of them", "[unit][native_door]") {
  BodiesFixture fixture(box_with_devices());
  fixture.check_serves_others("there");
  wire::ReserveRequest layered;
  layered.items.push_back({.name = "layered", .size = SizeBytes(8192), .layers = 2});
  const PeerFrame answer = fixture.control->call(wire::Op::reserve, layered);
  const ReservationId reservation =
      wire::decode<wire::ReserveReply>(answer.body)->answers.at(0).reservation;
  const std::uint64_t reserved = fixture.box.service().usage().reserved.count();
  for (const Operation& operation : extreme_operations(reservation)) {
    INFO(operation.name);
    const wire::Header header = fixture.control->request(operation.op);
    fixture.control->send_frame(header, operation.body);
    const std::optional<PeerFrame> frame = fixture.control->take_frame();
    REQUIRE(frame.has_value());
    CHECK(frame->header.request_id == header.request_id);
    if (operation.op == wire::Op::reserve) {
      const auto reply = wire::decode<wire::ReserveReply>(frame->body);
      REQUIRE(reply.has_value());
      for (const wire::ReserveAnswer& each : reply->answers) {
        CHECK(each.status != Errc::ok);
      }
    } else if (operation.op == wire::Op::commit_layer) {
      const auto reply = wire::decode<wire::StatusesReply>(frame->body);
      REQUIRE(reply.has_value());
      for (const Errc each : reply->statuses) {
        CHECK(each != Errc::ok);
      }
    } else if (operation.op == wire::Op::allocate_region || operation.op == wire::Op::bind) {
      CHECK(frame->header.status != Errc::ok);
    }
  }
  CHECK_FALSE(fixture.control->is_closed());
  CHECK(fixture.box.service().usage().reserved.count() == reserved);
  CHECK(fixture.abort(reservation) == Errc::ok);
  fixture.check_serves_others("after all");
}

TEST_CASE("segments whose end wraps are answered as out of range, read and written",
          "[unit][native_door]") {
  BodiesFixture fixture(box_with_devices());
  const wire::RegionReply region = fixture.allocate(4096);
  const Bytes before = fixture.box.bytes_of(region.extents);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  std::vector<RemoteSegment> segments = test::segments_of(region.key, region.extents);
  segments.resize(1);
  segments[0].length_bytes = 100;
  for (const std::uint64_t offset : {kMost64, kMost64 - 99, kMost64 - 98, kMost64 << 63U}) {
    INFO(offset);
    segments[0].address.offset = SlabOffset(offset);
    lane->send_read(segments);
    CHECK(lane->take_frame()->header.status == Errc::out_of_range);
    lane->send_write(segments, Bytes(100, std::byte{0xEE}));
    CHECK(lane->take_frame()->header.status == Errc::out_of_range);
  }
  CHECK_FALSE(lane->is_closed());
  CHECK(fixture.box.bytes_of(region.extents) == before);
}

TEST_CASE("a request that waits for ever is answered at the box's own limit",
          "[unit][native_door]") {
  BodiesFixture fixture(box_with_devices());
  DoorPeer& control = *fixture.control;
  const PeerFrame start = control.call(wire::Op::events, wire::EventsRequest{.kinds = 1});
  const std::uint64_t position = wire::decode<wire::EventsReply>(start.body)->next;
  control.send_frame(control.request(wire::Op::wait),
                     encoded(wire::WaitRequest{kMost32, kMost32, kMost32, {"never"}}));
  control.send_frame(control.request(wire::Op::events),
                     encoded(wire::EventsRequest{position, 1, kMost32, kMost32}));
  CHECK_FALSE(control.take_frame());
  control.advance(std::chrono::seconds(31));
  const std::optional<PeerFrame> events = control.take_frame();
  REQUIRE(events.has_value());
  CHECK(events->header.op == wire::Op::events);
  CHECK(events->header.status == Errc::ok);
  CHECK_FALSE(control.take_frame());
  control.advance(std::chrono::minutes(10));
  const std::optional<PeerFrame> waited = control.take_frame();
  REQUIRE(waited.has_value());
  CHECK(wire::decode<wire::LookupReply>(waited->body)->objects.at(0).status == Errc::not_found);
}

TEST_CASE("what waits ends with a connection that then sends what is no body",
          "[unit][native_door]") {
  BodiesFixture fixture(box_with_devices());
  for (const Operation& operation : operations()) {
    if (operation.op != wire::Op::wait && operation.op != wire::Op::events) {
      continue;
    }
    INFO(operation.name);
    const std::string late = std::string("late ") + operation.name;
    const std::unique_ptr<DoorPeer> peer = fixture.open_control("test");
    const PeerFrame start = peer->call(wire::Op::events, wire::EventsRequest{.kinds = 1});
    const std::uint64_t position = wire::decode<wire::EventsReply>(start.body)->next;
    for (int i = 0; i < 3; ++i) {
      peer->send_frame(peer->request(wire::Op::wait),
                       encoded(wire::WaitRequest{0, 0, 60'000, {late}}));
      peer->send_frame(peer->request(wire::Op::events),
                       encoded(wire::EventsRequest{position, 1, 10, 60'000}));
    }
    CHECK_FALSE(peer->take_frame());
    Bytes bad = operation.body;
    bad.pop_back();
    peer->send_frame(peer->request(operation.op), bad);
    CHECK(peer->is_closed());
    CHECK_FALSE(peer->take_frame());
    CHECK(fixture.box.service().usage().sessions == 1);
    fixture.check_serves_others(late);  // nobody is there to be woken
  }
}

}  // namespace
}  // namespace godbox::emulator
