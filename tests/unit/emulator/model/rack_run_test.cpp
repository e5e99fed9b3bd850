// SPDX-License-Identifier: Apache-2.0
//
// The rack in virtual time against the box that it is made of, the laws of queues, and placement
// that is done here once more. Losses: rack_loss_test.cpp.
#include "rack_checks.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace godbox::emulator::model {
namespace {

using namespace godbox::literals;
using namespace rack_tests;
using Catch::Approx;

constexpr std::uint32_t kHostsOfOne = 4;

// The one box of a rack by itself, as far from its hosts as there: leaf, spine, leaf.
BoxRunSpec box_alone(const RackRunSpec& wanted, bool in_step) {
  BoxRunSpec alone{.model = emfasys(),
                   .shape = kEmfasys,
                   .hosts = kHostsOfOne,
                   .nics_per_host = 8,
                   .rates = wanted.rates,
                   .in_step = in_step};
  alone.model.ethernet.switch_hops = 3;
  return alone;
}

TEST_CASE("leaves and spines are as many as the switches allow", "[unit][model][rack]") {
  // By hand: 51.2 Tb/s are 32 ports of 800 Gb/s and as many uplinks; 8 boxes of 36 ports are 288,
  // 64 hosts of 8 NICs 512; 800 uplinks over spines of 64 ports.
  const auto shape = rack_shape(RackSpec{}, kEmfasys, 8);
  REQUIRE(shape.has_value());
  CHECK(shape->spec.box_leaves == 9);
  CHECK(shape->spec.leaves_per_box == 9);
  CHECK(shape->spec.host_leaves == 16);
  CHECK(shape->spec.leaves_per_host == 8);
  CHECK(shape->spec.spines == 13);
  CHECK(shape->ports_of_leaves() == std::vector<std::uint32_t>(9, 32));
  CHECK(shape->nics_of_leaves() == std::vector<std::uint32_t>(16, 32));
  // 100 Gb/s: all of it fits into one leaf; two are taken, so that one may be lost. Twice
  // oversubscribed: 32 of 800 Gb/s become 42.
  CHECK(rack_shape(RackSpec{}, kAcf, 8)->spec.box_leaves == 2);
  CHECK(rack_shape({.oversubscription = 2}, kEmfasys, 8)->spec.box_leaves == 7);
  // 7 leaves of 288 ports: 41 or 42 on each.
  const auto uneven = rack_shape({.oversubscription = 2}, kEmfasys, 8)->ports_of_leaves();
  CHECK(*std::min_element(uneven.begin(), uneven.end()) == 41);
  CHECK(*std::max_element(uneven.begin(), uneven.end()) == 42);
}

TEST_CASE("a rack of one box is the box in step", "[unit][model][rack]") {
  for (const double read_share : {1.0, 0.0, 0.5}) {
    RackRunSpec wanted = spec(kEmfasys, {.set = {.blocks = 100},
                                         .requests = 600,
                                         .load = 0.6,
                                         .read_share = read_share,
                                         .seed = 7});
    wanted.rack.boxes = 1;
    wanted.rack.hosts = kHostsOfOne;
    const RackFigures figures = played(wanted);
    auto run = BoxRun::make(box_alone(wanted, true));
    REQUIRE(run.has_value());
    for (std::size_t i = 0; i < figures.done.size(); ++i) {
      REQUIRE(run->submit({.id = i,
                           .at_ps = figures.done[i].at_ps,
                           .size = 20_MiB,
                           .is_write = figures.done[i].outcome == RackOutcome::put,
                           .host = figures.done[i].host})
                  .has_value());
    }
    double sum = 0;
    double sum_alone = 0;
    std::size_t differ = 0;
    while (const auto one = run->next(std::uint64_t{1} << 62U)) {
      const double mine = time_s(figures.done[one->id]);
      const double other = seconds(one->end_ps - one->at_ps);
      differ += std::abs(mine - other) > 0.05 * other ? 1 : 0;
      sum += mine;
      sum_alone += other;
    }
    INFO("reads " << read_share);
    // A read and a put that come to the DRAM in one moment may go the other way round.
    CHECK(differ <= (read_share == 0.5 ? 12 : 0));
    CHECK(sum == Approx(sum_alone).epsilon(0.005));
  }
}

TEST_CASE("a block of a few stripes is as near to strip by strip as the box in step",
          "[unit][model][rack]") {
  struct Row {
    SizeBytes block;
    double within;
  };
  for (const Row& row : {Row{18_MiB, 0.03}, Row{9_MiB, 0.05}, Row{1152_KiB, 0.2}}) {
    RackRunSpec wanted = spec(
        kEmfasys,
        {.set = {.blocks = 100, .block = row.block}, .requests = 3000, .load = 0.6, .seed = 7});
    wanted.rack.boxes = 1;
    wanted.rack.hosts = kHostsOfOne;
    const RackFigures figures = played(wanted);
    auto run = BoxRun::make(box_alone(wanted, false));
    REQUIRE(run.has_value());
    double sum = 0;
    double sum_alone = 0;
    for (std::size_t i = 0; i < figures.done.size(); ++i) {
      sum += time_s(figures.done[i]);
      REQUIRE(run->submit({.id = i,
                           .at_ps = figures.done[i].at_ps,
                           .size = row.block,
                           .host = figures.done[i].host})
                  .has_value());
    }
    while (const auto one = run->next(std::uint64_t{1} << 62U)) {
      sum_alone += seconds(one->end_ps - one->at_ps);
    }
    INFO(row.block.count() << " bytes, " << sum / sum_alone - 1);
    CHECK(sum == Approx(sum_alone).epsilon(row.within));
  }
}

TEST_CASE("waits are those of a queue with constant service at each box", "[unit][model][rack]") {
  const std::uint64_t seed = 5;
  for (const double load : {0.3, 0.7}) {
    const RackFigures figures =
        played(spec(kEmfasys, {.requests = 60'000, .load = load, .seed = seed}));
    REQUIRE(figures.done.size() == 60'000);
    CHECK(figures.bound_by == "CXL link");
    // One block alone, and the wait of Pollaczek and Khinchine at what bounds a box.
    const RackFigures lone = played(spec(kEmfasys, {.requests = 1, .load = 0.01}));
    const double service_s = 20.0 * (1U << 20U) * 8 / figures.bound_bytes_per_s;
    const double wait_s = load * service_s / (2 * (1 - load));
    double sum = 0;
    for (const RackCompletion& one : figures.done) {
      sum += time_s(one) - time_s(lone.done[0]);
    }
    INFO("seed " << seed << ", load " << load);
    CHECK(sum / 60'000 == Approx(wait_s).epsilon(0.04));
  }
}

TEST_CASE("Little's law holds over the requests in flight of a rack", "[unit][model][rack]") {
  const std::uint64_t seed = 6;
  const RackFigures figures = played(
      spec(kAcf, {.requests = 20'000, .load = 0.8, .read_share = 0.6, .zipf = 0.5, .seed = seed}));
  std::vector<std::uint64_t> begins;
  std::vector<std::uint64_t> ends;
  double sum = 0;
  for (const RackCompletion& one : figures.done) {
    begins.push_back(one.at_ps);
    ends.push_back(one.end_ps);
    sum += time_s(one);
  }
  std::sort(begins.begin(), begins.end());
  std::sort(ends.begin(), ends.end());
  double seen = 0;
  constexpr int kLooks = 20'000;
  for (int i = 0; i < kLooks; ++i) {
    const std::uint64_t at = figures.end_ps / kLooks * static_cast<std::uint64_t>(i);
    seen +=
        static_cast<double>(std::upper_bound(begins.begin(), begins.end(), at) - begins.begin());
    seen -= static_cast<double>(std::upper_bound(ends.begin(), ends.end(), at) - ends.begin());
  }
  INFO("seed " << seed);
  CHECK(seen / kLooks == Approx(sum / seconds(figures.end_ps)).epsilon(0.03));
}

TEST_CASE("every request ends once and every byte is counted once", "[unit][model][rack]") {
  for (const BoxShape& shape : {kEmfasys, kAcf}) {
    const RackRunSpec wanted = spec(shape, {.set = {.hot_blocks = 50, .hot_copies = 3},
                                            .requests = 5'000,
                                            .load = 0.9,
                                            .read_share = 0.7,
                                            .zipf = 0.9,
                                            .seed = 2});
    const RackFigures figures = played(wanted);
    check_conserved(figures, wanted);
    CHECK(figures.given_up == 0);
    CHECK(count(figures, RackOutcome::recomputed) == 0);
    for (const StageLoad& load : figures.stages) {
      if (load.flow != BoxFlow::both) {
        INFO(load.name << ", " << to_string(load.flow));
        const std::uint64_t bytes =
            load.flow == BoxFlow::read ? figures.bytes_read : figures.bytes_written;
        CHECK(load.busy_s / load.count * load.limited.bytes_per_second() ==
              Approx(static_cast<double>(bytes)).epsilon(1e-4));
      }
    }
  }
}

TEST_CASE("a network that is oversubscribed is the bound, at what its uplinks carry",
          "[unit][model][rack]") {
  RackRunSpec wanted = spec(kAcf, {.requests = 4'000, .load = 2, .seed = 3});
  wanted.rack.oversubscription = 4;
  const RackFigures figures = played(wanted);
  CHECK(figures.bound_by == "leaf to spine");
  // 8 boxes of 32 ports of 100 Gb/s, a quarter of it, of which 1 in 1.0208 is not payload: 64 KiB
  // in 16 frames of 82 bytes of headers and 8 bytes of AETH.
  const double payload = 65536.0 / (65536 + 16 * 82 + 8);
  const double by_hand = 8 * 32 * 12.5e9 / 4 * payload;
  CHECK(figures.bound_bytes_per_s == Approx(by_hand).epsilon(1e-6));
  CHECK(static_cast<double>(figures.bytes_read) / seconds(figures.end_ps) ==
        Approx(by_hand).epsilon(0.02));
  const StageLoad& up = stage(figures, "leaf to spine", BoxFlow::read);
  CHECK(up.busy_s / up.count / seconds(figures.end_ps) > 0.98);
  // Without it the ports are.
  CHECK(played(spec(kAcf, {.requests = 10})).bound_by == "Ethernet port");
}

TEST_CASE("hot blocks load their boxes by Zipf's law, and copies spread them",
          "[unit][model][rack]") {
  constexpr std::uint64_t kBlocks = 10'000;
  for (const std::uint32_t copies : {1U, 4U}) {
    const RackRunSpec wanted =
        spec(kEmfasys, {.set = {.blocks = kBlocks, .hot_blocks = 100, .hot_copies = copies},
                        .requests = 40'000,
                        .load = 0.3,
                        .zipf = 1,
                        .seed = 10});
    const RackFigures figures = played(wanted);
    // Once more: each block's reads, an equal part of them to each of its boxes.
    std::vector<double> share(8);
    double all = 0;
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      all += 1.0 / static_cast<double>(block + 1);
    }
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      const std::uint32_t many = block < 100 ? copies : 1;
      const BlockPlaces places = rendezvous_places(block, first_boxes(8), many);
      for (std::uint32_t i = 0; i < many; ++i) {
        share[places.boxes[i]] += 1.0 / static_cast<double>(block + 1) / all / many;
      }
    }
    for (std::size_t box = 0; box < 8; ++box) {
      INFO(copies << " copies, box " << box);
      const double expected = share[box] * 40'000;
      CHECK(std::abs(static_cast<double>(figures.boxes[box].requests) - expected) <
            5 * std::sqrt(expected));
    }
    const double most = *std::max_element(share.begin(), share.end()) * 8;
    CHECK((copies == 1 ? most > 1.25 : most < 1.2));
  }
}

TEST_CASE("the same rack gives the same figures", "[unit][model][rack]") {
  RackRunSpec wanted = spec(
      kAcf, {.requests = 3'000, .load = 0.8, .read_share = 0.7, .zipf = 1, .recompute_s = 0.01});
  wanted.loss = {RackPart::box, 1, 0, 0.01};
  const RackFigures one = played(wanted);
  const RackFigures other = played(wanted);
  wanted.load.seed = 2;
  const RackFigures third = played(wanted);
  REQUIRE(one.done.size() == other.done.size());
  bool differs = false;
  for (std::size_t i = 0; i < one.done.size(); ++i) {
    REQUIRE(one.done[i].at_ps == other.done[i].at_ps);
    REQUIRE(one.done[i].end_ps == other.done[i].end_ps);
    REQUIRE(one.done[i].box == other.done[i].box);
    differs = differs || one.done[i].end_ps != third.done[i].end_ps;
  }
  CHECK(differs);
  CHECK(one.end_ps == other.end_ps);
  CHECK(one.bin_bytes_read == other.bin_bytes_read);
}

TEST_CASE("a run stops where it is told to", "[unit][model][rack]") {
  const auto stopped =
      run_rack(spec(kEmfasys, {}), [](std::uint64_t requests) { return requests < 1'000; });
  REQUIRE_FALSE(stopped.has_value());
  CHECK(stopped.error().code == Errc::cancelled);
}

TEST_CASE("a rack that cannot be is refused with what is allowed", "[unit][model][rack]") {
  struct Row {
    void (*change)(RackRunSpec&);
    std::string_view says;
  };
  for (const Row& row : std::vector<Row>{
           {[](RackRunSpec& s) { s.rack.boxes = 65; }, "rack.boxes = 65: allowed is 1 to 64"},
           {[](RackRunSpec& s) { s.rack.hosts = 0; }, "rack.hosts = 0: allowed is 1 to 1024"},
           {[](RackRunSpec& s) { s.rack.oversubscription = 0.5; },
            "network.oversubscription = 0.5: allowed is 1 to 64"},
           {[](RackRunSpec& s) { s.rack.box_leaves = 4; },
            "a leaf of 72 ports of 800 Gb/s and their uplinks has 115.2 Tb/s; allowed is at most "
            "network.switch_tbit_per_s = 51.2, 32 ports"},
           {[](RackRunSpec& s) { s.rack.spines = 12; },
            "network.spines = 12: uplinks of 640 Tb/s in all take 13 switches"},
           {[](RackRunSpec& s) { s.rack.switch_tbit_per_s = 1; },
            "allowed is at least a port of 800 Gb/s and its uplink, 1.6 Tb/s"},
           {[](RackRunSpec& s) { s.rack.host_leaves = 17; },
            "network.host_leaves = 17: allowed are multiples of network.leaves_per_host = 8, 16 "
            "to 512"},
           {[](RackRunSpec& s) { s.rack.leaves_per_host = 9; },
            "network.leaves_per_host = 9: allowed is 0 to 8"},
           {[](RackRunSpec& s) { s.rack.notice_ms = 0; }, "network.notice_ms = 0: allowed is"},
           {[](RackRunSpec& s) { s.load.load = 0; }, "load = 0: allowed is"},
           {[](RackRunSpec& s) { s.load.read_share = 1.5; }, "read_share = 1.5: allowed is 0 to 1"},
           {[](RackRunSpec& s) { s.load.zipf = -1; }, "zipf = -1: allowed is 0 to 4"},
           {[](RackRunSpec& s) { s.load.set.hot_copies = 9; }, "copies = 9: allowed is 1 to 8"},
           {[](RackRunSpec& s) { s.load.set.hot_blocks = 200'000; },
            "hot_blocks = 200000: allowed is 0 to 100000"},
           {[](RackRunSpec& s) { s.load.set.block = 1_MiB; },
            "block_bytes = 1048576: allowed is 1179648 to 1073741824"},
           {[](RackRunSpec& s) { s.box_capacity = 100_GiB; }, "allowed is at most 5120, what fits"},
           {[](RackRunSpec& s) {
              s.loss = {RackPart::box, 8};
            },
            "loss of box 8: allowed is 0 to 7"},
           {[](RackRunSpec& s) {
              s.loss = {RackPart::port, 1, 36};
            },
            "loss of port 36 of box 1: allowed is port 0 to 35"},
           {[](RackRunSpec& s) {
              s.loss = {RackPart::port, 9, 0};
            },
            "loss of port 0 of box 9: allowed is box 0 to 7"},
           {[](RackRunSpec& s) {
              s.loss = {RackPart::spine, 0, 0, 1e6};
            },
            "when about the last request comes"},
           {[](RackRunSpec& s) {
              s.rack.boxes = 1;
              s.loss = {RackPart::box, 0};
            },
            "allowed where the rack has 2 or more"},
           {[](RackRunSpec& s) {
              s.rack.boxes = 1;
              s.box = {9, 2, 1, Rate(100e9)};
              s.loss = {RackPart::port, 0, 2};
            },
            "loss of port 2 of box 0: each box would have a SuperNIC without a port; allowed is "
            "what leaves a box whole"}}) {
    RackRunSpec wanted = spec(kEmfasys, {});
    row.change(wanted);
    const auto refused = run_rack(wanted);
    INFO(row.says);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::config_invalid);
    INFO(refused.error().detail);
    CHECK(refused.error().detail.find(row.says) != std::string::npos);
  }
}

}  // namespace
}  // namespace godbox::emulator::model
