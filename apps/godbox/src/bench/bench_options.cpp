// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_options.h"

#include "bench/plan_checks.h"
#include "bench/suite.h"
#include "bench/target_options.h"
#include "box/wire_option.h"
#include "cli/lists.h"
#include <godbox/connect.h>
#include <godbox/emulator/modelled_rates.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace godbox::app {
namespace {

constexpr std::string_view kRoceBy = "--transport roce, or --connect roce:HOST:PORT";
constexpr std::uint32_t kDramChannelsMax = 64;
constexpr std::uint32_t kEthPortsMax = 64;
constexpr std::uint32_t kLanesPerEthPortMax = 16;
constexpr std::uint32_t kObjectsMax = 100'000'000;
constexpr SizeBytes kQuickWorkingSet{std::uint64_t{64} << 20U};
constexpr std::uint32_t kQuickRepeats = 3;
constexpr SizeBytes kWorkingSet{std::uint64_t{1} << 30U};
constexpr std::uint32_t kRepeats = 9;

constexpr std::uint32_t kPiecesMax = 1U << 20U;
constexpr std::size_t kCasesMax = 16'384;  // of a plan: what its lists multiply to

// In the order of Workload.
const std::vector<std::string> kWorkloads{
    "block",   "page",  "lookup",    "one-channel", "scaling", "remote-page", "scatter", "layers",
    "session", "mixed", "odd-sizes", "port-fault",  "incast",  "paced",       "replay"};
// Those behind them.
constexpr std::array<std::string_view, 2> kDeviceWorkloads{"device-kernel", "device-pages"};
const std::vector<std::string> kTransports{"local", "tcp"};
const std::vector<std::string> kServedTransports{"tcp", "verbs", "roce"};  // to a box elsewhere
const std::vector<std::string> kOps{"read", "write"};
const std::vector<std::string> kCrc{"on", "off"};

// The lists of a plan, before they are multiplied out.
struct Axes {
  std::vector<std::string> workloads, transports, ops, crc;
  std::vector<SizeBytes> sizes;
  std::vector<std::uint32_t> channels, ports, lanes, objects, pieces;
  std::vector<emulator::PortFault> faults;
};

template <class T>
bool take(Result<std::vector<T>> from, std::vector<T>& to, Error& error) {
  if (!from) {
    error = from.error();
    return false;
  }
  to = std::move(*from);
  return true;
}

// 0 stands for "auto".
Result<std::vector<std::uint32_t>> parse_lanes(std::string_view text) {
  if (text == "auto") {
    return std::vector<std::uint32_t>{0};
  }
  Result<std::vector<std::uint32_t>> counts =
      parse_counts("--lanes", text, {1, kLanesPerEthPortMax});
  if (!counts) {
    return Error(counts.error().code, counts.error().detail + ", or auto");
  }
  return counts;
}

std::uint32_t lanes_or_default(std::uint32_t lanes, std::uint32_t eth_ports) {
  return lanes > 0 ? lanes : default_lanes_per_eth_port(eth_ports);
}

Result<std::vector<emulator::PortFault>> parse_faults(std::string_view text) {
  std::vector<emulator::PortFault> faults;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const Result<emulator::PortFault> fault =
        emulator::parse_port_fault(text.substr(begin, end - begin));
    if (!fault) {
      return Error(Errc::invalid_argument, "--fault: " + fault.error().detail);
    }
    faults.push_back(*fault);
    begin = end + 1;
  }
  return faults;
}

