// SPDX-License-Identifier: Apache-2.0
//
// The codec against the golden vectors: each message is spelled out here once more, and has to
// become those bytes exactly; and each file has to be taken in and come out the same.
#include "wire_vectors.h"

#include "wire_bodies.h"
#include <godbox/crc32c.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <set>

using namespace godbox;
using namespace godbox::wire;
using test::golden_frame;
using test::GoldenFrame;

namespace {

constexpr Epoch kEpoch(0x0807060504030201);
constexpr SessionSecret kSecret{{0x0123456789ABCDEF, 0xFEDCBA9876543210}};

Header request_header(Op op, std::uint64_t request_id, std::uint32_t deadline_ms = 0) {
  Header header;
  header.op = op;
  header.request_id = request_id;
  header.epoch = op == Op::hello ? Epoch(0) : kEpoch;
  header.deadline_ms = deadline_ms;
  return header;
}

Header classed(Header header, TrafficClass traffic_class) {
  header.traffic_class = traffic_class;
  return header;
}

Header response_header(Op op, std::uint64_t request_id, Errc status = Errc::ok) {
  Header header = request_header(op, request_id);
  header.is_response = true;
  header.status = status;
  header.epoch = kEpoch;
  return header;
}

// The files that were compared, so that none is forgotten.
std::set<std::string>& checked_names() {
  static std::set<std::string> names;
  return names;
}

void check_frame(const std::string& name, Header header, ConstSpan body,
                 std::string_view payload = {}) {
  const GoldenFrame golden = golden_frame(name);
  CAPTURE(name);
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  Body frame = encode_frame(header, body);
  const ConstSpan payload_bytes = std::as_bytes(std::span(payload));
  frame.insert(frame.end(), payload_bytes.begin(), payload_bytes.end());
  CHECK(frame == golden.bytes);

  Header decoded = golden.header();
  CHECK(check_body(decoded, golden.body()) == Errc::ok);
  CHECK(decoded.body_bytes == body.size());
  CHECK(decoded.body_crc32c == crc32c_portable(body));
  decoded.body_bytes = 0;
  decoded.body_crc32c = 0;
  CHECK(decoded == header);
  checked_names().insert(name);
}

void check_hello() {
  HelloRequest control;
  control.tenant = "tenant-a";
  check_frame("hello_control_request", request_header(Op::hello, 0), encode(control));

  HelloRequest lane;
  lane.version_max = 3;
  lane.kind = ConnectionKind::lane;
  lane.lane = LaneId(7);
  lane.session = SessionId(0x1122334455667788);
  lane.secret = kSecret;
  check_frame("hello_lane_request", request_header(Op::hello, 0), encode(lane));

  HelloRequest resume;
  resume.kind = ConnectionKind::resume;
  resume.session = SessionId(0x1122334455667788);
  resume.secret = kSecret;
  resume.tenant = "tenant-a";
  resume.attempt = 3;
  Header in_epoch = request_header(Op::hello, 0);
  in_epoch.epoch = kEpoch;
  check_frame("hello_resume_request", in_epoch, encode(resume));

  constexpr std::byte kToken[] = {std::byte{0x00}, std::byte{0x80}, std::byte{0xFF}};
  HelloRequest token;
  token.auth_method = 2;
  token.auth = kToken;
  check_frame("hello_token_request", request_header(Op::hello, 0), encode(token));

  HelloReply reply;
  reply.session = SessionId(0x1122334455667788);
  reply.secret = kSecret;
  reply.epoch = kEpoch;
  reply.eth_port = EthPortId(5);
  reply.super_nic = SuperNicId(2);
  reply.requests_in_flight_max = 64;
  reply.bytes_in_flight_max = 33554432;
  reply.lease_ms_max = 30000;
  reply.session_timeout_ms = 10000;
  reply.lane_token = LaneToken(9);
  reply.resume_ms = 2000;
  check_frame("hello_response", response_header(Op::hello, 0), encode(reply));
}

void check_data() {
  const RemoteSegment segments[] = {
      {RKey(0xA1B2C3D4), {SlabId(3), SlabOffset(65536)}, 5},
      {RKey(1), {SlabId(0xFFFFFFFE), SlabOffset(0x0000123456789ABC)}, 3},
  };
  Body body(std::size(segments) * sizeof(Segment));
  encode_segments(segments, body);
  constexpr std::uint64_t kReadId = 0x0102030405060708;
  check_frame("ping_request", request_header(Op::ping, 9), {});
  check_frame("ping_response", response_header(Op::ping, 9), {});
  check_frame("goodbye_request", request_header(Op::goodbye, 10), {});
  check_frame("read_request", request_header(Op::read, kReadId, 250), body);
  check_frame("read_prefetch_request",
              classed(request_header(Op::read, 14), TrafficClass::prefetch), body);
  check_frame("read_response", response_header(Op::read, kReadId), {}, "abcdefgh");
  check_frame("write_request", request_header(Op::write, 12), body, "abcdefgh");
  check_frame("write_back_request",
              classed(request_header(Op::write, 15), TrafficClass::write_back), body, "abcdefgh");
  check_frame("write_response", response_header(Op::write, 12), {});
  check_frame("write_error_response", response_header(Op::write, 12, Errc::key_revoked), {});
  check_frame("fence_request", request_header(Op::fence, 13),
              encode(FenceRequest{{LaneToken(9), LaneToken(UINT32_MAX)}}));
  check_frame("fence_response", response_header(Op::fence, 13, Errc::write_in_flight), {});
}

void check_box() {
  check_frame("info_request", request_header(Op::info, 20), {});
  InfoReply info;
  info.box_name = "box-1";
  info.mode = "free";
  info.eth_ports = {{EthPortId(0), SuperNicId(0), "tcp:127.0.0.1:7401"},
                    {EthPortId(1), SuperNicId(1), "tcp:[::1]:7402"}};
  info.dram_channel_super_nic = {SuperNicId(0), SuperNicId(0), SuperNicId(1)};
  info.dram_channel_size = SizeBytes(268435456);
  info.capacity = SizeBytes(805306368);
  info.backing_limit = SizeBytes(402653184);
  check_frame("info_response", response_header(Op::info, 20), encode(info));

  check_frame("describe_slabs_request", request_header(Op::describe_slabs, 21),
              encode(SlabIdsRequest{{SlabId(1), SlabId(0xFFFFFFFF)}}));
  const SlabRecord slab{SlabId(1),
                        4096,
                        1,
                        SizeBytes(1048576),
                        {{DramChannelId(2), DramOffset(0)},
                         {DramChannelId(0), DramOffset(1048576)},
                         {DramChannelId(1), DramOffset(std::uint64_t{5} << 40U)}}};
  check_frame("describe_slabs_response", response_header(Op::describe_slabs, 21),
              encode(SlabsReply{{slab}}));

  check_frame("map_memory_request", request_header(Op::map_memory, 22), {});
  check_frame("map_memory_pinned_request", request_header(Op::map_memory, 22),
              encode(MapRequest{true}));
  check_frame(
      "map_memory_response", response_header(Op::map_memory, 22),
      encode(MapReply{{SizeBytes(268435456), SizeBytes(std::uint64_t{1} << 40U)}, true, {}}));
  const cxl::Interleave two_at_4k{cxl::InterleaveWays::create(2).value(),
                                  cxl::InterleaveGranularity::create(4_KiB).value()};
  const MapReply placed{
      {SizeBytes(268435456), SizeBytes(268435456), SizeBytes(std::uint64_t{1} << 40U)},
      true,
      {{0, {two_at_4k, 1}}, {0, {two_at_4k, 0}}, {1, {}}}};
  check_frame("map_memory_placed_response", response_header(Op::map_memory, 22), encode(placed));
  check_frame("map_memory_error_response", response_header(Op::map_memory, 22, Errc::unsupported),
              encode(TextReply{"memory is not offered by"}));
  check_frame("status_request", request_header(Op::status, 23), {});
  check_frame("status_response", response_header(Op::status, 23),
              encode(TextReply{R"({"slabs":1})"}));
}

Extent extent(std::uint32_t slab, std::uint32_t length_bytes, std::uint64_t offset) {
  return {{SlabId(slab), SlabOffset(offset)}, length_bytes};
}

void check_puts() {
  const ReserveRequest reserve{
      1500,
      {{"kv/0", SizeBytes(163840), false, true, 80, {Pin::hard, 60000, 3600000}},
       {"kv/sparse", SizeBytes(std::uint64_t{1} << 40U), true, false, 0, {Pin::soft, 0, 0}},
       {"", SizeBytes(0)}}};
  check_frame("reserve_request", request_header(Op::reserve, 30, 2000), encode(reserve));
  const ReserveReply reserved{{
      {Errc::ok,
       ReservationId(0xCAFE),
       RKey(0xDEADBEEF),
       {extent(1, 131072, 0), extent(2, 32768, std::uint64_t{1} << 33U)}},
      {Errc::ok, ReservationId(0xCAFF), RKey(0), {extent(3, 4294967295, 0)}},
      {Errc::invalid_argument, ReservationId(0), RKey(0), {}},
  }};
  check_frame("reserve_response", response_header(Op::reserve, 30), encode(reserved));

  const CommitRequest commit{
      {{ReservationId(0xCAFE), {0x8A9136AA, 0x62A8AB43, 0x46DD794E}}, {ReservationId(0xCAFF), {}}}};
  check_frame("commit_request", request_header(Op::commit, 31), encode(commit));
  check_frame("commit_response", response_header(Op::commit, 31),
              encode(StatusesReply{{Errc::ok, Errc::write_in_flight, Errc::limit_exceeded}}));
  const CommitLayerRequest layers{
      {{ReservationId(0xCAFE), 79, {0x8A9136AA}}, {ReservationId(0xCAFF), 0, {}}}};
  check_frame("commit_layer_request", request_header(Op::commit_layer, 33), encode(layers));
  check_frame("commit_layer_response", response_header(Op::commit_layer, 33),
              encode(StatusesReply{{Errc::ok, Errc::write_in_flight, Errc::limit_exceeded}}));
  check_frame("abort_request", request_header(Op::abort, 32),
              encode(ReservationsRequest{{ReservationId(0xCAFE)}}));
  check_frame("abort_response", response_header(Op::abort, 32),
              encode(StatusesReply{{Errc::not_found}}));
}

void check_gets() {
  const LookupRequest lookup{true, 5000, {"kv/0", "kv/\u00e9"}};
  check_frame("lookup_request", request_header(Op::lookup, 40, 1), encode(lookup));
  const LookupReply found{
      LeaseId(0x77),
      5000,
      {{Errc::ok, RKey(0x01020304), SizeBytes(163840), 2, 3, false, 80, 80},
       {Errc::not_found, RKey(0), SizeBytes(0), 0, 0, false},
       {Errc::present_unleased, RKey(5), SizeBytes(4096), 1, 0, true}},
      {extent(1, 131072, 0), extent(2, 32768, std::uint64_t{1} << 33U), extent(9, 4096, 8192)},
      {0x8A9136AA, 0x62A8AB43, 0x46DD794E}};
  check_frame("lookup_response", response_header(Op::lookup, 40), encode(found));
  check_frame("wait_request", request_header(Op::wait, 44, 1000),
              encode(WaitRequest{3, 5000, 250, {"kv/0"}}));
  const LookupReply partly{
      LeaseId(0),
      0,
      {{Errc::present_unleased, RKey(0x01020304), SizeBytes(163840), 1, 1, false, 80, 4}},
      {extent(1, 163840, 0)},
      {0x8A9136AA}};
  check_frame("wait_response", response_header(Op::wait, 44), encode(partly));
  check_frame("release_request", request_header(Op::release, 41),
              encode(LeasesRequest{{LeaseId(0x77), LeaseId(UINT64_MAX)}}));
  check_frame("release_response", response_header(Op::release, 41), {});
  check_frame("remove_request", request_header(Op::remove, 42),
              encode(NamesRequest{{"kv/0", "kv/1"}}));
  check_frame("remove_response", response_header(Op::remove, 42),
              encode(StatusesReply{{Errc::ok, Errc::not_found}}));
  check_frame("list_request", request_header(Op::list, 43),
              encode(ListRequest{"kv/", "kv/0", 1000}));
  const ListReply listed{{{"kv/1", SizeBytes(163840)}, {"kv/2", SizeBytes(0)}}, true};
  check_frame("list_response", response_header(Op::list, 43), encode(listed));
}

void check_regions() {
  check_frame("allocate_region_request", request_header(Op::allocate_region, 50),
              encode(AllocateRegionRequest{SizeBytes(196608)}));
  const RegionReply region{RKey(0x5EED5EED), {extent(4, 131072, 0), extent(5, 65536, 262144)}};
  check_frame("allocate_region_response", response_header(Op::allocate_region, 50), encode(region));
  check_frame("free_region_request", request_header(Op::free_region, 51),
              encode(FreeRegionRequest{RKey(0x5EED5EED)}));
  check_frame("free_region_response", response_header(Op::free_region, 51), {});
}

void check_tenants() {
  const RetainRequest retain{
      {{"kv/0", {Pin::hard, 0, 0}}, {"kv/1", {Pin::none, 1000, UINT32_MAX}}}};
  check_frame("retain_request", request_header(Op::retain, 60), encode(retain));
  check_frame("retain_response", response_header(Op::retain, 60),
              encode(StatusesReply{{Errc::quota_exceeded, Errc::not_found}}));
  check_frame("usage_request", request_header(Op::usage, 61), {});
  const UsageReply usage{SizeBytes(1U << 30U), SizeBytes(163840), SizeBytes(4096), 3, 17, 1000, 9};
  check_frame("usage_response", response_header(Op::usage, 61), encode(usage));
  check_frame("events_request", request_header(Op::events, 62),
              encode(EventsRequest{41, 0b1011, 100, 30000}));
  const EventsReply events{45,
                           2,
                           {{44, EventKind::put, SizeBytes(163840), "kv/0"},
                            {45, EventKind::evict, SizeBytes(4096), "kv/\u00e9"}}};
  check_frame("events_response", response_header(Op::events, 62), encode(events));
}

void check_devices() {
  check_frame("bind_request", request_header(Op::bind, 70),
              encode(BindRequest{SizeBytes(1U << 28U), LdId(0), "vm-a"}));
  check_frame("bind_sealed_request", request_header(Op::bind, 71),
              encode(BindRequest{SizeBytes(0), LdId(7), "vm-b"}));
  check_frame(
      "bind_response", response_header(Op::bind, 70),
      encode(BindReply{
          LdId(7), false, SizeBytes(1U << 28U), {SlabId(65), SlabId(66), SlabId(3), SlabId(4)}}));
  check_frame("bind_sealed_response", response_header(Op::bind, 71),
              encode(BindReply{LdId(7), true, SizeBytes(1U << 28U), {SlabId(65)}}));
  check_frame("bind_error_response", response_header(Op::bind, 70, Errc::quota_exceeded),
              encode(TextReply{"VM vm-a has 1 GiB of its 1 GiB"}));
  const Body one = encode(LogicalDeviceRequest{LdId(kLdIdMax)});
  check_frame("unbind_request", request_header(Op::unbind, 72), one);
  check_frame("unbind_response", response_header(Op::unbind, 72), {});
  check_frame("seal_request", request_header(Op::seal, 73), one);
  check_frame("seal_response", response_header(Op::seal, 73), {});
  check_frame("drop_request", request_header(Op::drop, 74), one);
  check_frame("drop_response", response_header(Op::drop, 74), {});
  check_frame("list_bound_request", request_header(Op::list_bound, 75), {});
  const ListBoundReply listed{
      {{LdId(7),
        LogicalDeviceState::sealed,
        SizeBytes(1U << 28U),
        "tenant-a",
        {{"vm-a", false}, {"vm-b", true}}},
       {LdId(8), LogicalDeviceState::bound, SizeBytes(1U << 29U), "", {{"vm-c", false}}},
       {LdId(kLdIdMax), LogicalDeviceState::leaving, SizeBytes(std::uint64_t{1} << 40U), "", {}}}};
  check_frame("list_bound_response", response_header(Op::list_bound, 75), encode(listed));
}

}  // namespace

