// SPDX-License-Identifier: Apache-2.0
//
// The paced box beside the model that it follows: the same requests through TimingModel and through
// BoxRun, both in virtual time. The model has queues strip by strip in the order of their events,
// the paced box books a request at once; what they have in common are the service times.
#include "model/seeded_random.h"
#include <godbox/emulator/modelled_rates.h>
#include <godbox/emulator/timing.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <functional>
#include <queue>
#include <vector>

namespace godbox::emulator {
namespace {

using Catch::Approx;

constexpr std::uint64_t kStripBytes = kTimedStrip.count();
constexpr std::uint32_t kHosts = 16;  // with 16 NICs each they bound nothing

enum class Mix : std::uint8_t { reads, writes, two_to_one };
bool is_write_of(Mix mix, std::uint64_t index) {
  return mix == Mix::writes || (mix == Mix::two_to_one && index % 3 == 2);
}

BoxConfig box_of(std::uint32_t channels) {
  BoxConfig config = *preset("emfasys18");
  config.dram_channels_per_super_nic = channels % 2 == 0 ? 2 : 1;
  config.super_nics = channels / config.dram_channels_per_super_nic;
  config.mode = TimingMode::paced;
  REQUIRE(settle_rates(config).has_value());
  return config;
}

model::BoxRun run_of(const BoxConfig& config, std::vector<model::SlowChannel> slow = {}) {
  const auto device = device_of(config);
  REQUIRE(device.has_value());
  static const auto rates = model::box_rates(*device, kTimedStrip);
  REQUIRE(rates.has_value());
  auto run = model::BoxRun::make({.model = *device,
                                  .shape = shape_of(config),
                                  .hosts = kHosts,
                                  .nics_per_host = 16,
                                  .rates = *rates,
                                  .slow_channels = std::move(slow)});
  REQUIRE(run.has_value());
  return std::move(*run);
}

// Cuts requests as the model does: strips over the channels in turn, each through the ports of its
// SuperNIC in turn.
class PacedBox {
 public:
  explicit PacedBox(const BoxConfig& config, const ChannelFaults* faults = nullptr)
      : config_(config),
        timing_(make_paced_timing(config, nullptr, faults)),
        turns_(config.super_nics) {}

  // When the last strip is done; both in nanoseconds.
  std::int64_t done_ns(const model::BoxRequest& request, std::int64_t now_ns) {
    TimePoint done{};
    std::uint64_t left = request.size.count();
    for (std::uint32_t i = 0; left > 0; ++i) {
      const DramChannelId channel(
          static_cast<std::uint16_t>((request.first_channel + i) % config_.dram_channels()));
      const std::uint32_t super_nic = config_.super_nic_of(channel).value();
      const std::uint32_t port = turns_[super_nic]++ % config_.eth_ports_per_super_nic;
      const DramChannelLoad load{channel, std::min(left, kStripBytes)};
      left -= load.bytes;
      TimedTransfer transfer;
      transfer.op = request.is_write ? WorkOp::write : WorkOp::read;
      transfer.eth_port =
          EthPortId(static_cast<std::uint16_t>(super_nic * config_.eth_ports_per_super_nic + port));
      transfer.total_bytes = load.bytes;
      transfer.dram_channels = {&load, 1};
      done = std::max(done, timing_->admit(transfer, TimePoint(Duration(now_ns))));
    }
    return done.time_since_epoch().count();
  }

