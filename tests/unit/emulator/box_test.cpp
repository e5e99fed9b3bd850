// SPDX-License-Identifier: Apache-2.0
#include "door_fixture.h"

#include <catch2/catch_test_macros.hpp>

namespace godbox::emulator {
namespace {

using namespace std::chrono_literals;

BoxConfig small_config() {
  BoxConfig config;
  config.super_nics = 2;
  config.dram_channels_per_super_nic = 1;
  config.eth_ports_per_super_nic = 3;
  config.dram_channel_size = SizeBytes(4U << 20U);
  return config;
}

Result<std::unique_ptr<Box>> create(const BoxConfig& config,
                                    std::vector<std::unique_ptr<MemoryTarget>> targets) {
  static const ManualClock clock;
  static test::SeededRandom random(1);
  return Box::create(config, std::move(targets), SizeBytes(1U << 30U), clock, random);
}

TEST_CASE("a box is made of its configuration and one target per DRAM channel", "[unit][box]") {
  const auto box = create(small_config(), test::heap_memory_targets(2, SizeBytes(4U << 20U)));
  REQUIRE(box.has_value());
  CHECK((*box)->config().eth_ports() == 6);
  CHECK((*box)->service().usage().capacity == SizeBytes(8U << 20U));
  CHECK(&(*box)->eth_port_door(EthPortId(0)) != &(*box)->eth_port_door(EthPortId(5)));
}

TEST_CASE("a box whose memory does not fit its configuration is refused with the numbers",
          "[unit][box]") {
  const auto error_of = [](const BoxConfig& config, std::size_t count, std::uint64_t size_bytes) {
    const auto box = create(config, test::heap_memory_targets(count, SizeBytes(size_bytes)));
    REQUIRE_FALSE(box.has_value());
    return box.error();
  };
  const Error missing = error_of(small_config(), 1, 4U << 20U);
  CHECK(missing.code == Errc::config_invalid);
  CHECK(missing.detail == "1 memory targets for 2 DRAM channels");
  const Error small = error_of(small_config(), 2, 2U << 20U);
  CHECK(small.code == Errc::config_invalid);
  CHECK(small.detail == "memory target 0 has 2097152 bytes, a DRAM channel 4194304");

  BoxConfig wrong = small_config();
  wrong.low_watermark = 2;
  CHECK(error_of(wrong, 2, 4U << 20U).code == Errc::config_invalid);
  wrong = small_config();
  wrong.listen_host = "192.0.2.1";
  CHECK(error_of(wrong, 2, 4U << 20U).code == Errc::address_not_loopback);

  auto targets = test::heap_memory_targets(2, SizeBytes(4U << 20U));
  targets[1] = nullptr;
  const auto without_one = create(small_config(), std::move(targets));
  CHECK(without_one.error().code == Errc::config_invalid);
}

TEST_CASE("on_timer ends what is overdue", "[unit][box]") {
  test::TestBoxOptions options;
  options.session_timeout = 10s;
  DoorFixture fixture(options);
  static_cast<void>(fixture.reserve("object", 1000));
  fixture.box.clock().advance(11s);
  fixture.box.box().on_timer();
  CHECK(fixture.box.service().usage().sessions == 0);
  CHECK(fixture.box.service().usage().reservations == 0);
  CHECK(fixture.box.service().usage().reserved == SizeBytes(0));
}

TEST_CASE("a backing limit too small for each strip size is refused with the least that works",
          "[unit][box]") {
  const auto with_limit = [](std::uint64_t limit_bytes) {
    static const ManualClock clock;
    static test::SeededRandom random(1);
    return Box::create(small_config(), test::heap_memory_targets(2, SizeBytes(4U << 20U)),
                       SizeBytes(limit_bytes), clock, random);
  };
  // Two DRAM channels, chunks of 64 KiB on each, the three strip sizes of a small pool.
  constexpr std::uint64_t kLeast = std::uint64_t{2} * 65536 * 3;
  const auto refused = with_limit(kLeast - 1);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::config_invalid);
  CHECK(refused.error().detail.starts_with(
      "backing_limit = 393215: allowed is 393216 bytes or more"));
  const auto box = with_limit(kLeast);
  REQUIRE(box.has_value());
  // One stripe of each strip size, and it fits.
  PoolService& service = (*box)->service();
  const SessionId session = service.open_session("tenant")->id;
  CHECK(service.allocate_region(session, SizeBytes(2 * (65536 + 4096) + 1)).has_value());
}

TEST_CASE("two boxes have two epochs", "[unit][box]") {
  test::TestBoxOptions options;
  options.seed = 1;
  test::TestBox first(options);
  options.seed = 2;
  test::TestBox second(options);
  CHECK(first.service().epoch() != second.service().epoch());
  CHECK(first.service().epoch() != Epoch(0));
}

TEST_CASE("a paced box says so", "[unit][box]") {
  test::TestBoxOptions options;
  options.mode = TimingMode::paced;
  DoorFixture fixture(options);
  const auto info = wire::decode<wire::InfoReply>(fixture.control->call(wire::Op::info).body);
  REQUIRE(info.has_value());
  CHECK(info->mode == "paced");
}

TEST_CASE("a DRAM channel of a paced box is slow from when it is told, and the status says it",
          "[unit][box][faults]") {
  test::TestBoxOptions options;
  options.mode = TimingMode::paced;
  options.rates.dram_channel = Rate(1e9);
  test::TestBox paced(options);
  Box& box = paced.box();
  const DramChannelLoad load{DramChannelId(1), 1000};
  const TimedTransfer transfer{
      .eth_port = EthPortId(0), .total_bytes = 1000, .dram_channels = {&load, 1}};
  const TimePoint now = paced.clock().now();
  CHECK(box.timing().admit(transfer, now) - now == std::chrono::nanoseconds(1000));
  REQUIRE(box.set_channel_fault({DramChannelId(1), 0.1}).has_value());
  CHECK(box.timing().admit(transfer, now) - now == std::chrono::nanoseconds(11'000));
  CHECK(box.status_json().find("\"fault\":\"slow:10%\"") != std::string::npos);
  REQUIRE(box.set_channel_fault({DramChannelId(1)}).has_value());
  CHECK(box.status_json().find("slow") == std::string::npos);
  CHECK(box.set_channel_fault({DramChannelId(4), 0.1}).error().code == Errc::out_of_range);
  CHECK(box.set_channel_fault({DramChannelId(0), 0}).error().code == Errc::config_invalid);
  CHECK(box.set_channel_fault({DramChannelId(0), 1.5}).error().code == Errc::config_invalid);
  test::TestBox free;
  CHECK(free.box().set_channel_fault({DramChannelId(0), 0.1}).error().code == Errc::config_invalid);
  CHECK(free.box().set_channel_fault({DramChannelId(0)}).has_value());
}

}  // namespace
}  // namespace godbox::emulator
