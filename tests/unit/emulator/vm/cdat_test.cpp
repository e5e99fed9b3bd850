// SPDX-License-Identifier: Apache-2.0
//
// The tables against the golden ones, and against the rules by which QEMU and Linux read them.
#include <godbox/emulator/modelled_rates.h>
#include <godbox/emulator/vm/cdat.h>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

namespace godbox::emulator::vm {
namespace {

using namespace godbox::literals;

std::vector<std::byte> golden(const std::string& name) {
  std::ifstream file(fmt::format("{}/cdat/{}.hex", GODBOX_VECTORS_DIR, name));
  CAPTURE(name);
  REQUIRE(file.is_open());
  std::vector<std::byte> bytes;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    for (std::string word; words >> word;) {
      bytes.push_back(static_cast<std::byte>(std::stoul(word, nullptr, 16)));
    }
  }
  return bytes;
}

ChannelTiming timing_of(const BoxConfig& box) {
  const Result<PacedRates> rates = modelled_rates(box);
  REQUIRE(rates.has_value());
  return ChannelTiming::of(*rates);
}

ChannelTiming timing_with(BoxConfig box, std::string_view setting) {
  box.device_settings.emplace_back(setting);
  return timing_of(box);
}

std::uint64_t number(const std::vector<std::byte>& table, std::size_t at, std::size_t bytes) {
  REQUIRE(at + bytes <= table.size());
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value |= std::to_integer<std::uint64_t>(table[at + i]) << (8 * i);
  }
  return value;
}

// Data type -> entry x base unit, of one kind of structure; checks all that QEMU's loader does.
std::map<unsigned, std::uint64_t> figures(const std::vector<std::byte>& table, unsigned kind) {
  REQUIRE(number(table, 0, 4) == table.size());
  unsigned sum = 0;
  for (const std::byte one : table) {
    sum += std::to_integer<unsigned>(one);
  }
  CHECK(sum % 256 == 0);
  std::map<unsigned, std::uint64_t> found;
  std::size_t at = 16;
  while (at < table.size()) {
    CHECK(number(table, at + 1, 1) == 0);
    REQUIRE(number(table, at + 2, 2) == 24);
    if (number(table, at, 1) == kind) {
      const std::size_t type_at = kind == 1 ? at + 6 : at + 4;
      const std::size_t entry_at = kind == 1 ? at + 16 : at + 20;
      found[static_cast<unsigned>(number(table, type_at, 1))] =
          number(table, at + 8, 8) * number(table, entry_at, 2);
    }
    at += 24;
  }
  REQUIRE(at == table.size());
  return found;
}

TEST_CASE("CDAT tables are the golden ones") {
  CHECK(cdat_table(256_MiB, timing_of(*preset("laptop"))) == golden("laptop_channel"));
  CHECK(cdat_table(1_TiB, timing_of(*preset("emfasys18"))) == golden("emfasys18_channel"));
  CHECK(switch_cdat_table() == golden("switch"));
}

TEST_CASE("latencies are exact to a nanosecond and bandwidths to a per cent") {
  for (const std::int64_t ns : {1, 84, 250, 1000, 65534}) {
    for (const double bytes_per_s :
         {100e6, 19.2e9, 25e9, 44.8e9, 65.534e9, 65.535e9, 1.2e12, 9e14}) {
      CAPTURE(ns, bytes_per_s);
      const auto found = figures(cdat_table(256_MiB, {.read_latency = std::chrono::nanoseconds(ns),
                                                      .write_latency = std::chrono::nanoseconds(ns),
                                                      .read_bandwidth = Rate(bytes_per_s),
                                                      .write_bandwidth = Rate(bytes_per_s / 2)}),
                                 1);
      REQUIRE(found.size() == 4);
      CHECK(found.at(1) == static_cast<std::uint64_t>(ns) * 1000);  // ps
      CHECK(found.at(2) == static_cast<std::uint64_t>(ns) * 1000);
      CHECK(std::abs(static_cast<double>(found.at(4)) * 1e6 / bytes_per_s - 1) < 0.01);
      CHECK(std::abs(static_cast<double>(found.at(5)) * 2e6 / bytes_per_s - 1) < 0.01);
    }
  }
}

TEST_CASE("figures beyond the table's range are clamped, never a reserved value") {
  const auto found = figures(cdat_table(256_MiB, {.read_latency = Duration(0),
                                                  .write_latency = std::chrono::seconds(1),
                                                  .read_bandwidth = Rate(0),
                                                  .write_bandwidth = Rate(1e30)}),
                             1);
  CHECK(found.at(1) == 1000);
  CHECK(found.at(2) == std::uint64_t{65534} * 1000);
  CHECK(found.at(4) == 1);
  CHECK(found.at(5) <= 0xFFFFFFFF);
  CHECK(found.at(5) > 2'000'000'000);
}

TEST_CASE("a channel is as fast as the slower of its DRAM and its link, before the time scale") {
  BoxConfig box = *preset("emfasys18");
  box.mode = TimingMode::paced;
  box.time_scale = 1000;
  // A link of x16 carries more than DDR5-5600: the DRAM bounds, and flits are half as long.
  const ChannelTiming wide = timing_with(box, "link.lanes=16");
  CHECK(wide.read_bandwidth > Rate(38e9));
  CHECK(wide.read_bandwidth < Rate(44.8e9));
  CHECK(wide.read_latency == std::chrono::nanoseconds(110));  // 31.4 + 50 + 25 + 3 x 1.08
  // x4: the link bounds, by half of what x8 carries.
  const ChannelTiming narrow = timing_with(box, "link.lanes=4");
  CHECK(std::abs(narrow.read_bandwidth.bytes_per_second() / 13.18e9 - 1) < 0.01);
  CHECK(std::abs(narrow.write_bandwidth.bytes_per_second() / 11.86e9 - 1) < 0.01);
  CHECK(narrow.write_latency == std::chrono::nanoseconds(119));  // 31.4 + 50 + 25 + 3 x 4.32
  CHECK(timing_with(box, "controller.round_trip_ns=150").read_latency ==
        std::chrono::nanoseconds(213));
  box.device = "no-such-device";
  CHECK(modelled_rates(box).error().code == Errc::config_invalid);
}

TEST_CASE("a switch says one figure for all its ports") {
  const auto found = figures(
      switch_cdat_table({.crossing = std::chrono::nanoseconds(70), .bandwidth = Rate(31e9)}), 5);
  REQUIRE(found.size() == 4);
  CHECK(found.at(1) == 70'000);
  CHECK(found.at(2) == 70'000);
  CHECK(found.at(4) == 31'000);
  CHECK(found.at(5) == 31'000);
}

}  // namespace
}  // namespace godbox::emulator::vm
