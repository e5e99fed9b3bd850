// SPDX-License-Identifier: Apache-2.0
//
// READs of many queue pairs that want more memory pinned than a port may pin: each of them goes on,
// whatever the others do, and what waits keeps nothing for long.
#include "responder_fixture.h"

#include <algorithm>
#include <map>

namespace godbox::emulator {
namespace {

constexpr std::uint32_t kMtuBytes = 4096;
constexpr std::uint32_t kLongBytes = 512U << 10U;  // windows of it are pinned one after the other
constexpr std::uint32_t kLongPackets = kLongBytes / kMtuBytes;
constexpr std::uint32_t kShortBytes = 64;
constexpr std::uint32_t kShorts = kRoceResourcesMax - 1;
// So many that the short READs alone want more than there is.
constexpr std::size_t kPairs = kRoceWindowsMax / kShorts + 1;
static_assert(kPairs * kShorts > kRoceWindowsMax);

test::RoceEndOptions at_rate(double bytes_per_second) {
  test::RoceEndOptions options;
  options.box.mode = TimingMode::paced;
  options.box.rates.dram_channel = Rate(bytes_per_second);
  return options;
}

// A port with many queue pairs to one host; nothing leaves it before it is asked for.
class Pairs {
 public:
  explicit Pairs(const test::RoceEndOptions& options = {}) : end(options) {
    header_.destination = end.port().options().mac;
    header_.source = {2, 0, 0, 0, 0, 1};
    header_.destination_ip = end.port().options().addresses.front();
    header_.source_ip = roce::Gid::of_ipv4({10, 0, 0, 1});
    memory = end.allocate(1U << 20U);
    REQUIRE(memory.extents[0].length_bytes >= kLongBytes);
    end.set_bytes_of(memory, content);
  }

  // Its place, by which it is called here.
  std::size_t connect(const SessionInfo& session) {
    const auto local = end.port().allot_queue_pair();
    REQUIRE(local.has_value());
    QueuePairOptions options = end.pair_options(session);
    options.path_mtu = roce::PathMtu::bytes_4096;
    options.resources_max = kRoceResourcesMax;
    options.number = local->number;
    options.remote_number = roce::QueuePairNumber(static_cast<std::uint32_t>(numbers_.size() + 2));
    options.path.destination = header_.source;
    options.path.destination_ip = header_.source_ip;
    REQUIRE(end.port().connect_queue_pair(options, end.now()) == Errc::ok);
    numbers_.push_back(local->number);
    return numbers_.size() - 1;
  }
  std::size_t connect() { return connect(end.session()); }

  void ask(std::size_t pair, std::uint32_t psn, const RemoteMemory& of, std::uint32_t length_bytes,
           std::uint32_t offset = 0) {
    Packet read = write_begin(Opcode::read_request, psn, of, length_bytes, true);
    read.destination_qp = numbers_[pair];
    read.address += offset;
    end.on_frame(test::roce_frame(header_, read));
  }
  // A long READ, and behind it as many short ones as may be under way, each of other bytes.
  void ask_many(std::size_t pair, const RemoteMemory& of, std::uint32_t psn = 0) {
    ask(pair, psn, of, kLongBytes);
    for (std::uint32_t i = 0; i < kShorts; ++i) {
      ask(pair, psn + kLongPackets + i, of, kShortBytes, i);
    }
  }
  // What a pair's answers to that show, in order.
  [[nodiscard]] Bytes many() const {
    Bytes bytes(content.begin(), content.begin() + kLongBytes);
    for (std::uint32_t i = 0; i < kShorts; ++i) {
      bytes.insert(bytes.end(), content.begin() + i, content.begin() + i + kShortBytes);
    }
    return bytes;
  }

  // The next answer, and whose it is.
  std::optional<std::pair<std::size_t, RoceAnswer>> take() {
    const Bytes bytes = end.take_frame();
    if (bytes.empty()) {
      return std::nullopt;
    }
    std::optional<RoceAnswer> answer = test::answer_to(header_, bytes);
    REQUIRE(answer.has_value());
    const std::size_t pair = answer->packet.destination_qp.value() - 2;
    return std::pair(pair, std::move(*answer));
  }
  // All that there is, as bytes of each pair; no NAK among it, and PSNs go up one by one from here.
  std::map<std::size_t, Bytes> take_all(std::uint32_t psn) {
    std::map<std::size_t, Bytes> all;
    std::map<std::size_t, std::uint32_t> taken;
    while (const auto answer = take()) {
      const auto& [pair, said] = *answer;
      REQUIRE(said.packet.opcode != Opcode::acknowledge);
      REQUIRE(said.packet.psn == Psn(psn + taken[pair]++));
      Bytes& bytes = all[pair];
      bytes.insert(bytes.end(), said.payload.begin(), said.payload.end());
    }
    return all;
  }
  [[nodiscard]] const RocePortCounters& counters() { return end.port().counters(); }
  [[nodiscard]] std::size_t windows() { return end.port().usage().windows; }

