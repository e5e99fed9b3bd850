// SPDX-License-Identifier: Apache-2.0
#include "bench/suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace godbox::app {
namespace {

struct Numbered {
  std::string_view workload;
  std::string_view id;
};
constexpr std::array<Numbered, 17> kNumbers{{{"remote-page", "W1"},
                                             {"page", "W1"},
                                             {"block", "W2"},
                                             {"one-channel", "W2"},
                                             {"scaling", "W2"},
                                             {"session", "W3"},
                                             {"scatter", "W4"},
                                             {"layers", "W5"},
                                             {"replay", "W6"},
                                             {"incast", "W7"},
                                             {"port-fault", "W8"},
                                             {"mixed", "W9"},
                                             {"odd-sizes", "W11"},
                                             {"paced", "twin"},
                                             {"lookup", "lookup"},
                                             {"device-kernel", "device"},
                                             {"device-pages", "device"}}};

using Text = std::optional<std::string>;

// One step: how much is moved, and what is varied.
struct Step {
  std::string_view what;
  std::string_view workload;
  Text transports = std::nullopt;
  Text ops = std::nullopt;
  Text sizes = std::nullopt;
  Text channels = std::nullopt;
  Text ports = std::nullopt;
  Text pieces = std::nullopt;
  std::optional<std::uint32_t> layers = std::nullopt;
  std::optional<std::uint32_t> depth = std::nullopt;
  Text objects = std::nullopt;
  Text faults = std::nullopt;
  std::string_view mode = "free";
  std::optional<std::uint32_t> repeats = std::nullopt;
  bool timeline = false;
  Text working_set = std::nullopt;
  std::optional<std::uint32_t> requests = std::nullopt;
};

const std::vector<Step>& quick_steps() {
  static const std::vector<Step> steps{
      {.what = "one page of remote memory",
       .workload = "remote-page",
       .transports = "both",
       .sizes = "4KiB,64KiB,288KiB"},
      {.what = "one page as an object, with its lookup",
       .workload = "page",
       .sizes = "4KiB,64KiB,1MiB",
       .depth = 1,
       .working_set = "16MiB"},
      {.what = "blocks", .workload = "block", .sizes = "1MiB,4MiB,20MiB", .timeline = true},
      {.what = "blocks, by Ethernet ports",
       .workload = "block",
       .transports = "tcp",
       .ops = "read",
       .sizes = "4MiB",
       .ports = "1,2,4,9,18,36"},
      {.what = "blocks, by DRAM channels",
       .workload = "block",
       .transports = "tcp",
       .ops = "read",
       .sizes = "4MiB",
       .channels = "1,2,4,9,18,28"},
      {.what = "paced, by channels and ports",
       .workload = "scaling",
       .ops = "read",
       .mode = "paced",
       .repeats = 1},
      {.what = "paced blocks, watched",
       .workload = "block",
       .sizes = "4MiB",
       .mode = "paced",
       .repeats = 1,
       .timeline = true},
      {.what = "a session", .workload = "session", .transports = "both"},
      {.what = "pieces scattered", .workload = "scatter", .sizes = "16KiB", .pieces = "2048"},
      {.what = "layers in order", .workload = "layers"},
      {.what = "traces", .workload = "replay"},
      {.what = "8 hosts on one block", .workload = "incast", .sizes = "16MiB", .repeats = 1},
      {.what = "a dead port of 9",
       .workload = "port-fault",
       .faults = "dead",
       .mode = "paced",
       .repeats = 1},
      {.what = "foreground beside write-back and prefetch", .workload = "mixed"},
      {.what = "sizes that nothing divides", .workload = "odd-sizes", .repeats = 1},
      {.what = "lookup_prefix of 1,000 names", .workload = "lookup", .objects = "10000"},
  };
  return steps;
}

const std::vector<Step>& full_steps() {
  static const std::vector<Step> steps{
      {.what = "one page of remote memory",
       .workload = "remote-page",
       .transports = "both",
       .sizes = "4KiB,8KiB,18KiB,32KiB,64KiB,72KiB,256KiB,288KiB,1MiB"},
      {.what = "one page as an object, with its lookup",
       .workload = "page",
       .sizes = "4KiB,8KiB,18KiB,32KiB,64KiB,72KiB,256KiB,288KiB,1MiB",
       .depth = 1,
       .repeats = 3,
       .working_set = "256MiB"},
      {.what = "blocks",
       .workload = "block",
       .sizes = "1124352,2MiB,4MiB,5MiB,8MiB,20MiB,32MiB,56208384,80MiB,160MiB",
       .timeline = true},
      {.what = "blocks, by Ethernet ports",
       .workload = "block",
       .transports = "tcp",
       .sizes = "4MiB",
       .ports = "1,2,4,9,18,36"},
      {.what = "blocks, by DRAM channels",
       .workload = "block",
       .transports = "tcp",
       .sizes = "4MiB",
       .channels = "1,2,4,9,18,28"},
      {.what = "paced, by channels and ports",
       .workload = "scaling",
       .mode = "paced",
       .repeats = 3},
      {.what = "paced blocks, watched",
       .workload = "block",
       .sizes = "4MiB",
       .mode = "paced",
       .repeats = 3,
       .timeline = true},
      {.what = "paced, one channel", .workload = "one-channel", .mode = "paced", .repeats = 3},
      {.what = "a session", .workload = "session", .transports = "both"},
      {.what = "pieces scattered",
       .workload = "scatter",
       .sizes = "4KiB,16KiB",
       .pieces = "2048,8192,30208",
       .working_set = "1GiB"},
      {.what = "pieces scattered, large",
       .workload = "scatter",
       .sizes = "64KiB",
       .pieces = "2048,15104",
       .working_set = "1GiB"},
      {.what = "layers of Llama-3.1-70B", .workload = "layers", .sizes = "64KiB", .layers = 80},
      {.what = "layers of Llama-3.1-8B", .workload = "layers", .sizes = "64KiB", .layers = 32},
      {.what = "layers of DeepSeek-V3", .workload = "layers", .sizes = "18KiB", .layers = 61},
      {.what = "traces", .workload = "replay", .sizes = "1MiB", .requests = 1000},
      {.what = "8 hosts on one block", .workload = "incast"},
      {.what = "a port of 9 and of 36 slow, dead, flapping",
       .workload = "port-fault",
       .ports = "9,36",
       .mode = "paced",
       .repeats = 3,
       .working_set = "256MiB"},
      {.what = "beside the model, and with a DRAM channel of 18 slow",
       .workload = "paced",
       .channels = "18",
       .mode = "paced",
       .repeats = 1},
      {.what = "foreground beside write-back and prefetch", .workload = "mixed"},
      {.what = "sizes that nothing divides", .workload = "odd-sizes"},
      {.what = "lookup_prefix of 1,000 names", .workload = "lookup", .objects = "10000,1000000"},
  };
  return steps;
}

std::vector<std::string_view> words_of(const BenchOptions& options) {
  const BenchOptions none;
  std::vector<std::string_view> given;
  const auto add = [&given](bool is_given, std::string_view option) {
    if (is_given) {
      given.push_back(option);
    }
  };
  add(options.workloads != none.workloads, "--workload");
  add(options.transports.has_value() && !options.connect, "--transport");
  add(!options.wires.empty(), "--wire");
  add(options.ops.has_value(), "--op");
  add(options.sizes.has_value(), "--sizes");
  add(options.channels.has_value(), "--channels");
  add(options.ports.has_value(), "--ports");
  add(options.lanes.has_value(), "--lanes");
  add(options.crc.has_value(), "--crc");
  add(options.working_set.has_value(), "--working-set");
  add(options.mode != none.mode, "--mode");
  add(options.time_scale.has_value(), "--time-scale");
  add(!options.settings.empty(), "--set");
  add(options.port_rate.has_value(), "--port-rate");
  add(options.repeats.has_value(), "--repeats");
  add(options.depth.has_value(), "--depth");
  add(options.batch.has_value(), "--batch");
  add(options.threads.has_value(), "--threads");
  add(options.server_threads != none.server_threads, "--server-threads");
  add(options.objects.has_value(), "--objects");
  add(options.keys.has_value(), "--keys");
  add(options.pieces.has_value(), "--pieces");
  add(options.layers.has_value(), "--layers");
  add(options.faults.has_value(), "--fault");
  add(options.hosts.has_value(), "--hosts");
  add(options.requests.has_value(), "--requests");
  add(options.verify, "--verify");
  add(options.quick, "--quick");
  add(options.timeline, "--timeline");
  add(options.numa_nodes.has_value(), "--numa-nodes");
  add(options.time_limit_s.has_value(), "--time-limit");
  add(options.target != "dax" && !options.dax_devices.empty(), "--dax-device");
  add(options.target != "dax" && options.dax_coherence.has_value(), "--dax-coherence");
  return given;
}

// What a box that is served elsewhere can be measured by.
bool is_for_served_box(const Step& step) {
  return (step.workload == "block" || step.workload == "page") && step.mode == "free" &&
         !step.channels && !step.ports;
}

SuiteStep make_step(const Step& step, SuiteKind kind, const BenchOptions& given) {
  SuiteStep made{std::string(suite_id(step.workload)), std::string(step.what), {}};
  BenchOptions& options = made.options;
  options.workloads = step.workload;
  options.connect = given.connect;
  options.transports = given.connect ? given.transports : step.transports;
  options.ops = step.ops;
  options.sizes = step.sizes;
  options.channels = step.channels;
  options.ports = step.ports;
  options.pieces = step.pieces;
  options.layers = step.layers;
  options.depth = step.depth;
  options.objects = step.objects;
  options.faults = step.faults;
  options.mode = step.mode;
  options.requests = step.requests;
  options.repeats = step.repeats.value_or(kind == SuiteKind::quick ? 3 : 5);
  options.timeline = step.timeline && !given.connect;
  options.working_set = step.working_set.value_or(kind == SuiteKind::quick ? "64MiB" : "1100MiB");
  options.seed = given.seed;
  return made;
}

// Over devices dax: memory alone (`dax`), and a box that has it (`box-dax`). Little of each,
// because an emulated device may move 2 MB/s.
struct DaxStep {
  std::string_view what;
  std::string_view target;
  std::string_view workload;
  std::string_view working_set;  // of quick; empty: not in it
  std::string_view full_working_set;
  Text sizes = std::nullopt;
  Text full_sizes = std::nullopt;
  Text transports = std::nullopt;
  Text pieces = std::nullopt;
  std::optional<std::uint32_t> layers = std::nullopt;
  std::optional<std::uint32_t> requests = std::nullopt;
};

const std::vector<DaxStep>& dax_steps() {
  static const std::vector<DaxStep> steps{
      {"pages striped over devices dax", "dax", "page", "16MiB", "64MiB"},
      {"blocks striped over devices dax", "dax", "block", "16MiB", "64MiB", "1MiB,4MiB",
       "1MiB,4MiB,20MiB"},
      {"a session striped over devices dax", "dax", "session", "16MiB", "64MiB"},
      {.what = "pages of remote memory over devices dax",
       .target = kBoxDaxTarget,
       .workload = "remote-page",
       .working_set = "4MiB",
       .full_working_set = "64MiB",
       .sizes = "4KiB,64KiB",
       .full_sizes = "4KiB,18KiB,64KiB,288KiB",
       .transports = "both"},
      {.what = "pieces scattered over devices dax",
       .target = kBoxDaxTarget,
       .workload = "scatter",
       .working_set = "8MiB",
       .full_working_set = "64MiB",
       .sizes = "4KiB",
       .transports = "both",
       .pieces = "2048"},
      {.what = "layers in order from devices dax",
       .target = kBoxDaxTarget,
       .workload = "layers",
       .working_set = "8MiB",
       .full_working_set = "64MiB",
       .sizes = "18KiB",
       .transports = "both",
       .layers = 61},
      {.what = "traces over devices dax",
       .target = kBoxDaxTarget,
       .workload = "replay",
       .working_set = "16MiB",
       .full_working_set = "64MiB",
       .sizes = "18KiB",
       .transports = "both",
       .requests = 20},
      {.what = "8 hosts on one block in devices dax",
       .target = kBoxDaxTarget,
       .workload = "incast",
       .working_set = "8MiB",
       .full_working_set = "64MiB",
       .sizes = "1MiB",
       .full_sizes = "16MiB"},
      {.what = "foreground beside write-back and prefetch over devices dax",
       .target = kBoxDaxTarget,
       .workload = "mixed",
       .working_set = "",
       .full_working_set = "64MiB"},
      {.what = "sizes that nothing divides on devices dax",
       .target = kBoxDaxTarget,
       .workload = "odd-sizes",
       .working_set = "16MiB",
       .full_working_set = "64MiB",
       .transports = "both"},
  };
  return steps;
}

// Devices are written over, so they are measured only where that was asked for.
void add_dax(const BenchOptions& options, SuiteKind kind, Suite& suite) {
  const bool is_quick = kind == SuiteKind::quick;
  for (const DaxStep& dax : dax_steps()) {
    SuiteStep step{std::string(suite_id(dax.workload)), std::string(dax.what), {}};
    if (options.target != "dax") {
      suite.not_run.push_back(
          {step.id, step.what, "they are written over: give --target dax in a guest"});
      continue;
    }
    if (is_quick && dax.working_set.empty()) {
      suite.not_run.push_back({step.id, step.what, "it takes minutes: --suite full has it"});
      continue;
    }
    BenchOptions& made = step.options;
    made.target = dax.target;
    made.workloads = dax.workload;
    made.dax_devices = options.dax_devices;
    made.dax_coherence = options.dax_coherence;
    made.working_set = is_quick ? dax.working_set : dax.full_working_set;
    made.sizes = is_quick || !dax.full_sizes ? dax.sizes : dax.full_sizes;
    made.transports = dax.transports;
    made.pieces = dax.pieces;
    made.layers = dax.layers;
    made.requests = dax.requests;
    made.repeats = 1;
    if (dax.target != kBoxDaxTarget) {
      made.time_limit_s = 60;
    }
    made.seed = options.seed;
    suite.steps.push_back(std::move(step));
  }
}

}  // namespace