// To a box that is served elsewhere: as --transport says, else as its address does.
Result<std::vector<std::string>> parse_served_transports(const BenchOptions& options) {
  const std::string& address = *options.connect;
  const std::size_t colon = address.find(':');
  const std::string scheme = address.substr(0, colon);
  const bool is_unix = scheme == "unix";
  const bool is_known =
      is_unix || std::ranges::find(kServedTransports, scheme) != kServedTransports.end();
  if (!is_known || colon == std::string::npos) {
    return Error(Errc::invalid_argument,
                 fmt::format("--connect: \"{}\" is not allowed; allowed: tcp:HOST:PORT, "
                             "verbs:HOST:PORT, roce:HOST:PORT, unix:PATH",
                             address));
  }
  auto words = parse_words("--transport", options.transports.value_or(is_unix ? "tcp" : scheme),
                           kServedTransports, "");
  if (!words) {
    return words;
  }
  for (const std::string& word : *words) {
    if (is_unix && word != "tcp") {
      return Error(
          Errc::invalid_argument,
          fmt::format("--transport: \"{0}\" has its control connection over TCP; --connect "
                      "is \"{1}\", and has to be {0}:HOST:PORT",
                      word, address));
    }
  }
  const bool is_roce = std::ranges::find(*words, "roce") != words->end();
  const Result<void> wired = check_wires(options.wires, is_roce, kRoceBy);
  return wired ? words : wired.error();
}

Result<std::vector<std::string>> parse_transports(const BenchOptions& options) {
  if (options.connect) {
    return parse_served_transports(options);
  }
  const std::string text = options.transports.value_or("both");
  for (const std::string_view word : {"verbs", "roce"}) {
    if (text.find(word) != std::string::npos) {
      return Error(Errc::invalid_argument,
                   fmt::format("--transport: \"{0}\" needs --connect {0}:HOST:PORT: the ports that "
                               "RDMA reaches are those of a box that runs (godbox serve --roce)",
                               word));
    }
  }
  if (const Result<void> wired = check_wires(options.wires, false, kRoceBy); !wired) {
    return wired.error();
  }
  return parse_words("--transport", text, kTransports, "both");
}

// 0 stands for all ports of a box that is served elsewhere.
Result<std::vector<std::uint32_t>> parse_ports(const BenchOptions& options) {
  if (options.connect && !options.ports) {
    return std::vector<std::uint32_t>{0};
  }
  return parse_counts("--ports", options.ports.value_or("9"), {1, kEthPortsMax});
}

std::string default_channels(const BenchOptions& options) {
  return options.workloads == "paced" ? "1,2,4,9,18,28" : "18";
}

Result<Axes> parse_axes(const BenchOptions& options) {
  Axes axes;
  Error error(Errc::ok);
  const bool ok =
      take(parse_words("--workload", options.workloads, kWorkloads, ""), axes.workloads, error) &&
      take(parse_transports(options), axes.transports, error) &&
      take(parse_words("--op", options.ops.value_or("both"), kOps, "both"), axes.ops, error) &&
      take(parse_words("--crc", options.crc.value_or("on"), kCrc, "both"), axes.crc, error) &&
      take(parse_counts("--channels", options.channels.value_or(default_channels(options)),
                        {1, kDramChannelsMax}),
           axes.channels, error) &&
      take(parse_ports(options), axes.ports, error) &&
      take(parse_lanes(options.lanes.value_or("auto")), axes.lanes, error) &&
      take(parse_counts("--objects", options.objects.value_or("10000"), {1, kObjectsMax}),
           axes.objects, error) &&
      take(parse_faults(options.faults.value_or("slow:10%,dead,flap:1s")), axes.faults, error) &&
      take(parse_counts("--pieces", options.pieces.value_or("30208"), {1, kPiecesMax}), axes.pieces,
           error) &&
      (!options.sizes || take(parse_sizes("--sizes", *options.sizes), axes.sizes, error));
  if (!ok) {
    return error;
  }
  return axes;
}

std::vector<SizeBytes> default_sizes(Workload workload) {
  switch (workload) {
    case Workload::page:
      return {4_KiB, 64_KiB, 256_KiB};
    case Workload::remote_page:
      return {4_KiB};
    case Workload::scatter:
      return {16_KiB};
    case Workload::layers:
    case Workload::replay:
      return {64_KiB};
    case Workload::session:
      return {20_MiB};
    case Workload::mixed:
    case Workload::odd_sizes:
    case Workload::one_channel:
    case Workload::scaling:
      return {1_MiB};
    case Workload::port_fault:
    case Workload::paced:
      return {4_MiB};
    case Workload::incast:
      return {160_MiB};
    default:
      return {1_MiB, 4_MiB, 20_MiB};
  }
}

