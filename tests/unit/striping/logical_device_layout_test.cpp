// SPDX-License-Identifier: Apache-2.0
#include <godbox/striping/logical_device_layout.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace godbox::striping {
namespace {

struct Shape {
  std::uint16_t members = 3;
  std::uint32_t strip_bytes = 64;
  std::uint64_t piece_bytes = 192;
};

// Pieces are aligned; the slab in slot s begins at member s mod n.
SlabLayout slab_in_slot(const Shape& shape, std::uint32_t slot) {
  wire::SlabRecord record;
  record.id = SlabId(slot + 1);
  record.strip_bytes = shape.strip_bytes;
  record.rotation = slot % shape.members;
  record.piece_size = SizeBytes(shape.piece_bytes);
  for (std::uint16_t i = 0; i < shape.members; ++i) {
    record.members.push_back(
        {.dram_channel = DramChannelId(i), .offset = DramOffset(slot * shape.piece_bytes)});
  }
  return SlabLayout::create(record).value();
}

std::vector<SlabLayout> slabs_in(const Shape& shape, const std::vector<std::uint32_t>& slots) {
  std::vector<SlabLayout> slabs;
  for (const std::uint32_t slot : slots) {
    slabs.push_back(slab_in_slot(shape, slot));
  }
  return slabs;
}

LogicalDeviceLayout device_of(const Shape& shape, SizeBytes size,
                              const std::vector<std::uint32_t>& slots) {
  return LogicalDeviceLayout::create(size, slabs_in(shape, slots)).value();
}

TEST_CASE("places of a logical device in slots 5, 2 and 9 match the table", "[unit]") {
  // Three members, strips of 64 bytes, pieces of 192: a slab has 576 bytes.
  const LogicalDeviceLayout device = device_of({}, SizeBytes(1500), {5, 2, 9});
  struct Place {
    std::uint64_t dpa;
    std::uint16_t dram_channel;
    std::uint64_t offset;
    std::uint32_t to_end_of_strip;
  };
  const Place places[] = {{0, 2, 960, 64},       // slot 5 begins at member 2, byte 5 x 192
                          {63, 2, 1023, 1},      //
                          {64, 0, 960, 64},      // the next strip, on member 0
                          {191, 1, 1023, 1},     //
                          {192, 2, 1024, 64},    // second row
                          {575, 1, 1151, 1},     // the last byte of the first slab
                          {576, 2, 384, 64},     // slot 2 begins at member 2, byte 2 x 192
                          {1152, 0, 1728, 64},   // slot 9 begins at member 0, byte 9 x 192
                          {1499, 2, 1819, 37}};  // strip 5 of slot 9: second row, byte 27
  for (const Place& place : places) {
    CAPTURE(place.dpa);
    const DramRun run = device.locate(cxl::Dpa(place.dpa));
    CHECK(run.dram_channel.value() == place.dram_channel);
    CHECK(run.offset.count() == place.offset);
    CHECK(run.length_bytes == place.to_end_of_strip);
    CHECK(device.dpa_of(run.dram_channel, run.offset) == cxl::Dpa(place.dpa));
  }
  // The byte behind the device's last one, in the same strip of the same slab, is not its own.
  CHECK_FALSE(device.dpa_of(DramChannelId(2), DramOffset(1820)).has_value());
  CHECK_FALSE(device.dpa_of(DramChannelId(2), DramOffset(0)).has_value());
  CHECK_FALSE(device.dpa_of(DramChannelId(0), DramOffset(std::uint64_t{192} * 6)).has_value());
  CHECK_FALSE(device.dpa_of(DramChannelId(3), DramOffset(960)).has_value());
}

TEST_CASE("every byte of a logical device has one place of its own and comes back from it",
          "[unit]") {
  const std::uint32_t seed = Catch::getSeed();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (const std::uint16_t members : std::initializer_list<std::uint16_t>{1, 2, 3, 7, 18, 28, 64}) {
    const Shape shape{.members = members, .strip_bytes = 64, .piece_bytes = 320};
    std::vector<std::uint32_t> slots(40);
    std::iota(slots.begin(), slots.end(), 0U);
    std::shuffle(slots.begin(), slots.end(), random);
    slots.resize(1 + random() % 8);
    const std::uint64_t slab_bytes = shape.piece_bytes * members;
    const SizeBytes size((slots.size() - 1) * slab_bytes + 1 + random() % slab_bytes);
    CAPTURE(members, slots.size(), size.count());
    const LogicalDeviceLayout device = device_of(shape, size, slots);
    std::set<std::pair<std::uint16_t, std::uint64_t>> places;
    bool round_trips = true;
    bool is_inside = true;
    for (std::uint64_t i = 0; i < size.count(); ++i) {
      const DramRun run = device.locate(cxl::Dpa(i));
      places.emplace(run.dram_channel.value(), run.offset.count());
      round_trips &= device.dpa_of(run.dram_channel, run.offset) == cxl::Dpa(i);
      const auto slot = static_cast<std::uint32_t>(run.offset.count() / shape.piece_bytes);
      is_inside &= std::find(slots.begin(), slots.end(), slot) != slots.end();
    }
    CHECK(round_trips);
    CHECK(is_inside);
    CHECK(places.size() == size.count());
    // And no other byte of the DRAM channels is taken for one of the device.
    std::uint64_t claimed = 0;
    for (std::uint16_t channel = 0; channel < members; ++channel) {
      for (std::uint64_t offset = 0; offset < 40 * shape.piece_bytes; ++offset) {
        claimed += device.dpa_of(DramChannelId(channel), DramOffset(offset)).has_value() ? 1U : 0U;
      }
    }
    CHECK(claimed == size.count());
  }
}

TEST_CASE("a logical device of 256 MiB loads 7, 18 and 28 DRAM channels alike to within a strip",
          "[unit]") {
  constexpr std::uint64_t kSize = std::uint64_t{256} << 20U;
  for (const std::uint16_t members : std::initializer_list<std::uint16_t>{7, 18, 28}) {
    const Shape shape{.members = members, .strip_bytes = 4096, .piece_bytes = 4U << 20U};
    const std::uint64_t slab_bytes = shape.piece_bytes * members;
    std::vector<std::uint32_t> slots((kSize + slab_bytes - 1) / slab_bytes);
    std::iota(slots.begin(), slots.end(), 3U);
    const LogicalDeviceLayout device = device_of(shape, SizeBytes(kSize), slots);
    std::map<std::uint16_t, std::uint64_t> load;
    for (std::uint64_t at = 0; at < kSize;) {
      const DramRun run = device.locate(cxl::Dpa(at));
      load[run.dram_channel.value()] += run.length_bytes;
      at += run.length_bytes;
    }
    REQUIRE(load.size() == members);
    const auto [least, most] = std::minmax_element(
        load.begin(), load.end(), [](auto& a, auto& b) { return a.second < b.second; });
    CHECK(most->second - least->second <= 4096);
  }
}

TEST_CASE("slabs that do not make up a logical device are refused by name", "[unit]") {
  const auto refusal = [](SizeBytes size, std::vector<SlabLayout> slabs) {
    const auto made = LogicalDeviceLayout::create(size, std::move(slabs));
    REQUIRE(made.has_error());
    CHECK(made.error().code == Errc::config_invalid);
    return made.error().detail;
  };
  const Shape shape;
  CHECK(refusal(SizeBytes(1), {}) == "logical device: no slabs");
  CHECK(refusal(SizeBytes(0), slabs_in(shape, {0})) == "logical device: 0 bytes in 1 slabs of 576");
  CHECK(refusal(SizeBytes(577), slabs_in(shape, {0})) ==
        "logical device: 577 bytes in 1 slabs of 576");
  CHECK(refusal(SizeBytes(576), slabs_in(shape, {0, 1})) ==
        "logical device: 576 bytes in 2 slabs of 576");
  CHECK(refusal(SizeBytes(1152), slabs_in(shape, {4, 4})) ==
        "logical device: slabs 5 and 5 overlap on DRAM channel 0");
  std::vector<SlabLayout> unlike = slabs_in(shape, {0});
  unlike.push_back(slab_in_slot({.piece_bytes = 128}, 9));
  const std::string of_unlike = refusal(SizeBytes(800), std::move(unlike));
  CHECK(of_unlike == "logical device: slab 1 has 576 bytes, slab 10 384");
}

}  // namespace
}  // namespace godbox::striping
