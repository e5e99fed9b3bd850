// SPDX-License-Identifier: Apache-2.0
#include "bench/plan_checks.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <functional>
#include <string>
#include <vector>

using namespace godbox;
using namespace godbox::app;
using Catch::Matchers::ContainsSubstring;

namespace {

BenchOptions options_for(const std::string& workload) {
  BenchOptions options;
  options.workloads = workload;
  const bool is_paced = workload == "scaling" || workload == "port-fault" || workload == "paced";
  options.mode = is_paced ? "paced" : "free";
  return options;
}

struct Refusal {
  std::string workload;
  std::function<void(BenchOptions&)> set;
  std::vector<std::string> words;
};

void check_refused(const Refusal& refusal) {
  BenchOptions options = options_for(refusal.workload);
  REQUIRE(make_plan(options).has_value());
  refusal.set(options);
  const auto plan = make_plan(options);
  INFO(refusal.workload << ", " << refusal.words.front());
  REQUIRE_FALSE(plan.has_value());
  CHECK(plan.error().code == Errc::invalid_argument);
  for (const std::string& word : refusal.words) {
    CHECK_THAT(plan.error().detail, ContainsSubstring(word));
  }
}

}  // namespace

TEST_CASE("verbs needs a box elsewhere, and what only a box in this process has is refused there",
          "[unit]") {
  check_refused({"block",
                 [](BenchOptions& o) { o.transports = "verbs"; },
                 {"--transport", "verbs", "--connect verbs:HOST:PORT", "serve --roce"}});
  check_refused({"block",
                 [](BenchOptions& o) { o.transports = "tcp,verbs"; },
                 {"--transport", "--connect verbs:HOST:PORT"}});
  check_refused({"block",
                 [](BenchOptions& o) { o.connect = "local:/tmp/a.sock"; },
                 {"--connect", "local:/tmp/a.sock", "verbs:HOST:PORT"}});
  check_refused({"block",
                 [](BenchOptions& o) { o.connect = "unix:", o.transports = "verbs"; },
                 {"--transport", "verbs:HOST:PORT"}});
  check_refused({"block",
                 [](BenchOptions& o) { o.connect = "unix:", o.transports = "local"; },
                 {"--transport", "local", "tcp, verbs"}});
  check_refused({"block",
                 [](BenchOptions& o) { o.connect = "roce"; },
                 {"--connect", "\"roce\"", "roce:HOST:PORT"}});
  check_refused({"block",
                 [](BenchOptions& o) { o.transports = "roce"; },
                 {"--transport", "roce", "--connect roce:HOST:PORT"}});
  check_refused({"block",
                 [](BenchOptions& o) { o.connect = "roce:127.0.0.1:7400"; },
                 {"--transport", "roce", "--wire", "dgram:"}});
  check_refused({"block",
                 [](BenchOptions& o) { o.connect = "tcp:127.0.0.1:7400", o.wires = {"w@x"}; },
                 {"--wire", "w@x", "--transport roce"}});
  check_refused(
      {"block", [](BenchOptions& o) { o.wires = {"w@x"}; }, {"--wire", "w@x", "--transport roce"}});
  check_refused(
      {"scatter", [](BenchOptions& o) { o.connect = "unix:"; }, {"--workload", "block, page"}});
  const std::vector<Refusal> of_own_box = {
      {"block", [](BenchOptions& o) { o.channels = "9"; }, {"--channels", "--connect"}},
      {"block", [](BenchOptions& o) { o.threads = 2; }, {"--threads", "--connect"}},
      {"block", [](BenchOptions& o) { o.server_threads = 2; }, {"--server-threads", "--connect"}},
      {"block", [](BenchOptions& o) { o.mode = "paced"; }, {"--mode", "--connect"}},
      {"block", [](BenchOptions& o) { o.timeline = true; }, {"--timeline", "--connect"}},
  };
  for (const Refusal& refusal : of_own_box) {
    check_refused({refusal.workload, [&](BenchOptions& o) { o.connect = "unix:", refusal.set(o); },
                   refusal.words});
  }
}

TEST_CASE("every workload refuses blocks that its working set does not hold", "[unit]") {
  for (const char* workload : {"block", "page", "scaling", "one-channel"}) {
    check_refused({workload,
                   [](BenchOptions& o) { o.sizes = "20MiB", o.working_set = "16MiB"; },
                   {"--sizes", "20 MiB", "--working-set 16 MiB"}});
  }
  // Of 18 DRAM channels one has an eighteenth of the region.
  check_refused({"one-channel",
                 [](BenchOptions& o) { o.sizes = "1MiB", o.working_set = "16MiB"; },
                 {"--sizes", "--working-set"}});
  BenchOptions fits = options_for("one-channel");
  fits.sizes = "1MiB";
  fits.working_set = "18MiB";
  CHECK(make_plan(fits).has_value());
}