std::vector<std::uint32_t> first_of(const std::vector<std::uint32_t>& counts) {
  return {counts.front()};
}

// Regions carry no CRC.
bool is_remote_memory(Workload workload) {
  return workload == Workload::remote_page || workload == Workload::scatter ||
         workload == Workload::one_channel;
}

void add_each_piece_count(const Axes& axes, BenchCase one, BenchPlan& plan) {
  if (one.workload != Workload::scatter) {
    plan.cases.push_back(one);
    return;
  }
  for (const std::uint32_t pieces : axes.pieces) {
    one.pieces = pieces;
    plan.cases.push_back(one);
  }
}

// Everything times everything. The local transport uses no Ethernet port and has no lanes to vary.
void add_transfer_cases(const Axes& axes, Workload workload, BenchPlan& plan) {
  const std::vector<SizeBytes> sizes = axes.sizes.empty() ? default_sizes(workload) : axes.sizes;
  BenchCase one;
  one.workload = workload;
  for (const std::string& transport : axes.transports) {
    const bool is_local = transport == "local";
    one.transport = is_local               ? TransportKind::local
                    : transport == "verbs" ? TransportKind::verbs
                    : transport == "roce"  ? TransportKind::roce
                                           : TransportKind::tcp;
    for (const std::uint32_t channels : axes.channels) {
      one.dram_channels = channels;
      for (const std::uint32_t ports : is_local ? first_of(axes.ports) : axes.ports) {
        one.eth_ports = ports;
        for (const std::uint32_t lanes : is_local ? first_of(axes.lanes) : axes.lanes) {
          one.lanes_per_eth_port = plan.connect.empty() ? lanes_or_default(lanes, ports) : lanes;
          for (const std::string& crc : axes.crc) {
            one.crc = crc == "on" && !is_remote_memory(workload);
            for (const SizeBytes size : sizes) {
              one.size = size;
              add_each_piece_count(axes, one, plan);
            }
          }
        }
      }
    }
  }
}

void add_scaling_cases(BenchCase one, std::uint32_t lanes, BenchPlan& plan) {
  one.sweep = Sweep::dram_channels;
  one.eth_ports = 9;
  one.lanes_per_eth_port = lanes_or_default(lanes, one.eth_ports);
  for (const std::uint32_t channels : {1U, 2U, 4U, 9U, 18U, 28U}) {
    one.dram_channels = channels;
    plan.cases.push_back(one);
  }
  one.sweep = Sweep::eth_ports;
  one.dram_channels = 18;
  for (std::uint32_t ports = 1; ports <= 9; ++ports) {
    one.eth_ports = ports;
    one.lanes_per_eth_port = lanes_or_default(lanes, ports);
    plan.cases.push_back(one);
  }
}

// The ports are what limits the box.
void add_port_fault_cases(BenchCase one, const Axes& axes, BenchPlan& plan) {
  one.sweep = Sweep::eth_ports;
  for (const std::uint32_t ports : axes.ports) {
    one.eth_ports = ports;
    one.lanes_per_eth_port = lanes_or_default(axes.lanes.front(), ports);
    for (const emulator::PortFault& fault : axes.faults) {
      one.fault = fault;
      plan.cases.push_back(one);
    }
  }
}

