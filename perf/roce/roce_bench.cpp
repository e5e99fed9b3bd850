// SPDX-License-Identifier: Apache-2.0
//
// How fast one core answers RDMA through a RoCE port on DPDK: READs and WRITEs of 1 MiB over a
// cold working set, and READs of 64 bytes at random places of it. A client's load on one processor
// (roce_load.h), the box on another (box_side.h), path MTU 4096, every ICRC made and checked by the
// box. Beside each pass stands what one core's memcpy does with as many cold bytes at that time.
// Each pass of WRITEs writes other bytes than the one before. All bytes are read back and compared
// before anything counts, and again after the last WRITE: a wrong one ends the run.
//
//   roce_bench [--json] [--wire ring|vhost] [--working-set MIB]
//   roce_bench --small   few requests: only shows that it runs
#include "../micro/median.h"
#include "../micro/port_pair.h"
#include "box_side.h"
#include "roce_load.h"
#include <godbox/perf/ceiling.h>
#include <godbox/perf/l3_cache.h>
#include <godbox/perf/mapped_buffer.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sched.h>

namespace {

using namespace godbox;
using namespace godbox::perf;

constexpr std::uint32_t kMtuBytes = 4200;
constexpr std::uint16_t kWireFrames = 1024;
constexpr std::uint32_t kFirstClient = 0x100;
constexpr std::size_t kQueuePairs = 16;
constexpr std::uint32_t kSmallBytes = 64;
constexpr int kUsage = 2;
constexpr int kSkipped = 4;  // of a test program: not a failure

struct Options {
  bool is_small = false, json = false;
  std::string wire = "ring";
  std::uint64_t working_set_mib = 1100;
  int repeats = 7;
};

struct Phase {
  std::string_view name;
  RoceRun run;
  std::vector<double> per_second, of_ceiling, ceiling;  // requests; shares of 1; GB/s
  std::uint64_t bytes_compared = 0;
  double box_processor_share = 0;  // of the last pass
  StageTicks stages;
  double ticks_per_second = 0;
};

Result<PortPair> open_wire(const std::shared_ptr<driver::Eal>& eal, const std::string& kind) {
  return kind == "ring" ? open_ring_pair(eal, kMtuBytes, kWireFrames)
                        : open_vhost_pair(eal, kMtuBytes, kWireFrames);
}

// The processors of this process: the client's and the box's.
std::vector<int> processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> numbers;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) {
      numbers.push_back(i);
    }
  }
  return numbers;
}

class Bench {
 public:
  Bench(BoxSide& box, RoceLoad& load, Ceiling& ceiling, const std::vector<int>& processors)
      : box_(box), load_(load), ceiling_(ceiling), processors_(processors) {}

  [[nodiscard]] Result<RoceRunResult> run(const RoceRun& run, bool staged = false) {
    pin_to(processors_[0]);
    box_.start(processors_[1], staged);
    Result<RoceRunResult> result = load_.run(run);
    box_seconds_ = box_.stop();
    return result;
  }

  // What the box's processor copies, with the box asleep.
  [[nodiscard]] Result<double> ceiling(SizeBytes bytes, RoceOp op) {
    pin_to(processors_[1]);
    return ceiling_.measure(op == RoceOp::read ? Direction::read : Direction::write, bytes);
  }

  [[nodiscard]] Result<void> fill() {
    const auto written = run({.op = RoceOp::write,
                              .queue_pairs = 4,
                              .requests = box_.target().blocks.size(),
                              .in_order = true});
    return written ? Result<void>() : written.error();
  }

  // Every byte with what was written last.
  [[nodiscard]] Result<std::uint64_t> compare_all() {
    const auto compared = run({.op = RoceOp::read,
                               .queue_pairs = 4,
                               .requests = box_.target().blocks.size(),
                               .in_order = true,
                               .verify_all = true});
    return compared ? Result<std::uint64_t>(compared->bytes_compared) : compared.error();
  }

  [[nodiscard]] Result<void> measure(Phase& phase) {
    const Result<double> copied =
        ceiling(SizeBytes(box_.target().blocks.size() * kRoceBlockBytes), phase.run.op);
    if (!copied) {
      return copied.error();
    }
    const Result<RoceRunResult> result = run(phase.run);
    if (!result) {
      return result.error();
    }
    const double per_second = static_cast<double>(result->requests) / result->seconds;
    phase.per_second.push_back(per_second);
    phase.ceiling.push_back(*copied);
    phase.of_ceiling.push_back(per_second * phase.run.size_bytes / 1e9 / *copied);
    phase.bytes_compared += result->bytes_compared;
    phase.box_processor_share = box_seconds_ / result->seconds;
    return {};
  }

