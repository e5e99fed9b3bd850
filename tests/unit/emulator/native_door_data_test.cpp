// SPDX-License-Identifier: Apache-2.0
//
// READ and WRITE through a door: bytes, refusals, order, credits and time.
#include "door_fixture.h"
#include <godbox/striping/slab_layout.h>
#include <godbox_test/allocation_count.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

namespace godbox::emulator {
namespace {

using test::Bytes;
using test::DoorPeer;
using test::pattern_bytes;
using test::PeerFrame;
using namespace std::chrono_literals;

// A part of a region, cut from its extents.
std::vector<RemoteSegment> slice(const wire::RegionReply& region, std::uint64_t offset,
                                 std::uint64_t size_bytes) {
  std::vector<RemoteSegment> segments;
  for (const Extent& extent : region.extents) {
    if (offset >= extent.length_bytes) {
      offset -= extent.length_bytes;
      continue;
    }
    const std::uint64_t step = std::min(size_bytes, extent.length_bytes - offset);
    segments.push_back({region.key,
                        {extent.address.slab, extent.address.offset + SizeBytes(offset)},
                        static_cast<std::uint32_t>(step)});
    size_bytes -= step;
    offset = 0;
    if (size_bytes == 0) {
      break;
    }
  }
  GODBOX_ASSERT(size_bytes == 0);
  return segments;
}

Errc take_status(DoorPeer& lane) {
  const std::optional<PeerFrame> frame = lane.take_frame();
  REQUIRE(frame.has_value());
  return frame->header.status;
}

// One byte at a time, everything at once, or seeded sizes in between.
std::function<std::size_t()> chunks_of(const std::string& how,
                                       const std::shared_ptr<test::SeededRandom>& random) {
  if (how == "single bytes") {
    return [] { return std::size_t{1}; };
  }
  if (how == "all at once") {
    return [] { return SIZE_MAX; };
  }
  return [random] { return 1 + random->below(random->below(3) == 0 ? 20000 : 150); };
}

TEST_CASE("what is written in any chunks lies in the DRAM channels and is read back",
          "[unit][native_door]") {
  const std::string how = GENERATE("single bytes", "all at once", "seeded");
  const std::uint64_t seed = GENERATE(1U, 2U, 3U);
  if (how != "seeded" && seed != 1) {
    return;
  }
  INFO(how << ", seed=" << seed);
  const auto random = std::make_shared<test::SeededRandom>(seed);
  DoorFixture fixture;
  constexpr std::uint64_t kSize = 600000;
  const wire::RegionReply region = fixture.allocate(kSize);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->chunk_bytes = chunks_of(how, random);

  Bytes expected(kSize);
  // Pieces of many sizes, side by side, so that the order of requests does not matter.
  for (std::uint64_t at = 0; at < kSize;) {
    const std::uint64_t most = random->below(4) == 0 ? 120000 : 3000;
    const std::uint64_t size = std::min(kSize - at, 1 + random->below(most));
    const Bytes payload = pattern_bytes(size, seed * 1000 + at);
    std::copy(payload.begin(), payload.end(), expected.begin() + static_cast<std::ptrdiff_t>(at));
    lane->send_write(slice(region, at, size), payload);
    REQUIRE(take_status(*lane) == Errc::ok);
    at += size;
  }
  CHECK(fixture.box.bytes_of(region.extents) == expected);

  Bytes read;
  for (std::uint64_t at = 0; at < kSize;) {
    const std::uint64_t size = std::min(kSize - at, 1 + random->below(90000));
    lane->send_read(slice(region, at, size));
    const std::optional<PeerFrame> frame = lane->take_frame();
    REQUIRE(frame.has_value());
    REQUIRE(frame->header.status == Errc::ok);
    REQUIRE(frame->header.epoch == fixture.session.epoch);
    read.insert(read.end(), frame->payload.begin(), frame->payload.end());
    at += size;
  }
  CHECK(read == expected);
}

TEST_CASE("many requests sent in one go are all answered", "[unit][native_door]") {
  const std::uint64_t seed = GENERATE(11U, 12U);
  INFO("seed=" << seed);
  test::SeededRandom random(seed);
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(100000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  Bytes expected(100000);
  Bytes stream;
  for (std::uint64_t i = 0; i < 20; ++i) {
    const Bytes payload = pattern_bytes(5000, seed + i);
    std::copy(payload.begin(), payload.end(),
              expected.begin() + static_cast<std::ptrdiff_t>(i * 5000));
    wire::Header header = lane->request(wire::Op::write);
    header.payload_bytes = 5000;
    const Bytes frame =
        wire::encode_frame(header, test::segments_body(slice(region, i * 5000, 5000)));
    stream.insert(stream.end(), frame.begin(), frame.end());
    stream.insert(stream.end(), payload.begin(), payload.end());
    const Bytes ping = wire::encode_frame(lane->request(wire::Op::ping), {});
    stream.insert(stream.end(), ping.begin(), ping.end());
  }
  lane->chunk_bytes = [&random] { return 1 + random.below(7000); };
  lane->send(stream);
  for (int i = 0; i < 40; ++i) {
    CHECK(take_status(*lane) == Errc::ok);
  }
  CHECK_FALSE(lane->take_frame());
  CHECK(fixture.box.bytes_of(region.extents) == expected);
}

TEST_CASE("segments are read and written in the order in which they are named",
          "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(8192);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->send_write({{slice(region, 4096, 2)[0], slice(region, 0, 3)[0], slice(region, 8191, 1)[0]}},
                   std::as_bytes(std::span("abcdef", 6)));
  REQUIRE(take_status(*lane) == Errc::ok);
  const Bytes stored = fixture.box.bytes_of(region.extents);
  CHECK(stored[4096] == std::byte{'a'});
  CHECK(stored[4097] == std::byte{'b'});
  CHECK(stored[0] == std::byte{'c'});
  CHECK(stored[2] == std::byte{'e'});
  CHECK(stored[8191] == std::byte{'f'});

  lane->send_read({{slice(region, 8191, 1)[0], slice(region, 4096, 2)[0]}});
  const std::optional<PeerFrame> frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->payload == Bytes{std::byte{'f'}, std::byte{'a'}, std::byte{'b'}});
}

TEST_CASE("a refused WRITE is read to its end, dropped and answered; the next one is served",
          "[unit][native_door]") {
  const std::string how = GENERATE("single bytes", "all at once", "seeded");
  INFO(how);
  const std::uint64_t size = how == "single bytes" ? 9000 : 300000;
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(size);
  const Bytes before = fixture.box.bytes_of(region.extents);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->chunk_bytes = chunks_of(how, std::make_shared<test::SeededRandom>(7));

  std::vector<RemoteSegment> refused = slice(region, 0, size);
  Errc expected = Errc::ok;
  SECTION("no such key") {
    refused[0].key = RKey(region.key.value() ^ 1U);
    expected = Errc::key_revoked;
  }
  SECTION("one segment of many reaches too far") {
    refused.back().length_bytes -= 1;
    refused.push_back(refused.back());
    refused.back().length_bytes = 1;
    refused.back().address.offset = SlabOffset(UINT64_MAX);
    expected = Errc::out_of_range;
  }
  lane->send_write(refused, pattern_bytes(size, 5));
  CHECK(take_status(*lane) == expected);
  CHECK(fixture.box.bytes_of(region.extents) == before);
  CHECK(lane->offered_bytes_max() <= 65536 + 4096);

  const Bytes payload = pattern_bytes(size, 6);
  lane->send_write(slice(region, 0, size), payload);
  CHECK(take_status(*lane) == Errc::ok);
  CHECK(fixture.box.bytes_of(region.extents) == payload);
  CHECK(fixture.frames_rejected() == 0);
}

TEST_CASE("a key opens nothing for another tenant", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::ReserveAnswer reserved = fixture.reserve("object", 5000);
  const std::vector<RemoteSegment> segments =
      test::segments_of(reserved.write_key, reserved.extents);
  const Bytes before = fixture.box.bytes_of(reserved.extents);

  DoorPeer control(fixture.box.box().control_door(), fixture.box.clock());
  const wire::HelloReply other = control.open_control("another");
  DoorPeer lane(fixture.box.eth_port(), fixture.box.clock());
  static_cast<void>(lane.open_lane(other));
  lane.send_write(segments, pattern_bytes(5000, 1));
  CHECK(take_status(lane) == Errc::access_denied);
  lane.send_read(segments);
  CHECK(take_status(lane) == Errc::access_denied);
  CHECK(fixture.box.bytes_of(reserved.extents) == before);
}

TEST_CASE("a request of another epoch is answered with wrong_epoch and touches nothing",
          "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(100);
  const Bytes before = fixture.box.bytes_of(region.extents);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  for (const wire::Op op : {wire::Op::ping, wire::Op::read, wire::Op::write}) {
    for (const Epoch epoch : {Epoch(0), Epoch(fixture.session.epoch.value() + 1)}) {
      wire::Header header = lane->request(op);
      header.epoch = epoch;
      const Bytes body =
          op == wire::Op::ping ? Bytes() : test::segments_body(slice(region, 0, 100));
      lane->send_frame(header, body, op == wire::Op::write ? Bytes(100) : Bytes());
      const std::optional<PeerFrame> frame = lane->take_frame();
      REQUIRE(frame.has_value());
      CHECK(frame->header.status == Errc::wrong_epoch);
      CHECK(frame->header.epoch == fixture.session.epoch);
      CHECK(frame->payload.empty());
    }
  }
  CHECK(fixture.box.bytes_of(region.extents) == before);
  CHECK_FALSE(lane->is_closed());
}

TEST_CASE("a client that takes no replies is not read beyond its credits", "[unit][native_door]") {
  test::TestBoxOptions options;
  SECTION("requests") { options.door.requests_in_flight_max = 3; }
  SECTION("bytes") { options.door.bytes_in_flight_max = 250; }
  DoorFixture fixture(options);
  const wire::RegionReply region = fixture.allocate(4096);
  const Bytes content = pattern_bytes(4096, 3);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->send_write(slice(region, 0, 4096), content);
  REQUIRE(take_status(*lane) == Errc::ok);

  lane->takes_output = false;
  for (std::uint64_t i = 0; i < 300; ++i) {
    lane->send_read(slice(region, i, 100));
  }
  // Three were taken up (the third, of 100 bytes, goes beyond 250); some wait in the read-ahead,
  // the rest was never read.
  CHECK(lane->endpoint().receive_spans().empty());
  CHECK(fixture.box.eth_port().counters().requests == 1 + 3);
  CHECK(lane->unread_bytes() >= 297 * 88 - 4096);
  CHECK_FALSE(lane->is_closed());

  lane->takes_output = true;
  lane->pump();
  for (std::uint64_t i = 0; i < 300; ++i) {
    const std::optional<PeerFrame> frame = lane->take_frame();
    REQUIRE(frame.has_value());
    REQUIRE(frame->header.status == Errc::ok);
    const auto begin = content.begin() + static_cast<std::ptrdiff_t>(i);
    REQUIRE(frame->payload == Bytes(begin, begin + 100));
  }
  CHECK(lane->unread_bytes() == 0);
}

TEST_CASE("what is offered for sending stays as it is while more is queued",
          "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(65536);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->takes_output = false;
  lane->send_read(slice(region, 0, 65536));
  const std::span<const ConstSpan> offered = lane->endpoint().send_spans();
  const std::vector<ConstSpan> copy(offered.begin(), offered.end());
  lane->send_read(slice(region, 100, 1000));
  const std::span<const ConstSpan> again = lane->endpoint().send_spans();
  REQUIRE(again.size() == copy.size());
  CHECK(again.data() == offered.data());
  for (std::size_t i = 0; i < copy.size(); ++i) {
    CHECK(again[i].data() == copy[i].data());
    CHECK(again[i].size() == copy[i].size());
  }
  lane->takes_output = true;
  lane->pump();
  CHECK(lane->take_frame()->payload.size() == 65536);
  CHECK(lane->take_frame()->payload.size() == 1000);
}

TEST_CASE("one call offers about 1 MiB, however much is waiting", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(4U << 20U);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->takes_output = false;
  lane->send_read(slice(region, 0, 4U << 20U));
  lane->send_read(slice(region, 0, 4U << 20U));
  std::size_t offered = 0;
  for (const ConstSpan span : lane->endpoint().send_spans()) {
    offered += span.size();
  }
  CHECK(offered == 1U << 20U);
}

void send_classed_read(DoorPeer& lane, std::span<const RemoteSegment> segments,
                       TrafficClass traffic_class) {
  wire::Header header = lane.request(wire::Op::read);
  header.traffic_class = traffic_class;
  lane.send_frame(header, test::segments_body(segments));
}

TEST_CASE("a foreground reply leaves before the background ones that wait", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(40000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->takes_output = false;
  for (const std::uint64_t size : {1001U, 1002U, 1003U}) {
    send_classed_read(*lane, slice(region, 0, size), TrafficClass::prefetch);
  }
  REQUIRE(lane->endpoint().send_class() == TrafficClass::prefetch);
  send_classed_read(*lane, slice(region, 0, 2001), TrafficClass::foreground);
  send_classed_read(*lane, slice(region, 0, 2002), TrafficClass::foreground);
  REQUIRE(lane->endpoint().send_class() == TrafficClass::foreground);
  lane->takes_output = true;
  lane->pump();
  std::vector<std::size_t> sizes;
  while (const std::optional<PeerFrame> frame = lane->take_frame()) {
    sizes.push_back(frame->payload.size());
  }
  CHECK(sizes == std::vector<std::size_t>{2001, 2002, 1001, 1002, 1003});
}

TEST_CASE("what is on its way is not overtaken, and what is behind it is", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(std::uint64_t{4} << 20U);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->takes_output = false;
  // As much as one call offers, so that the second reply is not on its way yet.
  constexpr std::uint64_t kWindow = std::uint64_t{1} << 20U;
  send_classed_read(*lane, slice(region, 0, kWindow), TrafficClass::write_back);
  send_classed_read(*lane, slice(region, 0, 1002), TrafficClass::prefetch);
  REQUIRE(!lane->endpoint().send_spans().empty());
  send_classed_read(*lane, slice(region, 0, 2001), TrafficClass::foreground);
  REQUIRE(lane->endpoint().send_class() == TrafficClass::write_back);
  lane->takes_output = true;
  lane->pump();
  std::vector<std::size_t> sizes;
  while (const std::optional<PeerFrame> frame = lane->take_frame()) {
    sizes.push_back(frame->payload.size());
  }
  CHECK(sizes == std::vector<std::size_t>{kWindow, 2001, 1002});
}

TEST_CASE("a traffic class that is none closes the lane", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(40000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  const Bytes body = test::segments_body(slice(region, 0, 100));
  lane->send(changed_frame(lane->request(wire::Op::read), body,
                           [](MutableSpan h) { h[kTrafficClassOffset] = std::byte{3}; }));
  CHECK(lane->is_closed());
  CHECK(fixture.frames_rejected() == 1);
}

TEST_CASE("a large payload is received straight into the DRAM channels", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(100000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->send_write(slice(region, 0, 100000), Bytes(100000));
  REQUIRE(take_status(*lane) == Errc::ok);

  // Between two large WRITEs no more is read ahead than the next one's header and first segment.
  std::size_t offered = 0;
  for (const MutableSpan span : lane->endpoint().receive_spans()) {
    offered += span.size();
  }
  CHECK(offered == 64 + 24);

  wire::Header header = lane->request(wire::Op::write);
  header.payload_bytes = 100000;
  lane->send(wire::encode_frame(header, test::segments_body(slice(region, 0, 100000))));
  std::size_t in_dram = 0;
  std::size_t elsewhere = 0;
  for (const MutableSpan span : lane->endpoint().receive_spans()) {
    bool is_in_dram = false;
    for (std::size_t i = 0; i < fixture.box.dram_channel_count(); ++i) {
      const test::HeapMemoryTarget& channel = fixture.box.dram_channel(i);
      is_in_dram = is_in_dram || (span.data() >= channel.data() &&
                                  span.data() < channel.data() + channel.size().count());
    }
    (is_in_dram ? in_dram : elsewhere) += span.size();
  }
  CHECK(in_dram == 100000);
  CHECK(elsewhere == 64 + 24);

  // Nor anything behind a body that payload follows.
  lane->send(Bytes(100000));
  REQUIRE(take_status(*lane) == Errc::ok);
  const std::vector<RemoteSegment> three{slice(region, 0, 9000)[0], slice(region, 20000, 9000)[0],
                                         slice(region, 40000, 9000)[0]};
  header.payload_bytes = 27000;
  const Bytes frame = wire::encode_frame(header, test::segments_body(three));
  lane->send(ConstSpan(frame).first(64 + 24));
  REQUIRE(lane->endpoint().receive_spans().size() == 1);
  CHECK(lane->endpoint().receive_spans()[0].size() == std::size_t{2} * 24);
}

TEST_CASE("a WRITE that arrives on a fenced lane touches nothing", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(4096);
  const std::vector<RemoteSegment> segments = test::segments_of(region.key, region.extents);
  const std::unique_ptr<DoorPeer> lost = fixture.connect();
  const wire::LaneToken token = lost->open_lane(fixture.session).lane_token;
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane(0);

  // Half of a payload is here: the box cannot know what becomes of the rest.
  const Bytes early(4096, std::byte{1});
  wire::Header header = lost->request(wire::Op::write);
  header.payload_bytes = 4096;
  lost->send(wire::encode_frame(header, test::segments_body(segments)));
  lost->send(ConstSpan(early).first(1000));
  const wire::FenceRequest fence{{token}};
  // A client whose lanes are of another protocol asks over the control connection.
  DoorPeer& asking = GENERATE(false, true) ? *fixture.control : *lane;
  CHECK(asking.call(wire::Op::fence, fence).header.status == Errc::write_in_flight);
  SECTION("the box gives the fenced lane up itself") {
    lost->advance(1s);
    CHECK(lost->is_closed());
  }
  SECTION("its payload comes to an end") { lost->send(ConstSpan(early).subspan(1000)); }
  SECTION("its client closes it") { lost->close(); }
  CHECK(asking.call(wire::Op::fence, fence).header.status == Errc::ok);

  lane->send_write(segments, Bytes(4096, std::byte{2}));
  REQUIRE(take_status(*lane) == Errc::ok);
  if (!lost->is_closed()) {
    lost->send_write(segments, early);
    CHECK(lost->is_closed());
  }
  lane->send_read(segments);
  const auto frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->payload == Bytes(4096, std::byte{2}));
}

TEST_CASE("a malformed FENCE closes its connection, and one of a lane that is gone is ok",
          "[unit][native_door]") {
  DoorFixture fixture;
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  const wire::FenceRequest gone{{wire::LaneToken(1000)}};
  CHECK(lane->call(wire::Op::fence, gone).header.status == Errc::ok);
  CHECK(fixture.control->call(wire::Op::fence, gone).header.status == Errc::ok);
  lane->send_frame(lane->request(wire::Op::fence), Bytes(3));
  CHECK(lane->is_closed());
  fixture.control->send_frame(fixture.control->request(wire::Op::fence), Bytes(3));
  CHECK(fixture.control->is_closed());
}

TEST_CASE("a warm lane moves bytes without allocating", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(70000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  const Bytes read = wire::encode_frame(lane->request(wire::Op::read),
                                        test::segments_body(slice(region, 10, 66000)));
  wire::Header header = lane->request(wire::Op::write);
  header.payload_bytes = 66000;
  Bytes write = wire::encode_frame(header, test::segments_body(slice(region, 10, 66000)));
  write.resize(write.size() + 66000);
  StreamEndpoint& endpoint = lane->endpoint();
  const TimePoint now = fixture.box.clock().now();

  std::size_t sent_total = 0;
  const auto exchange = [&](ConstSpan frame) {
    while (!frame.empty()) {
      std::size_t taken = 0;
      for (const MutableSpan span : endpoint.receive_spans()) {
        const std::size_t step = std::min(span.size(), frame.size());
        std::copy_n(frame.begin(), step, span.begin());
        frame = frame.subspan(step);
        taken += step;
      }
      endpoint.on_received(taken, now);
    }
    std::size_t sent = 0;
    for (const ConstSpan span : endpoint.send_spans()) {
      sent += span.size();
    }
    endpoint.on_sent(sent, now);
    sent_total += sent;
  };
  for (int i = 0; i < 3; ++i) {
    exchange(read);
    exchange(write);
  }
  sent_total = 0;
  const std::uint64_t before = test::allocation_count();
  for (int i = 0; i < 50; ++i) {
    exchange(read);
    exchange(write);
  }
  CHECK(test::allocation_count() - before == 0);
  CHECK(sent_total == std::size_t{50} * (64 + 66000 + 64));
}

TEST_CASE("counters count what went through the Ethernet port", "[unit][native_door]") {
  DoorFixture fixture;
  const wire::RegionReply region = fixture.allocate(4096);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane(1);
  const EthPortCounters& counters = fixture.box.eth_port(1).counters();
  const std::uint64_t received = counters.bytes_received;
  const std::uint64_t sent = counters.bytes_sent;
  lane->send_write(slice(region, 0, 1000), Bytes(1000));
  CHECK(counters.bytes_received - received == 64 + 24 + 1000);
  CHECK(counters.bytes_sent - sent == 64);
  lane->send_read(slice(region, 0, 4096));
  CHECK(counters.bytes_received - received == 64 + 24 + 1000 + 64 + 24);
  CHECK(counters.bytes_sent - sent == 64 + 64 + 4096);
  CHECK(counters.requests == 2);
  lane->send_frame(lane->request(wire::Op::ping), {});
  CHECK(counters.requests == 2);
  CHECK(fixture.box.eth_port(0).counters().bytes_received == 0);
}

// --- Paced ---------------------------------------------------------------------------------------

test::TestBoxOptions paced_options() {
  test::TestBoxOptions options;
  options.mode = TimingMode::paced;
  options.super_nics = 1;
  options.rates.dram_channel = Rate(1e9);  // a byte per nanosecond
  return options;
}

// `size_bytes` of the region that lie on one DRAM channel, 4096 at most.
RemoteSegment on_dram_channel(DoorFixture& fixture, const wire::RegionReply& region,
                              DramChannelId dram_channel, std::uint32_t size_bytes) {
  wire::SlabsReply slabs;
  fixture.box.service().describe_slabs({{region.extents[0].address.slab}}, slabs);
  const auto layout = striping::SlabLayout::create(slabs.slabs.at(0));
  for (SlabOffset at = region.extents[0].address.offset;; at += layout->strip_size()) {
    const striping::DramRun run = layout->locate(at);
    if (run.dram_channel == dram_channel) {
      GODBOX_ASSERT(run.length_bytes >= size_bytes);
      return {region.key, {region.extents[0].address.slab, at}, size_bytes};
    }
  }
}

TEST_CASE("paced replies leave when the box has moved the bytes, in the order of these times",
          "[unit][native_door][paced]") {
  DoorFixture fixture(paced_options());
  const wire::RegionReply region = fixture.allocate(32768);
  const RemoteSegment on_0 = on_dram_channel(fixture, region, DramChannelId(0), 4096);
  RemoteSegment on_1 = on_dram_channel(fixture, region, DramChannelId(1), 1000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();

  lane->send_read({{on_0}});  // done after 4096 ns
  lane->send_read({{on_0}});  // behind it: 8192 ns
  lane->send_read({{on_1}});  // beside them: 1000 ns
  on_1.length_bytes = 500;
  lane->send_write({{on_1}}, Bytes(500));  // behind that: 1500 ns
  CHECK_FALSE(lane->take_frame());

  lane->advance(999ns);
  CHECK_FALSE(lane->take_frame());
  lane->advance(1ns);
  std::optional<PeerFrame> frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->header.request_id == 3);
  CHECK(frame->payload.size() == 1000);
  lane->advance(499ns);
  CHECK_FALSE(lane->take_frame());
  lane->advance(1ns);
  frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->header.op == wire::Op::write);
  lane->advance(2595ns);
  CHECK_FALSE(lane->take_frame());
  lane->advance(1ns);
  frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->header.request_id == 1);
  lane->advance(4095ns);
  CHECK_FALSE(lane->take_frame());
  lane->advance(1ns);
  frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->header.request_id == 2);
}

TEST_CASE("a READ that would wait longer than its client is answered at once, and books nothing",
          "[unit][native_door][paced]") {
  test::TestBoxOptions options = paced_options();
  options.rates.dram_channel = Rate(1e6);  // a byte per microsecond
  DoorFixture fixture(options);
  const wire::RegionReply region = fixture.allocate(32768);
  const RemoteSegment segment = on_dram_channel(fixture, region, DramChannelId(0), 3000);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->send_read({{segment}}, 3);  // 3 ms are enough
  lane->send_read({{segment}}, 5);  // would be done after 6 ms
  std::optional<PeerFrame> frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->header.request_id == 2);
  CHECK(frame->header.status == Errc::deadline_exceeded);
  CHECK(frame->payload.empty());
  lane->send_read({{segment}}, 6);
  lane->advance(3ms);
  frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->header.request_id == 1);
  lane->advance(3ms);
  frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->header.request_id == 3);
  CHECK(frame->payload.size() == 3000);
}