// Boxes of the preset's kind: two DRAM channels to a SuperNIC where they divide, and a port to
// each.
void add_paced_cases(BenchCase one, const Axes& axes, BenchPlan& plan) {
  const auto& channels = axes.channels;
  const bool has_18 = std::find(channels.begin(), channels.end(), 18U) != channels.end();
  const std::uint32_t slow = has_18 ? 18U : *std::max_element(channels.begin(), channels.end());
  for (const std::uint32_t count : channels) {
    one.dram_channels = count;
    one.eth_ports = count % 2 == 0 ? count / 2 : count;
    one.lanes_per_eth_port = lanes_or_default(axes.lanes.front(), one.eth_ports);
    one.paced.has_slow_channel = count == slow && count > 1;
    plan.cases.push_back(one);
  }
}

// At most: not every workload multiplies all of them.
Result<void> check_case_count(const Axes& axes) {
  const std::array<std::size_t, 9> lists{
      axes.workloads.size(), axes.transports.size(), axes.crc.size(),
      axes.channels.size(),  axes.ports.size(),      axes.lanes.size(),
      axes.objects.size(),   axes.pieces.size(),     std::max<std::size_t>(axes.sizes.size(), 1)};
  std::size_t cases = 1;
  for (const std::size_t list : lists) {
    cases *= list;
    if (cases > kCasesMax) {
      return Error(Errc::invalid_argument,
                   fmt::format("the lists of --channels, --ports, --sizes and others multiply to "
                               "more than {} rows, the most that a run has",
                               kCasesMax));
    }
  }
  return {};
}

void add_cases(const Axes& axes, Workload workload, BenchPlan& plan) {
  BenchCase one;
  one.workload = workload;
  one.size = axes.sizes.empty() ? default_sizes(workload).front() : axes.sizes.front();
  one.dram_channels = axes.channels.front();
  one.eth_ports = axes.ports.front();
  one.lanes_per_eth_port = lanes_or_default(axes.lanes.front(), one.eth_ports);
  one.crc = axes.crc.front() == "on";
  switch (workload) {
    case Workload::block:
    case Workload::page:
    case Workload::remote_page:
    case Workload::scatter:
    case Workload::layers:
    case Workload::session:
    case Workload::odd_sizes:
    case Workload::replay:
      return add_transfer_cases(axes, workload, plan);
    case Workload::mixed:
      plan.cases.push_back(one);
      return;
    case Workload::lookup:
      for (const std::uint32_t objects : axes.objects) {
        one.size = SizeBytes();
        one.objects = objects;
        plan.cases.push_back(one);
      }
      return;
    case Workload::one_channel:
      one.crc = false;
      plan.cases.push_back(one);
      return;
    case Workload::scaling:
      return add_scaling_cases(one, axes.lanes.front(), plan);
    case Workload::port_fault:
      return add_port_fault_cases(one, axes, plan);
    case Workload::incast:
      one.hosts = plan.hosts;
      plan.cases.push_back(one);
      return;
    case Workload::paced:
      one.crc = false;
      return add_paced_cases(one, axes, plan);
    case Workload::device_kernel:
    case Workload::device_pages:
      return;  // of a DevicePlan
  }
}

Result<void> apply_timing(const BenchOptions& options, BenchPlan& plan) {
  const Result<emulator::TimingMode> mode = parse_mode(options.mode);
  if (!mode) {
    return mode.error();
  }
  plan.mode = *mode;
  Result<emulator::BoxConfig> preset = emulator::preset("emfasys18");
  if (!preset) {
    return preset.error();
  }
  preset->device_settings = options.settings;
  if (auto done = apply_port_rate(options.port_rate, *preset); !done) {
    return done;
  }
  plan.device_settings = preset->device_settings;
  plan.eth_port_rate = preset->eth_port_rate;
  if (options.port_rate) {
    plan.given_port_rate = preset->eth_port_rate;
  }
  if (plan.mode == emulator::TimingMode::paced) {
    const Result<emulator::PacedRates> rates = emulator::modelled_rates(*preset);
    if (!rates) {
      return rates.error();
    }
    plan.rates = *rates;
  }
  const std::string text = options.time_scale.value_or("auto");
  if (text == "auto") {
    return {};
  }
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), plan.time_scale);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  if (!is_number || !std::isfinite(plan.time_scale) || plan.time_scale < 1) {
    return Error(
        Errc::invalid_argument,
        fmt::format("--time-scale: \"{}\" is not allowed; give a number from 1, or auto", text));
  }
  return {};
}

