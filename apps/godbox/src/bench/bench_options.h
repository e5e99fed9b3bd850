// SPDX-License-Identifier: Apache-2.0
//
// What `godbox bench` is asked to measure: the command line, and the plan that it means.
#pragma once

#include "box/box_options.h"
#include "box/rig.h"
#include "cli/cli11_fwd.h"
#include <godbox/emulator/port_fault.h>

#include <optional>
#include <string>
#include <vector>

namespace godbox::app {

enum class Workload : std::uint8_t {
  block,
  page,
  lookup,
  one_channel,
  scaling,
  remote_page,
  scatter,
  layers,
  session,
  mixed,
  odd_sizes,
  port_fault,
  incast,
  paced,
  replay,
  // Of --device; --workload does not take them.
  device_kernel,
  device_pages
};
inline constexpr std::size_t kWorkloadCount = 15;  // of --workload
[[nodiscard]] std::string_view to_string(Workload workload);
[[nodiscard]] std::string_view to_string(WorkOp op);

// What was not given is the workload's own default. Lists have commas.
struct BenchOptions {
  std::string workloads = "block";
  std::optional<std::string> connect;      // a box that is served elsewhere; else one in here
  std::optional<std::string> transports;   // both; tcp where the workload has no other
  std::vector<std::string> wires;          // roce: this end's Ethernet ports
  std::optional<std::string> ops;          // both
  std::optional<std::string> sizes;        // by workload
  std::optional<std::string> channels;     // 18
  std::optional<std::string> ports;        // 9
  std::optional<std::string> lanes;        // auto
  std::optional<std::string> crc;          // on
  std::optional<std::string> working_set;  // 1 GiB
  std::string mode = "free";
  std::optional<std::string> time_scale;  // auto
  std::vector<std::string> settings;      // --set
  std::optional<std::string> port_rate;   // the preset's
  std::optional<std::uint32_t> repeats;   // 9
  std::optional<std::uint32_t> depth;     // 0: chosen by size
  std::optional<std::uint32_t> batch;     // 1
  std::optional<std::uint32_t> threads;   // 1
  std::uint32_t server_threads = 1;
  std::optional<std::uint32_t> keys;      // 1000
  std::optional<std::string> objects;     // 10000
  std::optional<std::string> pieces;      // 30208
  std::optional<std::uint32_t> layers;    // 80
  std::optional<std::string> faults;      // slow:10%,dead,flap:1s
  std::optional<std::uint32_t> hosts;     // 8
  std::optional<std::uint32_t> requests;  // 200
  std::string target = "box";
  std::vector<std::string> dax_devices;      // --target dax, box-dax: all of /dev/dax*
  std::optional<std::string> dax_coherence;  // coherent
  std::optional<std::string> numa_nodes;
  std::optional<double> time_limit_s;
  std::string device;                 // auto, host, cuda; empty: none
  std::optional<std::string> models;  // --device: llama-3.1-70b,llama-3.1-8b,deepseek-v3
  std::optional<std::string> paths;   // --device: both (direct, staged)
  std::string hugetlbfs;              // --device: a folder; empty: none
  std::uint64_t seed = 1;
  bool verify = false;
  bool quick = false;
  bool timeline = false;
  std::string suite;   // quick, full; empty: none
  std::string report;  // a file for the HTML report
  bool json = false;
};

void add_bench_options(CLI::App& command, BenchOptions& options);

// --op and --crc of the benches that are not of a box. Errors: invalid_argument.
struct OpsAndCrc {
  std::vector<WorkOp> ops;  // write before read
  std::vector<bool> crc;
};
[[nodiscard]] Result<OpsAndCrc> parse_ops_and_crc(const BenchOptions& options,
                                                  std::string_view default_crc);

// scaling: which resource grows; the other is then unlimited.
enum class Sweep : std::uint8_t { none, dram_channels, eth_ports };

// Of the workload paced; settled before the first case runs, but for has_slow_channel.
struct PacedScales {
  bool has_slow_channel = false;
  double small_time_scale = 1;
  double machine_gb_per_s = 0;     // of the raw sockets, read
  double machine_reads_per_s = 0;  // small ones, of a box without timing
  double machine_p99_us = 0;       // of these, as often as the paced box is asked for them
};

// One box and client to measure on; each of the plan's ops gives one row.
struct BenchCase {
  Workload workload = Workload::block;
  TransportKind transport = TransportKind::tcp;
  SizeBytes size;
  std::uint32_t dram_channels = 18;
  std::uint32_t eth_ports = 9;           // of a box elsewhere 0: all
  std::uint32_t lanes_per_eth_port = 1;  // to a box elsewhere 0: as the library chooses
  bool crc = true;
  std::uint64_t objects = 0;  // lookup
  emulator::PortFault fault;  // port-fault
  std::uint32_t hosts = 1;    // incast
  std::uint32_t pieces = 0;   // scatter: of one request
  Sweep sweep = Sweep::none;
  double time_scale = 1;  // paced; settled before the first case runs
  PacedScales paced{};
};

inline constexpr std::string_view kBoxDaxTarget = "box-dax";
// Of that target: the devices that are the DRAM channels of the box in this process.
struct BoxOverDax {
  std::vector<std::string> devices;
  Coherence coherence = Coherence::coherent;
  SizeBytes dram_channel_size;  // what the smallest device has
};

struct BenchPlan {
  std::vector<BenchCase> cases;
  std::optional<BoxOverDax> over_dax;
  std::string connect;             // where the box is served; empty: in this process
  std::vector<std::string> wires;  // roce: this end's Ethernet ports, as they are written
  std::vector<WorkOp> ops;
  SizeBytes working_set;
  emulator::TimingMode mode = emulator::TimingMode::free;
  double time_scale =
      0;  // 0: chosen so that the largest case needs half of what the machine can do
  // paced: the preset's, but for --set and --port-rate.
  std::vector<std::string> device_settings;
  Rate eth_port_rate = emulator::BoxConfig().eth_port_rate;
  std::optional<Rate> given_port_rate;  // --port-rate
  emulator::PacedRates rates;           // by these
  std::uint32_t repeats = 9;
  std::uint32_t depth = 0;
  std::uint32_t batch = 1;
  std::uint32_t copy_threads = 1;
  std::uint32_t server_threads = 1;
  std::uint32_t keys = 1000;
  std::uint32_t hosts = 8;
  std::uint32_t layers = 80;
  std::uint32_t requests = 200;  // replay: of each trace
  std::uint64_t seed = 1;
  bool verify = false;
  bool timeline = false;  // of the bytes on each DRAM channel and Ethernet port
};

// An option that none of the workloads uses is refused, not ignored. Errors: invalid_argument,
// config_invalid; both name option, value and what is allowed.
[[nodiscard]] Result<BenchPlan> make_plan(const BenchOptions& options);

}  // namespace godbox::app
