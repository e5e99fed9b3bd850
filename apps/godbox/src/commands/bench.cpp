// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_options.h"
#include "bench/device_options.h"
#include "bench/device_workload.h"
#include "bench/environment.h"
#include "bench/suite.h"
#include "bench/target_workload.h"
#include "bench/workloads.h"
#include "box/model_rate.h"
#include "cli/json.h"
#include "cli/log.h"
#include "commands/commands.h"
#include "measure/machine.h"
#include "report/report.h"
#include "results/document.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <memory>

namespace godbox::app {
namespace {

// Of kMachineShare: where every byte is compared as it arrives, and latencies count.
constexpr double kMachineShareCompared = 0.2;

constexpr std::string_view kFooter = R"(Examples:
  godbox bench                                    KV blocks, both transports, real figures
  godbox bench --transport local --sizes 20MiB --crc both
  godbox bench --transport tcp --ports 1,2,4,9 --sizes 4MiB
  godbox bench --workload page --sizes 4KiB,64KiB --depth 1      latency of single pages
  godbox bench --workload lookup --objects 10000,1000000         lookup_prefix of 1,000 names
  godbox bench --workload scaling --mode paced --repeats 3       emulated: 1 to 28 channels
  godbox bench --workload one-channel --mode paced               emulated: what striping avoids
  godbox bench --workload port-fault --mode paced                emulated: what a bad port costs
  godbox bench --workload paced --mode paced                     emulated: beside the timing model
  godbox bench --workload incast                                 8 hosts, one hot block
  godbox bench --target dax --working-set 64MiB                  striped over all of /dev/dax*
  godbox bench --target box-dax --working-set 64MiB --workload layers    a box over them
  godbox bench --target numa --numa-nodes 1-18                   the same over NUMA nodes
  godbox bench --connect verbs:127.0.0.1:7400 --working-set 64MiB    a served box, over RDMA
  godbox bench --connect tcp:127.0.0.1:7400 --transport tcp,verbs    the same box both ways
  godbox bench --connect roce:127.0.0.1:7400 --wire 10.0.2.9/24,mtu=4200@dgram:/tmp/here,/tmp/box
                                                  RDMA without an RDMA device: by godbox itself
  godbox bench --device auto                      pages in a GPU's memory, if there is one
  godbox bench --quick --json                                    64 MiB: does it work?
  godbox bench --suite quick --report suite.html                 all workloads, and plots of them
  godbox bench report result.json --output result.html           plots of what --json printed
  godbox bench compare before.json after.json                    two runs, row by row

"real" figures are this machine's and stand beside a ceiling measured in the same minute (memcpy,
raw sockets); "emulated" figures come from the paced box and stand beside its model.
docs/bench.md explains every field and how it is measured.)";

// A paced plan without a time scale gets one per sweep: its largest case needs a fixed share of
// what this machine can do.
Result<void> settle_time_scales(Environment& environment, std::vector<BenchCase>& cases) {
  const BenchPlan& plan = environment.plan();
  if (plan.mode == emulator::TimingMode::free) {
    return {};
  }
  const auto paced = std::stable_partition(cases.begin(), cases.end(), [](const BenchCase& one) {
    return one.workload != Workload::paced;
  });
  if (auto settled = settle_paced_scales(environment, {paced, cases.end()}); !settled) {
    return settled;
  }
  std::map<Sweep, double> scales;
  double machine = 0;
  for (const BenchCase& one : std::span(cases.begin(), paced)) {
    if (plan.time_scale > 0) {
      scales[one.sweep] = plan.time_scale;
      continue;
    }
    const Result<emulator::BoxConfig> config = config_for(plan, one);
    if (!config) {
      return config.error();
    }
    const double model = model_gb_per_s(*config, WorkOp::read);
    if (!std::isfinite(model)) {
      continue;  // unlimited: there is nothing to scale
    }
    if (machine == 0) {
      const Result<double> rate = environment.machine_rate(one);
      if (!rate) {
        return rate.error();
      }
      machine = *rate;
    }
    const double share =
        one.workload == Workload::port_fault ? kMachineShareCompared : kMachineShare;
    scales[one.sweep] = std::max(scales[one.sweep], std::ceil(model / (machine * share)));
  }
  for (BenchCase& one : std::span(cases.begin(), paced)) {
    one.time_scale = std::max(1.0, scales[one.sweep]);
  }
  return {};
}