// The local transport copies past the box, which therefore cannot pace it, nor flush what it
// copied.
Result<void> leave_local_out(const BenchOptions& options, const BenchPlan& plan, Axes& axes) {
  const bool is_paced = plan.mode == emulator::TimingMode::paced;
  if (!is_paced && !(plan.over_dax && plan.over_dax->coherence == Coherence::software)) {
    return {};
  }
  std::erase(axes.transports, "local");
  if (axes.transports.empty()) {
    return Error(Errc::invalid_argument,
                 is_paced ? "--transport: \"local\" is not paced; choose tcp, or --mode free"
                          : "--transport: \"local\" is not for --dax-coherence software, because a "
                            "box gives such memory to nobody to map; choose tcp");
  }
  if (options.threads && !is_paced) {
    return Error(Errc::invalid_argument,
                 fmt::format("--threads: \"{}\" does nothing with --dax-coherence software, which "
                             "has no local transport",
                             *options.threads));
  }
  return {};
}

Result<void> apply_amounts(const BenchOptions& options, BenchPlan& plan) {
  plan.working_set = options.quick ? kQuickWorkingSet : kWorkingSet;
  if (options.working_set) {
    const auto working_set = parse_sizes("--working-set", *options.working_set);
    if (!working_set) {
      return working_set.error();
    }
    if (working_set->size() > 1) {
      return Error(Errc::invalid_argument,
                   fmt::format("--working-set: \"{}\" is a list; give one size like 1GiB",
                               *options.working_set));
    }
    plan.working_set = working_set->front();
  }
  plan.repeats = options.repeats.value_or(options.quick ? kQuickRepeats : kRepeats);
  plan.depth = options.depth.value_or(0);
  plan.batch = options.batch.value_or(1);
  plan.copy_threads = options.threads.value_or(1);
  plan.server_threads = options.server_threads;
  plan.keys = options.keys.value_or(1000);
  plan.layers = options.layers.value_or(80);
  plan.requests = options.requests.value_or(plan.requests);
  plan.timeline = options.timeline;
  plan.seed = options.seed;
  plan.verify = options.verify;
  return check_sizes(plan);
}

}  // namespace

std::string_view to_string(Workload workload) {
  const auto index = static_cast<std::size_t>(workload);
  return index < kWorkloads.size() ? std::string_view(kWorkloads[index])
                                   : kDeviceWorkloads.at(index - kWorkloads.size());
}

Result<OpsAndCrc> parse_ops_and_crc(const BenchOptions& options, std::string_view default_crc) {
  const auto ops = parse_words("--op", options.ops.value_or("both"), kOps, "both");
  const auto crc =
      parse_words("--crc", options.crc.value_or(std::string(default_crc)), kCrc, "both");
  if (!ops || !crc) {
    return ops ? crc.error() : ops.error();
  }
  OpsAndCrc chosen;
  for (const WorkOp op : {WorkOp::write, WorkOp::read}) {
    if (std::find(ops->begin(), ops->end(), to_string(op)) != ops->end()) {
      chosen.ops.push_back(op);
    }
  }
  for (const std::string& word : *crc) {
    chosen.crc.push_back(word == "on");
  }
  return chosen;
}

std::string_view to_string(WorkOp op) { return op == WorkOp::read ? "read" : "write"; }

