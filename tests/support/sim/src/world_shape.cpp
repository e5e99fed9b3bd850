// SPDX-License-Identifier: Apache-2.0
#include "world_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace godbox::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct BoxForm {
  std::uint32_t super_nics, dram_channels_each, eth_ports_each;
};
constexpr std::array<BoxForm, 11> kForms{{{2, 2, 1},
                                          {4, 1, 1},
                                          {1, 5, 3},
                                          {7, 1, 1},
                                          {3, 4, 2},
                                          {9, 2, 1},
                                          {1, 18, 9},
                                          {3, 6, 1},
                                          {1, 28, 4},
                                          {2, 14, 2},
                                          {7, 4, 1}}};

constexpr std::size_t kLargeStrip = std::size_t{64} << 10U;
constexpr std::size_t kSmallStrip = std::size_t{4} << 10U;

std::size_t draw_size(SimRandom& random, std::size_t members, bool large) {
  const std::size_t wiggle = random.below(3);  // one less, equal, one more
  const auto around = [&](std::size_t size) { return size - 1 + wiggle; };
  switch (random.below(large ? 12 : 9)) {
    case 0:
      return random.below(2);
    case 1:
      return around(128);
    case 2:
      return around(kSmallStrip);
    case 3:
      return around(kLargeStrip);
    case 4:
      return around(kSmallStrip * members);
    case 5:
    case 6:
      return random.between(1, 9000);
    case 7:
      return random.between(1, 100'000);
    case 8:
      return kSmallStrip * random.between(1, 16);
    case 9:
      return around(std::min<std::size_t>(kLargeStrip * members, std::size_t{2} << 20U));
    case 10:
      return random.between(kLargeStrip, std::size_t{2} << 20U);
    default:
      return random.between(1, 400'000);
  }
}

void draw_names(WorldShape& shape, SimRandom& random, bool large) {
  const std::size_t count = random.between(24, 96);
  for (std::size_t i = 0; i < count; ++i) {
    NameShape name;
    name.name = fmt::format("kv/{:03}", i);
    if (random.one_in(16)) {
      name.name += std::string(512 - name.name.size(), 'x');  // the longest there is
    }
    name.size_bytes = draw_size(random, shape.box.config.dram_channels(), large);
    name.sparse = name.size_bytes > 0 && random.one_in(16);
    shape.names.push_back(std::move(name));
  }
}

void draw_box(WorldShape& shape, SimRandom& random, bool pressed) {
  emulator::BoxConfig& config = shape.box.config;
  const BoxForm form = kForms[random.below(kForms.size())];
  config.name = "sim";
  config.super_nics = form.super_nics;
  config.dram_channels_per_super_nic = form.dram_channels_each;
  config.eth_ports_per_super_nic = form.eth_ports_each;
  const std::uint64_t mib =
      pressed ? random.between(1, 2) : std::uint64_t{1} << random.between(1, 3);
  // The largest has room for all kinds of strips, within the same memory.
  const bool has_all_kinds = mib == 8;
  config.dram_channel_size = SizeBytes((has_all_kinds ? 64 : mib) << 20U);
  config.eviction =
      random.one_in(3) ? emulator::EvictionPolicy::none : emulator::EvictionPolicy::lru;
  config.lease_max = milliseconds(random.between(300, 2000));
  config.reservation_max = milliseconds(random.between(1000, 4000));
  config.session_timeout = milliseconds(random.between(1000, 4000));
  if (random.one_in(8)) {
    config.reservation_max = milliseconds(random.between(10, 40));
    shape.slow = true;
  }
  if (random.one_in(6)) {
    config.mode = emulator::TimingMode::paced;
    config.rates = emulator::PacedRates::both({.dram_channel = Rate(1e9),
                                               .cxl_link = Rate(2e9),
                                               .eth_port = Rate(2e9),
                                               .super_nic_path = Rate(3e9),
                                               .channel_delay = std::chrono::microseconds(1),
                                               .network_delay = std::chrono::microseconds(5)});
    config.time_scale = 4;
    shape.slow = true;
  }
  shape.box.backing_limit = pressed ? config.capacity() * random.between(3, 8) / 8
                                    : config.capacity() / (has_all_kinds ? 8 : 1);
  shape.box.backing_granularity = SizeBytes(std::uint64_t{4096} << (4 * random.below(2)));
  shape.box.control_over_tcp = random.one_in(4);
  shape.box.door.requests_in_flight_max = static_cast<std::uint32_t>(1U << random.between(0, 6));
  shape.box.door.bytes_in_flight_max = std::uint64_t{64} << random.between(10, 16);
  shape.box.door.hello_timeout = milliseconds(random.between(300, 1000));
  shape.box.door.stall_timeout = milliseconds(random.between(500, 2000));
  shape.box.door.sweep_period = milliseconds(random.between(20, 200));
}

}  // namespace

namespace {

// A pool that tenant 0 can fill and hold half of, and others who want their small share of it. What
// is being put at any time is less than the quarter that neither can be in their way.
void draw_flood(WorldShape& shape, SimRandom& random) {
  constexpr std::array<BoxForm, 3> kFloodForms{{{2, 2, 1}, {1, 5, 3}, {3, 2, 1}}};
  emulator::BoxConfig& config = shape.box.config;
  const BoxForm form = kFloodForms[random.below(kFloodForms.size())];
  config.super_nics = form.super_nics;
  config.dram_channels_per_super_nic = form.dram_channels_each;
  config.eth_ports_per_super_nic = form.eth_ports_each;
  config.dram_channel_size = SizeBytes(std::uint64_t{8} << 20U);
  config.eviction = emulator::EvictionPolicy::lru;
  shape.box.backing_limit = config.capacity() * random.between(4, 8) / 8;
  const std::uint64_t pool_bytes = shape.box.backing_limit.count();
  shape.clients = 4;
  shape.tenants = random.between(2, 3);
  for (std::size_t tenant = 0; tenant < shape.tenants; ++tenant) {
    if (tenant > 0 || random.one_in(2)) {
      const std::uint64_t share = tenant > 0 ? 8 : random.between(1, 2);
      config.tenant_quotas.push_back(
          {fmt::format("tenant-{}", tenant), SizeBytes(pool_bytes / share)});
    }
  }
  shape.batch_items_max = 2;
  shape.operations_in_flight_max = 2;
  shape.regions = false;
  shape.flood = true;
  shape.names.clear();
  config.lease_max = seconds(20);
  shape.client.lease = seconds(20);
  for (std::size_t i = 0; i < 256; ++i) {
    const std::uint64_t size_bytes =
        random.one_in(8) ? random.between(1, 5000) : random.between(1, pool_bytes / 96);
    shape.names.push_back({fmt::format("kv/{:03}", i), size_bytes, false});
  }
}

}  // namespace

namespace {

// Few names, which many want, and a pool that is too small for them; marks anywhere.
void draw_bindings(WorldShape& shape, SimRandom& random) {
  constexpr std::array<BoxForm, 3> kBindingForms{{{2, 2, 1}, {1, 5, 3}, {3, 2, 1}}};
  emulator::BoxConfig& config = shape.box.config;
  const BoxForm form = kBindingForms[random.below(kBindingForms.size())];
  config.super_nics = form.super_nics;
  config.dram_channels_per_super_nic = form.dram_channels_each;
  config.eth_ports_per_super_nic = form.eth_ports_each;
  config.dram_channel_size = SizeBytes(std::uint64_t{2} << 20U);
  config.eviction = emulator::EvictionPolicy::lru;
  config.high_watermark = static_cast<double>(random.between(30, 100)) / 100;
  config.low_watermark = config.high_watermark * static_cast<double>(random.between(50, 100)) / 100;
  shape.box.backing_limit = config.capacity() * random.between(3, 8) / 8;
  const std::uint64_t pool_bytes = shape.box.backing_limit.count();
  shape.clients = random.between(2, 4);
  shape.tenants = random.between(1, 2);
  for (std::size_t tenant = 0; tenant < shape.tenants; ++tenant) {
    if (random.one_in(3)) {
      config.tenant_quotas.push_back(
          {fmt::format("tenant-{}", tenant), SizeBytes(pool_bytes / random.between(4, 16))});
    }
  }
  shape.regions = false;
  shape.bindings = true;
  shape.batch_items_max = random.between(1, 4);
  shape.names.clear();
  for (std::size_t i = 0; i < 48; ++i) {
    const std::uint64_t size_bytes =
        random.one_in(4) ? random.between(1, 5000) : random.between(1, pool_bytes / 28);
    shape.names.push_back({fmt::format("kv/{:03}", i), size_bytes, random.one_in(16),
                           random.one_in(2) ? size_bytes / 2 + 1 : size_bytes + 1});
  }
}

// A session outlives whatever happens to its control connection.
void draw_control_cuts(WorldShape& shape, SimRandom& random) {
  emulator::BoxConfig& config = shape.box.config;
  config.session_grace = seconds(2);
  config.session_timeout = std::max<Duration>(config.session_timeout, seconds(3));
  config.eth_ports_per_super_nic += config.eth_ports() == 1 ? 1 : 0;
  shape.box.control_over_tcp = !random.one_in(4);
  shape.hostile_bits = false;
  shape.network.corrupt_packet_one_in = 0;
}

}  // namespace

WorldShape draw_shape(const SimWorldOptions& options, SimRandom& random) {
  WorldShape shape;
  const bool pressed = random.one_in(3);
  draw_box(shape, random, pressed);
  draw_names(shape, random, pressed || random.one_in(8));
  shape.clients = random.between(1, 4);
  shape.tenants = random.one_in(3) ? 2 : 1;
  shape.lanes_per_port = random.between(1, 2);
  shape.batch_items_max = pressed ? 3 : random.between(1, 8);
  shape.operations_in_flight_max = random.between(1, 6);
  shape.client.timeout = milliseconds(random.between(1500, 4000));
  const auto lease_ms = random.between(20, 1500);
  shape.client.lease = milliseconds(lease_ms);
  shape.client.lease_margin = milliseconds(random.between(1, std::min(lease_ms, 50UL) - 1));
  if (random.one_in(8)) {
    shape.client.timeout = milliseconds(random.between(2, 60));
    shape.slow = true;
  }
  shape.client.lane_policy =
      random.one_in(3) ? striping::LanePolicy::affine : striping::LanePolicy::any;
  shape.lane_reply_timeout = milliseconds(random.between(200, 1200));
  shape.network.pipe_bytes_min = std::size_t{32} << 10U;
  if (random.one_in(5)) {
    shape.network.pipe_bytes_min = 600;
    shape.slow = true;
  }
  if (options.tenants) {
    draw_flood(shape, random);
  }
  if (options.bindings) {
    draw_bindings(shape, random);
  }
  // In a world whose clients check no CRC, flipped bits have to be found by the model.
  const bool unchecked = options.bug == InjectedBug::drop_crc_check;
  shape.hostile_bits = unchecked || random.one_in(8);
  if (shape.hostile_bits) {
    shape.network.corrupt_packet_one_in = unchecked ? 60 : 150;
    shape.network.corrupt_both_directions = !unchecked;
    shape.regions = false;
  }
  shape.client.crc = !unchecked;
  shape.lanes_on_demand = random.one_in(2);
  shape.box.config.session_grace =
      random.one_in(4) ? Duration(0) : Duration(milliseconds(random.between(50, 2000)));
  if (options.control_cuts) {
    draw_control_cuts(shape, random);
  }
  return shape;
}

std::string describe(const WorldShape& shape) {
  const emulator::BoxConfig& config = shape.box.config;
  std::size_t bytes = 0;
  for (const NameShape& name : shape.names) {
    bytes += name.size_bytes;
  }
  return fmt::format(
      "{} SuperNICs x {} DRAM channels of {} MiB, {} Ethernet ports, backing {} KiB, eviction {}, "
      "{}{}, {} clients of {} tenants, {} lanes per port{}, {} names of {} KiB together, {}{}",
      config.super_nics, config.dram_channels_per_super_nic,
      config.dram_channel_size.count() >> 20U, config.eth_ports(),
      shape.box.backing_limit.count() >> 10U,
      config.eviction == emulator::EvictionPolicy::lru ? "lru" : "none",
      config.mode == emulator::TimingMode::paced ? "paced" : "free",
      shape.box.control_over_tcp ? ", control over TCP" : "", shape.clients, shape.tenants,
      shape.lanes_per_port, shape.lanes_on_demand ? " on demand" : "", shape.names.size(),
      bytes >> 10U, shape.client.lane_policy == striping::LanePolicy::affine ? "affine" : "any",
      shape.hostile_bits ? ", bits flip" : "");
}

}  // namespace godbox::sim