Result<Rows> run_case(Environment& environment, const BenchCase& subject) {
  switch (subject.workload) {
    case Workload::lookup:
      return run_lookup_case(environment, subject);
    case Workload::one_channel:
      return run_one_channel_case(environment, subject);
    case Workload::port_fault:
      return run_port_fault_case(environment, subject);
    case Workload::paced:
      return run_paced_case(environment, subject);
    case Workload::incast:
      return run_incast_case(environment, subject);
    case Workload::remote_page:
      return run_remote_page_case(environment, subject);
    case Workload::scatter:
      return run_scatter_case(environment, subject);
    case Workload::layers:
      return run_layers_case(environment, subject);
    case Workload::session:
      return run_session_case(environment, subject);
    case Workload::mixed:
      return run_mixed_case(environment, subject);
    case Workload::odd_sizes:
      return run_odd_sizes_case(environment, subject);
    case Workload::replay:
      return run_replay_case(environment, subject);
    case Workload::block:
    case Workload::page:
    case Workload::scaling:
    case Workload::device_kernel:
    case Workload::device_pages:
      break;
  }
  return run_block_case(environment, subject);
}

Result<Rows> run_cases(Environment& environment) {
  std::vector<BenchCase> cases = environment.plan().cases;
  if (const auto settled = settle_time_scales(environment, cases); !settled) {
    return settled.error();
  }
  Rows rows;
  for (const BenchCase& one : cases) {
    environment.progress().say(
        fmt::format("{} over {}", to_string(one.workload), to_string(one.transport)));
    Result<Rows> more = run_case(environment, one);
    if (!more) {
      return more.error();
    }
    std::move(more->begin(), more->end(), std::back_inserter(rows));
  }
  environment.progress().clear();
  add_proportionality(rows);
  return rows;
}

// What a run has measured, and of a suite what it has not.
struct Measured {
  Rows rows;
  std::vector<NotRun> not_run;
};

boost::json::object make_document(const Measured& measured, const BenchOptions& options,
                                  const Machine& machine, const std::string& begun) {
  boost::json::object document;
  document["schema"] = kBenchSchema;
  document["version"] = version();
  document["commit"] = build_commit();
  document["build_type"] = build_type();
  document["begun"] = begun;
  document["ended"] = now_as_text();
  document["suite"] =
      options.suite.empty() ? boost::json::value(nullptr) : boost::json::value(options.suite);
  document["machine"] = to_json(machine);
  boost::json::array not_run;
  for (const NotRun& one : measured.not_run) {
    not_run.push_back({{"id", one.id}, {"what", one.what}, {"why", one.why}});
  }
  document["not_run"] = std::move(not_run);
  boost::json::array list;
  for (const BenchRow& row : measured.rows) {
    list.push_back(to_json(row));
  }
  document["rows"] = std::move(list);
  return document;
}

void print_table(const Rows& rows, const Machine& machine) {
  Table table = make_bench_table();
  for (const BenchRow& row : rows) {
    add_row(table, row);
  }
  fmt::print("{}\n{} on {} cores, commit {} ({})\n", table.render(), machine.cpu_model,
             machine.cores, build_commit(), build_type());
  for (const BenchRow& row : rows) {
    boost::json::object extra = row.extra;
    extra.erase("timeline");  // no reading for people: that is what the report is for
    extra.erase("layer_done_us");
    extra.erase("device_timeline");
    if (!extra.empty()) {
      fmt::print("{} {}: {}\n", to_string(row.subject.workload), to_string(row.op),
                 boost::json::serialize(extra));
    }
  }
}

Result<Rows> measure_one(const BenchOptions& options) {
  const Result<bool> is_device = is_device_bench(options);
  if (!is_device) {
    return is_device.error();
  }
  if (*is_device) {
    const Result<DevicePlan> plan = make_device_plan(options);
    return plan ? run_device_bench(*plan) : plan.error();
  }
  const Result<bool> is_target = is_target_bench(options);
  if (!is_target) {
    return is_target.error();
  }
  if (*is_target) {
    const Result<TargetPlan> plan = make_target_plan(options);
    return plan ? run_target_bench(*plan) : plan.error();
  }
  Result<BenchPlan> plan = make_plan(options);
  if (!plan) {
    return plan.error();
  }
  const auto environment = Environment::create(std::move(*plan));
  return environment ? run_cases(**environment) : environment.error();
}

