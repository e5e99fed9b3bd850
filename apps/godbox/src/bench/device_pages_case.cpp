// SPDX-License-Identifier: Apache-2.0
//
// Blocks of a model's KV cache on their way between the device and the pool: over TCP through
// staging; of the mapped pool by the device itself (direct) and through staging. Each pass moves
// all listed blocks, whose order is random, layer by layer; before it stands one large copy between
// device and pinned memory of as many bytes.
#include "bench/balance.h"
#include "bench/device_trace.h"
#include "bench/device_workload.h"
#include "bench/timeline.h"
#include "cli/json.h"
#include "measure/machine.h"
#include "measure/statistics.h"
#include <godbox/striping/kv_mover.h>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include <sys/vfs.h>
#include <unistd.h>

namespace godbox::app {
namespace {

constexpr std::uint32_t kBlocksPerObject = 16;  // 256 tokens, as LMCache's chunks
constexpr std::uint64_t kChannelUnit = std::uint64_t{64} << 20U;
constexpr std::uint32_t kDramChannels = 18;
constexpr std::uint32_t kEthPorts = 9;
constexpr double kUsPerMs = 1e3;
constexpr std::chrono::milliseconds kPortsPeriod{1};

struct PagesSubject {
  TransportKind transport = TransportKind::local;
  DevicePath path = DevicePath::staged;
  bool crc = true;
  bool is_huge = false;  // the pool is on hugetlbfs
};

// "[always] within_size never": what is chosen, or "" where the kernel does not say.
std::string shmem_enabled() {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  for (std::string word; file >> word;) {
    if (word.size() > 2 && word.front() == '[') {
      return word.substr(1, word.size() - 2);
    }
  }
  return {};
}

// Shared memory of the whole machine that huge pages map.
std::optional<std::uint64_t> shmem_huge_bytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    unsigned long long kib = 0;
    if (std::sscanf(line.c_str(), "ShmemHugePages: %llu kB", &kib) == 1) {
      return std::uint64_t{kib} << 10U;
    }
  }
  return std::nullopt;
}