TEST_CASE("each message becomes its golden frame, byte for byte", "[unit]") {
  checked_names().clear();
  check_hello();
  check_data();
  check_box();
  check_puts();
  check_gets();
  check_regions();
  check_tenants();
  check_devices();

  std::set<std::string> files;
  for (const GoldenFrame& frame : test::all_golden_frames()) {
    files.insert(frame.name);
  }
  CHECK(files == checked_names());
}

TEST_CASE("each golden frame is taken in and comes out the same", "[unit]") {
  for (const GoldenFrame& frame : test::all_golden_frames()) {
    CAPTURE(frame.name);
    const test::Reencode reencode = test::codec_of(frame.header());
    if (reencode == nullptr || frame.body().empty()) {
      CHECK(frame.body().empty());
      continue;
    }
    const auto again = reencode(frame.body());
    REQUIRE(again.has_value());
    CHECK(std::ranges::equal(*again, frame.body()));
  }
}

TEST_CASE("each truncation of a golden body is refused, and so is a byte too many", "[unit]") {
  for (const GoldenFrame& frame : test::all_golden_frames()) {
    const ConstSpan body = frame.body();
    if (body.empty()) {
      continue;
    }
    const Header header = frame.header();
    const test::Reencode reencode = test::codec_of(header);
    const bool is_segments = header.op == Op::read || header.op == Op::write;
    for (std::size_t size = 0; size < body.size(); ++size) {
      CAPTURE(frame.name, size);
      // A list of segments has no count: a shorter one is a list too, but not the header's body.
      // And a MAP_MEMORY that asks for nothing special has no body.
      const bool is_shorter_one = (is_segments && size > 0 && size % sizeof(Segment) == 0) ||
                                  (header.op == Op::map_memory && size == 0);
      if (!is_shorter_one) {
        const auto result = reencode(body.first(size));
        REQUIRE(result.has_error());
        REQUIRE(result.error().code == Errc::protocol_error);
      }
      REQUIRE(check_body(header, body.first(size)) == Errc::bad_body_crc);
    }
    Body longer(body.begin(), body.end());
    longer.push_back(std::byte{0});
    CAPTURE(frame.name);
    CHECK(reencode(longer).has_error());
    CHECK(check_body(header, longer) == Errc::bad_body_crc);
  }
}

