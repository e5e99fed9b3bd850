// SPDX-License-Identifier: Apache-2.0
//
// Earliest times at which transfers are done, in literal numbers. At 1e9 bytes per second a byte
// takes a nanosecond.
#include <godbox/emulator/timing.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <thread>
#include <vector>

namespace godbox::emulator {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint kStart{Duration(1'000'000'000'000)};

BoxConfig config_with(double dram, double link, double eth_port) {
  BoxConfig config;
  config.super_nics = 2;
  config.dram_channels_per_super_nic = 2;
  config.eth_ports_per_super_nic = 1;
  config.mode = TimingMode::paced;
  config.rates = PacedRates::both(
      {.dram_channel = Rate(dram), .cxl_link = Rate(link), .eth_port = Rate(eth_port)});
  return config;
}

// `bytes` over each of `dram_channels`, through Ethernet port `eth_port`.
struct Load {
  WorkOp op = WorkOp::read;
  std::uint64_t bytes_each = 0;
  std::vector<std::uint16_t> dram_channels;
  std::uint16_t eth_port = 0;
  TimePoint latest = kNever;
};

// Nanoseconds from kStart until the transfer, asked for `at_ns` after it, is done.
std::int64_t done_ns(TimingModel& timing, const Load& load, std::int64_t at_ns = 0) {
  std::vector<DramChannelLoad> loads;
  for (const std::uint16_t id : load.dram_channels) {
    loads.push_back({DramChannelId(id), load.bytes_each});
  }
  TimedTransfer transfer;
  transfer.op = load.op;
  transfer.eth_port = EthPortId(load.eth_port);
  transfer.total_bytes = load.bytes_each * load.dram_channels.size();
  transfer.dram_channels = loads;
  transfer.latest = load.latest;
  return (timing.admit(transfer, kStart + Duration(at_ns)) - kStart).count();
}

TEST_CASE("in free mode every transfer is done at once", "[unit][timing]") {
  const auto timing = make_free_timing();
  CHECK(timing->name() == "free");
  CHECK(done_ns(*timing, {WorkOp::write, 1'000'000, {0, 1, 2, 3}}) == 0);
  CHECK(done_ns(*timing, {WorkOp::write, 1'000'000, {0, 1, 2, 3}}, 5) == 5);
}

TEST_CASE("a transfer is done with its slowest stage, not after the sum of all", "[unit][timing]") {
  const Load load{WorkOp::read, 4000, {0, 1}};
  CHECK(done_ns(*make_paced_timing(config_with(1e9, 2e9, 4e9)), load) == 4000);
  CHECK(done_ns(*make_paced_timing(config_with(4e9, 1e9, 8e9)), load) == 4000);
  CHECK(done_ns(*make_paced_timing(config_with(4e9, 4e9, 2e9)), load) == 4000);
}

TEST_CASE("a rate of 0 is unlimited", "[unit][timing]") {
  const Load load{WorkOp::read, 4000, {0, 1}};
  CHECK(make_paced_timing(config_with(0, 0, 0))->name() == "paced");
  CHECK(done_ns(*make_paced_timing(config_with(0, 0, 0)), load) == 0);
  CHECK(done_ns(*make_paced_timing(config_with(0, 0, 1e9)), load) == 8000);
}

TEST_CASE("transfers on one DRAM channel queue up, on two they do not", "[unit][timing]") {
  const auto timing = make_paced_timing(config_with(1e9, 0, 0));
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 1000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 2000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {1}}) == 1000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0, 1}}) == 3000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {1}}) == 3000);
}

TEST_CASE("an idle time earns no burst", "[unit][timing]") {
  const auto timing = make_paced_timing(config_with(1e9, 1e9, 0));
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 1000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}, 5'000'000) == 5'001'000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}, 5'000'000) == 5'002'000);
}