// Of the file system's pages; what is mapped by larger ones all the same, shmem_huge_bytes says.
std::uint64_t page_bytes_of(const std::string& folder) {
  struct statfs system {};
  if (!folder.empty() && ::statfs(folder.c_str(), &system) == 0) {
    return static_cast<std::uint64_t>(system.f_bsize);
  }
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

class PagesCase {
 public:
  PagesCase(DeviceMemory& device, const DevicePlan& plan, DevicePages& pages,
            const kv::ModelGeometry& model, const PagesSubject& subject)
      : device_(device),
        traced_(device),
        plan_(plan),
        pages_(pages),
        model_(model),
        subject_(subject),
        per_object_(std::min<std::uint32_t>(kBlocksPerObject,
                                            static_cast<std::uint32_t>(pages.blocks().size()))),
        blocks_(pages.blocks().first(pages.blocks().size() / per_object_ * per_object_)) {
    for (std::size_t i = 0; i < blocks_.size() / per_object_; ++i) {
      names_.push_back(fmt::format("device/{}/{}", plan.seed, i));
    }
    views_.assign(names_.begin(), names_.end());
  }

  Result<Rows> run() {
    if (auto started = start(); !started) {
      return started.error();
    }
    if (auto filled = pages_.fill(kGeneration); !filled) {
      return filled.error();
    }
    Rows rows;
    for (const WorkOp op : {WorkOp::write, WorkOp::read}) {
      if (std::find(plan_.ops.begin(), plan_.ops.end(), op) == plan_.ops.end()) {
        continue;
      }
      Result<BenchRow> row = measure(op);
      if (!row) {
        return row.error();
      }
      rows.push_back(std::move(*row));
    }
    return rows;
  }

 private:
  static constexpr std::uint64_t kGeneration = 2;

  [[nodiscard]] SizeBytes moved_bytes() const { return pages_.block_bytes() * blocks_.size(); }

  // The whole of a mapped pool is registered with the device, and space that a mapped session has
  // freed comes back at its end: so the channels have room for all passes, and little more.
  Result<void> start() {
    BenchPlan box;
    box.copy_threads = plan_.copy_threads;
    BenchCase one;
    one.transport = subject_.transport;
    one.dram_channels = kDramChannels;
    one.eth_ports = kEthPorts;
    Result<emulator::BoxConfig> config = config_for(box, one);
    if (!config) {
      return config.error();
    }
    const std::uint64_t room = moved_bytes().count() * (plan_.repeats + 5);
    const std::uint64_t share = room / kDramChannels + kChannelUnit;
    config->dram_channel_size = SizeBytes(share / kChannelUnit * kChannelUnit);
    // Half of the machine's memory is no measure where that grows as it is used.
    const SizeBytes pool_bytes = config->capacity();
    config->backing_limit = pool_bytes;
    if (subject_.is_huge) {
      config->memory = emulator::MemoryKind::hugetlbfs;
      config->memory_path = plan_.hugetlbfs;
    }
    RigClientOptions client;
    client.transport = subject_.transport;
    client.lanes_per_eth_port = default_lanes_per_eth_port(kEthPorts);
    client.copy_threads = plan_.copy_threads;
    client.crc = subject_.crc;
    client.device.memory = &traced_;
    // A pool that cannot be pinned is staged, and the row says so and why.
    client.device.path =
        subject_.path == DevicePath::direct ? DevicePath::automatic : subject_.path;
    client.device.register_bytes_max = pool_bytes;
    const SteadyClock clock;
    const TimePoint begin = clock.now();
    Result<std::unique_ptr<Rig>> rig = Rig::start(std::move(*config), client);
    if (!rig) {
      return rig.error();
    }
    start_seconds_ = std::chrono::duration<double>(clock.now() - begin).count();
    pool_bytes_ = pool_bytes;
    spdlog::info("bench: a pool of {} MiB and its client took {:.1f} s to start: {}",
                 pool_bytes.count() >> 20U, start_seconds_, (*rig)->data_path());
    rig_ = std::move(*rig);
    kv::KvMoverOptions options;
    options.blocks_per_object = per_object_;
    options.device = &traced_;
    Result<std::unique_ptr<kv::KvMover>> mover =
        kv::KvMover::create(rig_->client(), rig_->clock(), pages_.cache(), options);
    if (!mover) {
      return mover.error();
    }
    mover_ = std::move(*mover);
    return {};
  }

  [[nodiscard]] kv::KvList list() const { return {views_, blocks_}; }

  // One pass; us from its begin to each layer's event, of loads.
  Result<LoopResult> pass(WorkOp op) {
    const double cpu_begin = cpu_seconds_used();
    const TimePoint begin = rig_->clock().now();
    std::vector<Errc> statuses;
    layer_us_.clear();
    if (op == WorkOp::write) {
      kv::KvOptions options;
      options.rebinds = true;
      statuses = mover_->store(list(), options);
    } else {
      const Result<kv::KvLoad> load = mover_->begin_load(
          list(), {},
          [&](std::uint32_t) {
            const Duration took = rig_->clock().now() - begin;
            layer_us_.push_back(std::chrono::duration<double, std::micro>(took).count());
          },
          [](std::span<const Errc>) {});
      if (!load) {
        return load.error();
      }
      mover_->wait(*load, kNever);
      statuses.assign(load->statuses().begin(), load->statuses().end());
    }
    LoopResult result;
    result.seconds = std::chrono::duration<double>(rig_->clock().now() - begin).count();
    result.cpu_seconds = cpu_seconds_used() - cpu_begin;
    for (const Errc status : statuses) {
      if (status != Errc::ok) {
        return Error(status, fmt::format("blocks of {} could not be {}", model_.name,
                                         op == WorkOp::write ? "stored" : "loaded"));
      }
    }
    return result;
  }

  Result<BenchRow> measure(WorkOp op) {
    BenchRow row = make_row(op);
    std::vector<double> shares;
    std::vector<double> first_us;
    std::vector<double> last_us;
    // The first pass warms up; a load has to find what a store has left.
    if (auto warm = pass(WorkOp::write); !warm) {
      return warm.error();
    }
    if (auto warm = pass(op); !warm) {
      return warm.error();
    }
    for (std::uint32_t repeat = 0; repeat < plan_.repeats; ++repeat) {
      const Result<double> ceiling = copy_ceiling(pages_, op);
      const Result<LoopResult> done = ceiling ? pass(op) : ceiling.error();
      if (!done) {
        return done.error();
      }
      row.ceiling_gb_per_s.push_back(*ceiling);
      row.gb_per_s.push_back(static_cast<double>(moved_bytes().count()) / done->seconds / 1e9);
      row.latencies_us.push_back(done->seconds * 1e6);
      row.cpu_seconds += done->cpu_seconds;
      row.bytes_moved += moved_bytes().count();
      if (!layer_us_.empty()) {
        first_us.push_back(layer_us_.front());
        last_us.push_back(layer_us_.back());
        shares.push_back(layer_us_.front() / layer_us_.back());
      }
    }
    if (!shares.empty()) {
      row.extra["layer_0_us"] = figure(summarise(first_us).median, 4);
      row.extra["last_layer_us"] = figure(summarise(last_us).median, 4);
      row.extra["layer_0_share"] = figure(summarise(shares).median, 4);
    }
    if (auto checked = verify(op, row); !checked) {
      return checked.error();
    }
    return row;
  }

  BenchRow make_row(WorkOp op) const {
    BenchRow row = device_row(device_, plan_, pages_, model_, op, subject_.crc);
    row.subject.workload = Workload::device_pages;
    row.subject.transport = subject_.transport;
    row.subject.dram_channels = kDramChannels;
    row.subject.eth_ports = kEthPorts;
    row.subject.lanes_per_eth_port = default_lanes_per_eth_port(kEthPorts);
    row.server_threads = rig_->server_threads();
    row.working_set = moved_bytes();
    row.batch = static_cast<std::uint32_t>(names_.size());
    row.ceiling_kind = "pinned-copy";
    row.ceiling_variant = fmt::format("copies of {} MiB between device and pinned memory",
                                      pages_.staging().size() >> 20U);
    row.extra["path"] = rig_->data_path();
    row.extra["path_asked"] = subject_.path == DevicePath::direct ? "direct" : "staged";
    row.extra["pool_memory"] = subject_.is_huge ? "hugetlbfs" : "memfd";
    row.extra["pool_bytes"] = pool_bytes_.count();
    row.extra["pool_page_bytes"] =
        page_bytes_of(subject_.is_huge ? plan_.hugetlbfs : std::string());
    row.extra["shmem_enabled"] = shmem_enabled();
    const auto huge_bytes = shmem_huge_bytes();
    row.extra["shmem_huge_bytes"] = huge_bytes ? boost::json::value(*huge_bytes) : nullptr;
    row.extra["start_seconds"] = figure(start_seconds_, 3);
    row.extra["object_blocks"] = per_object_;
    return row;
  }

  // What a store has left in the pool is seen by loading it; that pass is also the timeline's.
  Result<void> verify(WorkOp op, BenchRow& row) {
    if (auto filled = pages_.fill(kGeneration); !filled) {
      return filled;
    }
    if (auto stored = traced_pass(WorkOp::write); !stored) {
      return stored;
    }
    if (op == WorkOp::write) {
      add_timeline(row);
    }
    if (auto spoilt = pages_.spoil_all(); !spoilt) {
      return spoilt;
    }
    if (auto loaded = traced_pass(WorkOp::read); !loaded) {
      return loaded;
    }
    if (op == WorkOp::read) {
      add_timeline(row);
    }
    return pages_.verify(kGeneration, blocks_, row.verification);
  }

  // Of lanes the box's counters tell: bytes of all its Ethernet ports.
  Result<void> traced_pass(WorkOp op) {
    std::optional<Timeline> ports;
    if (plan_.timeline && subject_.transport == TransportKind::tcp) {
      ports.emplace(rig_->box(), kPortsPeriod);
    }
    traced_.start();
    const Result<LoopResult> done = pass(op);
    traced_.stop();
    ports_ = ports ? ports->finish() : boost::json::object();
    return done ? Result<void>() : done.error();
  }

  void add_timeline(BenchRow& row) const {
    if (!plan_.timeline) {
      return;
    }
    boost::json::array spans;
    for (const DeviceSpan& span : traced_.spans()) {
      spans.push_back(boost::json::array{span.is_kernel ? "kernel" : "copy", span.queue,
                                         figure(span.begin_us / kUsPerMs, 5),
                                         figure(span.end_us / kUsPerMs, 5), span.bytes});
    }
    boost::json::array layers;
    for (const double at_us : layer_us_) {
      layers.push_back(figure(at_us / kUsPerMs, 5));
    }
    boost::json::object timeline{{"spans", std::move(spans)}, {"layers_ms", std::move(layers)}};
    if (!ports_.empty()) {
      timeline["ports"] =
          boost::json::object{{"t_ms", ports_.at("t_ms")}, {"bytes", ports_.at("port_bytes")}};
    }
    row.extra["device_timeline"] = std::move(timeline);
  }

  DeviceMemory& device_;
  TracingDevice traced_;
  const DevicePlan& plan_;
  DevicePages& pages_;
  const kv::ModelGeometry& model_;
  PagesSubject subject_;
  std::uint32_t per_object_;
  std::span<const std::uint32_t> blocks_;
  std::vector<std::string> names_;
  std::vector<std::string_view> views_;
  SizeBytes pool_bytes_;
  double start_seconds_ = 0;  // of box and client; a direct path pins the pool
  std::unique_ptr<Rig> rig_;
  std::unique_ptr<kv::KvMover> mover_;  // goes before the client
  std::vector<double> layer_us_;        // of the last load
  boost::json::object ports_;           // of the last traced pass, over tcp
};

std::vector<PagesSubject> subjects_of(const DevicePlan& plan) {
  std::vector<PagesSubject> subjects;
  for (const TransportKind transport : plan.transports) {
    for (const bool crc : plan.crc) {
      if (transport == TransportKind::tcp) {
        subjects.push_back({transport, DevicePath::staged, crc});
        continue;
      }
      for (const DevicePath path : plan.paths) {
        subjects.push_back({transport, path, crc});
        if (path == DevicePath::direct && !plan.hugetlbfs.empty()) {
          subjects.push_back({transport, path, crc, true});
        }
      }
    }
  }
  return subjects;
}

}  // namespace

Result<Rows> measure_device_pages(DeviceMemory& device, const DevicePlan& plan, DevicePages& pages,
                                  const kv::ModelGeometry& model) {
  Rows rows;
  for (const PagesSubject& subject : subjects_of(plan)) {
    Result<Rows> more = PagesCase(device, plan, pages, model, subject).run();
    if (!more) {
      return more;
    }
    std::move(more->begin(), more->end(), std::back_inserter(rows));
  }
  return rows;
}

}  // namespace godbox::app
