// SPDX-License-Identifier: Apache-2.0
//
// Feeds a box's doors what an input says, and checks that nothing comes of it that must not: no
// crash, no endless loop, no byte written or shown that was not granted, no pin left behind, no
// answer that is not a frame.
//
// An input is a list of records: one byte of kind (low 3 bits) and peer (next 2 bits), then what
// the kind takes, below. Three clients are connected: a lane and a control connection of one
// session, and one that has said nothing yet, and may take the session over. Another tenant's
// regions lie before and behind the session's own.
// Seeds of every operation are made by tests/vectors/make_wire_vectors.py.
#include <godbox/assert.h>
#include <godbox/crc32c.h>
#include <godbox_test/door_peer.h>
#include <godbox_test/test_box.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_set>

namespace {

using namespace godbox;
using test::Bytes;
using test::DoorPeer;

constexpr std::size_t kRecordsMax = 400;
constexpr std::size_t kSegmentsMax = 8;
constexpr std::uint64_t kOwnBytes = 60000;
constexpr std::uint64_t kVictimBytes = 30000;
constexpr std::size_t kWindowBytes = sizeof(std::uint64_t);
constexpr std::size_t kShownBytesMax = 65536;  // of a payload, looked through for other's bytes
constexpr std::size_t kHelloKindOffset = 4;
constexpr std::uint8_t kTakeover = 128;  // a grant's kind
constexpr std::string_view kTenant = "fuzz";

enum class Record : std::uint8_t { raw, frame, data, time, output, chunks, grant, close };

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size_bytes) : left_(data, size_bytes) {}
  [[nodiscard]] bool is_empty() const { return left_.empty(); }
  std::uint8_t u8() {
    if (left_.empty()) {
      return 0;
    }
    const std::uint8_t value = left_.front();
    left_ = left_.subspan(1);
    return value;
  }
  std::uint16_t u16() { return static_cast<std::uint16_t>(u8() | u8() << 8U); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(u16()) | std::uint32_t{u16()} << 16U; }
  ConstSpan bytes(std::size_t size_bytes) {
    const auto taken = left_.first(std::min(size_bytes, left_.size()));
    left_ = left_.subspan(taken.size());
    return std::as_bytes(taken);
  }

 private:
  std::span<const std::uint8_t> left_;
};

struct Grant {
  RKey key;
  std::vector<Extent> extents;
};

class Scene {
 public:
  Scene();
  void play(Input& input);
  void check();

 private:
  [[nodiscard]] Grant allocate_for_victim();
  void play_record(Input& input);
  void send_frame(DoorPeer& peer, Input& input);
  void send_data(DoorPeer& peer, Input& input);
  [[nodiscard]] RemoteSegment segment(Input& input);
  void ask_for_grant(Input& input);
  void take_over(std::uint32_t attempt);
  void put_position(MutableSpan events) const;
  void take_frames();
  // All DRAM channels, with the first grant blanked: what a lane alone cannot change.
  [[nodiscard]] Bytes memory_without_own();

  test::TestBox box_;
  DoorPeer control_;
  DoorPeer lane_;
  DoorPeer stranger_;
  std::array<DoorPeer*, 3> peers_{&lane_, &control_, &stranger_};
  wire::HelloReply session_;
  SessionId victim_;
  std::vector<Grant> grants_;  // what the session was ever granted
  std::vector<Grant> victims_;
  std::uint64_t position_ = UINT64_MAX;  // of events, the last one that was given
  bool is_lane_alone_ = true;            // nobody else was heard
};

// The other tenant's bytes, the same in every run, and every run of kWindowBytes in them.
const std::array<Bytes, 2>& victim_bytes() {
  static const std::array<Bytes, 2> bytes{test::pattern_bytes(kVictimBytes, 1),
                                          test::pattern_bytes(kVictimBytes, 2)};
  return bytes;
}

std::unordered_set<std::uint64_t> windows_of(const std::array<Bytes, 2>& contents) {
  std::unordered_set<std::uint64_t> windows;
  for (const Bytes& content : contents) {
    for (std::size_t i = 0; i + kWindowBytes <= content.size(); ++i) {
      std::uint64_t window = 0;
      std::memcpy(&window, content.data() + i, kWindowBytes);
      windows.insert(window);
    }
  }
  return windows;
}

void check_shows_nothing(ConstSpan payload) {
  static const std::unordered_set<std::uint64_t> windows = windows_of(victim_bytes());
  payload = payload.first(std::min(payload.size(), kShownBytesMax));
  // Every window of a payload would be thorough; one in kWindowBytes finds all but shreds.
  for (std::size_t i = 0; i + kWindowBytes <= payload.size(); i += kWindowBytes) {
    std::uint64_t window = 0;
    std::memcpy(&window, payload.data() + i, kWindowBytes);
    GODBOX_ASSERT(!windows.contains(window));
  }
}

test::TestBoxOptions small_box() {
  test::TestBoxOptions options;
  options.super_nics = 1;
  options.dram_channel_size = SizeBytes(1U << 20U);
  options.door.requests_in_flight_max = 4;
  options.door.bytes_in_flight_max = 200000;
  return options;
}

