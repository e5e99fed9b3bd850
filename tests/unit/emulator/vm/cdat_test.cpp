// SPDX-License-Identifier: Apache-2.0
//
// The tables against the golden ones, and against the rules by which QEMU and Linux read them.
#include <godbox/emulator/vm/cdat.h>

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

namespace godbox::emulator::vm {
namespace {

using namespace godbox::literals;

std::vector<std::byte> golden(const std::string& name) {
  std::ifstream file(std::string(GODBOX_VECTORS_DIR) + "/cdat/" + name + ".hex");
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
  const ChannelTiming timing = ChannelTiming::of(*preset("laptop"));
  CHECK(cdat_table(256_MiB, timing) == golden("laptop_channel"));
  CHECK(cdat_table(1_TiB, ChannelTiming::of(*preset("emfasys18"))) == golden("emfasys18_channel"));
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
  CHECK(found.at(2) == 65534 * 1000);
  CHECK(found.at(4) == 1);
  CHECK(found.at(5) <= 0xFFFFFFFF);
  CHECK(found.at(5) > 2'000'000'000);
}

TEST_CASE("a channel is as fast as the slower of its DRAM and its link, before the time scale") {
  BoxConfig box = *preset("emfasys18");
  box.mode = TimingMode::paced;
  box.time_scale = 1000;
  box.rates.dram_channel = Rate(10e9);
  box.rates.cxl_link = Rate(64e9);
  CHECK(ChannelTiming::of(box).read_bandwidth == Rate(10e9));
  CHECK(ChannelTiming::of(box).read_latency == std::chrono::nanoseconds(31 + 50 + 1));
  box.rates.cxl_link = Rate(8e9);
  CHECK(ChannelTiming::of(box).write_bandwidth == Rate(8e9));
  CHECK(ChannelTiming::of(box).write_latency == std::chrono::nanoseconds(31 + 50 + 8));
  box.rates = {};
  CHECK(ChannelTiming::of(box).read_bandwidth == ChannelModel{}.dram_channel);
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
