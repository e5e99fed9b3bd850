// SPDX-License-Identifier: Apache-2.0
//
// What wires do to a client over RoCE: frames that are lost, doubled, late and out of order, cut
// cables, and frames that come when their request has long been given up.
#include "src/roce_cables.h"
#include "src/transport_work.h"
#include <godbox/emulator/roce/roce_transport.h>
#include <godbox/roce/packet_spec.h>
#include <godbox_test/seeded_random.h>

#include <catch2/generators/catch_generators.hpp>

#include <deque>
#include <string>
#include <vector>

namespace godbox::test {
namespace {

// Frames between a client and its wire, with what may befall them on the way.
class UnrulyFrames final : public FrameSource {
 public:
  UnrulyFrames(FrameSource& frames, std::uint64_t seed) : frames_(frames), random_(seed) {}

  // One frame in so many; 0: none.
  unsigned lost = 0, doubled = 0, late = 0;
  bool is_cut = false;   // nothing goes either way
  bool is_held = false;  // what is sent waits; nothing comes
  // Of what comes for the first queue pair that anything comes for from now on, all is lost, or the
  // NAKs alone. What manages connections arrives.
  enum class Deaf : std::uint8_t { to_nothing, to_naks, to_all } deaf = Deaf::to_nothing;
  unsigned unheard = 0;
  std::uint32_t largest_read_bytes = 0;  // that was asked for

  std::string name() const override { return frames_.name(); }
  MacAddress mac() const override { return frames_.mac(); }
  std::uint32_t mtu_bytes() const override { return frames_.mtu_bytes(); }
  std::size_t receive(std::span<ConstSpan> frames) override {
    std::array<ConstSpan, 32> came;
    const std::size_t count = frames_.receive(came);
    for (std::size_t i = 0; i < count; ++i) {
      if (!is_cut && !is_held && !is_unheard(came[i])) {
        enter(in_, Bytes(came[i].begin(), came[i].end()));
      }
    }
    return show(in_, shown_, frames);
  }
  MutableSpan room_to_send(std::size_t size_bytes) override {
    if (!is_cut && !is_held && frames_.room_to_send(size_bytes).empty()) {
      return {};
    }
    room_.resize(size_bytes);
    return room_;
  }
  void commit() override {
    note_read();
    if (!is_cut) {
      enter(out_, room_);
    }
  }
  void flush() override {
    while (!is_held && !out_.empty()) {
      const MutableSpan room = frames_.room_to_send(out_.front().size());
      if (room.empty()) {
        break;
      }
      std::ranges::copy(out_.front(), room.begin());
      frames_.commit();
      out_.pop_front();
    }
    frames_.flush();
  }
  int wait_descriptor() const override { return frames_.wait_descriptor(); }
  FrameCounters counters() const override { return frames_.counters(); }
  [[nodiscard]] std::size_t held() const { return out_.size(); }

 private:
  // Of a frame over IPv4 without a tag.
  void note_read() {
    constexpr std::size_t kOpcodeAt = 14 + 20 + 8, kLengthAt = kOpcodeAt + 12 + 12;
    if (room_.size() >= kLengthAt + 4 &&
        room_[kOpcodeAt] == static_cast<std::byte>(roce::Opcode::read_request)) {
      std::uint32_t bytes = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        bytes = bytes << 8U | std::to_integer<std::uint32_t>(room_[kLengthAt + i]);
      }
      largest_read_bytes = std::max(largest_read_bytes, bytes);
    }
  }
  // Over IPv4 without a tag.
  bool is_unheard(ConstSpan frame) {
    constexpr std::size_t kOpcodeAt = 14 + 20 + 8, kPairAt = kOpcodeAt + 5, kSyndromeAt = 54;
    if (deaf == Deaf::to_nothing || frame.size() <= kSyndromeAt ||
        frame[kOpcodeAt] == static_cast<std::byte>(roce::Opcode::ud_send_only)) {
      return false;
    }
    const ConstSpan pair = frame.subspan(kPairAt, 3);
    deaf_pair_ = deaf_pair_.empty() ? Bytes(pair.begin(), pair.end()) : deaf_pair_;
    const bool is_nak = frame[kOpcodeAt] == static_cast<std::byte>(roce::Opcode::acknowledge) &&
                        frame[kSyndromeAt] >= std::byte{roce::kSyndromeNakSequence};
    const bool is_lost = std::ranges::equal(pair, deaf_pair_) && (is_nak || deaf == Deaf::to_all);
    unheard += is_lost ? 1 : 0;
    return is_lost;
  }
  bool falls(unsigned one_in) { return one_in > 0 && random_.next_u64() % one_in == 0; }
  void enter(std::deque<Bytes>& queue, const Bytes& frame) {
    if (falls(lost)) {
      return;
    }
    for (unsigned copies = falls(doubled) ? 2 : 1; copies > 0; --copies) {
      const std::size_t back =
          falls(late) ? std::min<std::size_t>(random_.next_u64() % 8, queue.size()) : 0;
      queue.insert(queue.end() - static_cast<std::ptrdiff_t>(back), frame);
    }
  }