 private:
  const BoxConfig& config_;
  std::unique_ptr<TimingModel> timing_;
  std::vector<std::uint32_t> turns_;
};

struct Load {
  Mix mix = Mix::reads;
  SizeBytes size;
  std::uint32_t depth = 0;
  std::uint64_t requests = 0;
};

model::BoxRequest request_of(const Load& load, std::uint64_t index, model::SeededRandom& random,
                             const BoxConfig& config) {
  return {.id = index,
          .at_ps = 0,
          .size = load.size,
          .is_write = is_write_of(load.mix, index),
          .host = static_cast<std::uint32_t>(index % kHosts),
          .first_channel = static_cast<std::uint32_t>(random.below(config.dram_channels()))};
}

// GB/s of requests of which `depth` are always under way.
double paced_gb_per_s(const BoxConfig& config, const Load& load, std::uint64_t seed,
                      const ChannelFaults* faults = nullptr) {
  PacedBox box(config, faults);
  model::SeededRandom random(seed);
  std::priority_queue<std::int64_t, std::vector<std::int64_t>, std::greater<>> under_way;
  std::int64_t last_ns = 0;
  for (std::uint64_t i = 0; i < load.requests; ++i) {
    std::int64_t now_ns = 0;
    if (under_way.size() == load.depth) {
      now_ns = under_way.top();
      under_way.pop();
    }
    under_way.push(box.done_ns(request_of(load, i, random, config), now_ns));
  }
  for (; !under_way.empty(); under_way.pop()) {
    last_ns = under_way.top();
  }
  return static_cast<double>(load.size.count() * load.requests) / static_cast<double>(last_ns);
}

double modelled_gb_per_s(const BoxConfig& config, const Load& load, std::uint64_t seed,
                         std::vector<model::SlowChannel> slow = {}) {
  model::BoxRun run = run_of(config, std::move(slow));
  model::SeededRandom random(seed);
  std::uint64_t asked = 0;
  const auto ask = [&](std::uint64_t at_ps) {
    model::BoxRequest request = request_of(load, asked++, random, config);
    request.at_ps = at_ps;
    REQUIRE(run.submit(request).has_value());
  };
  while (asked < load.depth) {
    ask(0);
  }
  while (const auto done = run.next(model::BoxRun::kSecondsMax * 1'000'000'000'000)) {
    if (asked < load.requests) {
      ask(done->end_ps);
    }
  }
  return static_cast<double>(load.size.count() * load.requests) /
         (static_cast<double>(run.figures().end_ps) / 1e3);
}

TEST_CASE("the paced box's throughput is the model's, for any number of channels and any mix",
          "[unit][timing]") {
  const std::uint64_t seed = 20261129;
  for (const std::uint32_t channels : {1U, 2U, 4U, 9U, 18U, 28U}) {
    for (const Mix mix : {Mix::reads, Mix::writes, Mix::two_to_one}) {
      CAPTURE(seed, channels, static_cast<int>(mix));
      const BoxConfig config = box_of(channels);
      const Load load{.mix = mix, .size = SizeBytes(4U << 20U), .depth = 24, .requests = 600};
      const double modelled = modelled_gb_per_s(config, load, seed);
      CHECK(paced_gb_per_s(config, load, seed) / modelled == Approx(1).margin(0.005));
      // And it is the box's whole width, not what the load leaves of it.
      CHECK(modelled > 0.85 * channels * 23.7);
    }
  }
}

TEST_CASE("one slow channel holds striped traffic to what the model says", "[unit][timing]") {
  const std::uint64_t seed = 7;
  BoxConfig config = box_of(18);
  ChannelFaults faults(18);
  const Load load{.size = SizeBytes(36 * kStripBytes), .depth = 8, .requests = 200};
  const double healthy = paced_gb_per_s(config, load, seed, &faults);
  faults.set({.dram_channel = DramChannelId(5), .rate_share = 0.1});
  const double paced = paced_gb_per_s(config, load, seed, &faults);
  CAPTURE(seed, healthy, paced);
  // Every stripe waits for the slow channel: a tenth of the box.
  CHECK(paced == Approx(0.1 * 18 * 26.359).epsilon(0.02));
  CHECK(paced / modelled_gb_per_s(config, load, seed, {{5, 0.1}}) == Approx(1).margin(0.005));
  CHECK(healthy > 0.95 * 18 * 26.359);
}

struct Times {
  double mean_ns = 0;
  double p99_ns = 0;
};
Times times_of(std::vector<double> ns) {
  std::sort(ns.begin(), ns.end());
  Times times;
  for (const double one : ns) {
    times.mean_ns += one / static_cast<double>(ns.size());
  }
  times.p99_ns = ns[ns.size() * 99 / 100];
  return times;
}

TEST_CASE("small reads of a box at half load wait as the model says", "[unit][timing]") {
  constexpr std::uint64_t kRequests = 60'000;
  const std::uint64_t seed = 4096;
  const BoxConfig config = box_of(18);
  for (const Mix mix : {Mix::reads, Mix::two_to_one}) {
    const Load load{.mix = mix, .size = SizeBytes(4096), .depth = 0, .requests = kRequests};
    model::SeededRandom random(seed);
    model::BoxRun run = run_of(config);
    PacedBox box(config);
    std::vector<double> paced;
    std::vector<double> modelled;
    double at_ns = 0;
    for (std::uint64_t i = 0; i < kRequests; ++i) {
      at_ns += random.exponential(4096 / (0.5 * 18 * 26.359));  // mean distance at half of it
      model::BoxRequest request = request_of(load, i, random, config);
      const auto now_ns = static_cast<std::int64_t>(at_ns);
      request.at_ps = static_cast<std::uint64_t>(now_ns) * 1000;
      REQUIRE(run.submit(request).has_value());
      const std::int64_t done_ns = box.done_ns(request, now_ns);
      if (!request.is_write) {
        paced.push_back(static_cast<double>(done_ns - now_ns));
      }
    }
    while (const auto done = run.next(model::BoxRun::kSecondsMax * 1'000'000'000'000)) {
      if (!done->is_write) {
        modelled.push_back(static_cast<double>(done->end_ps - done->at_ps) / 1e3);
      }
    }
    REQUIRE(paced.size() == modelled.size());
    const Times live = times_of(std::move(paced));
    const Times model = times_of(std::move(modelled));
    CAPTURE(seed, static_cast<int>(mix), live.mean_ns, model.mean_ns, live.p99_ns, model.p99_ns);
    CHECK(live.mean_ns / model.mean_ns == Approx(1).margin(0.06));
    CHECK(live.p99_ns / model.p99_ns == Approx(1).margin(0.06));
  }
}

TEST_CASE("a lone transfer takes the model's time", "[unit][timing]") {
  // Of 16 strips each has a NIC of its host for itself.
  for (const std::uint64_t bytes : {std::uint64_t{4096}, 16 * kStripBytes, 180 * kStripBytes}) {
    for (const bool is_write : {false, true}) {
      CAPTURE(bytes, is_write);
      const BoxConfig config = box_of(18);
      model::BoxRun run = run_of(config);
      const model::BoxRequest request{.size = SizeBytes(bytes), .is_write = is_write};
      REQUIRE(run.submit(request).has_value());
      const auto done = run.next(model::BoxRun::kSecondsMax * 1'000'000'000'000);
      REQUIRE(done.has_value());
      PacedBox box(config);
      CHECK(static_cast<double>(box.done_ns(request, 0)) ==
            Approx(static_cast<double>(done->end_ps) / 1e3).epsilon(0.05));
    }
  }
}

TEST_CASE("the paced rates are the stages' of the model", "[unit][timing]") {
  BoxConfig config = box_of(18);
  // As `godbox model explain` prints them.
  CHECK(config.rates->read.dram_channel.bytes_per_second() == Approx(40.71e9).epsilon(1e-3));
  CHECK(config.rates->read.cxl_link.bytes_per_second() == Approx(26.359e9).epsilon(1e-3));
  CHECK(config.rates->write.cxl_link.bytes_per_second() == Approx(23.723e9).epsilon(1e-3));
  CHECK(config.rates->read.super_nic_path == Rate(500e9));
  CHECK(config.rates->read.eth_port.bytes_per_second() == Approx(98.03e9).epsilon(1e-3));
  CHECK(config.rates->read.channel_delay == std::chrono::nanoseconds(113));
  CHECK(config.rates->read.network_delay == std::chrono::nanoseconds(1141));
  config.rates.reset();
  config.device_settings = {"super_nic.path_gbit_per_s=80", "super_nic.latency_ns=100"};
  config.eth_port_rate = Rate(12.5e9);
  const auto rates = modelled_rates(config);
  REQUIRE(rates.has_value());
  CHECK(rates->write.super_nic_path == Rate(10e9));
  CHECK(rates->write.eth_port.bytes_per_second() == Approx(12.25e9).epsilon(1e-3));
  CHECK(rates->read.network_delay > std::chrono::nanoseconds(1241));
  // What somebody has set stays.
  config.rates = PacedRates::both({.dram_channel = Rate(1e9)});
  REQUIRE(settle_rates(config).has_value());
  CHECK(config.rates->read.dram_channel == Rate(1e9));
  config.rates.reset();
  config.device_settings = {"link.lanes=9"};
  CHECK(settle_rates(config).error().code == Errc::config_invalid);
}

}  // namespace
}  // namespace godbox::emulator
