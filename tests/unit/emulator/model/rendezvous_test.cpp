// SPDX-License-Identifier: Apache-2.0
//
// Rendezvous hashing: vectors of a few lines of Python, balance, and that nothing moves without
// need. tests/cli/model_rack_test.py places a whole rack's blocks once more by itself.
#include "model/seeded_random.h"
#include <godbox/emulator/model/rendezvous.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace godbox::emulator::model {
namespace {

constexpr std::uint64_t kBlocks = 200'000;

std::vector<std::uint64_t> counts(BoxMask boxes, std::uint32_t copies) {
  std::vector<std::uint64_t> held(kRackBoxesMax);
  for (std::uint64_t block = 0; block < kBlocks; ++block) {
    const BlockPlaces places = rendezvous_places(block, boxes, copies);
    REQUIRE(places.count == copies);
    for (std::uint32_t i = 0; i < places.count; ++i) {
      ++held[places.boxes[i]];
    }
  }
  return held;
}

TEST_CASE("splitmix64 gives what is published of it", "[unit][model][rack]") {
  // The first outputs of a generator with the seed 1234567 (rosettacode.org, "Pseudo-random
  // numbers/Splitmix64").
  std::uint64_t state = 1234567;
  for (const std::uint64_t expected :
       {6457827717110365317U, 3203168211198807973U, 9817491932198370423U, 4593380528125082431U,
        16408922859458223821U}) {
    CHECK(splitmix64(state) == expected);
    state += kSplitmixStep;
  }
}

TEST_CASE("places are those that another program finds", "[unit][model][rack]") {
  struct Row {
    std::uint64_t block;
    std::uint64_t score_of_0;
    std::uint64_t score_of_7;
    std::array<std::uint8_t, 3> places;            // of 8 boxes
    std::array<std::uint8_t, 3> places_without_3;  // of these without box 3
  };
  for (const Row& row : std::vector<Row>{
           {0U, 0xA706DD2F4D197E6F, 0xB8B4C2977EABCE45, {5, 3, 7}, {5, 7, 6}},
           {1U, 0x2A98F501AF37E97F, 0x27E8AC81E7BC3B89, {5, 2, 3}, {5, 2, 4}},
           {2U, 0x82876E1C4F0B438C, 0xDFD64551E2E186EB, {7, 4, 1}, {7, 4, 1}},
           {1000U, 0xD94E648DEE32330A, 0x7494C0CCFFAB70FB, {6, 0, 2}, {6, 0, 2}},
           {99999U, 0xA36FDEC16B60CA9A, 0x4776CD4ED673DFF9, {6, 0, 2}, {6, 0, 2}},
           {9223372036854775808U, 0x5385D77FF33B218D, 0x7E44EB9E75B86B14, {6, 2, 1}, {6, 2, 1}},
           {18446744073709551615U, 0x08B4FDA8C892B50E, 0x3D41BF495CD3075F, {3, 1, 2}, {1, 2, 5}},
       }) {
    INFO("block " << row.block);
    CHECK(rendezvous_score(row.block, 0) == row.score_of_0);
    CHECK(rendezvous_score(row.block, 7) == row.score_of_7);
    const BlockPlaces all = rendezvous_places(row.block, first_boxes(8), 3);
    const BlockPlaces left = rendezvous_places(row.block, first_boxes(8) & ~(BoxMask{1} << 3U), 3);
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(all.boxes[i] == row.places[i]);
      CHECK(left.boxes[i] == row.places_without_3[i]);
    }
  }
}

TEST_CASE("each box has its share of the blocks", "[unit][model][rack]") {
  for (const std::uint32_t boxes : {1U, 2U, 7U, 8U, 18U, 64U}) {
    const std::vector<std::uint64_t> held = counts(first_boxes(boxes), 1);
    const double mean = static_cast<double>(kBlocks) / boxes;
    const double deviation = std::sqrt(mean * (1 - 1.0 / boxes));
    double chi_square = 0;
    for (std::uint32_t box = 0; box < boxes; ++box) {
      INFO(boxes << " boxes, box " << box);
      CHECK(std::abs(static_cast<double>(held[box]) - mean) <= 4.5 * deviation);
      chi_square += std::pow(static_cast<double>(held[box]) - mean, 2) / mean;
    }
    // Mean boxes - 1, variance twice that: 5 deviations.
    CHECK(chi_square <= boxes - 1 + 5 * std::sqrt(2.0 * boxes));
  }
}

TEST_CASE("a box that is lost moves its own blocks and no others", "[unit][model][rack]") {
  for (const std::uint32_t copies : {1U, 2U, 3U}) {
    for (const std::uint32_t lost : {0U, 3U, 7U}) {
      const BoxMask before = first_boxes(8);
      const BoxMask after = before & ~(BoxMask{1} << lost);
      std::vector<std::uint64_t> gained(8);
      std::uint64_t moved = 0;
      for (std::uint64_t block = 0; block < kBlocks; ++block) {
        const BoxMask old_places = rendezvous_places(block, before, copies).mask();
        const BoxMask new_places = rendezvous_places(block, after, copies).mask();
        const bool had = (old_places >> lost & 1U) != 0;
        // The other copies stay where they are.
        REQUIRE((old_places & after & ~new_places) == 0);
        REQUIRE((new_places != old_places) == had);
        for (std::uint32_t box = 0; box < 8; ++box) {
          gained[box] += (new_places & ~old_places) >> box & 1U;
        }
        moved += had ? 1 : 0;
      }
      // Each of the others takes as much of it.
      const double mean = static_cast<double>(moved) / 7;
      for (std::uint32_t box = 0; box < 8; ++box) {
        INFO(copies << " copies, lost " << lost << ", box " << box);
        CHECK((box == lost
                   ? gained[box] == 0
                   : std::abs(static_cast<double>(gained[box]) - mean) <= 4.5 * std::sqrt(mean)));
      }
    }
  }
}

TEST_CASE("a box that is new takes its share of each and moves nothing between the others",
          "[unit][model][rack]") {
  std::uint64_t moved = 0;
  for (std::uint64_t block = 0; block < kBlocks; ++block) {
    const std::uint8_t before = rendezvous_places(block, first_boxes(8), 1).boxes[0];
    const std::uint8_t after = rendezvous_places(block, first_boxes(9), 1).boxes[0];
    REQUIRE((after == before || after == 8));
    moved += after == 8 ? 1 : 0;
  }
  const double mean = static_cast<double>(kBlocks) / 9;
  CHECK(std::abs(static_cast<double>(moved) - mean) <= 4.5 * std::sqrt(mean));
}

TEST_CASE("more copies go to further boxes", "[unit][model][rack]") {
  for (std::uint64_t block = 0; block < 1000; ++block) {
    const BlockPlaces most = rendezvous_places(block, first_boxes(8), kBlockCopiesMax);
    REQUIRE(most.count == 8);
    REQUIRE(most.mask() == first_boxes(8));
    for (std::uint32_t copies = 0; copies <= 8; ++copies) {
      const BlockPlaces some = rendezvous_places(block, first_boxes(8), copies);
      REQUIRE(some.count == copies);
      REQUIRE(std::equal(some.boxes.begin(), some.boxes.begin() + copies, most.boxes.begin()));
    }
    // As many as there are boxes.
    REQUIRE(rendezvous_places(block, first_boxes(2), 8).count == 2);
    REQUIRE(rendezvous_places(block, 0, 1).count == 0);
  }
}

}  // namespace
}  // namespace godbox::emulator::model