  FrameSource& frames_;
  SeededRandom random_;
  std::deque<Bytes> in_, out_;
  std::vector<Bytes> shown_;
  Bytes room_, deaf_pair_;
};

// Wires of a client, each through unruly frames.
class UnrulyWires {
 public:
  explicit UnrulyWires(int count, std::uint64_t seed, const std::string& mtu = ",mtu=4200")
      : cables_(count, mtu), options_(cables_.here()) {
    for (RoceInterface& interface : options_.roce_interfaces) {
      frames_.push_back(std::make_unique<UnrulyFrames>(*interface.frames, ++seed));
      interface.frames = frames_.back().get();
    }
  }
  [[nodiscard]] UnrulyFrames& operator[](std::size_t index) { return *frames_[index]; }
  [[nodiscard]] std::unique_ptr<ServedWorld> world() const { return world_over(cables_, options_); }
  [[nodiscard]] ConnectOptions& options() { return options_; }

 private:
  Cables cables_;
  ConnectOptions options_;
  std::vector<std::unique_ptr<UnrulyFrames>> frames_;
};

void come_up(ServedWorld& world, LaneId lane) {
  world.transport().reopen(lane);
  REQUIRE(world.run([&] {
    (void)world.transport().progress();
    return world.transport().lane_status(lane).state == LaneState::up;
  }));
}

TEST_CASE("over RoCE bytes are right whatever the order and number of frames", "[contract]") {
  constexpr std::size_t kSize = 60'000, kPlaces = 4, kRounds = 25;
  const std::uint64_t seed = GENERATE(1U, 2U);
  CAPTURE(seed);
  UnrulyWires wires(2, seed, seed % 2 == 0 ? "" : ",mtu=4200");
  const auto world = wires.world();
  std::vector<TransportWorld::Place> places;
  for (std::size_t i = 0; i < kPlaces; ++i) {
    places.push_back(world->allocate(SizeBytes(kSize)));
  }
  for (std::size_t i = 0; i < 2; ++i) {
    wires[i].lost = 301;
    wires[i].doubled = 53;
    wires[i].late = 41;
  }
  SeededRandom random(seed);
  std::vector<Bytes> stored(kPlaces, Bytes(kSize));
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::vector<std::unique_ptr<Run>> runs;
    for (std::size_t i = 0; i < kPlaces; ++i) {
      const bool is_write = random.next_u64() % 2 == 0;
      runs.push_back(
          std::make_unique<Run>(i, is_write ? WorkOp::write : WorkOp::read, places[i], kSize));
      if (is_write) {
        runs.back()->fill(random.next_u64());
      }
      REQUIRE(world->transport().post(LaneId(static_cast<LaneId::rep>(random.next_u64() % 2)),
                                      runs.back()->request) == Errc::ok);
    }
    for (const auto& [id, status] : outcomes(*world, kPlaces)) {
      CAPTURE(round, id);
      REQUIRE(status == Errc::ok);
      if (runs[id]->request.op == WorkOp::write) {
        stored[id] = runs[id]->memory;
      }
      REQUIRE(runs[id]->memory == stored[id]);
    }
  }
}

TEST_CASE("over RoCE no READ asks for more than a device's ring holds", "[contract]") {
  constexpr std::size_t kSize = std::size_t{2} << 20U, kPathMtu = 1024;
  UnrulyWires wires(1, 5, "");
  const auto world = wires.world();
  const auto place = world->allocate(SizeBytes(kSize));
  Run write(0, WorkOp::write, place, kSize), read(1, WorkOp::read, place, kSize);
  write.fill(1);
  CHECK(do_one(*world, kLane, write.request) == Errc::ok);
  CHECK(do_one(*world, kLane, read.request) == Errc::ok);
  CHECK(read.memory == write.memory);
  CHECK(wires[0].largest_read_bytes == emulator::kRoceLaneSendPacketsMax * kPathMtu);
}

TEST_CASE("over RoCE no WRITE lands that was given up, however late its frames", "[contract]") {
  constexpr std::size_t kSize = std::size_t{2} << 20U;
  UnrulyWires wires(2, 7);
  const auto world = wires.world();
  const auto place = world->allocate(SizeBytes(kSize));
  Run given_up(0, WorkOp::write, place, kSize), again(1, WorkOp::write, place, kSize),
      read(2, WorkOp::read, place, kSize);
  given_up.fill(1);
  again.fill(2);
  REQUIRE(world->transport().post(kLane, given_up.request) == Errc::ok);
  (void)world->transport().progress();
  wires[0].is_held = true;
  CHECK(outcomes(*world, 1).at(0) == Errc::lane_timeout);
  CHECK(wires[0].held() > 100);
  CHECK(do_one(*world, LaneId(1), again.request) == Errc::ok);
  wires[0].is_held = false;
  CHECK(world->run([&] {
    wires[0].flush();
    return wires[0].held() == 0;
  }));
  world->run_for(std::chrono::milliseconds(200));
  CHECK(do_one(*world, LaneId(1), read.request) == Errc::ok);
  CHECK(read.memory == again.memory);
  come_up(*world, kLane);
  CHECK(do_one(*world, kLane, read.request) == Errc::ok);
  CHECK(read.memory == again.memory);
}

