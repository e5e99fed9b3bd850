// SPDX-License-Identifier: Apache-2.0
//
// What a lost box, port or switch of a rack costs, against counts by hand.
#include "rack_checks.h"

#include <algorithm>
#include <cmath>

namespace godbox::emulator::model {
namespace {

using namespace godbox::literals;
using namespace rack_tests;
using Catch::Approx;

TEST_CASE("what is left of ports, leaves and spines carries its part", "[unit][model][rack]") {
  struct Row {
    RackLoss loss;
    double oversubscription;
    double left;
  };
  // Of 32 ports, 8 leaves, 16 spines one each; the uplinks bind in the last two.
  for (const Row& row :
       {Row{{RackPart::port, 0, 5}, 1, 31.0 / 32}, Row{{RackPart::box_leaf, 3}, 1, 7.0 / 8},
        Row{{RackPart::box_leaf, 3}, 4, 7.0 / 8}, Row{{RackPart::spine, 15}, 4, 15.0 / 16}}) {
    std::array<double, 2> rates{};
    for (const bool is_lost : {false, true}) {
      RackRunSpec wanted = spec(kAcf, {.requests = 3'000, .load = 3, .seed = 4});
      wanted.rack.boxes = 1;
      wanted.rack.box_leaves = 8;
      wanted.rack.spines = 16;
      wanted.rack.oversubscription = row.oversubscription;
      wanted.rack.notice_ms = 0.001;
      wanted.loss = is_lost ? row.loss : RackLoss{};
      const RackFigures figures = played(wanted);
      check_conserved(figures, wanted);
      CHECK(count(figures, RackOutcome::found) == 3'000);
      rates[is_lost ? 1 : 0] = static_cast<double>(figures.bytes_read) / seconds(figures.end_ps);
    }
    INFO(to_string(row.loss.part) << " at " << row.oversubscription);
    CHECK(rates[1] / rates[0] == Approx(row.left).epsilon(0.005));
  }
}

TEST_CASE("a lost port holds up what is under way until it is noticed, by its share of the bytes",
          "[unit][model][rack]") {
  RackRunSpec wanted = spec(kAcf, {.requests = 4'000, .load = 0.5, .seed = 8});
  wanted.rack.boxes = 2;
  wanted.loss = {RackPart::port, 1, 9, 0.05};
  const RackFigures figures = played(wanted);
  check_conserved(figures, wanted);
  const std::uint64_t noticed_ps = 50'000'000'000 + 67'100'000'000;
  std::uint64_t disturbed = 0;
  for (const RackCompletion& one : figures.done) {
    disturbed += one.is_disturbed ? 1 : 0;
    if (one.is_disturbed) {
      CHECK(one.box == 1);
      CHECK(one.end_ps > noticed_ps);
      CHECK(one.at_ps < noticed_ps);
    } else if (one.box == 1 && one.at_ps > 50'000'000'000 && one.at_ps < noticed_ps - 500'000'000) {
      FAIL("a block through a lost port without a loss");
    }
  }
  // A port of 32: of each such block's bytes 1/32; those that came in time and those under way.
  CHECK(static_cast<double>(figures.moves.bytes_sent_again) ==
        Approx(static_cast<double>(disturbed) * 20 * (1U << 20U) / 32).epsilon(0.05));
  const double came = 0.0671 * figures.requests_per_s / 2;
  CHECK(std::abs(static_cast<double>(disturbed) - came) < 5 * std::sqrt(came) + 3);
  CHECK(figures.moves.blocks_lost == 0);
  CHECK(figures.moves.boxes_cut_off == 0);
}

TEST_CASE("a lost box takes its blocks with it and moves nothing else", "[unit][model][rack]") {
  constexpr std::uint64_t kBlocks = 2'000;
  for (const std::uint32_t copies : {1U, 2U}) {
    RackRunSpec wanted =
        spec(kEmfasys, {.set = {.blocks = kBlocks, .hot_blocks = kBlocks, .hot_copies = copies},
                        .requests = 20'000,
                        .load = 0.4,
                        .read_share = 0.9,
                        .recompute_s = 0.02,
                        .seed = 9});
    const RackFigures whole = played(wanted);
    wanted.loss = {RackPart::box, 5, 0, 0.1};
    wanted.rack.notice_ms = 20;
    const RackFigures figures = played(wanted);
    check_conserved(figures, wanted);
    // By hand: its blocks, once more.
    std::uint64_t had = 0;
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      had += rendezvous_places(block, first_boxes(8), copies).mask() >> 5U & 1U;
    }
    const RackMoves& moves = figures.moves;
    CHECK(moves.copies_lost == had);
    CHECK(moves.copies_moved == had);
    CHECK(moves.blocks_lost == (copies == 1 ? had : 0));
    CHECK(figures.boxes[5].blocks_before == had);
    CHECK(figures.boxes[5].blocks_after == 0);
    CHECK(moves.boxes_cut_off == 1);
    // What is put again was lost, each block once; with 9 reads of each nearly all of it.
    CHECK(moves.restored <= had);
    CHECK(moves.restored > had * 9 / 10);
    CHECK(moves.bytes_restored == moves.restored * (std::uint64_t{20} << 20U));
    // Two copies: nothing has to be computed again.
    CHECK((count(figures, RackOutcome::recomputed) >= moves.restored) == (copies == 1));
    CHECK((count(figures, RackOutcome::recomputed) == 0) == (copies == 2));
    // Until the loss nothing is different, and from its notice on nobody asks the lost box.
    const std::uint64_t lost_ps = 100'000'000'000;
    std::size_t same = 0;
    for (std::size_t i = 0; i < whole.done.size() && whole.done[i].end_ps < lost_ps; ++i, ++same) {
      REQUIRE(figures.done[i].end_ps == whole.done[i].end_ps);
    }
    CHECK(same > 100);
    for (const RackCompletion& one : figures.done) {
      CHECK((one.box != 5 || one.at_ps < lost_ps));
      if (one.outcome == RackOutcome::recomputed) {
        CHECK(time_s(one) >= 0.02);
      }
      if (one.is_disturbed) {
        CHECK(one.end_ps > lost_ps + 20'000'000'000);
      }
    }
    // What came for it until the notice, an eighth of all, and what it had under way.
    const double came = 0.02 * figures.requests_per_s / 8;
    CHECK(std::abs(static_cast<double>(moves.requests_retried) - came) < 5 * std::sqrt(came) + 20);
  }
}

TEST_CASE("a lost leaf cuts off the hosts that have no other", "[unit][model][rack]") {
  RackRunSpec wanted = spec(kEmfasys, {.requests = 5'000, .load = 0.4, .read_share = 0.5});
  wanted.rack.leaves_per_host = 1;
  wanted.loss = {RackPart::host_leaf, 2, 0, 0.01};
  const RackFigures figures = played(wanted);
  check_conserved(figures, wanted);
  // 32 ports of 800 Gb/s on a leaf: 4 hosts.
  CHECK(figures.shape.spec.host_leaves == 16);
  CHECK(figures.moves.hosts_cut_off == 4);
  CHECK(figures.given_up > 0);
  for (const RackCompletion& one : figures.done) {
    CHECK((one.host % 16 != 2 || one.at_ps <= 10'000'000'000));
  }
  // With NICs on 8 leaves it is an eighth of each.
  wanted.rack.leaves_per_host = 8;
  const RackFigures spread = played(wanted);
  check_conserved(spread, wanted);
  CHECK(spread.moves.hosts_cut_off == 0);
  CHECK(spread.given_up == 0);
}

TEST_CASE("a box with a SuperNIC that has no port is lost", "[unit][model][rack]") {
  RackRunSpec wanted =
      spec({9, 2, 1, Rate(100e9)}, {.requests = 2'000, .load = 0.3, .recompute_s = 0.01});
  wanted.loss = {RackPart::port, 3, 4, 0.01};
  const RackFigures figures = played(wanted);
  check_conserved(figures, wanted);
  CHECK(figures.moves.boxes_cut_off == 1);
  CHECK(figures.boxes[3].is_lost);
  CHECK(figures.moves.blocks_lost == figures.boxes[3].blocks_before);
}

}  // namespace
}  // namespace godbox::emulator::model