TEST_CASE("a WRITE whose payload has come is done, whatever its deadline, and pins nothing more",
          "[unit][native_door][paced]") {
  test::TestBoxOptions options = paced_options();
  options.rates.dram_channel = Rate(1e6);  // a byte per microsecond
  DoorFixture fixture(options);
  const wire::ReserveAnswer reserved = fixture.reserve("object", 4096);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  wire::Header header = lane->request(wire::Op::write);
  header.deadline_ms = 1;
  lane->send_frame(header,
                   test::segments_body(test::segments_of(reserved.write_key, reserved.extents)),
                   Bytes(4096));
  CHECK_FALSE(lane->take_frame());
  CHECK(fixture.abort(reserved.reservation) == Errc::ok);
  CHECK(fixture.box.service().usage().quarantined == 0);
  lane->advance(4096us);
  CHECK(take_status(*lane) == Errc::ok);
}

TEST_CASE("GOODBYE on a lane lets what is queued leave first", "[unit][native_door][paced]") {
  DoorFixture fixture(paced_options());
  const wire::RegionReply region = fixture.allocate(4096);
  const std::unique_ptr<DoorPeer> lane = fixture.open_lane();
  lane->send_read({{on_dram_channel(fixture, region, DramChannelId(0), 1000)}});
  lane->send_frame(lane->request(wire::Op::goodbye), {});
  CHECK_FALSE(lane->is_closed());
  CHECK(lane->endpoint().receive_spans().empty());
  lane->advance(1us);
  CHECK(lane->is_closed());
  const std::optional<PeerFrame> frame = lane->take_frame();
  REQUIRE(frame.has_value());
  CHECK(frame->payload.size() == 1000);
  CHECK_FALSE(lane->take_frame());  // GOODBYE itself has no answer
  CHECK(fixture.control->call(wire::Op::ping).header.status == Errc::ok);
}

}  // namespace
}  // namespace godbox::emulator