TEST_CASE("each flipped bit of a golden header is refused", "[unit]") {
  for (const GoldenFrame& frame : test::all_golden_frames()) {
    std::array<std::byte, kHeaderBytes> bytes{};
    std::ranges::copy(frame.header_bytes(), bytes.begin());
    for (std::size_t bit = 0; bit < 8 * kHeaderBytes; ++bit) {
      CAPTURE(frame.name, bit);
      const std::byte mask = std::byte{1} << (bit % 8);
      bytes[bit / 8] ^= mask;
      const auto header = decode_header(bytes);
      bytes[bit / 8] ^= mask;
      REQUIRE(header.has_error());
      REQUIRE(header.error().code == (bit < 32 ? Errc::bad_magic : Errc::bad_header_crc));
    }
  }
}

TEST_CASE("each flipped bit of a golden body fails its CRC, and means itself or nothing",
          "[unit]") {
  for (const GoldenFrame& frame : test::all_golden_frames()) {
    const Header header = frame.header();
    const test::Reencode reencode = test::codec_of(header);
    Body body(frame.body().begin(), frame.body().end());
    for (std::size_t bit = 0; bit < 8 * body.size(); ++bit) {
      CAPTURE(frame.name, bit);
      const std::byte mask = std::byte{1} << (bit % 8);
      body[bit / 8] ^= mask;
      REQUIRE(check_body(header, body) == Errc::bad_body_crc);
      const auto again = reencode(body);
      REQUIRE((again.has_error() || *again == body));
      body[bit / 8] ^= mask;
    }
  }
}
