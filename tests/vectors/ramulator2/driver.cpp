// SPDX-License-Identifier: Apache-2.0
//
// ramulator2_driver <job.json>: gives a stream of lines to Ramulator 2, used as a library, and
// prints what became of it as one JSON object. It is built outside of godbox, by the CMakeLists.txt
// here; make_ramulator2_vectors.py writes the jobs. README.md says what each figure means.
#include <godbox_test/dram_stream.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include <ramulator/base/config.h>
#include <ramulator/base/factory.h>
#include <ramulator/controller/controller_base.h>
#include <ramulator/frontend/i_frontend.h>
#include <ramulator/memory_system/i_memory_system.h>

namespace Ramulator {

// Counts the commands that a controller issues, by name, among its statistics.
class CommandTally : public IControllerPlugin, public Implementation {
  RAMULATOR_REGISTER_IMPLEMENTATION(IControllerPlugin, CommandTally, "CommandTally")

 public:
  void init() override {}
  void setup(IFrontEnd* /*frontend*/, IMemorySystem* /*memory_system*/) override {
    const auto& names = cast_parent<ControllerBase>()->m_device.m_spec->command_names;
    counts_.resize(names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      m_stats.add(names[i], counts_[i]);
    }
  }
  void on_issue(const Request& request) override {
    ++counts_[static_cast<std::size_t>(request.command)];
  }

 private:
  std::vector<std::size_t> counts_;
};

}  // namespace Ramulator

namespace {

using godbox::test::DramField;
using godbox::test::DramLine;
using godbox::test::DramMappingPiece;
using godbox::test::DramPlace;
using godbox::test::DramStream;
using godbox::test::DramStreamSpec;
using godbox::test::kDramFieldNames;
using godbox::test::kDramLineBytes;
using Ramulator::ConfigNode;

constexpr std::size_t kSubChannelsMax = 16;

// Without a limit: 0. The limits of reads and writes are those of a sub-channel. With
// interval_clocks the loop is open: burst_lines lines arrive at a time.
struct Injection {
  std::size_t reads_in_flight = 0;
  std::size_t writes_in_flight = 0;
  std::size_t lines_in_flight = 0;
  long gap_clocks = 0;
  long interval_clocks = 0;
  long burst_lines = 1;
};

DramStreamSpec read_stream(const ConfigNode& node) {
  using Order = DramStreamSpec::Order;
  const auto number = [&](const char* key, unsigned long otherwise) {
    return node[key].as<unsigned long>(otherwise);
  };
  DramStreamSpec spec;
  const auto order = node["order"].as<std::string>();
  if (order == "sequential") {
    spec.order = Order::sequential;
  } else if (order == "random") {
    spec.order = Order::random;
  } else if (order == "cycle") {
    spec.order = Order::cycle;
  } else if (order == "hot") {
    spec.order = Order::hot;
  } else {
    throw std::runtime_error("stream.order '" + order + "' is not known");
  }
  spec.seed = number("seed", spec.seed);
  spec.lines = number("lines", spec.lines);
  spec.span_bytes = number("span_bytes", spec.span_bytes);
  spec.step_bytes = number("step_bytes", spec.step_bytes);
  spec.align_bytes = number("align_bytes", spec.align_bytes);
  spec.hot_bytes = number("hot_bytes", spec.hot_bytes);
  spec.hot_percent = number("hot_percent", spec.hot_percent);
  spec.run_lines = number("run_lines", spec.run_lines);
  spec.run_stride_bytes = number("run_stride_bytes", spec.run_stride_bytes);
  spec.operations = node["operations"].as<std::string>(spec.operations);
  if (const ConfigNode cycle = node["cycle_bytes"]) {
    for (const ConfigNode& address : cycle.seq()) {
      spec.cycle_bytes.push_back(address.as<unsigned long>());
    }
  }
  return spec;
}

// [["bank_group", 3], ["column_line", 6], ...] from the least significant bit on.
std::vector<DramMappingPiece> read_mapping(const ConfigNode& node) {
  std::vector<DramMappingPiece> mapping;
  for (const ConfigNode& piece : node.seq()) {
    const auto name = piece.seq().at(0).as<std::string>();
    const auto* const known = std::find(kDramFieldNames.begin(), kDramFieldNames.end(), name);
    if (known == kDramFieldNames.end()) {
      throw std::runtime_error("mapping: '" + name + "' is no field of a DRAM address");
    }
    mapping.push_back({static_cast<DramField>(known - kDramFieldNames.begin()),
                       piece.seq().at(1).as<unsigned>()});
  }
  return mapping;
}

Injection read_injection(const ConfigNode& node) {
  Injection injection;
  injection.reads_in_flight = node["reads_in_flight"].as<unsigned long>(0);
  injection.writes_in_flight = node["writes_in_flight"].as<unsigned long>(0);
  injection.lines_in_flight = node["lines_in_flight"].as<unsigned long>(0);
  injection.gap_clocks = node["gap_clocks"].as<long>(0);
  injection.interval_clocks = node["interval_clocks"].as<long>(0);
  injection.burst_lines = node["burst_lines"].as<long>(1);
  return injection;
}

// Ramulator's order of levels; it counts the columns of a line as one.
Ramulator::AddrVec_t address_vector(const DramPlace& place) {
  Ramulator::AddrVec_t levels;
  for (const DramField field : {DramField::sub_channel, DramField::rank, DramField::bank_group,
                                DramField::bank, DramField::row, DramField::column_line}) {
    levels.push_back(static_cast<int>(place[static_cast<std::size_t>(field)]));
  }
  return levels;
}

class Simulation {
 public:
  explicit Simulation(const ConfigNode& job)
      : injection_(read_injection(job["injection"])),
        write_tail_clocks_(job["write_tail_clocks"].as<long>()),
        frontend_(Ramulator::Factory::create_frontend(job["ramulator"])),
        memory_(Ramulator::Factory::create_memory_system(job["ramulator"])) {
    frontend_->connect_memory_system(memory_);
    memory_->connect_frontend(frontend_);
    const DramStreamSpec spec = read_stream(job["stream"]);
    const std::vector<DramMappingPiece> mapping = read_mapping(job["mapping"]);
    DramStream stream(spec);
    for (std::uint64_t i = 0; i < spec.lines; ++i) {
      lines_.push_back(stream.next());
      places_.push_back(address_vector(dram_place(lines_[i].address_bytes, mapping)));
    }
    arrival_.resize(spec.lines);
    latency_.resize(spec.lines);
    fingerprint_ = godbox::test::dram_stream_fingerprint(spec);
  }