  RoceEnd end;
  RemoteMemory memory;
  Bytes content = pattern(1U << 20U);

 private:
  roce::FrameHeader header_;
  std::vector<roce::QueuePairNumber> numbers_;
};

}  // namespace

TEST_CASE("more READs than there are windows are all answered, without being asked again",
          "[unit][roce]") {
  Pairs pairs;
  const Bytes expected = pairs.many();
  for (std::size_t i = 0; i < kPairs; ++i) {
    static_cast<void>(pairs.connect());
  }
  constexpr std::uint64_t kTooMany = kPairs * kShorts - kRoceWindowsMax;
  for (std::uint32_t round = 0; round < 2; ++round) {
    const std::uint32_t psn = round * (kLongPackets + kShorts);
    for (std::size_t pair = 0; pair < kPairs; ++pair) {
      pairs.ask_many(pair, pairs.memory, psn);
    }
    CHECK(pairs.windows() == kRoceWindowsMax);
    CHECK(pairs.counters().windows_exhausted.get() == (round + 1) * kTooMany);
    const std::map<std::size_t, Bytes> answers = pairs.take_all(psn);
    CHECK(answers.size() == kPairs);
    CHECK(std::ranges::all_of(answers, [&](const auto& of) { return of.second == expected; }));
    // The first ones had windows of their own; nobody waited for any.
    CHECK(pairs.counters().windows_exhausted.get() == (round + 1) * kTooMany);
    CHECK(pairs.windows() == 0);
  }
  CHECK(pairs.counters().duplicates.get() == 0);
}

TEST_CASE("peers that begin one READ again and again keep no other from its bytes",
          "[unit][roce]") {
  Pairs pairs;
  const SessionInfo hostile = pairs.end.open_session("hostile");
  const RemoteMemory theirs = pairs.end.allocate(hostile, 1U << 20U);
  REQUIRE(theirs.extents[0].length_bytes >= kLongBytes);
  for (std::size_t i = 0; i < kPairs; ++i) {
    pairs.ask_many(pairs.connect(hostile), theirs);
  }
  const std::size_t honest = pairs.connect();
  for (std::uint32_t psn = 0; psn < 3; ++psn) {
    pairs.ask(honest, psn, pairs.memory, kShortBytes, psn);
  }
  CHECK(pairs.counters().windows_exhausted.get() == kPairs * kShorts - kRoceWindowsMax + 2);
  // Each other pair has a turn before it, and in each turn begins anew.
  std::size_t taken = 0;
  std::vector<RoceAnswer> answers;
  while (answers.size() < 3 && taken < (kPairs + 1) * kRoceFramesPerTurn) {
    if (taken++ % kRoceFramesPerTurn == 0) {
      for (std::size_t pair = 0; pair < kPairs; ++pair) {
        pairs.ask(pair, 0, theirs, kLongBytes);
      }
    }
    auto answer = pairs.take();
    REQUIRE(answer.has_value());
    if (answer->first == honest) {
      answers.push_back(std::move(answer->second));
    }
  }
  REQUIRE(answers.size() == 3);
  for (std::uint32_t psn = 0; psn < 3; ++psn) {
    CHECK(answers[psn].packet.psn == Psn(psn));
    CHECK(std::ranges::equal(answers[psn].payload,
                             ConstSpan(pairs.content).subspan(psn, kShortBytes)));
  }
  // They have nothing left but what they are being answered with.
  CHECK(pairs.windows() <= kPairs);
}

TEST_CASE("a READ that waits for one that takes long pins nothing after a while", "[unit][roce]") {
  Pairs pairs;
  const std::size_t pair = pairs.connect();
  pairs.ask_many(pair, pairs.memory);
  CHECK(pairs.windows() == kShorts);
  pairs.end.advance(kRoceReadPinMax - std::chrono::milliseconds(1), [] {});
  CHECK(pairs.windows() == kShorts);
  CHECK(pairs.counters().pins_expired.get() == 0);
  pairs.ask(pair, kLongPackets + kShorts, pairs.memory, kShortBytes);  // and the long one is gone
  pairs.end.advance(std::chrono::milliseconds(1), [] {});
  CHECK(pairs.counters().pins_expired.get() == kShorts - 1);  // of the first, it is the turn now
  CHECK(pairs.windows() == 2);
  pairs.end.advance(kRoceReadPinMax, [] {});
  CHECK(pairs.counters().pins_expired.get() == kShorts);
  CHECK(pairs.windows() == 1);
  SECTION("it is answered all the same") {
    std::uint32_t psn = kLongPackets;
    while (const auto answer = pairs.take()) {
      const std::uint32_t offset = psn < kLongPackets + kShorts ? psn - kLongPackets : 0;
      REQUIRE(answer->second.packet.psn == Psn(psn));
      REQUIRE(std::ranges::equal(answer->second.payload,
                                 ConstSpan(pairs.content).subspan(offset, kShortBytes)));
      ++psn;
    }
    CHECK(psn == kLongPackets + kShorts + 1);
    CHECK(pairs.counters().windows_exhausted.get() == 0);
  }
  SECTION("its key is checked anew") {
    REQUIRE(pairs.end.service().free_region(pairs.end.session().id, pairs.memory.key) == Errc::ok);
    CHECK(pairs.take()->second.payload.size() == kShortBytes);  // this one was pinned
    CHECK(said(pairs.take()->second).syndrome == kNakAccess);
    CHECK_FALSE(pairs.take().has_value());
  }
  CHECK(pairs.windows() == 0);
}

TEST_CASE("a READ that pinned nothing for a while is not paced twice", "[unit][roce]") {
  Pairs pairs(at_rate(1e4));  // 0.1 ms for a byte
  const std::size_t pair = pairs.connect();
  for (std::uint32_t psn = 0; psn < 4; ++psn) {
    pairs.ask(pair, psn, pairs.memory, 1250);  // at 125, 250, 375 and 500 ms
  }
  std::size_t answers = 0;
  const auto pump = [&] {
    while (pairs.take()) {
      ++answers;
    }
  };
  pairs.end.advance(std::chrono::milliseconds(374), pump);
  CHECK(answers == 2);
  CHECK(pairs.counters().pins_expired.get() == 2);
  pairs.end.advance(std::chrono::milliseconds(2), pump);
  CHECK(answers == 3);
  pairs.end.advance(std::chrono::milliseconds(123), pump);
  CHECK(answers == 3);
  pairs.end.advance(std::chrono::milliseconds(2), pump);
  CHECK(answers == 4);
}

TEST_CASE("a queue pair waits for frames of its own at most", "[unit][roce]") {
  Pairs pairs;
  const std::size_t one = pairs.connect();
  const std::size_t other = pairs.connect();
  RocePort& port = pairs.end.port();
  std::vector<ReleaseToken> tokens;
  const auto next = [&] {
    OutFrame frame;
    if (!port.next_frame(frame, pairs.end.now())) {
      return false;
    }
    CHECK(frame.payload.size_bytes() == kShortBytes);
    tokens.push_back(frame.token);
    return true;
  };
  std::uint32_t psn = 0;
  for (; psn < kRoceWindowsMax + 1; ++psn) {  // all that all share, and one of its own
    pairs.ask(one, psn, pairs.memory, kShortBytes);
    REQUIRE(next());
  }
  CHECK(pairs.windows() == kRoceWindowsMax + 1);
  CHECK(pairs.counters().windows_exhausted.get() == 0);
  pairs.ask(one, psn, pairs.memory, kShortBytes);
  for (int i = 0; i < 10; ++i) {
    CHECK_FALSE(next());
  }
  CHECK(pairs.counters().windows_exhausted.get() == 1);  // however often it was asked
  pairs.ask(other, 0, pairs.memory, kShortBytes);
  CHECK(next());
  CHECK_FALSE(next());
  CHECK(pairs.counters().windows_exhausted.get() == 1);
  SECTION("one of those that all share is free again") {
    port.release(tokens.front());
    tokens.erase(tokens.begin());
  }
  SECTION("its own is free again") {
    port.release(tokens[kRoceWindowsMax]);
    tokens.erase(tokens.begin() + kRoceWindowsMax);
  }
  CHECK(next());
  CHECK_FALSE(next());
  for (const ReleaseToken token : tokens) {
    port.release(token);
  }
  CHECK(pairs.windows() == 0);
}

TEST_CASE("a READ gets its queue pair's own window from those behind it", "[unit][roce]") {
  Pairs pairs;
  for (std::size_t i = 0; i < kPairs; ++i) {
    pairs.ask_many(pairs.connect(), pairs.memory);
  }
  const std::size_t pair = pairs.connect();
  pairs.ask(pair, 0, pairs.memory, kShortBytes);
  const auto next_of_pair = [&] {
    for (std::size_t i = 0; i < (kPairs + 1) * kRoceFramesPerTurn; ++i) {
      const auto answer = pairs.take();
      REQUIRE(answer.has_value());
      if (answer->first == pair) {
        return answer->second.packet.psn.value();
      }
    }
    return UINT32_MAX;
  };
  CHECK(next_of_pair() == 0);
  pairs.ask(pair, 1, pairs.memory, kShortBytes);  // pinned at once: it is the first
  CHECK(pairs.windows() == kRoceWindowsMax + kPairs + 1);
  pairs.ask(pair, 0, pairs.memory, kShortBytes);  // but this one now goes before it
  CHECK(next_of_pair() == 0);
  CHECK(next_of_pair() == 1);
}

}  // namespace godbox::emulator