TEST_CASE("paced needs room for blocks of both directions and for its small reads", "[unit]") {
  check_refused({"paced",
                 [](BenchOptions& o) { o.working_set = "8MiB"; },
                 {"--sizes", "3 x 4 MiB", "--working-set 8 MiB"}});
  check_refused({"paced",
                 [](BenchOptions& o) { o.working_set = "13MiB", o.sizes = "1MiB"; },
                 {"--working-set", "28 DRAM channels", "14 MiB"}});
}

TEST_CASE("mixed needs room for the largest block of each of its clients", "[unit]") {
  BenchOptions options = options_for("mixed");
  options.working_set = "60MiB";
  CHECK(make_plan(options).has_value());
  options.working_set = "59MiB";
  const auto refused = make_plan(options);
  REQUIRE_FALSE(refused.has_value());
  for (const char* word : {"--working-set", "59 MiB", "60 MiB"}) {
    CHECK_THAT(refused.error().detail, ContainsSubstring(word));
  }
}

TEST_CASE("a batch counts as one operation, however large", "[unit]") {
  check_refused(
      {"scaling", [](BenchOptions& o) { o.working_set = "16MiB", o.batch = 17; }, {"17 x 1 MiB"}});
  check_refused({"block",
                 [](BenchOptions& o) { o.sizes = "16777215TiB", o.batch = 4096; },
                 {"4096 x", "--working-set"}});
}

TEST_CASE("one-channel moves whole pieces of 64 KiB", "[unit]") {
  for (const char* size : {"4KiB", "65535", "100KiB"}) {
    check_refused(
        {"one-channel", [size](BenchOptions& o) { o.sizes = size; }, {"--sizes", "64KiB"}});
  }
  BenchOptions smallest = options_for("one-channel");
  smallest.sizes = "64KiB";
  CHECK(make_plan(smallest).has_value());
}

TEST_CASE("options that a workload would ignore are refused by name, value and use", "[unit]") {
  const Refusal refusals[] = {
      {"lookup", [](BenchOptions& o) { o.transports = "local"; }, {"--transport", "local", "tcp"}},
      {"one-channel", [](BenchOptions& o) { o.transports = "local"; }, {"--transport", "tcp"}},
      {"scaling", [](BenchOptions& o) { o.transports = "local"; }, {"--transport", "tcp"}},
      {"scaling", [](BenchOptions& o) { o.channels = "9"; }, {"--channels", "\"9\"", "block"}},
      {"scaling", [](BenchOptions& o) { o.ports = "9"; }, {"--ports", "\"9\"", "block"}},
      {"paced", [](BenchOptions& o) { o.transports = "local"; }, {"--transport", "tcp"}},
      {"paced", [](BenchOptions& o) { o.ports = "9"; }, {"--ports", "\"9\"", "block"}},
      {"paced", [](BenchOptions& o) { o.ops = "read"; }, {"--op", "read", "block"}},
      {"lookup", [](BenchOptions& o) { o.sizes = "1MiB"; }, {"--sizes", "1MiB", "block"}},
      {"lookup", [](BenchOptions& o) { o.crc = "off"; }, {"--crc", "off", "block"}},
      {"one-channel", [](BenchOptions& o) { o.crc = "on"; }, {"--crc", "on", "block"}},
      {"one-channel", [](BenchOptions& o) { o.batch = 4; }, {"--batch", "4", "block"}},
      {"block", [](BenchOptions& o) { o.objects = "10"; }, {"--objects", "10", "lookup"}},
      {"page", [](BenchOptions& o) { o.keys = 10; }, {"--keys", "10", "lookup"}},
      {"block",
       [](BenchOptions& o) { o.transports = "tcp", o.threads = 2; },
       {"--threads", "2", "local"}},
      {"block", [](BenchOptions& o) { o.time_scale = "100"; }, {"--time-scale", "100", "paced"}},
      {"block",
       [](BenchOptions& o) { o.settings = {"link.lanes=16"}; },
       {"--set", "link.lanes=16", "paced"}},
      {"block",
       [](BenchOptions& o) { o.port_rate = "100Gbit/s"; },
       {"--port-rate", "100Gbit/s", "paced"}},
      {"scaling", [](BenchOptions& o) { o.mode = "free"; }, {"--mode", "free", "paced"}},
      {"paced", [](BenchOptions& o) { o.mode = "free"; }, {"--mode", "free", "paced"}},
  };
  for (const Refusal& refusal : refusals) {
    check_refused(refusal);
  }
}

TEST_CASE("lists are refused where one value is used", "[unit]") {
  const Refusal refusals[] = {
      {"one-channel", [](BenchOptions& o) { o.sizes = "64KiB,1MiB"; }, {"--sizes", "64KiB,1MiB"}},
      {"one-channel", [](BenchOptions& o) { o.channels = "1..9"; }, {"--channels", "1..9"}},
      {"lookup", [](BenchOptions& o) { o.ports = "1,9"; }, {"--ports", "1,9"}},
      {"scaling", [](BenchOptions& o) { o.crc = "both"; }, {"--crc", "both"}},
      {"scaling", [](BenchOptions& o) { o.sizes = "1MiB,2MiB"; }, {"--sizes", "1MiB,2MiB"}},
      // One workload of several that would use the first of the list alone.
      {"block,lookup", [](BenchOptions& o) { o.ports = "1,9"; }, {"--ports", "lookup"}},
  };
  for (const Refusal& refusal : refusals) {
    check_refused(refusal);
  }
}

