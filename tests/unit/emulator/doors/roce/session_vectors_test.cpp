// SPDX-License-Identifier: Apache-2.0
//
// The golden session (tests/vectors/make_roce_vectors.py): each request's answers, byte for byte.
#include <godbox_test/hex_file.h>
#include <godbox_test/roce_end.h>

#include <catch2/catch_test_macros.hpp>

#include <deque>
#include <filesystem>
#include <set>

namespace godbox::emulator {
namespace {

using test::Bytes;

constexpr std::uint32_t kKey = 0x1234, kBoxNumber = 0x11, kHostNumber = 0x12, kFirstPsn = 0x100;

// Words that count, so that the one that is drawn first from a block is known.
class CountingRandom final : public RandomSource {
 public:
  explicit CountingRandom(std::uint32_t first) : next_(first) {}
  void fill(MutableSpan out) override {
    for (std::size_t at = 0; at + sizeof(next_) <= out.size(); at += sizeof(next_), ++next_) {
      std::memcpy(out.data() + at, &next_, sizeof(next_));
    }
  }

 private:
  std::uint32_t next_;
};

// A pool whose first region has the golden key and lies at the golden address.
struct GoldenEnd {
  // The pool takes 12 words for numbers of its own, then keys in blocks of 1024, the last one
  // first.
  CountingRandom keys{kKey - 1023 - 12};
  CountingRandom numbers{kBoxNumber};
  ManualClock clock;
  test::HeapMemoryTarget channel{SizeBytes(16U << 20U)};
  std::unique_ptr<TimingModel> timing = make_free_timing();
  PortFaults faults{1};
  std::unique_ptr<PoolService> service;
  std::unique_ptr<RoceDoor> door;
  std::unique_ptr<RocePort> port;

  GoldenEnd() {
    BoxConfig config;
    config.super_nics = 1;
    config.dram_channels_per_super_nic = 1;
    config.dram_channel_size = channel.size();
    REQUIRE(validate(config, SizeBytes(1U << 20U)).has_value());
    service = std::make_unique<PoolService>(config, std::vector<MemoryTarget*>{&channel},
                                            SizeBytes(1U << 30U), clock, keys);
    const Result<SessionInfo> session = service->open_session("tenant");
    REQUIRE(session.has_value());
    const Result<wire::RegionReply> region = service->allocate_region(session->id, SizeBytes(4096));
    REQUIRE(region.has_value());
    REQUIRE(region->key.value() == kKey);
    REQUIRE(to_virtual(region->extents.at(0).address)->value() == std::uint64_t{1} << 36U);
    door = std::make_unique<RoceDoor>(*service, *timing, faults);
    connect(*session);
  }

  void connect(const SessionInfo& session) {
    RocePortOptions options;
    options.mac = {2, 0, 0, 0, 0, 2};
    options.addresses = {roce::Gid::of_ipv4({10, 0, 0, 2})};
    port = std::make_unique<RocePort>(*door, options, numbers);
    const auto local = port->allot_queue_pair();
    REQUIRE(local.has_value());
    REQUIRE(local->number.value() == kBoxNumber);
    QueuePairOptions pair;
    pair.session = session.id;
    pair.lane = *service->join_session(session.id, session.secret);
    pair.allows_read = pair.allows_write = pair.allows_atomic = true;
    pair.number = local->number;
    pair.remote_number = roce::QueuePairNumber(kHostNumber);
    pair.path_mtu = roce::PathMtu::bytes_256;
    pair.first_psn_received = roce::Psn(kFirstPsn);
    pair.path.source_ip = options.addresses[0];
    pair.path.destination = {2, 0, 0, 0, 0, 1};
    pair.path.destination_ip = roce::Gid::of_ipv4({10, 0, 0, 1});
    REQUIRE(port->connect_queue_pair(pair, clock.now()) == Errc::ok);
  }

  [[nodiscard]] std::deque<Bytes> ask(ConstSpan request) {
    std::deque<Bytes> answers;
    OutFrame frame;
    port->on_frame(request, clock.now());
    while (port->next_frame(frame, clock.now())) {
      answers.emplace_back(frame.size_bytes());
      REQUIRE(port->copy_frame(frame, answers.back()) == answers.back().size());
      port->release(frame.token);
    }
    return answers;
  }
};

}  // namespace

TEST_CASE("the golden session's requests get the golden answers, byte for byte", "[unit][roce]") {
  GoldenEnd end;
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(GODBOX_VECTORS_DIR) / "roce" / "session")) {
    files.insert(entry.path());
  }
  REQUIRE(files.size() > 30);
  std::deque<Bytes> answers;
  for (const std::filesystem::path& path : files) {
    CAPTURE(path.filename().string());
    const Bytes golden = test::read_hex_file(path);
    if (path.stem().string().ends_with("_request")) {
      CHECK(answers.empty());  // the request before has no answer but the golden ones
      answers = end.ask(golden);
    } else {
      REQUIRE(!answers.empty());
      CHECK(answers.front() == golden);
      answers.pop_front();
    }
  }
  CHECK(answers.empty());
  CHECK(end.port->usage().windows == 0);
}

}  // namespace godbox::emulator