// A step that this machine cannot do is no reason to lose the others' figures: it is said to be not
// run, and why.
Measured measure_suite(Suite suite) {
  Measured measured;
  measured.not_run = std::move(suite.not_run);
  std::size_t number = 0;
  for (const SuiteStep& step : suite.steps) {
    spdlog::info("bench: step {} of {}: {} {}", ++number, suite.steps.size(), step.id, step.what);
    Result<Rows> rows = measure_one(step.options);
    if (!rows) {
      spdlog::warn("bench: {} {}: {}", step.id, step.what, rows.error().message());
      measured.not_run.push_back({step.id, step.what, rows.error().message()});
      continue;
    }
    std::move(rows->begin(), rows->end(), std::back_inserter(measured.rows));
  }
  return measured;
}

Result<Measured> measure(const BenchOptions& options) {
  if (!options.suite.empty()) {
    Result<Suite> suite = make_suite(options);
    if (!suite) {
      return suite.error();
    }
    return measure_suite(std::move(*suite));
  }
  Result<Rows> rows = measure_one(options);
  if (!rows) {
    return rows.error();
  }
  return Measured{std::move(*rows), {}};
}

// Steps that failed, beside those that nobody could run here.
bool has_failed_step(const BenchOptions& options, const Measured& measured) {
  if (options.suite.empty()) {
    return false;
  }
  const Result<Suite> suite = make_suite(options);
  return suite && measured.not_run.size() > suite->not_run.size();
}

ExitCode judge(const BenchOptions& options, const Measured& measured) {
  const bool all_right =
      std::all_of(measured.rows.begin(), measured.rows.end(),
                  [](const BenchRow& row) { return row.verification.wrong_bytes == 0; });
  if (!all_right) {
    spdlog::error("bench: wrong bytes were read; see wrong_bytes of each row (--json)");
  }
  if (has_failed_step(options, measured)) {
    spdlog::error("bench: a step of the suite failed; see not_run (--json)");
    return ExitCode::failure;
  }
  return all_right ? ExitCode::ok : ExitCode::failure;
}

Result<void> check_report(const BenchOptions& options) {
  if (options.report == "-") {
    return Error(Errc::invalid_argument,
                 "--report: \"-\" is standard output, which has the figures; give a file");
  }
  return options.report.empty() ? Result<void>() : check_report_path(options.report);
}

Result<void> report_on(const boost::json::object& document, const BenchOptions& options) {
  if (options.report.empty()) {
    return {};
  }
  const auto parsed = ResultDocument::parse(boost::json::serialize(document), "the results");
  Result<void> written =
      parsed ? write_report(render_report(*parsed), options.report) : Result<void>(parsed.error());
  if (written) {
    spdlog::info("bench: the report is in {}", options.report);
  }
  return written;
}

ExitCode run_bench(const BenchOptions& options) {
  const std::string begun = now_as_text();
  const Machine machine = describe_machine();
  // Before minutes are spent on what cannot be written.
  if (const Result<void> writable = check_report(options); !writable) {
    return fail("bench", writable.error());
  }
  if (machine.load_average > machine.cores * 0.5) {
    spdlog::warn("this machine is busy (load {:.1f}): figures will be noisy", machine.load_average);
  }
  const Result<Measured> measured = measure(options);
  if (!measured) {
    return fail("bench", measured.error());
  }
  const boost::json::object document = make_document(*measured, options, machine, begun);
  // One of the two may fail for want of room: the other is there all the same.
  const Result<void> reported = report_on(document, options);
  options.json ? print_json(stdout, document, false) : print_table(measured->rows, machine);
  return reported ? judge(options, *measured) : fail("bench", reported.error());
}

}  // namespace

void add_bench(CLI::App& program, Action& chosen) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* const command = program.add_subcommand(
      "bench", "Measure a box in this process beside this machine's ceilings");
  add_bench_options(*command, *options);
  command->footer(std::string(kFooter));
  add_bench_report(*command, chosen);
  add_bench_compare(*command, chosen);
  // Called for the subcommands' parent too.
  command->callback([options, command, &chosen] {
    if (command->get_subcommands().empty()) {
      chosen = [options] { return run_bench(*options); };
    }
  });
}

}  // namespace godbox::app
