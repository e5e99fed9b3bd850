// SPDX-License-Identifier: Apache-2.0
//
// Requester against responder over a link that loses, doubles, damages, delays and reorders frames:
// every transfer ends right.
#include <godbox_test/roce_world.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <cstring>
#include <deque>

namespace godbox::emulator {
namespace {

using test::Bytes;
using test::RemoteMemory;
using test::RoceLinkOptions;
using test::RoceWorld;

constexpr std::array<std::size_t, 11> kSizes{0,    1,    255,  256,   257,    1023,
                                             1024, 1025, 4096, 65536, 1048576};
constexpr std::array<roce::PathMtu, 5> kPathMtus{
    roce::PathMtu::bytes_256, roce::PathMtu::bytes_512, roce::PathMtu::bytes_1024,
    roce::PathMtu::bytes_2048, roce::PathMtu::bytes_4096};

QueuePairOptions with_mtu(test::RoceEnd& end, roce::PathMtu mtu) {
  QueuePairOptions options = end.pair_options();
  options.path_mtu = mtu;
  return options;
}

// A contiguous 1 MiB, with other regions of the same tenant before and behind.
struct Place {
  RemoteMemory before, memory, behind;
  Bytes untouched;

  explicit Place(test::RoceEnd& end) {
    before = end.allocate(1U << 20U);
    memory = end.allocate(kSizes.back() + std::size_t{3} * (256U << 10U));
    behind = end.allocate(1U << 20U);
    REQUIRE(memory.extents[0].length_bytes >= kSizes.back());
    end.set_bytes_of(before, test::pattern_bytes(1U << 20U, 2));
    end.set_bytes_of(behind, test::pattern_bytes(1U << 20U, 3));
  }
};

// One transfer each way and a message, of one size, and what they left behind.
void check_size(RoceWorld& world, const RoceWorld::Pair& pair, const RemoteMemory& memory,
                std::size_t size_bytes, std::uint64_t seed) {
  test::RoceEnd& box = world.box();
  const std::size_t all_bytes = box.bytes_of(memory).size();
  Bytes expected = test::pattern_bytes(all_bytes, seed);
  box.set_bytes_of(memory, expected);
  Bytes written = test::pattern_bytes(size_bytes, seed + 1);
  const std::array<MutableSpan, 1> out{written};
  REQUIRE(world.run(pair, {.id = WorkId(1),
                           .op = SendOp::write,
                           .local = out,
                           .remote_address = memory.address(),
                           .key = memory.key}) == WorkStatus::ok);
  std::copy(written.begin(), written.end(), expected.begin());
  REQUIRE(box.bytes_of(memory) == expected);

  Bytes read(size_bytes + 1, std::byte{0x5A});
  const std::array<MutableSpan, 2> in{
      MutableSpan(read).first(size_bytes / 3),
      MutableSpan(read).subspan(size_bytes / 3, size_bytes - size_bytes / 3)};
  REQUIRE(world.run(pair, {.id = WorkId(2),
                           .op = SendOp::read,
                           .local = in,
                           .remote_address = memory.address(),
                           .key = memory.key}) == WorkStatus::ok);
  REQUIRE(std::equal(written.begin(), written.end(), read.begin()));
  REQUIRE(read.back() == std::byte{0x5A});

  Bytes received(size_bytes + 1, std::byte{0x5A});
  const std::array<MutableSpan, 1> room{received};
  REQUIRE(box.port().post_receive(pair.box, {WorkId(3), room}) == Errc::ok);
  REQUIRE(world.run(pair, {.id = WorkId(4), .op = SendOp::send, .local = out}) == WorkStatus::ok);
  const std::optional<ReceiveCompletion> done = box.port().take_received(pair.box);
  REQUIRE(done.has_value());
  REQUIRE(done->length_bytes == size_bytes);
  REQUIRE(std::equal(written.begin(), written.end(), received.begin()));
  REQUIRE(received.back() == std::byte{0x5A});
  REQUIRE(box.port().usage().windows == 0);
}

}  // namespace

TEST_CASE("every size at every path MTU and loss arrives whole", "[unit][roce]") {
  const double loss = GENERATE(0.0, 0.001, 0.01);
  const std::size_t mtu_index = GENERATE(0U, 1U, 2U, 3U, 4U);
  const roce::PathMtu mtu = kPathMtus[mtu_index];
  const std::uint64_t seed = 1000 + mtu_index;
  CAPTURE(loss, roce::bytes_of(mtu), seed);
  RoceWorld world({.lost = loss, .seed = seed});
  const Place place(world.box());
  // PSNs go round on the way.
  const auto pair =
      world.connect(with_mtu(world.client(), mtu), with_mtu(world.box(), mtu), 0xFF'FFFF - 50);
  for (const std::size_t size_bytes : kSizes) {
    CAPTURE(size_bytes);
    check_size(world, pair, place.memory, size_bytes, size_bytes);
  }
  CHECK(world.box().bytes_of(place.before) == test::pattern_bytes(1U << 20U, 2));
  CHECK(world.box().bytes_of(place.behind) == test::pattern_bytes(1U << 20U, 3));
  const RocePortCounters& counters = world.client().port().counters();
  if (loss == 0) {
    CHECK(counters.retransmits.get() == 0);
    CHECK(counters.timeouts.get() == 0);
    CHECK(world.box().port().counters().duplicates.get() == 0);
    CHECK(world.box().port().counters().naks_sequence.get() == 0);
  } else if (world.link().lost > 0) {
    CHECK(counters.retransmits.get() > 0);
  }
}

TEST_CASE("a link of all faults at once makes no transfer wrong", "[unit][roce]") {
  const std::uint64_t seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U);
  const std::size_t mtu_index = seed % kPathMtus.size();
  CAPTURE(seed);
  RoceWorld world({.lost = 0.005,
                   .doubled = 0.01,
                   .damaged = 0.005,
                   .jitter = std::chrono::microseconds(2),
                   .seed = seed});
  const Place place(world.box());
  const auto pair = world.connect(with_mtu(world.client(), kPathMtus[mtu_index]),
                                  with_mtu(world.box(), kPathMtus[mtu_index]));
  for (const std::size_t size_bytes : kSizes) {
    CAPTURE(size_bytes);
    check_size(world, pair, place.memory, std::min<std::size_t>(size_bytes, 65536), size_bytes);
  }
  CHECK(world.link().overtaken > 0);
  CHECK(world.link().damaged > 0);
  CHECK(world.box().port().counters().dropped_icrc.get() +
            world.box().port().counters().dropped_malformed.get() +
            world.box().port().counters().dropped_not_ours.get() +
            world.box().port().counters().dropped_other.get() >
        0);
}

namespace {

// Frames that a path of so many bytes does not take are lost, from the n-th on and until a time.
struct NarrowPath {
  std::uint64_t from_frame = 0;
  TimePoint until;
  std::size_t frame_bytes_max = 0;
  std::uint64_t frames = 0, lost = 0;