  void run() {
    while (done_ < lines_.size()) {
      offer();
      ++clock_;
      memory_->tick();
    }
    frontend_->finalize();
    memory_->finalize();
  }

  [[nodiscard]] std::string report() const;

 private:
  // In order: a line that has to wait holds up those behind it.
  void offer() {
    for (; next_ < lines_.size(); ++next_) {
      if (!may_go()) {
        return;
      }
      arrival_[next_] = injection_.interval_clocks > 0 ? scheduled(next_) : clock_;
      ++in_flight(next_);
      ++lines_in_flight_;
      if (!send(next_)) {
        --in_flight(next_);
        --lines_in_flight_;
        ++refused_;
        return;
      }
    }
  }

  [[nodiscard]] long scheduled(std::size_t index) const {
    return static_cast<long>(index) / injection_.burst_lines * injection_.interval_clocks;
  }

  [[nodiscard]] bool may_go() {
    const std::size_t limit =
        lines_[next_].is_write ? injection_.writes_in_flight : injection_.reads_in_flight;
    if (limit > 0 && in_flight(next_) >= limit) {
      return false;
    }
    if (injection_.lines_in_flight > 0 && lines_in_flight_ >= injection_.lines_in_flight) {
      return false;
    }
    return clock_ >= not_before_ && (injection_.interval_clocks == 0 || clock_ >= scheduled(next_));
  }

  // Of that line's kind, in its sub-channel.
  std::size_t& in_flight(std::size_t index) {
    return in_flight_[static_cast<std::size_t>(places_[index][0])]
                     [static_cast<std::size_t>(lines_[index].is_write)];
  }

  bool send(std::size_t index) {
    using Type = Ramulator::Request::Type;
    Ramulator::Request request(
        static_cast<Ramulator::Addr_t>(lines_[index].address_bytes),
        lines_[index].is_write ? Type::Write : Type::Read, 0,
        [this, index](Ramulator::Request& answered) { done(index, answered); });
    request.addr_vec = places_[index];
    request.size_bytes = static_cast<int>(kDramLineBytes);
    return memory_->send(request);
  }