TEST_CASE("an option that one of several workloads uses is allowed", "[unit]") {
  BenchOptions options = options_for("block,lookup");
  options.objects = "10,20";
  options.sizes = "1MiB";
  options.transports = "both";
  CHECK(make_plan(options).has_value());
}

TEST_CASE("a working set that the machine cannot hold four times is refused", "[unit]") {
  BenchOptions options;
  options.working_set = "1GiB";
  BenchPlan plan = make_plan(options).value();
  CHECK(check_memory(plan, 4_GiB + 256_MiB).has_value());
  const auto refused = check_memory(plan, 4_GiB + 255_MiB);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::invalid_argument);
  for (const char* word : {"--working-set", "1 GiB", "1023 MiB"}) {
    CHECK_THAT(refused.error().detail, ContainsSubstring(word));
  }
  CHECK_FALSE(check_memory(plan, 100_MiB).has_value());
}

TEST_CASE("what is kept of small blocks beside their bytes is counted", "[unit]") {
  BenchOptions options;
  options.working_set = "64MiB";
  options.sizes = "16";
  const BenchPlan plan = make_plan(options).value();
  CHECK(check_memory(plan, 2_GiB).has_value());
  const auto refused = check_memory(plan, 2_GiB - SizeBytes(1));
  REQUIRE_FALSE(refused.has_value());
  for (const char* word : {"--sizes", "64 MiB", "16 B", "4194304"}) {
    CHECK_THAT(refused.error().detail, ContainsSubstring(word));
  }
}

TEST_CASE("lookup takes memory for its index alone", "[unit]") {
  BenchOptions options = options_for("lookup");
  CHECK(check_memory(make_plan(options).value(), 100_MiB).has_value());
  options.objects = "1000,100000000";
  const BenchPlan plan = make_plan(options).value();
  CHECK(check_memory(plan, SizeBytes(30'000'000'000)).has_value());
  const auto refused = check_memory(plan, SizeBytes(29'999'999'999));
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::invalid_argument);
  for (const char* word : {"--objects", "100000000", "99999999"}) {
    CHECK_THAT(refused.error().detail, ContainsSubstring(word));
  }
}

TEST_CASE("faulty ports and many hosts take what is theirs", "[unit]") {
  const Refusal refusals[] = {
      {"port-fault", [](BenchOptions& o) { o.mode = "free"; }, {"--mode", "port-fault", "paced"}},
      {"port-fault", [](BenchOptions& o) { o.faults = "dead,broken"; }, {"--fault", "broken"}},
      {"port-fault", [](BenchOptions& o) { o.faults = ""; }, {"--fault"}},
      {"port-fault", [](BenchOptions& o) { o.ports = "9,1"; }, {"--ports", "2 or more"}},
      {"port-fault", [](BenchOptions& o) { o.ops = "read"; }, {"--op", "read", "block"}},
      {"port-fault", [](BenchOptions& o) { o.hosts = 4; }, {"--hosts", "4", "incast"}},
      {"incast", [](BenchOptions& o) { o.faults = "dead"; }, {"--fault", "dead", "port-fault"}},
      {"incast", [](BenchOptions& o) { o.depth = 4; }, {"--depth", "4", "block"}},
      {"incast", [](BenchOptions& o) { o.ports = "1,9"; }, {"--ports", "1,9"}},
      {"incast", [](BenchOptions& o) { o.transports = "local"; }, {"--transport", "tcp"}},
      {"incast", [](BenchOptions& o) { o.working_set = "64MiB"; }, {"--sizes", "160 MiB"}},
  };
  for (const Refusal& refusal : refusals) {
    check_refused(refusal);
  }
  BenchOptions options = options_for("port-fault");
  options.ports = "9,36";
  options.faults = "slow:10%,dead,flap:1s";
  const BenchPlan plan = make_plan(options).value();
  REQUIRE(plan.cases.size() == 6);
  CHECK(plan.cases[0].fault.kind == emulator::PortFaultKind::slow);
  CHECK(plan.cases[5].eth_ports == 36);
  CHECK(plan.cases[5].sweep == Sweep::eth_ports);
}

TEST_CASE("memory of many hosts is counted", "[unit]") {
  BenchOptions options = options_for("incast");
  options.working_set = "160MiB";
  const BenchPlan plan = make_plan(options).value();
  CHECK(check_memory(plan, 17 * 160_MiB + 256_MiB).has_value());
  const auto refused = check_memory(plan, 17 * 160_MiB + 255_MiB);
  REQUIRE_FALSE(refused.has_value());
  for (const char* word : {"--hosts", "8 x 2 x 160 MiB"}) {
    CHECK_THAT(refused.error().detail, ContainsSubstring(word));
  }
}