TEST_CASE("links and Ethernet ports have two directions, a DRAM channel has one",
          "[unit][timing]") {
  for (const auto& config : {config_with(0, 1e9, 0), config_with(0, 0, 1e9)}) {
    const auto timing = make_paced_timing(config);
    CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 1000);
    CHECK(done_ns(*timing, {WorkOp::write, 1000, {0}}) == 1000);
    CHECK(done_ns(*timing, {WorkOp::write, 1000, {0}}) == 2000);
  }
  const auto timing = make_paced_timing(config_with(1e9, 0, 0));
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 1000);
  CHECK(done_ns(*timing, {WorkOp::write, 1000, {0}}) == 2000);
}

TEST_CASE("each Ethernet port is a queue of its own", "[unit][timing]") {
  const auto timing = make_paced_timing(config_with(0, 0, 1e9));
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}, 0}) == 1000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}, 1}) == 1000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}, 1}) == 2000);
}

TEST_CASE("the time scale stretches all times", "[unit][timing]") {
  BoxConfig config = config_with(1e9, 2e9, 0);
  config.time_scale = 1000;
  const auto timing = make_paced_timing(config);
  CHECK(done_ns(*timing, {WorkOp::read, 7, {0}}) == 7000);
  CHECK(done_ns(*timing, {WorkOp::read, 7, {0}}) == 14000);
}

TEST_CASE("a stripe over 18 DRAM channels takes half the time of one over 9", "[unit][timing]") {
  BoxConfig config = config_with(1e9, 0, 0);
  config.super_nics = 9;
  config.dram_channels_per_super_nic = 1;
  CHECK(done_ns(*make_paced_timing(config),
                {WorkOp::read, 1'000'000, {0, 1, 2, 3, 4, 5, 6, 7, 8}}) == 1'000'000);
  config.dram_channels_per_super_nic = 2;
  CHECK(done_ns(*make_paced_timing(config),
                {WorkOp::read,
                 500'000,
                 {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}}) == 500'000);
}

TEST_CASE("fractions of a nanosecond are not lost", "[unit][timing]") {
  const auto timing = make_paced_timing(config_with(64e9, 0, 0));
  std::int64_t done = 0;
  for (int i = 0; i < 64000; ++i) {
    done = done_ns(*timing, {WorkOp::read, 1, {0}});
  }
  CHECK(done >= 999);
  CHECK(done <= 1000);
}

TEST_CASE("a transfer that nobody would wait for is not booked", "[unit][timing]") {
  const auto timing = make_paced_timing(config_with(1e9, 1e9, 1e9));
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 1000);
  Load given_up{WorkOp::read, 1000, {0}};
  given_up.latest = kStart + 1999ns;
  CHECK(done_ns(*timing, given_up) == 2000);
  CHECK(done_ns(*timing, given_up) == 2000);
  given_up.latest = kStart + 2000ns;
  CHECK(done_ns(*timing, given_up) == 2000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 3000);
}

TEST_CASE("a slow port serves what is booked while it is slow at its share", "[unit][timing]") {
  PortFaults faults(2);
  const auto timing = make_paced_timing(config_with(1e12, 1e12, 1e9), &faults);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 1000);
  faults.set(EthPortId(0), {.kind = PortFaultKind::slow, .rate_share = 0.1}, kStart);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 11'000);
  CHECK(done_ns(*timing, {.bytes_each = 1000, .dram_channels = {0}, .eth_port = 1}) == 1000);
  faults.set(EthPortId(0), PortFault{}, kStart);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 12'000);
}