std::string_view suite_id(std::string_view workload) {
  const auto* const found =
      std::find_if(kNumbers.begin(), kNumbers.end(),
                   [&](const Numbered& one) { return one.workload == workload; });
  return found == kNumbers.end() ? std::string_view() : found->id;
}

Result<SuiteKind> parse_suite(std::string_view name) {
  if (name == "quick" || name == "full") {
    return name == "quick" ? SuiteKind::quick : SuiteKind::full;
  }
  return Error(Errc::invalid_argument,
               fmt::format("--suite: \"{}\" is not allowed; allowed: quick, full", name));
}

Result<Suite> make_suite(const BenchOptions& options) {
  const Result<SuiteKind> kind = parse_suite(options.suite);
  if (!kind) {
    return kind.error();
  }
  if (const auto given = words_of(options); !given.empty()) {
    return Error(Errc::invalid_argument,
                 fmt::format("{}: a suite chooses its own; with --suite there are only --seed, "
                             "--target dax with its options, --connect with --transport, --report "
                             "and --json",
                             given.front()));
  }
  if (options.target != "box" && options.target != "dax") {
    return Error(
        Errc::invalid_argument,
        fmt::format("--target: \"{}\" is not for --suite; allowed: box, dax", options.target));
  }
  const bool is_roce =
      options.connect && (options.connect->starts_with("roce:") ||
                          options.transports.value_or("").find("roce") != std::string::npos);
  if (is_roce) {
    return Error(Errc::invalid_argument,
                 "--transport: \"roce\" is not for --suite; allowed: tcp, verbs");
  }
  Suite suite;
  suite.kind = *kind;
  for (const Step& step : *kind == SuiteKind::quick ? quick_steps() : full_steps()) {
    if (options.connect && !is_for_served_box(step)) {
      suite.not_run.push_back({std::string(suite_id(step.workload)), std::string(step.what),
                               "it needs a box in this process: leave out --connect"});
      continue;
    }
    suite.steps.push_back(make_step(step, *kind, options));
  }
  if (options.connect) {
    // An address that is none is the command line's mistake, and no step's.
    if (const auto plan = make_plan(suite.steps.front().options); !plan) {
      return plan.error();
    }
  }
  add_dax(options, *kind, suite);
  return suite;
}

}  // namespace godbox::app