Result<BenchPlan> make_plan(const BenchOptions& options) {
  Result<Axes> axes = parse_axes(options);
  if (!axes) {
    return axes.error();
  }
  BenchPlan plan;
  if (options.target == kBoxDaxTarget) {
    Result<BoxOverDax> over_dax = choose_box_over_dax(options, axes->workloads);
    if (!over_dax) {
      return over_dax.error();
    }
    axes->channels = {static_cast<std::uint32_t>(over_dax->devices.size())};
    plan.over_dax = std::move(*over_dax);
  }
  if (const Result<void> counted = check_case_count(*axes); !counted) {
    return counted.error();
  }
  std::vector<Workload> workloads;
  for (const std::string& word : axes->workloads) {
    const auto found = std::find(kWorkloads.begin(), kWorkloads.end(), word);
    workloads.push_back(static_cast<Workload>(found - kWorkloads.begin()));
  }
  if (const Result<void> used = check_options_used(options, workloads); !used) {
    return used.error();
  }
  if (const Result<void> done = apply_timing(options, plan); !done) {
    return done.error();
  }
  if (const Result<void> done = leave_local_out(options, plan, *axes); !done) {
    return done.error();
  }
  plan.hosts = options.hosts.value_or(8);
  plan.connect = options.connect.value_or("");
  plan.wires = options.wires;
  for (const Workload workload : workloads) {
    add_cases(*axes, workload, plan);
  }
  for (const std::string& op : axes->ops) {
    plan.ops.push_back(op == "read" ? WorkOp::read : WorkOp::write);
  }
  if (const Result<void> done = apply_amounts(options, plan); !done) {
    return done.error();
  }
  return plan;
}

namespace {

void add_box_axes(CLI::App& command, BenchOptions& options) {
  command
      .add_option("--channels", options.channels,
                  "DRAM channels of the box: 18 or 1,9,18; of paced 1,2,4,9,18,28")
      ->default_str("18");
  command.add_option("--ports", options.ports, "Ethernet ports of the box: 9 or 1,2,4,9 or 1..9")
      ->default_str("9");
  command
      .add_option("--lanes", options.lanes,
                  "Connections per Ethernet port; auto: for at least four in all")
      ->default_str("auto");
  command.add_option("--mode", options.mode, "free (real figures) or paced (emulated figures)")
      ->capture_default_str();
  command
      .add_option("--time-scale", options.time_scale,
                  "paced: rates are divided by it; auto: the largest box needs half of what "
                  "this machine can do")
      ->default_str("auto");
  command
      .add_option("--set", options.settings,
                  "paced: a key of the device's parameter file, like link.lanes=16; repeatable")
      ->allow_extra_args(false);
  command.add_option("--port-rate", options.port_rate,
                     "paced: of an Ethernet port's wire, like 100Gbit/s");
  command.add_option("--threads", options.threads, "local: threads that copy")
      ->default_str("1")
      ->check(CLI::Range(1, 64));
  command.add_option("--server-threads", options.server_threads, "Threads of the box's server")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
}

void add_amounts(CLI::App& command, BenchOptions& options) {
  command
      .add_option("--working-set", options.working_set,
                  "Bytes in the pool that passes walk through; cold from four L3 caches on")
      ->default_str("1GiB");
  command.add_option("--repeats", options.repeats, "Passes, each beside one of its ceiling")
      ->default_str("9")
      ->check(CLI::Range(1, 1000));
  command.add_option("--depth", options.depth, "Operations in flight; 0 chooses by size")
      ->default_str("0")
      ->check(CLI::Range(0, 1024));
  command.add_option("--batch", options.batch, "Blocks or pages per operation")
      ->default_str("1")
      ->check(CLI::Range(1, 4096));
  command.add_option("--objects", options.objects, "lookup: objects in the pool")
      ->default_str("10000");
  command.add_option("--keys", options.keys, "lookup: names per call")
      ->default_str("1000")
      ->check(CLI::Range(2, 16384));
  command.add_option("--fault", options.faults, "port-fault: what is wrong with the port; a list")
      ->default_str("slow:10%,dead,flap:1s");
  command.add_option("--hosts", options.hosts, "incast: hosts that want the block")
      ->default_str("8")
      ->check(CLI::Range(2, 64));
  command.add_option("--requests", options.requests, "replay: the first so many of each trace")
      ->default_str("200")
      ->check(CLI::Range(1, 3000));
  command.add_option("--pieces", options.pieces, "scatter: pieces of one request; a list")
      ->default_str("30208");
  command.add_option("--layers", options.layers, "layers: of the model")
      ->default_str("80")
      ->check(CLI::Range(1, 1024));
  command.add_option("--seed", options.seed, "Of names, bytes and orders")->capture_default_str();
  command.add_flag("--verify", options.verify,
                   "Compare every byte of every pass, outside the timed part (one pass of each "
                   "row is compared in any case)");
  command.add_flag("--quick", options.quick,
                   "64 MiB and 3 repeats, where they are not given: to see that it works");
  command.add_flag("--timeline", options.timeline,
                   "Add the bytes on each DRAM channel and Ethernet port over time to the rows of "
                   "block over tcp");
  command.add_option("--report", options.report,
                     "Write an HTML report with plots to this file as well");
  command.add_flag("--json", options.json, "Print one JSON object (docs/bench.md)");
}

void add_device_options(CLI::App& command, BenchOptions& options) {
  command.add_option("--device", options.device,
                     "auto, host or cuda: pages of a paged KV cache in its memory, and the pool; "
                     "auto says what it took");
  command.add_option("--models", options.models, "--device: whose geometry the pages have; a list")
      ->default_str("llama-3.1-70b,llama-3.1-8b,deepseek-v3");
  command
      .add_option("--path", options.paths,
                  "--device: direct, staged or both: which way to a local pool")
      ->default_str("both");
  command.add_option("--hugetlbfs", options.hugetlbfs,
                     "--device: a folder on hugetlbfs; the direct path is measured on it too");
}

void add_target_options(CLI::App& command, BenchOptions& options) {
  command
      .add_option("--target", options.target,
                  "box: one in this process; box-dax: one over devices dax; dax, numa: devices dax "
                  "or NUMA nodes, striped over without a box")
      ->capture_default_str();
  command.add_option("--dax-device", options.dax_devices,
                     "dax, box-dax: a device or file, one per channel in this order (default: all "
                     "of /dev/dax*); it is overwritten");
  command
      .add_option("--dax-coherence", options.dax_coherence,
                  "dax, box-dax: coherent, or software where other hosts use the same memory")
      ->default_str("coherent");
  command.add_option("--numa-nodes", options.numa_nodes, "numa: one per channel, like 1-18");
  command
      .add_option("--time-limit", options.time_limit_s,
                  "dax, numa: seconds after which a row begins no further pass")
      ->check(CLI::Range(1e-6, 1e6));
}

}  // namespace