TEST_CASE("a slow DRAM channel and its link serve what is booked at their share",
          "[unit][timing]") {
  for (const auto& config : {config_with(1e9, 0, 0), config_with(0, 1e9, 0)}) {
    ChannelFaults faults(4);
    const auto timing = make_paced_timing(config, nullptr, &faults);
    faults.set({.dram_channel = DramChannelId(1), .rate_share = 0.1});
    CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 1000);
    CHECK(done_ns(*timing, {WorkOp::read, 1000, {1}}) == 10'000);
    CHECK(done_ns(*timing, {WorkOp::read, 1000, {0, 1, 2}}) == 20'000);
    CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 3000);  // it waits for nobody
    faults.set({.dram_channel = DramChannelId(1)});
    CHECK(done_ns(*timing, {WorkOp::read, 1000, {1}}) == 21'000);
  }
}

TEST_CASE("faults of DRAM channels are read strictly", "[unit][faults]") {
  const auto slow = parse_channel_fault("12=slow:2.5%");
  REQUIRE(slow.has_value());
  CHECK(slow->dram_channel == DramChannelId(12));
  CHECK(slow->rate_share == 0.025);
  CHECK(parse_channel_fault("3=healthy")->rate_share == 1);
  CHECK(channel_fault_text(0.025) == "slow:2.5%");
  CHECK(channel_fault_text(1) == "healthy");
  for (const char* const text : {"", "3", "=slow:10%", "3=slow", "3=slow:0%", "3=slow:100%",
                                 "3=slow:nan%", "3=slow:10", "3=dead", "x=healthy", "3= healthy"}) {
    CAPTURE(text);
    CHECK(parse_channel_fault(text).error().code == Errc::config_invalid);
  }
}

TEST_CASE("delays come on top, stretched, and take no time of a stage", "[unit][timing]") {
  BoxConfig config = config_with(1e9, 0, 0);
  config.rates->read.channel_delay = 30ns;
  config.rates->read.network_delay = 70ns;
  config.rates->write.network_delay = 5ns;
  config.time_scale = 10;
  const auto timing = make_paced_timing(config);
  CHECK(done_ns(*timing, {WorkOp::read, 100, {0}}) == 1000 + 1000);
  CHECK(done_ns(*timing, {WorkOp::read, 100, {0}}) == 2000 + 1000);
  CHECK(done_ns(*timing, {WorkOp::write, 100, {1}}) == 1000 + 50);
  Load given_up{WorkOp::read, 100, {0}};
  given_up.latest = kStart + 3999ns;
  CHECK(done_ns(*timing, given_up) == 4000);
  CHECK(done_ns(*timing, {WorkOp::read, 100, {0}}) == 3000 + 1000);
}

TEST_CASE("a SuperNIC's channels share its path, each direction by itself", "[unit][timing]") {
  BoxConfig config = config_with(2e9, 4e9, 0);
  config.rates->read.super_nic_path = config.rates->write.super_nic_path = Rate(1e9);
  const auto timing = make_paced_timing(config);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0, 1}}) == 2000);
  CHECK(done_ns(*timing, {WorkOp::write, 1000, {0, 1}}) == 2000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {2}}) == 1000);
  // Given up, it leaves no byte on a path that it would have taken twice.
  Load given_up{WorkOp::read, 1000, {0, 1}};
  given_up.latest = kStart + 3999ns;
  CHECK(done_ns(*timing, given_up) == 4000);
  CHECK(done_ns(*timing, {WorkOp::read, 1000, {0}}) == 3000);
}

TEST_CASE("an absurdly slow rate does not overflow time", "[unit][timing]") {
  BoxConfig config = config_with(1, 1, 1);
  config.time_scale = 1e9;
  const auto timing = make_paced_timing(config);
  std::int64_t before = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t done = done_ns(*timing, {WorkOp::read, 16U << 20U, {0}});
    REQUIRE(done > before);
    before = done;
  }
}

TEST_CASE("several threads book every byte exactly once", "[unit][timing]") {
  const auto timing = make_paced_timing(config_with(1e9, 1e9, 0));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&timing] {
      for (int j = 0; j < 5000; ++j) {
        static_cast<void>(done_ns(*timing, {WorkOp::read, 10, {0, 1}}));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  CHECK(done_ns(*timing, {WorkOp::read, 10, {0}}) == 200'010);
  CHECK(done_ns(*timing, {WorkOp::read, 10, {1}}) == 200'010);
}

}  // namespace
}  // namespace godbox::emulator