  [[nodiscard]] Result<void> profile(Phase& phase) {
    const std::uint64_t begin = ticks();
    const auto started = std::chrono::steady_clock::now();
    if (const auto result = run(phase.run, true); !result) {
      return result.error();
    }
    const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - started;
    phase.ticks_per_second = static_cast<double>(ticks() - begin) / passed.count();
    phase.stages = box_.stages();
    return {};
  }

 private:
  BoxSide& box_;
  RoceLoad& load_;
  Ceiling& ceiling_;
  std::vector<int> processors_;
  double box_seconds_ = 0;
};

std::vector<Phase> phases_of(const Options& options, std::size_t blocks) {
  std::vector<Phase> phases(3);
  const std::uint64_t passes = options.is_small ? 1 : 2;
  phases[0].name = "READ 1 MiB";
  phases[0].run = {.op = RoceOp::read, .queue_pairs = 4, .requests = passes * blocks};
  phases[1].name = "WRITE 1 MiB";
  phases[1].run = {.op = RoceOp::write, .queue_pairs = 4, .requests = passes * blocks};
  phases[2].name = "READ 64 B";
  phases[2].run = {.op = RoceOp::read,
                   .size_bytes = kSmallBytes,
                   .queue_pairs = kQueuePairs,
                   .depth = 32,
                   .requests = options.is_small ? 20'000U : 2'000'000U};
  return phases;
}

void print_stages(const Phase& phase) {
  const auto packets =
      static_cast<double>(std::max(phase.stages.frames_in, phase.stages.frames_out));
  double sum = 0;
  for (const std::uint64_t of_stage : phase.stages.ticks) {
    sum += static_cast<double>(of_stage);
  }
  fmt::print("{}: {:.0f} cycles per packet of {:.2f} GHz, of {} in and {} out\n", phase.name,
             sum / packets, phase.ticks_per_second / 1e9, phase.stages.frames_in,
             phase.stages.frames_out);
  for (std::size_t i = 0; i < kStages; ++i) {
    const auto of_stage = static_cast<double>(phase.stages.ticks[i]);
    fmt::print("  {:<36} {:8.1f}  {:5.1f} %\n", to_string(static_cast<Stage>(i)),
               of_stage / packets, 100 * of_stage / sum);
  }
}

void print(const std::vector<Phase>& phases, const Options& options, std::size_t blocks) {
  const std::optional<bool> cold = is_cold(SizeBytes(blocks * std::uint64_t{kRoceBlockBytes}));
  fmt::print(
      "RoCEv2 over {}, path MTU {} B, {} MiB{}, a processor each (real)\n",
      options.wire == "ring" ? "net_ring" : "net_virtio_user to net_vhost", kRocePacketBytes,
      blocks * kRoceBlockBytes >> 20U,
      cold ? fmt::format(", {} (L3 {} MiB)", *cold ? "cold" : "hot", l3_cache().count() >> 20U)
           : "");
  for (const Phase& phase : phases) {
    const auto [low, high] = std::ranges::minmax(phase.per_second);
    const auto gb = [&](double per_second) { return per_second * phase.run.size_bytes / 1e9; };
    const double middle = median(phase.per_second);
    fmt::print(
        "  {:<12} median {:7.3f} GB/s ({:9.0f} requests/s)  min {:7.3f}  max {:7.3f}  memcpy "
        "{:7.3f}  of it {:5.3f}  box busy {:5.3f}\n",
        phase.name, gb(middle), middle, gb(low), gb(high), median(phase.ceiling),
        median(phase.of_ceiling), phase.box_processor_share);
  }
  for (const Phase& phase : phases) {
    print_stages(phase);
  }
}

void print_json(const std::vector<Phase>& phases, const Options& options, std::size_t blocks) {
  const std::optional<bool> cold = is_cold(SizeBytes(blocks * std::uint64_t{kRoceBlockBytes}));
  std::string rows;
  for (const Phase& phase : phases) {
    const auto [low, high] = std::ranges::minmax(phase.per_second);
    const double middle = median(phase.per_second);
    rows += fmt::format(
        R"({}{{"kind":"real","wire":"{}","op":"{}","size_bytes":{},"path_mtu_bytes":{},)"
        R"("working_set_bytes":{},"temperature":{},"l3_cache_bytes":{},"repeats":{},)"
        R"("requests_per_s_median":{:.1f},"requests_per_s_min":{:.1f},"requests_per_s_max":{:.1f},)"
        R"("gb_per_s_median":{:.4f},"ceiling":"memcpy, 1 thread","ceiling_gb_per_s_median":{:.4f},)"
        R"("of_ceiling_median":{:.4f},"bytes_compared":{},"wrong_bytes":0}})",
        rows.empty() ? "" : ",", options.wire, phase.run.op == RoceOp::read ? "read" : "write",
        phase.run.size_bytes, kRocePacketBytes, blocks * std::uint64_t{kRoceBlockBytes},
        !cold   ? "null"
        : *cold ? R"("cold")"
                : R"("hot")",
        cold ? std::to_string(l3_cache().count()) : "null", phase.per_second.size(), middle, low,
        high, middle * phase.run.size_bytes / 1e9, median(phase.ceiling), median(phase.of_ceiling),
        phase.bytes_compared);
  }
  fmt::print("{{\"schema\":\"godbox-roce-1\",\"rows\":[{}]}}\n", rows);
}

Result<void> measure_all(Bench& bench, std::vector<Phase>& phases, int repeats) {
  const auto compare_all = [&bench](Phase& phase) -> Result<void> {
    const Result<std::uint64_t> compared = bench.compare_all();
    phase.bytes_compared += compared ? *compared : 0;
    return compared ? Result<void>() : compared.error();
  };
  Result<void> is_right = bench.fill();
  is_right = is_right ? compare_all(phases.front()) : is_right;
  if (!is_right) {
    return is_right;
  }
  for (int repeat = 0; repeat < repeats; ++repeat) {
    for (Phase& phase : phases) {
      if (Result<void> measured = bench.measure(phase); !measured) {
        return measured;
      }
    }
  }
  for (Phase& phase : phases) {
    if (Result<void> profiled = bench.profile(phase); !profiled) {
      return profiled;
    }
  }
  return compare_all(phases[1]);
}

Result<void> run(const Options& options, const std::vector<int>& processors) {
  const Result<std::shared_ptr<driver::Eal>> eal = driver::Eal::start({});
  Result<PortPair> wire = eal ? open_wire(*eal, options.wire) : Result<PortPair>(eal.error());
  if (!wire) {
    return wire.error();
  }
  const SizeBytes working_set(options.working_set_mib << 20U);
  Result<std::unique_ptr<BoxSide>> box = BoxSide::create(*wire->far, working_set);
  if (!box) {
    return box.error();
  }
  roce::FrameHeader header;
  header.source = wire->near->mac();
  header.destination = wire->far->mac();
  header.source_ip = roce::Gid::of_ipv4({10, 0, 0, 1});
  header.destination_ip = roce::Gid::of_ipv4({10, 0, 0, 2});
  const auto pairs = (*box)->connect(header, kFirstClient, kQueuePairs);
  Result<MappedBuffer> pool_side = MappedBuffer::memfd(working_set);
  Result<MappedBuffer> user_side = MappedBuffer::anonymous(working_set);
  for (const Result<void>& made : {pairs ? Result<void>() : Result<void>(pairs.error()),
                                   pool_side ? Result<void>() : Result<void>(pool_side.error()),
                                   user_side ? Result<void>() : Result<void>(user_side.error())}) {
    if (!made) {
      return made;
    }
  }
  RoceLoad load(*wire->near, header, (*box)->target(), *pairs, 0x5EED);
  const auto ceiling = make_copy_ceiling({.pool_side = pool_side->bytes(),
                                          .pool_descriptor = pool_side->descriptor(),
                                          .user_side = user_side->bytes(),
                                          .pool_is_huge = pool_side->is_huge()},
                                         {});
  Bench bench(**box, load, *ceiling, processors);
  const std::size_t blocks = (*box)->target().blocks.size();
  std::vector<Phase> phases = phases_of(options, blocks);
  if (Result<void> measured = measure_all(bench, phases, options.repeats); !measured) {
    return measured;
  }
  options.json ? print_json(phases, options, blocks) : print(phases, options, blocks);
  return {};
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const std::string_view value = i + 1 < argc ? argv[i + 1] : "";
    if (argument == "--json") {
      options.json = true;
    } else if (argument == "--small") {
      options.is_small = true;
      options.working_set_mib = 32;
      options.repeats = 1;
    } else if (argument == "--wire" && (value == "ring" || value == "vhost")) {
      options.wire = value;
      ++i;
    } else if (argument == "--working-set") {
      const auto [end, failed] =
          std::from_chars(value.data(), value.data() + value.size(), options.working_set_mib);
      if (failed != std::errc() || end != value.data() + value.size() ||
          options.working_set_mib < 16 || options.working_set_mib > std::uint64_t{16} * 1024) {
        return false;
      }
      ++i;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    fmt::print(stderr,
               "usage: roce_bench [--small] [--json] [--wire ring|vhost] [--working-set MIB, 16 to "
               "16384]\n");
    return kUsage;
  }
  const std::vector<int> numbers = processors();
  if (numbers.size() < 2) {
    fmt::print("SKIPPED: needs two processors, one for each end\n");
    return kSkipped;
  }
  if (Result<void> done = run(options, numbers); !done) {
    fmt::print(stderr, "roce_bench: {}\n", done.error().message());
    return 1;
  }
  return 0;
}