Scene::Scene()
    : box_(small_box()),
      control_(box_.box().control_door(), box_.clock()),
      lane_(box_.eth_port(), box_.clock()),
      stranger_(box_.eth_port(), box_.clock()),
      session_(control_.open_control(kTenant)) {
  victim_ = box_.service().open_session("victim")->id;
  victims_.push_back(allocate_for_victim());
  const test::PeerFrame frame =
      control_.call(wire::Op::allocate_region, wire::AllocateRegionRequest{SizeBytes(kOwnBytes)});
  const wire::RegionReply region = *wire::decode<wire::RegionReply>(frame.body);
  grants_.push_back({region.key, region.extents});
  victims_.push_back(allocate_for_victim());
  for (std::size_t i = 0; i < victims_.size(); ++i) {
    box_.set_bytes_of(victims_[i].extents, victim_bytes()[i]);
  }
  static_cast<void>(lane_.open_lane(session_));
}

Grant Scene::allocate_for_victim() {
  const Result<wire::RegionReply> region =
      box_.service().allocate_region(victim_, SizeBytes(kVictimBytes));
  GODBOX_ASSERT(region.has_value());
  return {region->key, region->extents};
}

Bytes Scene::memory_without_own() {
  box_.set_bytes_of(grants_[0].extents, Bytes(kOwnBytes));
  Bytes all;
  for (std::size_t i = 0; i < box_.dram_channel_count(); ++i) {
    const std::size_t size_bytes = box_.dram_channel(i).size().count();
    all.resize(all.size() + size_bytes);
    std::memcpy(all.data() + all.size() - size_bytes, box_.dram_channel(i).data(), size_bytes);
  }
  return all;
}

void Scene::play(Input& input) {
  for (std::size_t i = 0; i < kRecordsMax && !input.is_empty(); ++i) {
    play_record(input);
    take_frames();
  }
}

void Scene::play_record(Input& input) {
  const std::uint8_t head = input.u8();
  DoorPeer& peer = *peers_[(head >> 3U) % peers_.size()];
  is_lane_alone_ = is_lane_alone_ && &peer == &lane_;
  switch (static_cast<Record>(head & 7U)) {
    case Record::raw:
      peer.send(input.bytes(input.u8()));
      break;
    case Record::frame:
      send_frame(peer, input);
      break;
    case Record::data:
      send_data(peer, input);
      break;
    case Record::time:
      peer.advance(std::chrono::milliseconds(input.u16()));
      static_cast<void>(box_.service().touch_session(victim_));
      box_.box().on_timer();
      break;
    case Record::output:
      peer.takes_output = !peer.takes_output;
      peer.pump();
      break;
    case Record::chunks:
      peer.chunk_bytes = [size = input.u8()] { return size == 0 ? SIZE_MAX : size; };
      break;
    case Record::grant:
      ask_for_grant(input);
      break;
    case Record::close:
      peer.close();
      break;
  }
}

// The largest position stands for the last one that was given: no input could guess it, and only
// behind that one a request waits.
void Scene::put_position(MutableSpan events) const {
  constexpr std::uint64_t kLastGiven = UINT64_MAX;
  if (events.size() >= sizeof(kLastGiven) &&
      std::memcmp(events.data(), &kLastGiven, sizeof(kLastGiven)) == 0) {
    std::memcpy(events.data(), &position_, sizeof(position_));
  }
}

// A frame whose CRCs are right and whose rest is the input's.
void Scene::send_frame(DoorPeer& peer, Input& input) {
  std::array<std::byte, wire::kHeaderBytes> header{};
  wire::Header plain;
  plain.epoch = session_.epoch;
  plain.request_id = 7;
  wire::encode_header(plain, header);
  const std::uint8_t op = input.u8();
  const std::uint8_t oddity = input.u8();
  const ConstSpan taken = input.bytes(input.u16());
  Bytes body(taken.begin(), taken.end());
  if (op == static_cast<std::uint8_t>(wire::Op::events)) {
    put_position(body);
  }
  const std::uint32_t body_crc = body.empty() ? 0 : crc32c(body);
  const auto body_bytes = static_cast<std::uint32_t>(body.size());
  header[4] = std::byte{op};
  std::memcpy(&header[24], &body_bytes, sizeof(body_bytes));
  std::memcpy(&header[36], &body_crc, sizeof(body_crc));
  const bool is_resume =
      body.size() > kHelloKindOffset &&
      body[kHelloKindOffset] == static_cast<std::byte>(wire::ConnectionKind::resume);
  if (op == static_cast<std::uint8_t>(wire::Op::hello) && !is_resume) {
    std::memset(&header[16], 0, 8);
  }
  // Any one field may be anything.
  if (oddity != 0) {
    header[oddity % 60U] ^= std::byte{input.u8()};
  }
  const std::uint32_t header_crc = crc32c(ConstSpan(header).first(60));
  std::memcpy(&header[60], &header_crc, sizeof(header_crc));
  Bytes frame(header.begin(), header.end());
  frame.insert(frame.end(), body.begin(), body.end());
  peer.send(frame);
}

