// SPDX-License-Identifier: Apache-2.0
#include "transport_contract.h"

#include "transport_work.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <random>

namespace godbox::test {

bool TransportWorld::run(const std::function<bool()>& is_done) {
  const TimePoint limit = now() + std::chrono::seconds(20);
  while (!is_done()) {
    if (now() >= limit) {
      return false;
    }
    step(now() + std::chrono::milliseconds(50));
  }
  return true;
}

void TransportWorld::run_for(Duration time) {
  const TimePoint end = now() + time;
  while (now() < end) {
    step(end);
  }
}

namespace {

// --- Moving bytes
// ---------------------------------------------------------------------------------

void lanes_come_up(TransportWorld& world) {
  Transport& transport = world.transport();
  CHECK_FALSE(transport.name().empty());
  REQUIRE(transport.lane_count() >= 1);
  wait_until_all_up(world);
  for (std::size_t i = 0; i < transport.lane_count(); ++i) {
    const LaneStatus status = transport.lane_status(lane(i));
    CHECK(status.requests_in_flight == 0);
    CHECK(status.bytes_in_flight == 0);
    CHECK(status.requests_in_flight_max >= 1);
    CHECK(status.bytes_in_flight_max >= kWorkBytesMax);
    CHECK(status.last_error == Errc::ok);
  }
}

void round_trips(TransportWorld& world) {
  wait_until_all_up(world);
  constexpr std::size_t kSize = (std::size_t{3} << 20U) + 4099;
  const Place place = world.allocate(SizeBytes(kSize));
  Bytes truth = random_bytes(kSize, 1);
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{7}, std::size_t{63}, std::size_t{64}, std::size_t{4096},
        std::size_t{65'537}, std::size_t{1'048'589}, kSize}) {
    CAPTURE(size);
    Bytes out(truth.begin(), truth.begin() + static_cast<std::ptrdiff_t>(size));
    REQUIRE(move(world, WorkOp::write, place, kSize - size, out) == Errc::ok);
    CHECK(std::equal(out.begin(), out.end(), truth.begin()));  // a write changes nothing here
    Bytes in(size + 2, kPoison);
    REQUIRE(move(world, WorkOp::read, place, kSize - size, MutableSpan(in).subspan(1, size)) ==
            Errc::ok);
    CHECK(std::equal(out.begin(), out.end(), in.begin() + 1));
    CHECK(in.front() == kPoison);
    CHECK(in.back() == kPoison);
  }
}

void every_lane_moves(TransportWorld& world) {
  wait_until_all_up(world);
  constexpr std::size_t kSize = 200'001;
  const Place place = world.allocate(SizeBytes(kSize));
  for (std::size_t i = 0; i < world.transport().lane_count(); ++i) {
    CAPTURE(i);
    Bytes out = random_bytes(kSize, static_cast<std::uint32_t>(i));
    Bytes in(kSize);
    REQUIRE(move(world, WorkOp::write, place, 0, out, lane(i)) == Errc::ok);
    REQUIRE(move(world, WorkOp::read, place, 0, in, lane(world.transport().lane_count() - 1 - i)) ==
            Errc::ok);
    CHECK(in == out);
  }
}

void neighbours_stay(TransportWorld& world) {
  wait_until_up(world);
  constexpr std::size_t kSize = 300'000;
  const Place place = world.allocate(SizeBytes(kSize));
  Bytes before = random_bytes(kSize, 2);
  REQUIRE(move(world, WorkOp::write, place, 0, before) == Errc::ok);
  Bytes middle(777, kPoison);
  REQUIRE(move(world, WorkOp::write, place, 131'071, middle) == Errc::ok);
  std::copy(middle.begin(), middle.end(), before.begin() + 131'071);
  CHECK(contents(world, place, kSize) == before);
}

// Remote and local lists are cut at different odd places, and the remote pieces come in no order.
void scattered_lists(TransportWorld& world) {
  wait_until_up(world);
  constexpr std::uint32_t kSeed = 4711;
  CAPTURE(kSeed);
  constexpr std::size_t kSize = 500'000;
  const Place place = world.allocate(SizeBytes(kSize));
  std::mt19937 random(kSeed);
  struct Piece {
    std::size_t begin;
    std::size_t size;
  };
  std::vector<Piece> pieces;
  for (std::size_t begin = 0; begin < kSize;) {
    const std::size_t size = std::min<std::size_t>(1 + random() % 9000, kSize - begin);
    pieces.push_back({begin, size});
    begin += size;
  }
  std::shuffle(pieces.begin(), pieces.end(), random);
  Bytes memory = random_bytes(kSize, 5);
  Bytes expected(kSize);  // of the pool
  Work work;
  std::size_t stream = 0;
  for (const Piece& piece : pieces) {
    const auto part = part_of(place, piece.begin, piece.size);
    work.remote.insert(work.remote.end(), part.begin(), part.end());
    std::copy_n(memory.begin() + static_cast<std::ptrdiff_t>(stream), piece.size,
                expected.begin() + static_cast<std::ptrdiff_t>(piece.begin));
    stream += piece.size;
  }
  for (std::size_t begin = 0; begin < kSize;) {
    const std::size_t size = std::min<std::size_t>(1 + random() % 5000, kSize - begin);
    work.local.push_back({memory.data() + begin, size});
    begin += size;
  }
  REQUIRE(finish(world, work.seal(1, WorkOp::write)) == Errc::ok);
  CHECK(contents(world, place, kSize) == expected);
  const Bytes truth = memory;
  std::fill(memory.begin(), memory.end(), kPoison);
  REQUIRE(finish(world, work.seal(2, WorkOp::read)) == Errc::ok);
  CHECK(memory == truth);
}

void most_segments(TransportWorld& world) {
  wait_until_up(world);
  constexpr std::size_t kPiece = 24;
  constexpr std::size_t kSize = kWorkSegmentsMax * kPiece;
  const Place place = world.allocate(SizeBytes(kSize));
  Bytes out = random_bytes(kSize, 9);
  Work work;
  for (std::size_t i = 0; i < kWorkSegmentsMax; ++i) {
    // Backwards, so that no two join. A piece that straddles two extents would be one too many.
    const auto part = part_of(place, (kWorkSegmentsMax - 1 - i) * kPiece, kPiece);
    work.remote.insert(work.remote.end(), part.begin(), part.end());
    work.local.push_back({out.data() + (kWorkSegmentsMax - 1 - i) * kPiece, kPiece});
  }
  if (work.remote.size() == kWorkSegmentsMax) {
    REQUIRE(finish(world, work.seal(1, WorkOp::write)) == Errc::ok);
    CHECK(contents(world, place, kSize) == out);
  }
  const auto more = part_of(place, 0, 1);
  while (work.remote.size() <= kWorkSegmentsMax) {
    work.remote.push_back(more.front());
    work.local.push_back({out.data(), 1});
  }
  CHECK(world.transport().post(kLane, work.seal(2, WorkOp::read)) == Errc::too_large);
}

// --- CRC
// ------------------------------------------------------------------------------------------

// RFC 3720, appendix B.4: 32 bytes of zeroes, of ones, rising and falling.
constexpr std::array<std::uint32_t, 4> kRfcCrcs = {0x8A9136AA, 0x62A8AB43, 0x46DD794E, 0x113FDB5C};

Bytes rfc_bytes() {
  Bytes bytes(128);
  for (std::size_t i = 0; i < 32; ++i) {
    bytes[32 + i] = std::byte{0xFF};
    bytes[64 + i] = static_cast<std::byte>(i);
    bytes[96 + i] = static_cast<std::byte>(31 - i);
  }
  return bytes;
}

// The four blocks, with the local memory cut elsewhere than the blocks are.
Work rfc_work(const Place& place, Bytes& bytes, bool with_sums) {
  Work work;
  work.remote = part_of(place, 10, bytes.size());
  work.local = {{bytes.data(), 50}, {bytes.data() + 50, 1}, {bytes.data() + 51, 77}};
  for (const std::uint32_t sum : kRfcCrcs) {
    work.crc.push_back({32, with_sums ? sum : 0xDEADBEEF});
  }
  return work;
}

void crc_of_writes(TransportWorld& world) {
  wait_until_up(world);
  const Place place = world.allocate(SizeBytes(4096));
  Bytes bytes = rfc_bytes();
  Work work = rfc_work(place, bytes, false);
  REQUIRE(finish(world, work.seal(1, WorkOp::write)) == Errc::ok);
  for (std::size_t i = 0; i < kRfcCrcs.size(); ++i) {
    CHECK(work.crc[i].crc32c == kRfcCrcs[i]);
    CHECK(work.crc[i].length_bytes == 32);
  }
}

void crc_of_reads(TransportWorld& world) {
  wait_until_up(world);
  const Place place = world.allocate(SizeBytes(4096));
  Bytes bytes = rfc_bytes();
  REQUIRE(move(world, WorkOp::write, place, 10, bytes) == Errc::ok);
  Bytes in(bytes.size(), kPoison);
  Work good = rfc_work(place, in, true);
  REQUIRE(finish(world, good.seal(1, WorkOp::read)) == Errc::ok);
  CHECK(in == bytes);

  for (std::size_t block = 0; block < kRfcCrcs.size(); ++block) {
    CAPTURE(block);
    Work bad = rfc_work(place, in, true);
    bad.crc[block].crc32c ^= 1;
    CHECK(finish(world, bad.seal(2 + block, WorkOp::read)) == Errc::crc_mismatch);
  }
  CHECK(finish(world, good.seal(9, WorkOp::read)) == Errc::ok);  // the lane stands
}

void crc_of_corrupted_pool(TransportWorld& world) {
  wait_until_up(world);
  constexpr std::size_t kSize = 300'000;
  const Place place = world.allocate(SizeBytes(kSize));
  Bytes bytes = random_bytes(kSize, 3);
  Work work;
  work.remote = part_of(place, 0, kSize);
  work.local = {{bytes.data(), bytes.size()}};
  work.crc = {
      {65'536, 0}, {65'536, 0}, {65'536, 0}, {65'536, 0}, {kSize - std::size_t{4} * 65'536, 0}};
  REQUIRE(finish(world, work.seal(1, WorkOp::write)) == Errc::ok);
  const Bytes truth = bytes;
  std::fill(bytes.begin(), bytes.end(), kPoison);
  REQUIRE(finish(world, work.seal(2, WorkOp::read)) == Errc::ok);
  CHECK(bytes == truth);
  for (const std::size_t victim : {std::size_t{0}, std::size_t{131'072}, kSize - 1}) {
    CAPTURE(victim);
    Bytes flipped(1, truth[victim] ^ std::byte{0x10});
    REQUIRE(move(world, WorkOp::write, place, victim, flipped) == Errc::ok);
    CHECK(finish(world, work.seal(3, WorkOp::read)) == Errc::crc_mismatch);
    Bytes right(1, truth[victim]);
    REQUIRE(move(world, WorkOp::write, place, victim, right) == Errc::ok);
    CHECK(finish(world, work.seal(4, WorkOp::read)) == Errc::ok);
  }
}

// --- Refusals
// -------------------------------------------------------------------------------------

void wrong_totals(TransportWorld& world) {
  wait_until_up(world);
  const Place place = world.allocate(SizeBytes(4096));
  Bytes memory(4096, kPoison);
  Transport& transport = world.transport();
  Work work;
  work.remote = part_of(place, 0, 1000);
  work.local = {{memory.data(), 1000}};
  work.crc = {{1000, 0}};
  (void)work.seal(1, WorkOp::read);
  const WorkRequest good = work.request;

  WorkRequest bad = good;
  bad.total_bytes = 999;
  CHECK(transport.post(kLane, bad) == Errc::invalid_argument);
  bad = good;
  bad.total_bytes = 0;
  bad.remote = {};
  bad.local = {};
  bad.crc = {};
  CHECK(transport.post(kLane, bad) == Errc::invalid_argument);
  bad = good;
  const LocalSegment short_local{memory.data(), 999};
  bad.local = {&short_local, 1};
  CHECK(transport.post(kLane, bad) == Errc::invalid_argument);
  bad = good;
  CrcBlock short_crc{999, 0};
  bad.crc = {&short_crc, 1};
  CHECK(transport.post(kLane, bad) == Errc::invalid_argument);
  bad = good;
  bad.remote = {};
  CHECK(transport.post(kLane, bad) == Errc::invalid_argument);
  bad = good;
  const LocalSegment nowhere{nullptr, 1000};
  bad.local = {&nowhere, 1};
  CHECK(transport.post(kLane, bad) == Errc::invalid_argument);
  bad = good;
  const std::array<LocalSegment, 3> wrapping{
      {{memory.data(), SIZE_MAX}, {memory.data(), 1}, {memory.data(), 1000}}};
  bad.local = wrapping;
  CHECK(transport.post(kLane, bad) == Errc::invalid_argument);
  bad = good;
  std::vector<RemoteSegment> with_empty = work.remote;
  with_empty.push_back(with_empty.front());
  with_empty.back().length_bytes = 0;
  bad.remote = with_empty;
  CHECK(transport.post(kLane, bad) == Errc::invalid_argument);
  bad = good;
  std::array<CrcBlock, 2> empty_block{{{1000, 0}, {0, 0}}};
  bad.crc = empty_block;
  CHECK(transport.post(kLane, bad) == Errc::invalid_argument);

  world.run_for(std::chrono::milliseconds(20));
  std::array<Completion, 4> none;
  CHECK(transport.poll(none) == 0);
  CHECK(transport.lane_status(kLane).requests_in_flight == 0);
  CHECK(std::count(memory.begin(), memory.end(), kPoison) == 4096);
}

void too_many_bytes(TransportWorld& world) {
  wait_until_up(world);
  const Place place = world.allocate(SizeBytes(4096));
  Bytes memory(kWorkBytesMax + 1);
  std::vector<RemoteSegment> remote = part_of(place, 0, 1);
  remote[0].length_bytes = static_cast<std::uint32_t>(kWorkBytesMax + 1);
  const LocalSegment local{memory.data(), memory.size()};
  WorkRequest request;
  request.total_bytes = memory.size();
  request.remote = remote;
  request.local = {&local, 1};
  CHECK(world.transport().post(kLane, request) == Errc::too_large);
}

void revoked_keys(TransportWorld& world) {
  if (!world.checks_keys()) {
    return;
  }
  wait_until_up(world);
  const Place gone = world.allocate(SizeBytes(100'000));
  const Place stays = world.allocate(SizeBytes(100'000));
  Bytes memory = random_bytes(5000, 6);
  REQUIRE(move(world, WorkOp::write, gone, 0, memory) == Errc::ok);
  REQUIRE(move(world, WorkOp::write, stays, 0, memory) == Errc::ok);
  world.revoke(gone);
  for (const WorkOp op : {WorkOp::read, WorkOp::write}) {
    Bytes target(5000, kPoison);
    CHECK(move(world, op, gone, 0, target) == Errc::key_revoked);
    CHECK(std::count(target.begin(), target.end(), kPoison) == 5000);
  }
  // One bad piece spoils the request, and none of the good ones is moved, where the far side can.
  Work mixed;
  mixed.remote = part_of(stays, 0, 100);
  mixed.remote.push_back({gone.key, gone.extents[0].address, 100});
  Bytes poison(200, kPoison);
  mixed.local = {{poison.data(), poison.size()}};
  CHECK(finish(world, mixed.seal(3, WorkOp::write)) == Errc::key_revoked);
  Place nobody = stays;
  nobody.key = RKey(0);
  CHECK(move(world, WorkOp::read, nobody, 0, poison) == Errc::key_revoked);
  if (world.names_refusals()) {
    CHECK(contents(world, stays, 5000) == memory);
  }
}

void outside_of_the_pool(TransportWorld& world) {
  wait_until_up(world);
  const Place place = world.allocate(SizeBytes(8192));
  Bytes before = random_bytes(8192, 8);
  REQUIRE(move(world, WorkOp::write, place, 0, before) == Errc::ok);
  for (const std::uint64_t offset : {std::uint64_t{1} << 50U, UINT64_MAX - 10, UINT64_MAX}) {
    for (const WorkOp op : {WorkOp::read, WorkOp::write}) {
      CAPTURE(offset);
      Bytes memory(100, kPoison);
      Work work;
      work.remote = {{place.key, {place.extents[0].address.slab, SlabOffset(offset)}, 100}};
      work.local = {{memory.data(), memory.size()}};
      CHECK(finish(world, work.seal(1, op)) == Errc::out_of_range);
      CHECK(std::count(memory.begin(), memory.end(), kPoison) == 100);
    }
  }
  CHECK(contents(world, place, 8192) == before);
}

void beyond_the_grant(TransportWorld& world) {
  if (!world.checks_keys()) {
    return;
  }
  wait_until_up(world);
  const Place mine = world.allocate(SizeBytes(4096));
  const Place other = world.allocate(SizeBytes(4096));
  Bytes secret = random_bytes(4096, 10);
  REQUIRE(move(world, WorkOp::write, other, 0, secret) == Errc::ok);
  Place stolen = other;
  stolen.key = mine.key;
  Bytes memory(4096, kPoison);
  const Errc refusal = world.names_refusals() ? Errc::out_of_range : Errc::key_revoked;
  CHECK(move(world, WorkOp::read, stolen, 0, memory) == refusal);
  CHECK(move(world, WorkOp::write, stolen, 0, memory) == refusal);
  CHECK(std::count(memory.begin(), memory.end(), kPoison) == 4096);
  CHECK(contents(world, other, 4096) == secret);
}

// --- Queues
// ---------------------------------------------------------------------------------------

void credits(TransportWorld& world) {
  wait_until_up(world);
  Transport& transport = world.transport();
  constexpr std::size_t kSize = 64;
  constexpr std::size_t kPostsMax = 100'000;
  const Place place = world.allocate(SizeBytes(kSize));
  Bytes out = random_bytes(kSize, 11);
  REQUIRE(move(world, WorkOp::write, place, 0, out) == Errc::ok);
  const std::uint32_t credit = transport.lane_status(kLane).requests_in_flight_max;
  REQUIRE(credit < kPostsMax);
  std::vector<std::unique_ptr<Work>> works;
  std::vector<std::unique_ptr<Bytes>> buffers;
  std::size_t posted = 0;
  Errc last = Errc::ok;
  while (last == Errc::ok && posted <= kPostsMax) {
    buffers.push_back(std::make_unique<Bytes>(kSize, kPoison));
    works.push_back(std::make_unique<Work>());
    works.back()->remote = part_of(place, 0, kSize);
    works.back()->local = {{buffers.back()->data(), kSize}};
    last = transport.post(kLane, works.back()->seal(posted, WorkOp::read));
    posted += last == Errc::ok ? 1U : 0U;
  }
  CHECK(last == Errc::queue_full);
  CHECK(posted == credit);
  CHECK(transport.lane_status(kLane).requests_in_flight == credit);
  const std::vector<Completion> done = collect(world, posted);
  std::vector<bool> seen(posted);
  for (const Completion& completion : done) {
    CHECK(completion.status == Errc::ok);
    REQUIRE(completion.id.value() < posted);  // the refused one does not come back
    CHECK_FALSE(seen[completion.id.value()]);
    seen[completion.id.value()] = true;
    CHECK(*buffers[completion.id.value()] == out);
  }
  CHECK(std::count(buffers.back()->begin(), buffers.back()->end(), kPoison) == kSize);
  CHECK(transport.lane_status(kLane).requests_in_flight == 0);
  CHECK(transport.lane_status(kLane).bytes_in_flight == 0);
  CHECK(finish(world, works.back()->seal(1, WorkOp::read)) == Errc::ok);
}

void completed_once(TransportWorld& world) {
  wait_until_all_up(world);
  constexpr std::uint32_t kSeed = 99;
  CAPTURE(kSeed);
  constexpr std::size_t kRequests = 500;
  constexpr std::size_t kSlot = 40'000;
  Transport& transport = world.transport();
  std::mt19937 random(kSeed);
  const Place place = world.allocate(SizeBytes(16 * kSlot));
  Bytes pool = random_bytes(16 * kSlot, 12);
  REQUIRE(move(world, WorkOp::write, place, 0, pool) == Errc::ok);
  struct Flying {
    Work work;
    Bytes memory;
    std::size_t begin = 0;
  };
  std::map<std::uint64_t, Flying> flying;
  std::size_t posted = 0;
  std::size_t completed = 0;
  const bool done = world.run([&] {
    while (posted < kRequests) {
      const LaneId on = lane(random() % transport.lane_count());
      const std::size_t size = 1 + random() % kSlot;
      Flying& next = flying[posted];
      next.begin = random() % (16 * kSlot - size);
      next.memory.assign(size, kPoison);
      next.work.remote = part_of(place, next.begin, size);
      next.work.local = {{next.memory.data(), size}};
      if (transport.post(on, next.work.seal(posted, WorkOp::read)) != Errc::ok) {
        flying.erase(posted);
        break;
      }
      ++posted;
    }
    (void)transport.progress();
    std::array<Completion, 5> some;
    for (std::size_t i = transport.poll(some); i > 0; --i) {
      const auto found = flying.find(some[i - 1].id.value());
      REQUIRE(found != flying.end());  // exactly once
      CHECK(some[i - 1].status == Errc::ok);
      const Flying& back = found->second;
      CHECK(std::equal(back.memory.begin(), back.memory.end(),
                       pool.begin() + static_cast<std::ptrdiff_t>(back.begin)));
      flying.erase(found);
      ++completed;
    }
    return completed == kRequests;
  });
  REQUIRE(done);
  std::array<Completion, 5> none;
  world.run_for(std::chrono::milliseconds(20));
  CHECK(transport.poll(none) == 0);
}

void memory_registration(TransportWorld& world) {
  Transport& transport = world.transport();
  Bytes memory(10'000);
  CHECK(transport.register_memory(memory).has_value());
  const Result<void> empty = transport.register_memory({});
  REQUIRE_FALSE(empty.has_value());
  CHECK(empty.error().code == Errc::invalid_argument);
  transport.deregister_memory(memory);
  // Nothing has this descriptor: whether or not dma-bufs are taken, it is refused by a name.
  const Result<void> no_dma_buf = transport.register_dma_buf(memory, -1, SizeBytes(0));
  REQUIRE_FALSE(no_dma_buf.has_value());
  CHECK((no_dma_buf.error().code == Errc::unsupported ||
         no_dma_buf.error().code == Errc::invalid_argument));
}

// --- Fencing
// --------------------------------------------------------------------------------------

// Posts `count` requests of 1 MiB each, buffer i to or from MiB i of the place.
std::vector<std::unique_ptr<Work>> post_megabytes(TransportWorld& world, WorkOp op,
                                                  const Place& place, Bytes& memory, LaneId on) {
  constexpr std::size_t kMiB = std::size_t{1} << 20U;
  std::vector<std::unique_ptr<Work>> works;
  for (std::size_t i = 0; i < memory.size() / kMiB; ++i) {
    works.push_back(std::make_unique<Work>());
    works.back()->remote = part_of(place, i * kMiB, kMiB);
    works.back()->local = {{memory.data() + i * kMiB, kMiB}};
    REQUIRE(world.transport().post(on, works.back()->seal(i, op)) == Errc::ok);
  }
  return works;
}

// Fences and takes what completes; all of it, each once, ok or lane_fenced: at once, but for what a
// device holds.
std::size_t fence_and_count(TransportWorld& world, LaneId on, std::size_t in_flight) {
  Transport& transport = world.transport();
  transport.fence(on);
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (transport.requests_held(on) > 0) {
    REQUIRE(std::chrono::steady_clock::now() < limit);
    CHECK(transport.lane_status(on).requests_in_flight >= transport.requests_held(on));
    (void)transport.progress();
  }
  std::vector<bool> seen(in_flight);
  std::size_t fenced = 0;
  std::array<Completion, 64> some;
  std::size_t total = 0;
  for (std::size_t got = transport.poll(some); got > 0; got = transport.poll(some)) {
    for (const Completion& completion : std::span(some).first(got)) {
      REQUIRE(completion.id.value() < in_flight);
      CHECK_FALSE(seen[completion.id.value()]);
      seen[completion.id.value()] = true;
      CHECK((completion.status == Errc::ok || completion.status == Errc::lane_fenced));
      fenced += completion.status == Errc::lane_fenced ? 1U : 0U;
      ++total;
    }
  }
  CHECK(total == in_flight);
  const LaneStatus status = transport.lane_status(on);
  CHECK(status.state == LaneState::down);
  CHECK(status.requests_in_flight == 0);
  return fenced;
}

constexpr std::size_t kFencedBytes = std::size_t{16} << 20U;

void fence_of_reads(TransportWorld& world) {
  wait_until_up(world);
  const Place place = world.allocate(SizeBytes(kFencedBytes));
  Bytes truth = random_bytes(kFencedBytes, 20);
  REQUIRE(move(world, WorkOp::write, place, 0, truth) == Errc::ok);
  std::size_t fenced = 0;
  for (int steps = 0; steps < 4; ++steps) {
    CAPTURE(steps);
    Bytes memory(kFencedBytes, kPoison);
    const auto works = post_megabytes(world, WorkOp::read, place, memory, kLane);
    for (int i = 0; i < steps; ++i) {
      (void)world.transport().progress();
      world.step(world.now() + std::chrono::milliseconds(1));
    }
    fenced += fence_and_count(world, kLane, works.size());
    const Bytes at_fence = memory;
    world.run_for(std::chrono::milliseconds(60));
    (void)world.transport().progress();
    CHECK(memory == at_fence);  // not one byte after the fence
    for (std::size_t i = 0; i < memory.size(); ++i) {
      if (memory[i] != kPoison && memory[i] != truth[i]) {
        FAIL("byte " << i << " is neither of the pool nor from before");
      }
    }
    world.transport().reopen(kLane);
    wait_until_up(world);
  }
  CHECK(fenced > 0);
  CHECK(contents(world, place, kFencedBytes) == truth);
}

void fence_of_writes(TransportWorld& world) {
  wait_until_up(world);
  const Place place = world.allocate(SizeBytes(kFencedBytes));
  const Bytes before = random_bytes(kFencedBytes, 21);
  const Bytes after = random_bytes(kFencedBytes, 22);
  for (int steps = 0; steps < 3; ++steps) {
    CAPTURE(steps);
    Bytes memory = before;
    REQUIRE(move(world, WorkOp::write, place, 0, memory) == Errc::ok);
    memory = after;
    const auto works = post_megabytes(world, WorkOp::write, place, memory, kLane);
    for (int i = 0; i < steps; ++i) {
      (void)world.transport().progress();
      world.step(world.now() + std::chrono::milliseconds(1));
    }
    (void)fence_and_count(world, kLane, works.size());
    std::fill(memory.begin(), memory.end(), kPoison);
    world.run_for(std::chrono::milliseconds(60));
    (void)world.transport().progress();
    world.transport().reopen(kLane);
    wait_until_up(world);
    const Bytes now = contents(world, place, kFencedBytes);
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (now[i] != before[i] && now[i] != after[i]) {
        FAIL("byte " << i << " of the pool was read from memory after the fence");
      }
    }
  }
}

void fenced_lane_refuses(TransportWorld& world) {
  wait_until_up(world);
  const Place place = world.allocate(SizeBytes(4096));
  Bytes memory = random_bytes(4096, 23);
  REQUIRE(move(world, WorkOp::write, place, 0, memory) == Errc::ok);
  world.transport().fence(kLane);
  Work work;
  work.remote = part_of(place, 0, 4096);
  work.local = {{memory.data(), memory.size()}};
  CHECK(world.transport().post(kLane, work.seal(1, WorkOp::read)) == Errc::lane_closed);
  world.transport().fence(kLane);  // again: nothing to do
  std::array<Completion, 4> none;
  CHECK(world.transport().poll(none) == 0);
  world.transport().reopen(kLane);
  wait_until_up(world);
  CHECK(world.transport().lane_status(kLane).last_error == Errc::ok);
  CHECK(finish(world, work.seal(2, WorkOp::read)) == Errc::ok);
}

void fence_of_one_lane(TransportWorld& world) {
  if (world.transport().lane_count() < 2) {
    return;
  }
  wait_until_all_up(world);
  const LaneId other = lane(1);
  const Place place = world.allocate(SizeBytes(kFencedBytes));
  Bytes truth = random_bytes(kFencedBytes, 24);
  REQUIRE(move(world, WorkOp::write, place, 0, truth) == Errc::ok);
  Bytes fenced(kFencedBytes, kPoison);
  Bytes kept(kFencedBytes, kPoison);
  const auto kept_works = post_megabytes(world, WorkOp::read, place, kept, other);
  const auto fenced_works = post_megabytes(world, WorkOp::read, place, fenced, kLane);
  world.transport().fence(kLane);
  std::size_t kept_count = 0;
  for (const Completion& completion : collect(world, kept_works.size() + fenced_works.size())) {
    if (completion.lane == other) {
      CHECK(completion.status == Errc::ok);
      ++kept_count;
    } else {
      CHECK((completion.status == Errc::lane_fenced || completion.status == Errc::ok));
    }
  }
  CHECK(kept_count == kept_works.size());
  CHECK(kept == truth);
  CHECK(world.transport().lane_status(other).state == LaneState::up);
}

constexpr std::array<ContractCase<TransportWorld>, 19> kCases = {{
    {"lanes come up with credit", lanes_come_up},
    {"bytes of any size come back", round_trips},
    {"every lane moves bytes", every_lane_moves},
    {"a write touches nothing beside its range", neighbours_stay},
    {"scattered lists on both sides describe one stream", scattered_lists},
    {"the most segments that a request may have are moved, more are refused", most_segments},
    {"a write gives the CRC32C of each block", crc_of_writes},
    {"a read compares the CRC32C of each block", crc_of_reads},
    {"a read of corrupted pool bytes is a crc_mismatch", crc_of_corrupted_pool},
    {"requests whose totals differ or are zero are refused", wrong_totals},
    {"requests beyond the longest are refused", too_many_bytes},
    {"a revoked key moves nothing", revoked_keys},
    {"addresses outside are out_of_range", outside_of_the_pool},
    {"a key reaches only what it was given for", beyond_the_grant},
    {"at the credit limit a post is refused without side effect", credits},
    {"each request completes exactly once", completed_once},
    {"memory can be announced, nothing cannot", memory_registration},
    {"after a fence no byte of a read moves", fence_of_reads},
    {"after a fence no byte of a write is taken",
     [](TransportWorld& world) {
       fence_of_writes(world);
       fenced_lane_refuses(world);
       fence_of_one_lane(world);
     }},
}};

}  // namespace

std::span<const ContractCase<TransportWorld>> transport_contract() { return kCases; }

}  // namespace godbox::test