  bool loses(TimePoint now, ConstSpan frame) {
    const bool is_narrow = ++frames > from_frame && now < until;
    const bool is_lost = is_narrow && frame.size() > frame_bytes_max;
    lost += is_lost ? 1U : 0U;
    return is_lost;
  }
};

}  // namespace

TEST_CASE("transfers go on when the path's MTU has been smaller for a while", "[unit][roce]") {
  const std::size_t mtu_index = GENERATE(1U, 2U, 3U, 4U);
  const auto narrow_for = GENERATE(std::chrono::milliseconds(1), std::chrono::milliseconds(200));
  CAPTURE(mtu_index, narrow_for.count());
  RoceWorld world({.seed = 7});
  const Place place(world.box());
  const auto pair = world.connect(with_mtu(world.client(), kPathMtus[mtu_index]),
                                  with_mtu(world.box(), kPathMtus[mtu_index]));
  for (const std::size_t size_bytes : {std::size_t{4097}, kSizes.back()}) {
    CAPTURE(size_bytes);
    NarrowPath path{
        .from_frame = 3, .until = world.now() + narrow_for, .frame_bytes_max = 256 + 90};
    world.watch = [&](bool, ConstSpan frame) { return path.loses(world.now(), frame); };
    check_size(world, pair, place.memory, size_bytes, size_bytes);
    CHECK(path.lost > 0);
    world.watch = nullptr;
  }
  CHECK(world.box().bytes_of(place.before) == test::pattern_bytes(1U << 20U, 2));
  CHECK(world.box().bytes_of(place.behind) == test::pattern_bytes(1U << 20U, 3));
  CHECK(world.client().port().counters().retransmits.get() > 0);
}

TEST_CASE("on a path that stays too narrow a transfer ends with an error", "[unit][roce]") {
  const SendOp op = GENERATE(SendOp::write, SendOp::read);
  RoceWorld world({.seed = 8});
  const Place place(world.box());
  const auto pair = world.connect(with_mtu(world.client(), roce::PathMtu::bytes_1024),
                                  with_mtu(world.box(), roce::PathMtu::bytes_1024));
  NarrowPath path{.from_frame = 3, .until = TimePoint::max(), .frame_bytes_max = 600};
  world.watch = [&](bool, ConstSpan frame) { return path.loses(world.now(), frame); };
  const Bytes all = test::pattern_bytes(world.box().bytes_of(place.memory).size(), 4);
  world.box().set_bytes_of(place.memory, all);
  Bytes bytes = test::pattern_bytes(65536, 5);
  const std::array<MutableSpan, 1> local{bytes};
  CHECK(world.run(pair, {.id = WorkId(1),
                         .op = op,
                         .local = local,
                         .remote_address = place.memory.address(),
                         .key = place.memory.key}) == WorkStatus::retries_exceeded);
  // Nothing behind what was to be moved has changed, and nothing is held.
  const Bytes left = world.box().bytes_of(place.memory);
  CHECK(std::equal(all.begin() + 65536, all.end(), left.begin() + 65536));
  world.run_for(std::chrono::seconds(5));
  CHECK(world.box().bytes_of(place.behind) == test::pattern_bytes(1U << 20U, 3));
}

namespace {

// Random work on one queue pair, many requests at a time, against a model of the memory. Requests
// that are under way together touch different blocks, but for the atomics, which all work on one
// word: these are done in the order in which they were posted, and once each.
class Workload {
 public:
  Workload(RoceWorld& world, std::uint64_t seed)
      : world_(world),
        random_(seed),
        memory_(world.box().allocate(kBlocks * kBlockBytes)),
        model_(kBlocks * kBlockBytes),
        pair_(world.connect(with_mtu(world.client(), roce::PathMtu::bytes_512),
                            with_mtu(world.box(), roce::PathMtu::bytes_512))) {}