TEST_CASE("over RoCE what is fenced and sent over another lane stays as that left it",
          "[contract]") {
  constexpr std::size_t kSize = std::size_t{1} << 20U;
  UnrulyWires wires(2, 9);
  const auto world = wires.world();
  const auto place = world->allocate(SizeBytes(kSize));
  Run first(0, WorkOp::write, place, kSize), second(1, WorkOp::write, place, kSize),
      read(2, WorkOp::read, place, kSize);
  SeededRandom random(3);
  for (std::size_t round = 0; round < 30; ++round) {
    CAPTURE(round);
    first.fill(random.next_u64());
    second.fill(random.next_u64());
    const LaneId one(static_cast<LaneId::rep>(round % 2)),
        other(static_cast<LaneId::rep>(1 - round % 2));
    REQUIRE(world->transport().post(one, first.request) == Errc::ok);
    for (std::uint64_t steps = random.next_u64() % 12; steps > 0; --steps) {
      (void)world->transport().progress();
    }
    const bool was_done = world->transport().lane_status(one).requests_in_flight == 0;
    world->transport().fence(one);
    CHECK(outcomes(*world, 1).at(0) == (was_done ? Errc::ok : Errc::lane_fenced));
    CHECK(do_one(*world, other, second.request) == Errc::ok);
    CHECK(do_one(*world, other, read.request) == Errc::ok);
    REQUIRE(read.memory == second.memory);
    come_up(*world, one);
    CHECK(do_one(*world, one, read.request) == Errc::ok);
    REQUIRE(read.memory == second.memory);
  }
}

TEST_CASE("over RoCE one refused request costs the others nothing, whatever answers are lost",
          "[contract]") {
  // Few enough before it that it goes out though none of them is answered.
  constexpr std::size_t kSize = 100'000, kCount = 32, kBad = 3;
  using Deaf = UnrulyFrames::Deaf;
  const Deaf deaf = GENERATE(Deaf::to_naks, Deaf::to_all);
  CAPTURE(deaf);
  UnrulyWires wires(1, 13);
  const auto world = wires.world();
  const auto place = world->allocate(SizeBytes(kSize));
  Bytes truth = random_bytes(kSize, 1);
  REQUIRE(move(*world, WorkOp::write, place, 0, truth) == Errc::ok);
  wires[0].deaf = deaf;
  std::vector<std::unique_ptr<Run>> runs;
  for (std::size_t i = 0; i < kCount; ++i) {
    runs.push_back(std::make_unique<Run>(i, WorkOp::read, place, kSize));
    for (RemoteSegment& segment : runs[i]->remote) {
      segment.key = RKey(segment.key.value() ^ (i == kBad ? 1U : 0U));
    }
    REQUIRE(world->transport().post(kLane, runs[i]->request) == Errc::ok);
  }
  for (const auto& [id, status] : outcomes(*world, kCount)) {
    CAPTURE(id);
    CHECK(status == (id == kBad ? Errc::key_revoked : Errc::ok));
    CHECK((runs[id]->memory == truth) == (id != kBad));
  }
  CHECK(wires[0].unheard >= (deaf == Deaf::to_all ? 50 : 1));
}

TEST_CASE("over RoCE a cut cable ends its requests, and mended it serves again", "[contract]") {
  constexpr std::size_t kSize = std::size_t{1} << 20U;
  UnrulyWires wires(1, 11);
  const auto world = wires.world();
  const auto place = world->allocate(SizeBytes(kSize));
  Run write(0, WorkOp::write, place, kSize), read(1, WorkOp::read, place, kSize);
  write.fill(1);
  REQUIRE(world->transport().post(kLane, write.request) == Errc::ok);
  REQUIRE(world->transport().post(kLane, read.request) == Errc::ok);
  (void)world->transport().progress();
  wires[0].is_cut = true;
  for (const auto& [id, status] : outcomes(*world, 2)) {
    CAPTURE(id);
    CHECK(status == Errc::lane_timeout);
  }
  CHECK(world->transport().lane_status(kLane).requests_in_flight == 0);
  CHECK(world->transport().lane_status(kLane).bytes_in_flight == 0);
  // Whoever drives it while a lane tries in vain to connect need not be quick.
  world->transport().reopen(kLane);
  CHECK(world->run([&] {
    (void)world->transport().progress();
    return world->transport().poll_pause() >= std::chrono::milliseconds(1);
  }));
  CHECK(world->transport().lane_status(kLane).state == LaneState::connecting);
  wires[0].is_cut = false;
  come_up(*world, kLane);
  CHECK(do_one(*world, kLane, write.request) == Errc::ok);
  CHECK(do_one(*world, kLane, read.request) == Errc::ok);
  CHECK(read.memory == write.memory);
}

}  // namespace
}  // namespace godbox::test
