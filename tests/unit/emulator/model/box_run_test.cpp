// SPDX-License-Identifier: Apache-2.0
//
// The box in virtual time against the closed form of a lone transfer, the laws of queues, and
// itself with a stripe as one strip.
#include "model/seeded_random.h"
#include <godbox/emulator/model/box_run.h>
#include <godbox/emulator/model/device_file.h>

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <string>

namespace godbox::emulator::model {
namespace {

using namespace godbox::literals;
using Catch::Approx;

constexpr std::uint64_t kForever = std::uint64_t{1} << 62U;
constexpr BoxShape kNine{9, 2, 4, Rate(100e9)};
constexpr BoxShape kOne{1, 1, 1, Rate(100e9)};

const BoxModel& emfasys() {
  static const BoxModel model = [] {
    const auto text = device_text("emfasys");
    REQUIRE(text.has_value());
    const auto parsed = parse_device(*text, "emfasys");
    REQUIRE(parsed.has_value());
    return *parsed;
  }();
  return model;
}

const BoxRates& rates() {
  static const BoxRates calibrated = [] {
    const auto rates = box_rates(emfasys(), 64_KiB);
    REQUIRE(rates.has_value());
    return *rates;
  }();
  return calibrated;
}

BoxRunSpec spec(const BoxShape& shape, std::uint32_t hosts, std::uint32_t nics_per_host) {
  return {.model = emfasys(),
          .shape = shape,
          .hosts = hosts,
          .nics_per_host = nics_per_host,
          .rates = rates()};
}

BoxRun started(const BoxRunSpec& spec) {
  auto run = BoxRun::make(spec);
  INFO((run ? "" : run.error().detail));
  REQUIRE(run.has_value());
  return std::move(*run);
}

std::vector<BoxCompletion> play(BoxRun& run, const std::vector<BoxRequest>& requests) {
  for (const BoxRequest& request : requests) {
    const auto submitted = run.submit(request);
    INFO((submitted ? "" : submitted.error().detail));
    REQUIRE(submitted.has_value());
  }
  std::vector<BoxCompletion> done;
  while (const auto completion = run.next(kForever)) {
    done.push_back(*completion);
  }
  REQUIRE(done.size() == requests.size());
  return done;
}

const StageLoad& stage(const BoxLoadFigures& figures, std::string_view name, BoxFlow flow) {
  const auto found =
      std::find_if(figures.stages.begin(), figures.stages.end(),
                   [&](const StageLoad& load) { return load.name == name && load.flow == flow; });
  REQUIRE(found != figures.stages.end());
  return *found;
}

double seconds(std::uint64_t ps) { return static_cast<double>(ps) * 1e-12; }

// Requests at random times at a mean distance, of random sizes, reads and writes, from all hosts.
std::vector<BoxRequest> mixture(std::uint64_t seed, std::size_t count, double mean_distance_ps,
                                SizeBytes least, SizeBytes most, std::uint32_t hosts) {
  SeededRandom random(seed);
  std::vector<BoxRequest> requests;
  double at_ps = 0;
  for (std::size_t i = 0; i < count; ++i) {
    at_ps += random.exponential(mean_distance_ps);
    requests.push_back(
        {.id = i,
         .at_ps = static_cast<std::uint64_t>(at_ps),
         .size = SizeBytes(least.count() + random.below(most.count() - least.count() + 1)),
         .is_write = random.below(3) == 0,
         .host = static_cast<std::uint32_t>(random.below(hosts)),
         .first_channel = static_cast<std::uint32_t>(random.below(18))});
  }
  return requests;
}

TEST_CASE("a lone transfer takes what the closed form says", "[unit][model][box_run]") {
  for (const bool is_write : {false, true}) {
    // Of which strips the last stripe is short of some: a strip in so many.
    for (const SizeBytes size : {64_KiB, 100_MiB, 1_GiB}) {
      for (const std::uint32_t nics : {1U, 8U}) {
        BoxRun run = started(spec(kNine, 1, nics));
        const auto done = play(run, {{.size = size, .is_write = is_write}});
        // A strip is on one DRAM channel.
        const bool is_strip = size == 64_KiB;
        const auto closed =
            time_transfer(emfasys(), kNine, {size, is_strip ? 1U : 18U, is_strip ? 1U : 36U, nics},
                          is_write ? rates().write : rates().read);
        if (is_strip) {
          const auto one = time_transfer(emfasys(), kNine, {size, 1, 1, 1},
                                         is_write ? rates().write : rates().read);
          REQUIRE(one.has_value());
          CHECK(seconds(done[0].end_ps) == Approx(one->seconds).epsilon(0.05));
          continue;
        }
        REQUIRE(closed.has_value());
        INFO(size.count() << " bytes, write " << is_write << ", NICs " << nics);
        CHECK(seconds(done[0].end_ps) == Approx(closed->seconds).epsilon(0.02));
      }
    }
  }
}

TEST_CASE("a request is bound by the stage that would end last alone", "[unit][model][box_run]") {
  const auto bound_of = [](const BoxRun& run, const BoxCompletion& done) {
    if (!done.bound_by) {
      return std::string("delays");
    }
    const StageLoad load = run.figures().stages.at(*done.bound_by);
    return std::string(load.name) + " " + std::string(to_string(load.flow));
  };
  const BoxShape narrow{9, 2, 1, Rate(12.5e9)};
  for (const bool in_step : {false, true}) {
    for (const bool is_write : {false, true}) {
      // Alone: the slowest stage of the closed form.
      for (const BoxShape& shape : {kNine, narrow}) {
        for (const std::uint32_t nics : {1U, 16U}) {
          BoxRunSpec one = spec(shape, 1, nics);
          one.in_step = in_step;
          BoxRun run = started(one);
          const auto done = play(run, {{.size = 256_MiB, .is_write = is_write}});
          const auto closed = time_transfer(emfasys(), shape,
                                            {256_MiB, 18, 9 * shape.eth_ports_per_super_nic, nics},
                                            is_write ? rates().write : rates().read);
          REQUIRE(closed.has_value());
          INFO(is_write << " in step " << in_step << " NICs " << nics);
          CHECK(bound_of(run, done[0]).starts_with(closed->stages.at(closed->bottleneck).name));
          CHECK(bound_of(run, done[0]).ends_with(is_write ? " write" : " read"));
        }
      }
    }
  }
  // A line is nothing but delays, until it stands behind others: here of hosts with NICs enough.
  BoxRun run = started(spec(kOne, 2, 16));
  const auto done = play(run, {{.id = 0, .at_ps = 0, .size = 64_B, .host = 1},
                               {.id = 1, .at_ps = 100'000'000, .size = 16_MiB},
                               {.id = 2, .at_ps = 100'000'001, .size = 64_B, .host = 1}});
  for (const BoxCompletion& one : done) {
    CHECK(bound_of(run, one) == (one.id == 0 ? "delays" : "CXL link read"));
  }
  // One slow channel's link.
  BoxRunSpec slow = spec(kNine, 1, 16);
  slow.slow_channels = {{3, 0.01}};
  BoxRun slow_run = started(slow);
  CHECK(bound_of(slow_run, play(slow_run, {{.size = 64_KiB, .first_channel = 3}})[0]) ==
        "CXL link read");
}

// Friedman 1965: in a row of queues with constant services, all wait as long as before the slowest
// alone; Pollaczek and Khinchine: rho * service / (2 - 2 * rho) there, of arrivals at random.
TEST_CASE("waits are those of a queue with constant service", "[unit][model][box_run]") {
  constexpr std::size_t kStrips = 400'000;
  const double service_s =
      65536 / std::min(rates().read.link, rates().read.dram).bytes_per_second();
  for (const double load : {0.3, 0.6, 0.85}) {
    const std::uint64_t seed = 7;
    SeededRandom random(seed);
    BoxRun run = started(spec(kOne, 1, 1));
    double at_s = 0;
    std::vector<BoxRequest> requests(kStrips);
    for (std::size_t i = 0; i < kStrips; ++i) {
      at_s += random.exponential(service_s / load);
      requests[i] = {.id = i, .at_ps = static_cast<std::uint64_t>(at_s * 1e12), .size = 64_KiB};
    }
    play(run, requests);
    const BoxLoadFigures figures = run.figures();
    double waited_s = 0;
    for (const StageLoad& load_of : figures.stages) {
      waited_s += load_of.wait_mean_s;
    }
    INFO("load " << load << ", seed " << seed);
    CHECK(waited_s == Approx(load * service_s / (2 - 2 * load)).epsilon(0.03));
    const StageLoad& link = stage(figures, "CXL link", BoxFlow::read);
    CHECK(link.busy_s / at_s == Approx(load).epsilon(0.01));
  }
}

TEST_CASE("Little's law holds over the requests in a box", "[unit][model][box_run]") {
  const std::uint64_t seed = 11;
  const auto requests = mixture(seed, 4'000, 100e6, 64_KiB, 64_MiB, 4);
  BoxRun run = started(spec(kNine, 4, 2));
  auto done = play(run, requests);
  double time_s = 0;
  for (const BoxCompletion& one : done) {
    CHECK(one.end_ps > one.at_ps);
    time_s += seconds(one.end_ps - one.at_ps);
  }
  // How many there are, looked at 20,000 times.
  std::vector<std::uint64_t> begins;
  std::vector<std::uint64_t> ends;
  for (const BoxCompletion& one : done) {
    begins.push_back(one.at_ps);
    ends.push_back(one.end_ps);
  }
  std::sort(begins.begin(), begins.end());
  std::sort(ends.begin(), ends.end());
  const std::uint64_t last_ps = ends.back();
  double seen = 0;
  constexpr int kLooks = 20'000;
  for (int i = 0; i < kLooks; ++i) {
    const std::uint64_t at = last_ps / kLooks * static_cast<std::uint64_t>(i);
    seen +=
        static_cast<double>(std::upper_bound(begins.begin(), begins.end(), at) - begins.begin());
    seen -= static_cast<double>(std::upper_bound(ends.begin(), ends.end(), at) - ends.begin());
  }
  INFO("seed " << seed);
  CHECK(seen / kLooks == Approx(time_s / seconds(last_ps)).epsilon(0.03));
}

TEST_CASE("each stage works for every byte once, and never more than all the time",
          "[unit][model][box_run]") {
  const std::uint64_t seed = 3;
  const auto requests = mixture(seed, 2'000, 30e6, 1_B, 8_MiB, 3);
  for (const bool in_step : {false, true}) {
    BoxRunSpec wanted = spec(kNine, 3, 2);
    wanted.in_step = in_step;
    BoxRun run = started(wanted);
    play(run, requests);
    const BoxLoadFigures figures = run.figures();
    std::uint64_t read = 0;
    std::uint64_t written = 0;
    for (const BoxRequest& request : requests) {
      (request.is_write ? written : read) += request.size.count();
    }
    INFO("seed " << seed << ", in step " << in_step);
    CHECK(figures.bytes_read == read);
    CHECK(figures.bytes_written == written);
    for (const StageLoad& load : figures.stages) {
      INFO(load.name << ", " << to_string(load.flow));
      CHECK(load.busy_s_max <= seconds(figures.end_ps));
      if (load.flow != BoxFlow::both) {
        const double bytes = static_cast<double>(load.flow == BoxFlow::read ? read : written);
        CHECK(load.busy_s / load.count * load.limited.bytes_per_second() ==
              Approx(bytes).epsilon(1e-4));
      }
    }
    const auto sum = [](const std::vector<std::uint64_t>& values) {
      std::uint64_t all = 0;
      for (const std::uint64_t value : values) {
        all += value;
      }
      return all;
    };
    CHECK(sum(figures.channel_bytes) == read + written);
    CHECK(sum(figures.second_bytes_read) == read);
    CHECK(sum(figures.second_bytes_written) == written);
    CHECK(figures.channel_bytes.size() == 18);
    CHECK(static_cast<double>(sum(figures.port_bytes_read)) ==
          Approx(static_cast<double>(read)).epsilon(1e-5));
    CHECK(static_cast<double>(*std::max_element(figures.port_bytes_written.begin(),
                                                figures.port_bytes_written.end())) <
          1.1 * static_cast<double>(written) / 36);
  }
}

TEST_CASE("a stripe as one strip is within 2 % of strip by strip", "[unit][model][box_run]") {
  struct Row {
    std::uint64_t seed;
    double distance_ps;
    std::uint32_t hosts;
    std::uint32_t nics;
  };
  // From hosts that wait for their NICs to a box that is full.
  for (const Row& row : {Row{1, 2e9, 4, 1}, Row{2, 0.8e9, 8, 4}, Row{3, 0.5e9, 32, 8}}) {
    const auto requests = mixture(row.seed, 300, row.distance_ps, 20_MiB, 400_MiB, row.hosts);
    std::array<std::vector<double>, 2> times;
    for (const bool in_step : {false, true}) {
      BoxRunSpec wanted = spec(kNine, row.hosts, row.nics);
      wanted.in_step = in_step;
      BoxRun run = started(wanted);
      std::vector<double>& mine = times[in_step ? 1 : 0];
      mine.resize(requests.size());
      for (const BoxCompletion& one : play(run, requests)) {
        mine[one.id] = seconds(one.end_ps - one.at_ps);
      }
    }
    double sum = 0;
    double sum_in_step = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      sum += times[0][i];
      sum_in_step += times[1][i];
    }
    for (auto& list : times) {
      std::sort(list.begin(), list.end());
    }
    INFO("seed " << row.seed << ", hosts " << row.hosts);
    CHECK(sum_in_step == Approx(sum).epsilon(0.02));
    CHECK(times[1][150] == Approx(times[0][150]).epsilon(0.02));
    CHECK(times[1][297] == Approx(times[0][297]).epsilon(0.02));
  }
}

TEST_CASE("a piece of a stripe in step takes what it takes alone", "[unit][model][box_run]") {
  for (const SizeBytes size : {4_KiB, 64_KiB, 1_MiB, 3_MiB, 20_MiB}) {
    std::array<double, 2> times{};
    for (const bool in_step : {false, true}) {
      BoxRunSpec wanted = spec(kNine, 1, 8);
      wanted.in_step = in_step;
      BoxRun run = started(wanted);
      times[in_step ? 1 : 0] = seconds(play(run, {{.size = size}})[0].end_ps);
    }
    INFO(size.count() << " bytes");
    CHECK(times[1] == Approx(times[0]).epsilon(0.06));
  }
}

// The same lines in the detailed model, one channel that never waits for work: what its FIFO of
// strips leaves out is how reads and writes disturb each other in the DRAM and share flits.
TEST_CASE("a channel of the box delivers what the detailed model does", "[unit][model][box_run]") {
  const BoxModel& model = emfasys();
  for (const double read_share : {1.0, 0.75, 0.5, 0.25, 0.0}) {
    BoxRunSpec wanted = spec({1, 1, 4, Rate(100e9)}, 1, 8);
    wanted.model = model;
    BoxRun run = started(wanted);
    constexpr std::size_t kStrips = 3000;
    std::vector<BoxRequest> requests(kStrips);
    double owed = 0;
    for (std::size_t i = 0; i < kStrips; ++i) {
      owed += read_share;
      requests[i] = {.id = i, .size = 64_KiB, .is_write = owed < 1};
      owed -= requests[i].is_write ? 0 : 1;
    }
    play(run, requests);
    const double fast = kStrips * 65536 / seconds(run.figures().end_ps);
    const auto detailed = run_type3(model.device, {.lines = 200'000,
                                                   .read_share = read_share,
                                                   .run = 64_KiB,
                                                   .streams = 4,
                                                   .separate_writes = true,
                                                   .window = 512});
    INFO((detailed ? "" : detailed.error().detail));
    REQUIRE(detailed.has_value());
    INFO("reads " << read_share << ", fast " << fast / 1e9 << " GB/s");
    const bool is_mix = read_share > 0 && read_share < 1;
    CHECK(fast == Approx(detailed->delivered.bytes_per_second()).epsilon(is_mix ? 0.07 : 0.01));
  }
}

TEST_CASE("the same requests give the same figures", "[unit][model][box_run]") {
  const auto requests = mixture(5, 500, 50e6, 1_B, 30_MiB, 3);
  BoxRun first = started(spec(kNine, 3, 2));
  BoxRun second = started(spec(kNine, 3, 2));
  const auto one = play(first, requests);
  const auto other = play(second, requests);
  for (std::size_t i = 0; i < one.size(); ++i) {
    REQUIRE(one[i].id == other[i].id);
    REQUIRE(one[i].end_ps == other[i].end_ps);
  }
  CHECK(first.figures().channel_bytes == second.figures().channel_bytes);
}

TEST_CASE("a run that stops after so many events goes on as if it had not",
          "[unit][model][box_run]") {
  const std::vector<BoxRequest> asked{{.id = 1, .size = 3_MiB},
                                      {.id = 2, .at_ps = 1000, .size = 1_MiB, .is_write = true}};
  std::array<std::vector<std::uint64_t>, 2> ends;
  std::uint64_t stops = 0;
  for (const std::uint64_t events_max : {std::uint64_t{3}, kForever}) {
    BoxRun run = started(spec(kOne, 1, 1));
    for (const BoxRequest& request : asked) {
      REQUIRE(run.submit(request).has_value());
    }
    CHECK(!run.is_on_its_way());
    std::vector<std::uint64_t>& mine = ends[events_max == kForever ? 1 : 0];
    while (true) {
      const std::uint64_t before_ps = run.now_ps();
      const auto done = run.next(kForever, events_max);
      if (done) {
        CHECK(!run.is_on_its_way());
        mine.insert(mine.end(), {done->id, done->end_ps});
      } else if (run.is_on_its_way()) {
        CHECK(run.now_ps() >= before_ps);
        ++stops;
      } else {
        break;
      }
    }
  }
  CHECK(stops > 10);
  CHECK(ends[0].size() == 4);
  CHECK(ends[0] == ends[1]);
}

TEST_CASE("more DRAM channels and ports are never slower", "[unit][model][box_run]") {
  const auto requests = mixture(9, 300, 300e6, 20_MiB, 100_MiB, 8);
  double before_s = 1e9;
  for (const std::uint32_t super_nics : {1U, 3U, 9U, 14U}) {
    BoxRun run = started(spec({super_nics, 2, 4, Rate(100e9)}, 8, 4));
    double sum_s = 0;
    for (const BoxCompletion& one : play(run, requests)) {
      sum_s += seconds(one.end_ps - one.at_ps);
    }
    CHECK(sum_s < before_s * 1.001);
    before_s = sum_s;
  }
}

TEST_CASE("a box or a request that cannot be is refused", "[unit][model][box_run]") {
  const auto refused = [](const BoxRunSpec& spec, std::string_view says) {
    const auto run = BoxRun::make(spec);
    REQUIRE_FALSE(run.has_value());
    INFO(run.error().detail);
    CHECK(run.error().detail.find(says) != std::string::npos);
  };
  refused(spec({0, 2, 4, Rate(1e9)}, 1, 1), "super_nics = 0: allowed is 1 to 64");
  refused(spec({33, 2, 4, Rate(1e9)}, 1, 1), "= 66: allowed is 1 to 64");
  refused(spec({9, 2, 0, Rate(1e9)}, 1, 1), "eth_ports_per_super_nic = 0: allowed is 1 to 64");
  refused(spec({9, 2, 4, Rate()}, 1, 1), "eth_port rate: must be above 0");
  refused(spec(kNine, 0, 1), "hosts = 0: allowed is 1 to 1024");
  refused(spec(kNine, 1, 17), "nics_per_host = 17: allowed is 1 to 16");
  BoxRunSpec slow = spec(kNine, 1, 1);
  slow.slow_channels = {{18, 0.1}};
  refused(slow, "slow_channels: dram_channel = 18: allowed is 0 to 17");
  slow.slow_channels = {{17, 0}};
  refused(slow, "slow_channels: rate_share = 0: allowed is above 0, to 1");
  slow.slow_channels = {{17, 0.1}};
  slow.in_step = true;
  refused(slow, "slow_channels: in step");
  BoxRun run = started(spec(kNine, 2, 1));
  const auto wrong = [&run](const BoxRequest& request, std::string_view says) {
    const auto submitted = run.submit(request);
    REQUIRE_FALSE(submitted.has_value());
    INFO(submitted.error().detail);
    CHECK(submitted.error().detail.find(says) != std::string::npos);
  };
  wrong({.id = 4, .size = 0_B}, "request 4: size = 0");
  wrong({.size = 1_B, .host = 2}, "host = 2: allowed is 0 to 1");
  wrong({.size = SizeBytes(std::uint64_t{1} << 50U)}, "allowed are 1073741824 together");
  CHECK_FALSE(run.next(1000).has_value());
  play(run, {{.at_ps = 5'000'000, .size = 1_MiB}});
  wrong({.at_ps = 1, .size = 1_B}, "at_ps = 1: allowed is ");
}

}  // namespace
}  // namespace godbox::emulator::model