void add_bench_options(CLI::App& command, BenchOptions& options) {
  command.add_option("--suite", options.suite,
                     "quick (2 minutes, hot) or full (larger than the caches): all workloads");
  command
      .add_option("--workload", options.workloads,
                  "A list of block,page,lookup,one-channel,scaling,remote-page,scatter,layers,"
                  "session,mixed,odd-sizes,port-fault,incast,paced,replay")
      ->capture_default_str();
  command.add_option("--connect", options.connect,
                     "A box that is served elsewhere: tcp:HOST:PORT, verbs:HOST:PORT, "
                     "roce:HOST:PORT or unix:PATH (default: one in this process)");
  command
      .add_option("--transport", options.transports,
                  "local, tcp or both; with --connect tcp, verbs (RDMA), roce (RDMA by godbox "
                  "itself, over --wire), or a list of them")
      ->default_str("both");
  add_wire_option(command, options.wires);
  command.add_option("--op", options.ops, "read, write or both")->default_str("both");
  command.add_option("--sizes", options.sizes, "Of blocks or pages, like 1MiB,4MiB,20MiB");
  command.add_option("--crc", options.crc, "The client's CRC32C: on, off or both")
      ->default_str("on");
  add_box_axes(command, options);
  add_target_options(command, options);
  add_device_options(command, options);
  add_amounts(command, options);
}

}  // namespace godbox::app
