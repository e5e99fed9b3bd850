// SPDX-License-Identifier: Apache-2.0
#include <godbox/crc32c.h>
#include <godbox/wire.h>
#include <godbox_test/allocation_count.h>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace godbox;
using namespace godbox::wire;

namespace {

using HeaderBytes = std::array<std::byte, kHeaderBytes>;

void put_le32(MutableSpan bytes, std::size_t offset, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[offset + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

// A proper header with one field overwritten and the CRC made to fit.
Errc decode_changed(const Header& header, std::size_t offset, std::uint32_t value,
                    std::size_t width) {
  HeaderBytes bytes{};
  encode_header(header, bytes);
  for (std::size_t i = 0; i < width; ++i) {
    bytes[offset + i] = static_cast<std::byte>(value >> (8 * i));
  }
  put_le32(bytes, 60, crc32c_portable(ConstSpan(bytes).first(60)));
  const auto decoded = decode_header(bytes);
  return decoded ? Errc::ok : decoded.error().code;
}

Header request_of(Op op) {
  Header header;
  header.op = op;
  header.request_id = 1;
  return header;
}

Header response_to(Op op) {
  Header header = request_of(op);
  header.is_response = true;
  return header;
}

Body bytes_of(std::initializer_list<unsigned> values) {
  Body body;
  for (const unsigned value : values) {
    body.push_back(static_cast<std::byte>(value));
  }
  return body;
}

// u32 count and `item_bytes` zeros per item: a list of the simplest items there are.
Body list_of_zeros(std::uint32_t count, std::size_t item_bytes) {
  Body body(4 + count * item_bytes);
  put_le32(body, 0, count);
  return body;
}

template <class T>
bool is_refused(ConstSpan body) {
  const Result<T> message = decode<T>(body);
  return message.has_error() && message.error().code == Errc::protocol_error;
}

}  // namespace

TEST_CASE("a header survives the wire with every field at its largest", "[unit]") {
  Header write = request_of(Op::write);
  write.request_id = UINT64_MAX;
  write.epoch = Epoch(UINT64_MAX);
  write.body_bytes = kBodyBytesMax;
  write.payload_bytes = kPayloadBytesMax;
  write.deadline_ms = UINT32_MAX;
  write.body_crc32c = UINT32_MAX;
  HeaderBytes bytes{};
  encode_header(write, bytes);
  CHECK(decode_header(bytes).value() == write);

  Header answer = response_to(Op::read);
  answer.status = Errc::io_error;
  answer.payload_bytes = kPayloadBytesMax;
  encode_header(answer, bytes);
  CHECK(decode_header(bytes).value() == answer);
}

TEST_CASE("a header whose CRC fits is refused for what it says", "[unit]") {
  const Header request = request_of(Op::ping);
  const Header response = response_to(Op::ping);
  CHECK(decode_changed(request, 0, 0x31584247, 4) == Errc::ok);
  CHECK(decode_changed(request, 0, 0x32584247, 4) == Errc::bad_magic);
  for (const unsigned op : {0U, 4U, 15U, 19U, 31U, 35U, 39U, 60U, 255U}) {
    CAPTURE(op);
    CHECK(decode_changed(request, 4, op, 1) == Errc::protocol_error);
  }
  for (const unsigned flags : {2U, 3U, 0x80U, 0xFFU}) {
    CAPTURE(flags);
    CHECK(decode_changed(request, 5, flags, 1) == Errc::protocol_error);
  }
  CHECK(decode_changed(request, 6, 100, 2) == Errc::protocol_error);  // status in a request
  CHECK(decode_changed(response, 6, 100, 2) == Errc::ok);
  CHECK(decode_changed(response, 6, 117, 2) == Errc::protocol_error);  // no such status
  CHECK(decode_changed(response, 6, 0xFFFF, 2) == Errc::protocol_error);
  CHECK(decode_changed(request, 24, kBodyBytesMax, 4) == Errc::ok);
  CHECK(decode_changed(request, 24, kBodyBytesMax + 1, 4) == Errc::frame_too_large);
  CHECK(decode_changed(request, 24, UINT32_MAX, 4) == Errc::frame_too_large);
  CHECK(decode_changed(request_of(Op::write), 28, kPayloadBytesMax, 4) == Errc::ok);
  CHECK(decode_changed(request_of(Op::write), 28, kPayloadBytesMax + 1, 4) ==
        Errc::frame_too_large);
  CHECK(decode_changed(request, 32, 1, 4) == Errc::ok);
  CHECK(decode_changed(response, 32, 1, 4) == Errc::protocol_error);  // deadline in a response
  CHECK(decode_changed(request, 36, 1, 4) == Errc::protocol_error);   // CRC of no body
  CHECK(decode_changed(request, 40, 1, 1) == Errc::ok);
  CHECK(decode_changed(request, 40, 2, 1) == Errc::ok);
  CHECK(decode_changed(response, 40, 1, 1) == Errc::protocol_error);  // class in a response
  for (const unsigned traffic_class : {3U, 4U, 255U}) {
    CAPTURE(traffic_class);
    CHECK(decode_changed(request, 40, traffic_class, 1) == Errc::protocol_error);
  }
  for (std::size_t offset = 41; offset < 60; ++offset) {
    CAPTURE(offset);
    CHECK(decode_changed(request, offset, 0x80, 1) == Errc::protocol_error);
  }
}

TEST_CASE("payload belongs to WRITE requests and READ responses alone", "[unit]") {
  for (unsigned number = 0; number < 256; ++number) {
    const auto op = static_cast<Op>(number);
    CAPTURE(number);
    CHECK((decode_changed(request_of(op), 28, 1, 4) == Errc::ok) == (op == Op::write));
    CHECK((decode_changed(response_to(op), 28, 1, 4) == Errc::ok) == (op == Op::read));
  }
}

TEST_CASE("a body is checked for its size and its CRC", "[unit]") {
  const Body body = bytes_of({1, 2, 3});
  const Body frame = encode_frame(request_of(Op::list), body);
  REQUIRE(frame.size() == kHeaderBytes + 3);
  const Header header = decode_header(ConstSpan(frame).first<kHeaderBytes>()).value();
  CHECK(header.body_bytes == 3);
  CHECK(check_body(header, body) == Errc::ok);
  CHECK(check_body(header, bytes_of({1, 2, 4})) == Errc::bad_body_crc);
  CHECK(check_body(header, bytes_of({1, 2})) == Errc::bad_body_crc);
  CHECK(check_body(header, {}) == Errc::bad_body_crc);
  CHECK(check_body(request_of(Op::ping), {}) == Errc::ok);
}

TEST_CASE("segment lists are bounded in number and in bytes", "[unit]") {
  const auto list = [](std::size_t count, std::uint32_t length_bytes) {
    const std::vector<RemoteSegment> segments(
        count, RemoteSegment{RKey(1), {SlabId(2), SlabOffset(3)}, length_bytes});
    Body body(count * sizeof(Segment));
    encode_segments(segments, body);
    return body;
  };
  const auto error_of = [](ConstSpan body) {
    std::vector<RemoteSegment> segments(3);
    const auto total = decode_segments(body, segments);
    CHECK(segments.empty() == total.has_error());
    return total ? Errc::ok : total.error().code;
  };
  std::vector<RemoteSegment> segments;
  CHECK(decode_segments(list(4096, 4096), segments).value() == kPayloadBytesMax);
  CHECK(segments.size() == 4096);
  CHECK(segments.back().address.offset == SlabOffset(3));

  CHECK(error_of({}) == Errc::protocol_error);
  CHECK(error_of(list(2, 8)) == Errc::ok);
  CHECK(error_of(ConstSpan(list(2, 8)).first(47)) == Errc::protocol_error);
  CHECK(error_of(Body(4097 * sizeof(Segment), std::byte{1})) == Errc::protocol_error);
  CHECK(error_of(list(1, 0)) == Errc::protocol_error);
  CHECK(error_of(list(1, kPayloadBytesMax)) == Errc::ok);
  CHECK(error_of(list(1, kPayloadBytesMax + 1)) == Errc::frame_too_large);
  CHECK(error_of(list(2, UINT32_MAX)) == Errc::frame_too_large);  // over 32 bits in sum
  Body reserved = list(2, 8);
  reserved[47] = std::byte{1};
  CHECK(error_of(reserved) == Errc::protocol_error);
}

TEST_CASE("lists hold as many items as the protocol allows, and not one more", "[unit]") {
  CHECK_FALSE(is_refused<SlabIdsRequest>(list_of_zeros(16384, 4)));
  CHECK(is_refused<SlabIdsRequest>(list_of_zeros(16385, 4)));
  CHECK_FALSE(is_refused<SlabsReply>(list_of_zeros(16384, 24)));
  CHECK(is_refused<SlabsReply>(list_of_zeros(16385, 24)));
  CHECK_FALSE(is_refused<ReserveReply>(list_of_zeros(16384, 16)));
  CHECK(is_refused<ReserveReply>(list_of_zeros(16385, 16)));
  CHECK_FALSE(is_refused<CommitRequest>(list_of_zeros(16384, 12)));
  CHECK(is_refused<CommitRequest>(list_of_zeros(16385, 12)));
  CHECK_FALSE(is_refused<ReservationsRequest>(list_of_zeros(16384, 8)));
  CHECK(is_refused<ReservationsRequest>(list_of_zeros(16385, 8)));
  CHECK_FALSE(is_refused<LeasesRequest>(list_of_zeros(16384, 8)));
  CHECK(is_refused<LeasesRequest>(list_of_zeros(16385, 8)));
  CHECK_FALSE(is_refused<StatusesReply>(list_of_zeros(16384, 2)));
  CHECK(is_refused<StatusesReply>(list_of_zeros(16385, 2)));
  CHECK_FALSE(is_refused<NamesRequest>(list_of_zeros(16384, 2)));
  CHECK(is_refused<NamesRequest>(list_of_zeros(16385, 2)));

  const auto behind = [](std::size_t front_bytes, std::uint32_t count, std::size_t item_bytes) {
    Body body(front_bytes);
    const Body list = list_of_zeros(count, item_bytes);
    body.insert(body.end(), list.begin(), list.end());
    return body;
  };
  CHECK_FALSE(is_refused<MapReply>(behind(4, 1024, 8)));
  CHECK(is_refused<MapReply>(behind(4, 1025, 8)));
  CHECK_FALSE(is_refused<ReserveRequest>(behind(4, 16384, 22)));
  CHECK(is_refused<ReserveRequest>(behind(4, 16385, 22)));
  CHECK_FALSE(is_refused<CommitLayerRequest>(behind(0, 16384, 16)));
  CHECK(is_refused<CommitLayerRequest>(behind(0, 16385, 16)));
  CHECK_FALSE(is_refused<RetainRequest>(behind(0, 16384, 14)));
  CHECK(is_refused<RetainRequest>(behind(0, 16385, 14)));
  CHECK_FALSE(is_refused<WaitRequest>(behind(12, 16384, 2)));
  CHECK(is_refused<WaitRequest>(behind(12, 16385, 2)));
  CHECK_FALSE(is_refused<EventsReply>(behind(16, 16384, 20)));
  CHECK(is_refused<EventsReply>(behind(16, 16385, 20)));
  CHECK_FALSE(is_refused<LookupRequest>(behind(8, 16384, 2)));
  CHECK(is_refused<LookupRequest>(behind(8, 16385, 2)));
  CHECK_FALSE(is_refused<ListReply>(behind(4, 16384, 10)));
  CHECK(is_refused<ListReply>(behind(4, 16385, 10)));
}

TEST_CASE("a count that the body cannot hold is refused, however large", "[unit]") {
  for (const std::uint32_t count : {1U, 5U, 0x40000000U, 0x80000000U, UINT32_MAX}) {
    CAPTURE(count);
    Body body(16);
    put_le32(body, 0, count);
    CHECK(is_refused<SlabIdsRequest>(body));
    CHECK(is_refused<ReservationsRequest>(body));
    CHECK(is_refused<TextReply>(body));
    CHECK(is_refused<StatusesReply>(body));
    Body commit(16);
    put_le32(commit, 0, 1);
    put_le32(commit, 12, count);
    CHECK(is_refused<CommitRequest>(commit));
    for (const std::size_t field : {12U, 16U, 20U}) {
      CAPTURE(field);
      Body lookup(24);
      put_le32(lookup, field, count);
      CHECK(is_refused<LookupReply>(lookup));
    }
  }
}

TEST_CASE("nothing is allocated for items that a body announces and does not hold", "[unit]") {
  const auto allocations_of = [](ConstSpan body) {
    const std::uint64_t before = test::allocation_count();
    CHECK(is_refused<LookupReply>(body));
    return test::allocation_count() - before;
  };
  const std::uint64_t for_the_error = allocations_of({});
  Body body(24);
  for (const std::size_t field : {12U, 16U, 20U}) {
    CAPTURE(field);
    put_le32(body, field, 16384);
    CHECK(allocations_of(body) == for_the_error);
    put_le32(body, field, 0);
  }
}

TEST_CASE("names and authentication are as long as the protocol allows, and no longer", "[unit]") {
  const std::string longest(512, 'n');
  Body names = encode(NamesRequest{{longest}});
  CHECK(decode<NamesRequest>(names).value().names.at(0) == longest);
  names[4] = std::byte{1};  // 0x0200 becomes 0x0201
  names.push_back(std::byte{'n'});
  CHECK(is_refused<NamesRequest>(names));

  const std::vector<std::byte> auth(4096, std::byte{7});
  HelloRequest hello;
  hello.auth_method = 1;
  hello.auth = auth;
  Body body = encode(hello);
  CHECK(decode<HelloRequest>(body).value().auth.size() == 4096);
  body[34] = std::byte{1};  // 0x1000 becomes 0x1001
  body.push_back(std::byte{7});
  CHECK(is_refused<HelloRequest>(body));
}

TEST_CASE("HELLO finds out whether there is a version in common", "[unit]") {
  const auto answer = [](std::uint16_t version_min, std::uint16_t version_max) {
    HelloRequest hello;
    hello.version_min = version_min;
    hello.version_max = version_max;
    const Body body = encode(hello);
    const auto decoded = decode<HelloRequest>(body);
    return decoded ? Errc::ok : decoded.error().code;
  };
  CHECK(answer(1, 1) == Errc::ok);
  CHECK(answer(0, 9) == Errc::ok);
  CHECK(answer(2, 9) == Errc::bad_version);
  CHECK(answer(0, 0) == Errc::bad_version);
  CHECK(answer(2, 1) == Errc::protocol_error);

  HelloReply reply;
  reply.version = 2;
  const auto decoded = decode<HelloReply>(encode(reply));
  REQUIRE(decoded.has_error());
  CHECK(decoded.error().code == Errc::bad_version);
}

TEST_CASE("a HELLO says nothing that belongs to the other kind of connection", "[unit]") {
  const auto with_byte = [](Body body, std::size_t offset) {
    body[offset] = std::byte{1};
    return body;
  };
  const Body control = encode(HelloRequest());
  CHECK(decode<HelloRequest>(control).has_value());
  for (const std::size_t offset : {6U, 7U, 8U, 15U, 16U, 23U, 24U, 31U}) {  // lane, session, secret
    CAPTURE(offset);
    CHECK(is_refused<HelloRequest>(with_byte(control, offset)));
    CHECK(decode<HelloRequest>(with_byte(with_byte(control, offset), 4)).has_value());  // a lane's
    // Another version may use these bytes as it likes.
    Body later = with_byte(control, offset);
    later[0] = later[2] = std::byte{2};
    CHECK(decode<HelloRequest>(later).error().code == Errc::bad_version);
  }
  HelloRequest named;
  named.tenant = "alice";
  CHECK(decode<HelloRequest>(encode(named)).has_value());
  CHECK(is_refused<HelloRequest>(with_byte(encode(named), 4)));
}

TEST_CASE("a HELLO that resumes has the number of its attempt, and no lane", "[unit]") {
  HelloRequest hello;
  hello.kind = ConnectionKind::resume;
  hello.tenant = "alice";
  hello.attempt = 7;
  const Body resume = encode(hello);
  CHECK(decode<HelloRequest>(resume).value().attempt == 7);
  Body wrong = resume;
  SECTION("a lane") { wrong[6] = std::byte{1}; }
  SECTION("no number") { wrong[wrong.size() - 4] = std::byte{0}; }
  SECTION("a number cut short") { wrong.pop_back(); }
  SECTION("another kind") { wrong[4] = std::byte{0}; }
  CHECK(is_refused<HelloRequest>(wrong));
}

TEST_CASE("HELLO refuses kinds that are none and authentication without a method", "[unit]") {
  Body kind = encode(HelloRequest());
  kind[4] = std::byte{3};
  CHECK(is_refused<HelloRequest>(kind));
  const std::byte token[] = {std::byte{1}};
  HelloRequest hello;
  hello.auth_method = 1;
  hello.auth = token;
  Body method = encode(hello);
  method[5] = std::byte{0};
  CHECK(is_refused<HelloRequest>(method));
}

TEST_CASE("extents are not empty and do not run around the end", "[unit]") {
  const auto region = [](std::uint32_t length_bytes, std::uint64_t offset) {
    Body body = encode(RegionReply{RKey(1), {{{SlabId(1), SlabOffset(0)}, 1}}});
    put_le32(body, 12, length_bytes);
    put_le32(body, 16, static_cast<std::uint32_t>(offset));
    put_le32(body, 20, static_cast<std::uint32_t>(offset >> 32U));
    return body;
  };
  CHECK_FALSE(is_refused<RegionReply>(region(1, 0)));
  CHECK_FALSE(is_refused<RegionReply>(region(16, UINT64_MAX - 16)));
  CHECK(is_refused<RegionReply>(region(0, 0)));
  CHECK(is_refused<RegionReply>(region(17, UINT64_MAX - 16)));
  CHECK(is_refused<RegionReply>(region(UINT32_MAX, UINT64_MAX)));
}

TEST_CASE("objects and slabs have bounded lists", "[unit]") {
  const Extent extent{{SlabId(1), SlabOffset(0)}, 1};
  const RegionReply region{RKey(1), std::vector<Extent>(256, extent)};
  Body body = encode(region);
  CHECK(decode<RegionReply>(body).value().extents == region.extents);
  const Body another(body.end() - 16, body.end());
  body.insert(body.end(), another.begin(), another.end());
  put_le32(body, 4, 257);
  CHECK(is_refused<RegionReply>(body));

  const LookupObject object{Errc::ok, RKey(1), SizeBytes(256), 256, 0, false};
  Body lookup = encode(LookupReply{LeaseId(0), 0, {object}, region.extents, {}});
  CHECK(decode<LookupReply>(lookup).has_value());
  lookup.insert(lookup.end(), another.begin(), another.end());
  put_le32(lookup, 16, 257);
  put_le32(lookup, 24 + 16, 257);
  CHECK(is_refused<LookupReply>(lookup));

  SlabRecord slab;
  slab.members.resize(64);
  Body slabs = encode(SlabsReply{{slab}});
  CHECK(decode<SlabsReply>(slabs).value().slabs.at(0).members.size() == 64);
  slabs.resize(slabs.size() + 16);
  put_le32(slabs, 4 + 20, 65);
  CHECK(is_refused<SlabsReply>(slabs));
}

TEST_CASE("a box describes as many ports and channels as the protocol allows", "[unit]") {
  InfoReply info;
  info.eth_ports.resize(1024);
  info.dram_channel_super_nic.resize(1024);
  const Body largest = encode(info);
  REQUIRE(decode<InfoReply>(largest).has_value());
  constexpr std::size_t kPortCount = 3 * 8 + 2 + 2;
  constexpr std::size_t kPorts = kPortCount + 4;
  constexpr std::size_t kChannelCount = kPorts + std::size_t{1024} * 6;

  Body channels = largest;
  put_le32(channels, kChannelCount, 1025);
  channels.resize(channels.size() + 2);
  CHECK(is_refused<InfoReply>(channels));

  Body ports = largest;
  put_le32(ports, kPortCount, 1025);
  ports.insert(ports.begin() + kPorts, 6, std::byte{0});
  CHECK(is_refused<InfoReply>(ports));
}

TEST_CASE("a lookup's objects own its extents and CRCs exactly", "[unit]") {
  const Extent extent{{SlabId(1), SlabOffset(0)}, 1};
  const LookupObject object{Errc::ok, RKey(1), SizeBytes(1), 1, 1, false};
  const Body good = encode(LookupReply{LeaseId(0), 0, {object, object}, {extent, extent}, {1, 2}});
  REQUIRE(decode<LookupReply>(good).has_value());
  constexpr std::size_t kExtentCountOfSecond = 24 + 28 + 16;
  for (const std::size_t field : {kExtentCountOfSecond, kExtentCountOfSecond + 4}) {
    for (const std::uint32_t count : {0U, 2U, UINT32_MAX}) {
      CAPTURE(field, count);
      Body body = good;
      put_le32(body, field, count);
      CHECK(is_refused<LookupReply>(body));
    }
  }
}

// By hand: flags 2, then sizes and placements {descriptor, ways, position, granularity}.
TEST_CASE("placements that do not cover whole memories are refused", "[unit]") {
  struct Placement {
    std::uint16_t descriptor;
    std::uint8_t ways;
    std::uint8_t position;
    std::uint32_t granularity;
  };
  const auto body_of = [](const std::vector<std::uint64_t>& sizes,
                          const std::vector<Placement>& placements) {
    Body body(8);
    body[0] = std::byte{2};
    body[4] = static_cast<std::byte>(sizes.size());
    const auto put = [&body](std::uint64_t value, int bytes) {
      for (int i = 0; i < bytes; ++i) {
        body.push_back(static_cast<std::byte>(value >> (8 * i)));
      }
    };
    for (const std::uint64_t size : sizes) {
      put(size, 8);
    }
    for (const Placement& one : placements) {
      put(one.descriptor, 2);
      put(one.ways, 1);
      put(one.position, 1);
      put(one.granularity, 4);
    }
    return body;
  };
  CHECK_FALSE(is_refused<MapReply>(
      body_of({8192, 8192, 4096}, {{0, 2, 1, 4096}, {0, 2, 0, 4096}, {1, 1, 0, 256}})));
  const std::vector<Body> wrong = {
      body_of({8192, 8192}, {{0, 2, 0, 4096}}),                   // too few
      body_of({8192, 8192}, {{0, 2, 0, 4096}, {0, 2, 0, 4096}}),  // the same granules twice
      body_of({8192, 8192}, {{0, 2, 0, 4096}, {0, 2, 2, 4096}}),  // no such position
      body_of({8192, 8192}, {{0, 2, 0, 4096}, {0, 2, 1, 256}}),   // two granularities
      body_of({8192, 4096}, {{0, 2, 0, 4096}, {0, 2, 1, 4096}}),  // two sizes
      body_of({8192, 8192}, {{0, 4, 0, 4096}, {0, 4, 1, 4096}}),  // half of a memory
      body_of({8192, 8192}, {{1, 1, 0, 4096}, {0, 1, 0, 4096}}),  // descriptors out of order
      body_of({8192, 8192}, {{0, 5, 0, 4096}, {0, 5, 1, 4096}}),  // no legal ways
      body_of({8192, 8192}, {{0, 2, 0, 100}, {0, 2, 1, 100}}),    // no legal granularity
      body_of({}, {}),                                            // placements of nothing
  };
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    CAPTURE(i);
    CHECK(is_refused<MapReply>(wrong[i]));
  }
}

TEST_CASE("unknown bits and statuses are refused", "[unit]") {
  const auto changed = [](Body body, std::size_t offset, unsigned value) {
    body[offset] = static_cast<std::byte>(value);
    return body;
  };
  CHECK(is_refused<LookupRequest>(changed(encode(LookupRequest()), 0, 2)));
  CHECK(is_refused<LookupRequest>(changed(encode(LookupRequest()), 3, 0x80)));
  CHECK(is_refused<ListReply>(changed(encode(ListReply()), 0, 3)));
  CHECK(is_refused<MapReply>(changed(encode(MapReply()), 1, 1)));
  const Body reserve = encode(ReserveRequest{0, {{"a", SizeBytes(1)}}});
  CHECK_FALSE(is_refused<ReserveRequest>(changed(reserve, 16, 3)));
  CHECK(is_refused<ReserveRequest>(changed(reserve, 16, 4)));
  CHECK_FALSE(is_refused<ReserveRequest>(changed(reserve, 17, 2)));
  CHECK(is_refused<ReserveRequest>(changed(reserve, 17, 3)));
  CHECK_FALSE(is_refused<ReserveRequest>(changed(reserve, 19, 0x0F)));
  CHECK(is_refused<ReserveRequest>(changed(reserve, 19, 0x10)));
  const Body retain = encode(RetainRequest{{{"a", {}}}});
  CHECK(is_refused<RetainRequest>(changed(retain, 4, 3)));
  for (const std::size_t reserved : {5U, 6U, 7U}) {
    CHECK(is_refused<RetainRequest>(changed(retain, reserved, 1)));
  }
  CHECK_FALSE(is_refused<EventsRequest>(changed(encode(EventsRequest()), 8, 0x3F)));
  CHECK(is_refused<EventsRequest>(changed(encode(EventsRequest()), 8, 0x40)));
  const Body events = encode(EventsReply{1, 0, {{1, EventKind::lose, SizeBytes(1), "a"}}});
  CHECK(is_refused<EventsReply>(changed(events, 36, 6)));
  CHECK(is_refused<EventsReply>(changed(events, 37, 1)));
  CHECK_FALSE(is_refused<LogicalDeviceRequest>(bytes_of({0xFF, 0x7F})));
  CHECK(is_refused<LogicalDeviceRequest>(bytes_of({0x00, 0x80})));
  CHECK(is_refused<BindReply>(changed(encode(BindReply()), 2, 2)));
  LogicalDeviceRecord device;
  device.holders = {{"a", false}};
  const Body bound = encode(ListBoundReply{{device}});
  CHECK_FALSE(is_refused<ListBoundReply>(changed(bound, 6, 2)));
  CHECK(is_refused<ListBoundReply>(changed(bound, 6, 3)));
  CHECK(is_refused<ListBoundReply>(changed(bound, 7, 1)));
  CHECK_FALSE(is_refused<ListBoundReply>(changed(bound, 22, 1)));
  CHECK(is_refused<ListBoundReply>(changed(bound, 22, 2)));
  const LookupObject half{Errc::ok, RKey(1), SizeBytes(1), 0, 0, false, 4, 2};
  const Body lookup = encode(LookupReply{LeaseId(0), 0, {half}, {}, {}});
  CHECK_FALSE(is_refused<LookupReply>(changed(lookup, 24 + 26, 4)));
  CHECK(is_refused<LookupReply>(changed(lookup, 24 + 26, 5)));
  CHECK(is_refused<StatusesReply>(changed(encode(StatusesReply{{Errc::ok}}), 4, 1)));
  SlabRecord slab;
  slab.members.resize(1);
  const Body slabs = encode(SlabsReply{{slab}});
  for (std::size_t reserved = 38; reserved < 44; ++reserved) {
    CAPTURE(reserved);
    CHECK(is_refused<SlabsReply>(changed(slabs, reserved, 1)));
  }
}