// A well-formed READ or WRITE whose segments lie anywhere.
void Scene::send_data(DoorPeer& peer, Input& input) {
  const std::uint8_t kind = input.u8();
  std::vector<RemoteSegment> segments;
  std::uint64_t total = 0;
  for (std::size_t i = 0; i <= (kind >> 1U) % kSegmentsMax; ++i) {
    segments.push_back(segment(input));
    total += segments.back().length_bytes;
  }
  if ((kind & 1U) == 0) {
    peer.send_read(segments, input.u8());
  } else {
    peer.send_write(segments, Bytes(total, std::byte{input.u8()}));
  }
}

RemoteSegment Scene::segment(Input& input) {
  const std::uint8_t how = input.u8();
  const Grant& own = grants_[input.u8() % grants_.size()];
  const Grant& victim = victims_[how % victims_.size()];
  const bool has_own_key = (how & 8U) == 0;
  const Grant& place = (how & 16U) == 0 ? own : victim;
  RemoteSegment result;
  result.key = has_own_key ? own.key : RKey(input.u32());
  result.length_bytes = std::uint32_t{input.u16()} + 1;
  if (!place.extents.empty() && (how & 32U) == 0) {
    const Extent& extent = place.extents[input.u8() % place.extents.size()];
    result.address = extent.address;
    result.address.offset += SizeBytes(input.u16());
  } else {
    result.address.slab = SlabId(input.u8());
    result.address.offset = SlabOffset(std::uint64_t{input.u32()} << (input.u8() % 33U));
  }
  return result;
}

// As a client does whose control connection is dead: no input could guess the secret.
void Scene::take_over(std::uint32_t attempt) {
  wire::HelloRequest hello;
  hello.kind = wire::ConnectionKind::resume;
  hello.session = session_.session;
  hello.secret = session_.secret;
  hello.tenant = kTenant;
  hello.attempt = attempt;
  wire::Header header;
  header.op = wire::Op::hello;
  header.epoch = session_.epoch;
  stranger_.send_frame(header, wire::encode(hello));
}

// Asks for space by a good request, or for the session, and remembers what space was granted.
void Scene::ask_for_grant(Input& input) {
  const std::uint8_t kind = input.u8();
  const SizeBytes size(std::uint64_t{input.u16()} + 1);
  if ((kind & kTakeover) != 0) {
    take_over(static_cast<std::uint32_t>(size.count()));
    return;
  }
  if (control_.is_closed()) {
    return;
  }
  if ((kind & 1U) == 0) {
    control_.send_frame(control_.request(wire::Op::allocate_region),
                        wire::encode(wire::AllocateRegionRequest{size}));
  } else {
    const std::array name{static_cast<char>('a' + kind % 4)};
    wire::ReserveRequest request;
    request.items.push_back({{name.data(), name.size()}, size, (kind & 64U) != 0});
    control_.send_frame(control_.request(wire::Op::reserve), wire::encode(request));
  }
}

void Scene::take_frames() {
  while (const std::optional<test::PeerFrame> frame = control_.take_frame()) {
    if (frame->header.status != Errc::ok) {
      continue;
    }
    if (frame->header.op == wire::Op::allocate_region) {
      const wire::RegionReply region = *wire::decode<wire::RegionReply>(frame->body);
      grants_.push_back({region.key, region.extents});
    } else if (frame->header.op == wire::Op::reserve) {
      const wire::ReserveReply reply = *wire::decode<wire::ReserveReply>(frame->body);
      for (const wire::ReserveAnswer& answer : reply.answers) {
        grants_.push_back({answer.write_key, answer.extents});
      }
    } else if (frame->header.op == wire::Op::events) {
      position_ = wire::decode<wire::EventsReply>(frame->body)->next;
    }
  }
  while (const std::optional<test::PeerFrame> frame = lane_.take_frame()) {
    check_shows_nothing(frame->payload);
  }
  while (stranger_.take_frame()) {
  }
}

void Scene::check() {
  for (std::size_t i = 0; i < victims_.size(); ++i) {
    GODBOX_ASSERT(box_.bytes_of(victims_[i].extents) == victim_bytes()[i]);
  }
  if (is_lane_alone_ && grants_.size() == 1 && box_.service().is_session_open(session_.session)) {
    static const Bytes untouched = Scene().memory_without_own();
    const Bytes memory = memory_without_own();
    GODBOX_ASSERT(std::memcmp(memory.data(), untouched.data(), untouched.size()) == 0);
  }
  for (DoorPeer* const peer : peers_) {
    peer->close();
  }
  take_frames();
  GODBOX_ASSERT(box_.service().usage().quarantined == 0);
  GODBOX_ASSERT(box_.service().usage().reservations == 0);
  GODBOX_ASSERT(box_.service().usage().sessions == 1);
  GODBOX_ASSERT(box_.eth_port().counters().connections_open == 0);
  GODBOX_ASSERT(box_.box().control_door().counters().connections_open == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  Input input(data, size_bytes);
  Scene scene;
  scene.play(input);
  scene.check();
  return 0;
}