  // A read is answered when its last data have come; a write when its command is issued, and its
  // data leave the bus write_tail_clocks_ later.
  void done(std::size_t index, const Ramulator::Request& request) {
    const bool is_write = lines_[index].is_write;
    const long end = is_write ? clock_ + write_tail_clocks_ : request.depart;
    latency_[index] = end - arrival_[index];
    end_clock_ = std::max(end_clock_, end);
    if (injection_.gap_clocks > 0) {
      not_before_ = end + injection_.gap_clocks;
    }
    --in_flight(index);
    --lines_in_flight_;
    ++done_;
  }

  [[nodiscard]] std::string latencies(bool of_writes) const;

  Injection injection_;
  long write_tail_clocks_;
  Ramulator::IFrontEnd* frontend_;
  Ramulator::IMemorySystem* memory_;
  std::vector<DramLine> lines_;
  std::vector<Ramulator::AddrVec_t> places_;
  std::vector<long> arrival_;
  std::vector<long> latency_;
  std::uint64_t fingerprint_ = 0;
  long clock_ = 0;
  long end_clock_ = 0;
  long not_before_ = 0;
  std::size_t next_ = 0;
  std::size_t done_ = 0;
  std::size_t refused_ = 0;
  std::size_t lines_in_flight_ = 0;
  std::array<std::array<std::size_t, 2>, kSubChannelsMax> in_flight_{};
};

// Percentiles by nearest rank.
std::string Simulation::latencies(bool of_writes) const {
  std::vector<long> sorted;
  long sum = 0;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    if (lines_[i].is_write == of_writes) {
      sorted.push_back(latency_[i]);
      sum += latency_[i];
    }
  }
  if (sorted.empty()) {
    return "null";
  }
  std::sort(sorted.begin(), sorted.end());
  const auto rank = [&](std::size_t percent) {
    return sorted[(sorted.size() * percent + 99) / 100 - 1];
  };
  return fmt::format(R"({{"lines":{},"mean":{:.4f},"min":{},"p50":{},"p99":{},"max":{}}})",
                     sorted.size(), static_cast<double>(sum) / static_cast<double>(sorted.size()),
                     sorted.front(), rank(50), rank(99), sorted.back());
}

// A statistic, added up over the controllers.
std::size_t total(const ConfigNode& stats, const std::string& group, const std::string& name) {
  const ConfigNode controllers = stats["controller"];
  const auto one = [&](const ConfigNode& controller) {
    return (group.empty() ? controller[name] : controller[group][name]).as<std::size_t>(0);
  };
  if (!controllers.is_sequence()) {
    return one(controllers);
  }
  std::size_t sum = 0;
  for (const ConfigNode& controller : controllers.seq()) {
    sum += one(controller);
  }
  return sum;
}

std::string Simulation::report() const {
  const ConfigNode stats = memory_->collect_stats();
  std::string commands;
  for (const char* name : {"ACT", "PREpb", "PREab", "RD", "WR", "RDA", "WRA", "REFab"}) {
    commands += fmt::format("{}\"{}\":{}", commands.empty() ? "" : ",", name,
                            total(stats, "controller_plugin", name));
  }
  return fmt::format(
      R"("fingerprint":"{:016x}","end_clock":{},"ticks":{},"refused":{},"read_clocks":{},)"
      R"("write_clocks":{},"row_hits":{},"row_misses":{},"row_conflicts":{},)"
      R"("reads_forwarded":{},"writes_coalesced":{},"commands":{{{}}})",
      fingerprint_, end_clock_, clock_, refused_, latencies(false), latencies(true),
      total(stats, "", "row_hits"), total(stats, "", "row_misses"),
      total(stats, "", "row_conflicts"), total(stats, "", "num_read_reqs_forwarded"),
      total(stats, "", "num_write_reqs_coalesced"), commands);
}

int run(const std::string& path) {
  Simulation simulation(Ramulator::Config::parse_config_file(path));
  const std::clock_t cpu = std::clock();
  const auto wall = std::chrono::steady_clock::now();
  simulation.run();
  const double cpu_s = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
  const std::chrono::duration<double> wall_s = std::chrono::steady_clock::now() - wall;
  fmt::print("{{{},\"cpu_s\":{:.4f},\"wall_s\":{:.4f}}}\n", simulation.report(), cpu_s,
             wall_s.count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: ramulator2_driver <job.json>\n");
    return 2;
  }
  try {
    return run(argv[1]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "ramulator2_driver: {}: {}\n", argv[1], error.what());
    return 1;
  }
}