  void run_batch() {
    std::vector<Request> requests(1 + random_.below(24));
    std::vector<std::size_t> blocks(kBlocks - 1);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      blocks[i] = i + 1;
      std::swap(blocks[i], blocks[random_.below(i + 1)]);
    }
    for (std::size_t i = 0; i < requests.size(); ++i) {
      post(requests[i], blocks[i], i);
    }
    std::size_t completed = 0;
    const bool is_done = world_.run_until([&] {
      while (const auto done = world_.client().port().take_completed(pair_.client)) {
        REQUIRE(done->status == WorkStatus::ok);
        REQUIRE(done->id == WorkId(completed++));  // in order
      }
      return completed == requests.size();
    });
    REQUIRE(is_done);
    for (const Request& request : requests) {
      REQUIRE(request.bytes == request.expected);
    }
    REQUIRE(world_.box().bytes_of(memory_) == model_);
  }

 private:
  static constexpr std::size_t kBlocks = 32, kBlockBytes = 8192;
  struct Request {
    Bytes bytes, expected;
    std::array<MutableSpan, 1> local;
  };

  void post(Request& request, std::size_t block, std::size_t id) {
    SendRequest send{.id = WorkId(id), .key = memory_.key};
    const std::uint64_t kind = random_.below(4);
    const std::size_t size_bytes =
        random_.below(3) == 0 ? random_.below(kBlockBytes + 1) : random_.below(600);
    const std::size_t offset = block * kBlockBytes + random_.below(kBlockBytes - size_bytes + 1);
    if (kind == 0) {
      send.op = SendOp::fetch_add;
      send.swap_or_add = random_.next_u64();
      send.remote_address = memory_.address();
      request.bytes.resize(8);
      request.expected.assign(model_.begin(), model_.begin() + 8);
      std::uint64_t word = 0;
      std::memcpy(&word, model_.data(), 8);
      word += send.swap_or_add;
      std::memcpy(model_.data(), &word, 8);
    } else if (kind == 1) {
      send.op = SendOp::read;
      send.remote_address = memory_.address() + offset;
      request.bytes.resize(size_bytes);
      request.expected.assign(model_.begin() + static_cast<std::ptrdiff_t>(offset),
                              model_.begin() + static_cast<std::ptrdiff_t>(offset + size_bytes));
    } else {
      send.op = SendOp::write;
      send.remote_address = memory_.address() + offset;
      request.bytes = test::pattern_bytes(size_bytes, random_.next_u64());
      request.expected = request.bytes;
      std::copy(request.bytes.begin(), request.bytes.end(),
                model_.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    request.local[0] = request.bytes;
    send.local = request.local;
    REQUIRE(world_.client().port().post_send(pair_.client, send) == Errc::ok);
  }

  RoceWorld& world_;
  test::SeededRandom random_;
  RemoteMemory memory_;
  Bytes model_;
  RoceWorld::Pair pair_;
};

}  // namespace

TEST_CASE("many requests at a time are done once each, whatever the link does", "[unit][roce]") {
  const std::uint64_t seed = GENERATE(11U, 12U, 13U, 14U, 15U, 16U, 17U, 18U);
  CAPTURE(seed);
  RoceLinkOptions link{.lost = seed % 2 == 0 ? 0.02 : 0.002,
                       .doubled = 0.02,
                       .damaged = 0.002,
                       .jitter = std::chrono::microseconds(seed % 3 == 0 ? 20 : 1),
                       .seed = seed};
  RoceWorld world(link);
  Workload workload(world, seed);
  for (int i = 0; i < 40; ++i) {
    CAPTURE(i);
    workload.run_batch();
  }
  CHECK(world.box().port().usage().windows == 0);
  CHECK(world.box().port().counters().duplicates.get() > 0);
}

}  // namespace godbox::emulator
