// SPDX-License-Identifier: Apache-2.0
//
// Does live traffic through the paced box follow the timing model? Reads, writes and two reads to a
// write of pieces of a region that is striped over all DRAM channels; the same with one channel at
// a tenth of its rate; and small reads at random times, half as many as the box could answer. The
// yardstick is the model's own answer to the same requests in virtual time (paced_model.h).
//   The time scale of the first two lets the widest box need half of what raw sockets move here;
// that of the small reads half of the small reads that a box without timing answers here, both
// measured in the same run. A scale stretches what the model says, and not what this machine adds:
// that of the small reads is, if need be, so much larger that the slowest percent of the same reads
// of a box without timing take a tenth of what the model says of them.
#include "bench/balance.h"
#include "bench/paced_model.h"
#include "bench/plan_checks.h"
#include "bench/workloads.h"
#include "box/model_rate.h"
#include "cli/json.h"
#include "measure/repeated_load.h"
#include "measure/statistics.h"
#include <godbox/assert.h>
#include <godbox/crc32c.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <random>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

using std::chrono::milliseconds;

constexpr double kPassSeconds = 1.0;
constexpr std::uint64_t kBlocksMin = 24;
constexpr double kSlowShare = 0.1;
constexpr double kTwoOfThree = 2.0 / 3;

constexpr SizeBytes kSmallRead = 4_KiB;
constexpr std::uint64_t kSmallPlaces = 4096;
constexpr double kHalfLoad = 0.5;
constexpr double kSmallSeconds = 2;
constexpr double kSmallReadsMin = 1000;    // of a repeat: ten are beyond its p99
constexpr double kSmallSecondsMax = 15;    // of a repeat
constexpr double kOwnP99Share = 0.1;       // of the modelled one
constexpr std::uint32_t kSmallDepth = 64;  // of the machine's own rate
constexpr Duration kSmallMachinePhase = milliseconds(400);

enum class Traffic : std::uint8_t { read, write, two_to_one };
std::string_view to_string(Traffic traffic) {
  constexpr std::array<std::string_view, 3> kNames{"read", "write", "2:1"};
  return kNames.at(static_cast<std::size_t>(traffic));
}
double read_share(Traffic traffic) {
  return traffic == Traffic::read ? 1 : traffic == Traffic::write ? 0 : kTwoOfThree;
}

SizeBytes small_region(const BenchCase& subject) {
  return kSmallReadsShare * subject.dram_channels;
}
// Small reads that the box could answer, before the time scale.
double reads_per_second(const emulator::BoxConfig& config) {
  return model_gb_per_s(config, WorkOp::read) * 1e9 / static_cast<double>(kSmallRead.count());
}

// A region over all DRAM channels of a rig's box, with the user's memory of the same size.
class StripedRegion {
 public:
  static Result<StripedRegion> make(Rig& rig, MutableSpan memory) {
    Result<striping::Region> region = rig.client().allocate(SizeBytes(memory.size()));
    if (!region) {
      return region.error();
    }
    StripedRegion made(rig.client(), memory, std::move(*region));
    std::uint64_t end = 0;
    const auto found =
        for_each_dram_run(rig.box(), made.region_.extents, [&](const striping::DramRun& run) {
          end += run.length_bytes;
          made.runs_.push_back({end, run.dram_channel.value()});
        });
    if (!found) {
      return found.error();
    }
    return made;
  }

  [[nodiscard]] SizeBytes size() const { return SizeBytes(memory_.size()); }
  [[nodiscard]] MutableSpan bytes(std::uint64_t offset, std::size_t size) const {
    return memory_.subspan(offset, size);
  }
  [[nodiscard]] std::uint32_t channel_at(std::uint64_t offset) const {
    return std::upper_bound(runs_.begin(), runs_.end(), offset,
                            [](std::uint64_t at, const Run& run) { return at < run.end; })
        ->dram_channel;
  }

  void submit(WorkOp op, std::uint64_t offset, MutableSpan local, Done done) const {
    const striping::RegionPiece piece{RegionOffset(offset), {local.data(), local.size()}};
    client_.submit_region(op, region_, {&piece, 1}, std::move(done));
  }

  Result<void> move_all(WorkOp op) const {
    const striping::RegionPiece piece{RegionOffset(), {memory_.data(), memory_.size()}};
    const Errc status = op == WorkOp::write ? client_.write(region_, {&piece, 1})
                                            : client_.read(region_, {&piece, 1});
    if (status != Errc::ok) {
      return Error(status, "the region could not be written or read back");
    }
    return {};
  }

 private:
  struct Run {
    std::uint64_t end = 0;
    std::uint32_t dram_channel = 0;
  };
  StripedRegion(striping::Client& client, MutableSpan memory, striping::Region region)
      : client_(client), memory_(memory), region_(std::move(region)) {}

  striping::Client& client_;
  MutableSpan memory_;
  striping::Region region_;
  std::vector<Run> runs_;
};

// Throughput: blocks of a region, one after the other, so many under way.
class StripedTraffic {
 public:
  StripedTraffic(Environment& environment, const BenchCase& subject, Rig& rig,
                 const PacedModel& model, StripedRegion region)
      : environment_(environment),
        subject_(subject),
        rig_(rig),
        model_(model),
        region_(std::move(region)),
        depth_(static_cast<std::uint32_t>(std::min<std::uint64_t>(
            depth_for(environment.plan(), subject.size), region_.size() / subject.size))),
        generations_(region_.size() / subject.size) {}

  Result<void> load() {
    for (std::uint64_t block = 0; block < generations_.size(); ++block) {
      fill_pattern(bytes_of(block), pattern_of(block));
    }
    return region_.move_all(WorkOp::write);
  }

  Result<Rows> measure_healthy() {
    Rows rows;
    for (const Traffic traffic : {Traffic::read, Traffic::write, Traffic::two_to_one}) {
      Result<BenchRow> row = measure(traffic, 1);
      if (!row) {
        return row.error();
      }
      row->extra["part"] = "throughput";
      rows.push_back(std::move(*row));
    }
    return rows;
  }

  // Beside the healthy rows of the same traffic.
  Result<Rows> measure_slow(const Rows& healthy) {
    Rows rows;
    for (const Traffic traffic : {Traffic::read, Traffic::write}) {
      Result<BenchRow> row = measure(traffic, kSlowShare);
      if (!row) {
        return row.error();
      }
      const BenchRow& beside = healthy.at(static_cast<std::size_t>(traffic));
      row->extra["part"] = "slow-channel";
      row->extra["fault"] = emulator::channel_fault_text(kSlowShare);
      row->extra["faulty_channel"] = slow_channel();
      row->extra["of_healthy"] =
          figure(summarise(row->gb_per_s).median / summarise(beside.gb_per_s).median, 4);
      row->extra["modelled_of_healthy"] =
          figure(row->ceiling_gb_per_s.front() / beside.ceiling_gb_per_s.front(), 4);
      rows.push_back(std::move(*row));
    }
    return rows;
  }

 private:
  [[nodiscard]] PatternId pattern_of(std::uint64_t block) const {
    return {environment_.plan().seed, (block << 16U) + generations_[block]};
  }
  [[nodiscard]] MutableSpan bytes_of(std::uint64_t block) const {
    return region_.bytes(block * subject_.size.count(), subject_.size.count());
  }
  // A block has one direction in all passes of a row, so that nobody reads what is being written.
  static bool is_written(Traffic traffic, std::uint64_t block) {
    return traffic == Traffic::write || (traffic == Traffic::two_to_one && block % 3 == 2);
  }

  // Of a pass: about a second, by the model's slowest stage; whole walks over the blocks where it
  // is more than one.
  [[nodiscard]] std::uint64_t operations(Traffic traffic, double channel_share) const {
    const double gb_per_s = model_gb_per_s(rig_.box().config(), read_share(traffic)) /
                            subject_.time_scale * channel_share;
    const auto wanted = static_cast<std::uint64_t>(gb_per_s * 1e9 * kPassSeconds /
                                                   static_cast<double>(subject_.size.count()));
    const std::uint64_t blocks = generations_.size();
    return wanted < blocks ? std::min(std::max(wanted, kBlocksMin) / 3 * 3, blocks)
                           : (wanted + blocks / 2) / blocks * blocks;
  }

  [[nodiscard]] std::vector<ModelledRequest> modelled(Traffic traffic, std::uint64_t count) const {
    std::vector<ModelledRequest> requests;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t block = i % generations_.size();
      requests.push_back({subject_.size, is_written(traffic, block),
                          region_.channel_at(block * subject_.size.count())});
    }
    return requests;
  }

  LoopResult pass(Traffic traffic, std::uint64_t count) {
    return run_loop(
        rig_.client(), rig_.clock(), {count, depth_}, [&](std::uint64_t index, Done done) {
          const std::uint64_t block = index % generations_.size();
          region_.submit(is_written(traffic, block) ? WorkOp::write : WorkOp::read,
                         block * subject_.size.count(), bytes_of(block), std::move(done));
        });
  }

  [[nodiscard]] std::uint32_t slow_channel() const { return subject_.dram_channels / 2; }
  Result<void> set_channel_share(double share) {
    return rig_.box().set_channel_fault(
        {DramChannelId(static_cast<DramChannelId::rep>(slow_channel())), share});
  }

  // One DRAM channel moves that share of its rates meanwhile.
  Result<BenchRow> measure(Traffic traffic, double channel_share) {
    const std::uint64_t count = operations(traffic, channel_share);
    BenchRow row =
        row_for(environment_, subject_, rig_,
                traffic == Traffic::write ? WorkOp::write : WorkOp::read, region_.size());
    row.depth = depth_;
    row.ceiling_kind = "model";
    row.ceiling_variant = "the same requests in virtual time, strip by strip";
    row.extra["traffic"] = to_string(traffic);
    row.extra["machine_gb_per_s"] = figure(subject_.paced.machine_gb_per_s);
    const Result<double> model =
        model_.gb_per_s(modelled(traffic, count), depth_, {{slow_channel(), channel_share}});
    if (!model) {
      return model.error();
    }
    prepare(traffic, count);
    if (auto set = set_channel_share(channel_share); !set) {
      return set.error();
    }
    const std::vector<std::uint64_t> before = counted_bytes(rig_.box());
    for (std::uint32_t repeat = 0; repeat < environment_.plan().repeats; ++repeat) {
      row.ceiling_gb_per_s.push_back(*model / subject_.time_scale);
      if (auto added = add_pass(pass(traffic, count), subject_.size * count, row); !added) {
        return added.error();
      }
      environment_.progress().advance(1);
    }
    row.dram_imbalance = imbalance(difference(counted_bytes(rig_.box()), before));
    if (auto healed = set_channel_share(1); !healed) {
      return healed.error();
    }
    if (auto verified = verify(traffic, count, row); !verified) {
      return verified.error();
    }
    return row;
  }

  // New bytes where they are written, none where they are read.
  void prepare(Traffic traffic, std::uint64_t count) {
    for (std::uint64_t block = 0; block < generations_.size(); ++block) {
      if (block < count && is_written(traffic, block)) {
        generations_[block] += 1;
        fill_pattern(bytes_of(block), pattern_of(block));
      } else {
        spoil(bytes_of(block));
      }
    }
  }

  // What the passes read as it came, and then all of the region once more.
  Result<void> verify(Traffic traffic, std::uint64_t count, BenchRow& row) {
    for (std::uint64_t block = 0; block < std::min(count, generations_.size()); ++block) {
      if (!is_written(traffic, block)) {
        check(block, row.verification);
      }
    }
    for (std::uint64_t block = 0; block < generations_.size(); ++block) {
      spoil(bytes_of(block));
    }
    if (auto read = region_.move_all(WorkOp::read); !read) {
      return read;
    }
    row.verification.crc32c = 0;
    for (std::uint64_t block = 0; block < generations_.size(); ++block) {
      check(block, row.verification);
    }
    return {};
  }
  void check(std::uint64_t block, Verification& verification) const {
    const MutableSpan bytes = bytes_of(block);
    verification.bytes_checked += bytes.size();
    verification.wrong_bytes += count_wrong_bytes(bytes, pattern_of(block));
    verification.crc32c = crc32c(bytes, verification.crc32c);
  }

  Environment& environment_;
  const BenchCase& subject_;
  Rig& rig_;
  const PacedModel& model_;
  StripedRegion region_;
  std::uint32_t depth_;
  std::vector<std::uint64_t> generations_;  // by block: how often it was written
};

// Latency: small reads of anywhere in a region, at random times.
class SmallReads {
 public:
  SmallReads(const BenchPlan& plan, Rig& rig, StripedRegion region, MutableSpan places)
      : plan_(plan),
        rig_(rig),
        region_(std::move(region)),
        places_(places),
        offsets_(places.size() / kSmallRead.count()),
        random_(plan.seed),
        load_(rig.client(), rig.clock(), reads()) {}

  Result<void> load() {
    fill_pattern(region_.bytes(0, region_.size().count()), pattern());
    return region_.move_all(WorkOp::write);
  }

  // What this machine does with as many in flight as help.
  Result<double> per_second() {
    load_.run_closed(kSmallDepth, now() + kSmallMachinePhase / 4);
    (void)load_.take_latencies_us();
    const TimePoint begin = now();
    load_.run_closed(kSmallDepth, begin + kSmallMachinePhase);
    const double seconds = std::chrono::duration<double>(now() - begin).count();
    const auto reads = static_cast<double>(load_.take_latencies_us().size());
    load_.drain();
    if (load_.first_failure() != Errc::ok) {
      return Error(load_.first_failure(), "small reads of a box without timing failed");
    }
    return reads / seconds;
  }

  // One repeat. What was asked for, and when, is in requests() and due_ns().
  Result<std::vector<double>> latencies_us(double per_second, std::uint64_t seed) {
    requests_.clear();
    due_ns_.clear();
    random_.seed(seed);
    begin_ = now();
    const double length_s = std::max(kSmallSeconds, kSmallReadsMin / per_second);
    load_.run_open(per_second, seed,
                   begin_ + milliseconds(static_cast<std::int64_t>(length_s * 1e3)));
    load_.drain();
    if (load_.first_failure() != Errc::ok) {
      return Error(load_.first_failure(), "small reads failed");
    }
    return load_.take_latencies_us();
  }
  [[nodiscard]] std::span<const ModelledRequest> requests() const { return requests_; }
  // Since the repeat began, divided by the time scale.
  [[nodiscard]] std::vector<double> due_ns(double time_scale) const {
    std::vector<double> due = due_ns_;
    for (double& one : due) {
      one /= time_scale;
    }
    return due;
  }

  Result<void> verify(Verification& verification) {
    const MutableSpan all = region_.bytes(0, region_.size().count());
    spoil(all);
    if (auto read = region_.move_all(WorkOp::read); !read) {
      return read;
    }
    verification = arrived_;
    verification.bytes_checked += all.size();
    verification.wrong_bytes += count_wrong_bytes(all, pattern());
    verification.crc32c = crc32c(all);
    return {};
  }

 private:
  [[nodiscard]] TimePoint now() const { return rig_.clock().now(); }
  [[nodiscard]] PatternId pattern() const { return {plan_.seed, 0}; }
  [[nodiscard]] MutableSpan bytes_of(std::uint64_t place) const {
    return places_.subspan(place * kSmallRead.count(), kSmallRead.count());
  }

  RepeatedOperation reads() {
    return {offsets_.size(),
            [this](std::uint64_t place, TimePoint due, Done done) {
              start(place, due, std::move(done));
            },
            [this](std::uint64_t place) {
              arrived_.bytes_checked += kSmallRead.count();
              arrived_.wrong_bytes +=
                  count_wrong_bytes(bytes_of(place), pattern(), offsets_[place]);
            }};
  }

  void start(std::uint64_t place, TimePoint due, Done done) {
    const std::uint64_t offset = random_() % (region_.size() / kSmallRead) * kSmallRead.count();
    offsets_[place] = offset;
    requests_.push_back({kSmallRead, false, region_.channel_at(offset)});
    due_ns_.push_back(std::chrono::duration<double, std::nano>(due - begin_).count());
    spoil(bytes_of(place));
    region_.submit(WorkOp::read, offset, bytes_of(place), std::move(done));
  }

  const BenchPlan& plan_;
  Rig& rig_;
  StripedRegion region_;
  MutableSpan places_;
  std::vector<std::uint64_t> offsets_;  // in the region, by place
  std::mt19937_64 random_;
  std::vector<ModelledRequest> requests_;
  std::vector<double> due_ns_;
  TimePoint begin_{};
  Verification arrived_;
  RepeatedLoad load_;
};

// A box of the case on the small reads' time scale (or in the free mode), and its region, written.
struct SmallReadsBox {
  std::unique_ptr<Rig> rig;
  std::unique_ptr<SmallReads> reads;
};
Result<SmallReadsBox> start_small_reads(const Environment& environment, const BenchCase& subject,
                                        emulator::TimingMode mode) {
  const BenchPlan& plan = environment.plan();
  Result<emulator::BoxConfig> config = config_for(plan, subject);
  if (!config) {
    return config.error();
  }
  config->mode = mode;
  config->time_scale = subject.paced.small_time_scale;
  Result<std::unique_ptr<Rig>> rig = Rig::start(*config, client_for(plan, subject));
  if (!rig) {
    return rig.error();
  }
  // The region's memory, and behind it the places that small reads go to.
  const MutableSpan memory = environment.user_memory();
  const std::size_t bytes = small_region(subject).count();
  GODBOX_ASSERT(memory.size() >= bytes + kSmallRead.count());  // check_sizes()
  Result<StripedRegion> region = StripedRegion::make(**rig, memory.first(bytes));
  if (!region) {
    return region.error();
  }
  const std::size_t places =
      std::min<std::size_t>(memory.size() - bytes, kSmallPlaces * kSmallRead.count());
  auto reads =
      std::make_unique<SmallReads>(plan, **rig, std::move(*region), memory.subspan(bytes, places));
  if (auto loaded = reads->load(); !loaded) {
    return loaded.error();
  }
  return SmallReadsBox{std::move(*rig), std::move(reads)};
}

Result<BenchRow> measure_small_reads(Environment& environment, const BenchCase& subject,
                                     const PacedModel& model) {
  const BenchPlan& plan = environment.plan();
  Result<SmallReadsBox> box = start_small_reads(environment, subject, emulator::TimingMode::paced);
  if (!box) {
    return box.error();
  }
  BenchRow row = row_for(environment, subject, *box->rig, WorkOp::read, small_region(subject));
  row.subject.size = kSmallRead;
  row.depth = 0;
  row.time_scale = subject.paced.small_time_scale;
  const double per_second = kHalfLoad * reads_per_second(box->rig->box().config()) / row.time_scale;
  std::vector<double> p50_ratios;
  std::vector<double> p99_ratios;
  std::vector<double> modelled_us;
  for (std::uint32_t repeat = 0; repeat < plan.repeats; ++repeat) {
    const auto took_us = box->reads->latencies_us(per_second, plan.seed + repeat);
    if (!took_us) {
      return took_us.error();
    }
    const auto model_ns =
        model.times_ns(box->reads->requests(), box->reads->due_ns(row.time_scale));
    if (!model_ns) {
      return model_ns.error();
    }
    std::vector<double> model_us;
    for (const double ns : *model_ns) {
      model_us.push_back(ns * 1e-3 * row.time_scale);
    }
    p50_ratios.push_back(percentile(*took_us, 50) / percentile(model_us, 50));
    p99_ratios.push_back(percentile(*took_us, 99) / percentile(model_us, 99));
    row.latencies_us.insert(row.latencies_us.end(), took_us->begin(), took_us->end());
    modelled_us.insert(modelled_us.end(), model_us.begin(), model_us.end());
    environment.progress().advance(1);
  }
  if (auto verified = box->reads->verify(row.verification); !verified) {
    return verified.error();
  }
  row.extra["part"] = "small-reads";
  row.extra["load"] = kHalfLoad;
  row.extra["reads_per_s"] = figure(per_second);
  row.extra["machine_reads_per_s"] = figure(subject.paced.machine_reads_per_s);
  row.extra["machine_p99_us"] = figure(subject.paced.machine_p99_us);
  row.extra["modelled_p50_us"] = figure(percentile(modelled_us, 50));
  row.extra["modelled_p99_us"] = figure(percentile(modelled_us, 99));
  row.extra["of_modelled_p50"] = figure(summarise(p50_ratios).median, 4);
  row.extra["of_modelled_p99"] = figure(summarise(p99_ratios).median, 4);
  row.extra["of_modelled_p99_min"] = figure(summarise(p99_ratios).min, 4);
  row.extra["of_modelled_p99_max"] = figure(summarise(p99_ratios).max, 4);
  return row;
}

// Blocks of a region as large as a pass moves in about a second, or as the working set.
Result<StripedRegion> make_region(const Environment& environment, const BenchCase& subject,
                                  Rig& rig) {
  const double model = model_gb_per_s(rig.box().config(), kTwoOfThree);
  const auto wanted = static_cast<std::uint64_t>(model / subject.time_scale * 1e9 * kPassSeconds /
                                                 static_cast<double>(subject.size.count()));
  const std::uint64_t most = environment.plan().working_set / subject.size;
  const std::uint64_t blocks = std::min(std::max(wanted, kBlocksMin), most) / 3 * 3;
  return StripedRegion::make(rig, environment.user_memory().first((subject.size * blocks).count()));
}

// What this machine does of small reads without timing, and the scale that follows; of `widest`.
// `reads` and `reads_least` per second, before the scale: of the widest box and of the narrowest.
struct SmallScale {
  double machine_reads_per_s = 0;
  double machine_p99_us = 0;  // at half load of the scale
  double time_scale = 1;
};
Result<SmallScale> settle_small_scale(const Environment& environment, const BenchCase& widest,
                                      double reads, double reads_least) {
  const Result<emulator::BoxConfig> config = config_for(environment.plan(), widest);
  if (!config) {
    return config.error();
  }
  const Result<PacedModel> model = PacedModel::make(*config);
  if (!model) {
    return model.error();
  }
  const auto free = start_small_reads(environment, widest, emulator::TimingMode::free);
  if (!free) {
    return free.error();
  }
  SmallScale scale;
  const Result<double> per_second = free->reads->per_second();
  if (!per_second) {
    return per_second.error();
  }
  scale.machine_reads_per_s = *per_second;
  scale.time_scale = std::max(1.0, std::ceil(reads / (*per_second * kMachineShare)));
  const auto own_us =
      free->reads->latencies_us(kHalfLoad * reads / scale.time_scale, environment.plan().seed);
  if (!own_us) {
    return own_us.error();
  }
  scale.machine_p99_us = percentile(*own_us, 99);
  const auto modelled_ns =
      model->times_ns(free->reads->requests(), free->reads->due_ns(scale.time_scale));
  if (!modelled_ns) {
    return modelled_ns.error();
  }
  const double stretched =
      scale.machine_p99_us / (percentile(*modelled_ns, 99) * 1e-3 * kOwnP99Share);
  const double longest = kHalfLoad * reads_least * kSmallSecondsMax / kSmallReadsMin;
  scale.time_scale = std::max(scale.time_scale, std::ceil(std::min(stretched, longest)));
  return scale;
}

}  // namespace

Result<void> settle_paced_scales(Environment& environment, std::span<BenchCase> cases) {
  const BenchPlan& plan = environment.plan();
  BenchCase* widest = nullptr;
  double model = 0;
  double reads = 0;
  double reads_least = std::numeric_limits<double>::infinity();
  for (BenchCase& one : cases) {
    const Result<emulator::BoxConfig> config = config_for(plan, one);
    if (!config) {
      return config.error();
    }
    for (const double share : {1.0, 0.0, kTwoOfThree}) {
      if (const double rate = model_gb_per_s(*config, share); rate > model) {
        model = rate;
        widest = &one;
      }
    }
    reads = std::max(reads, reads_per_second(*config));
    reads_least = std::min(reads_least, reads_per_second(*config));
  }
  if (widest == nullptr) {
    return {};
  }
  widest->paced.small_time_scale = 1;
  const Result<double> machine = environment.machine_rate(*widest);
  if (!machine) {
    return machine.error();
  }
  const Result<SmallScale> small = settle_small_scale(environment, *widest, reads, reads_least);
  if (!small) {
    return small.error();
  }
  const bool is_given = plan.time_scale > 0;
  for (BenchCase& one : cases) {
    one.paced.machine_gb_per_s = *machine;
    one.paced.machine_reads_per_s = small->machine_reads_per_s;
    one.paced.machine_p99_us = small->machine_p99_us;
    one.time_scale =
        is_given ? plan.time_scale : std::max(1.0, std::ceil(model / (*machine * kMachineShare)));
    one.paced.small_time_scale = is_given ? plan.time_scale : small->time_scale;
  }
  return {};
}

Result<Rows> run_paced_case(Environment& environment, const BenchCase& subject) {
  const BenchPlan& plan = environment.plan();
  const Result<emulator::BoxConfig> config = config_for(plan, subject);
  if (!config) {
    return config.error();
  }
  const Result<PacedModel> model = PacedModel::make(*config);
  if (!model) {
    return model.error();
  }
  Rows rows;
  {
    Result<std::unique_ptr<Rig>> rig = Rig::start(*config, client_for(plan, subject));
    if (!rig) {
      return rig.error();
    }
    Result<StripedRegion> region = make_region(environment, subject, **rig);
    if (!region) {
      return region.error();
    }
    StripedTraffic traffic(environment, subject, **rig, *model, std::move(*region));
    if (auto loaded = traffic.load(); !loaded) {
      return loaded.error();
    }
    Result<Rows> healthy = traffic.measure_healthy();
    if (!healthy) {
      return healthy;
    }
    rows = std::move(*healthy);
    if (subject.paced.has_slow_channel) {
      Result<Rows> slow = traffic.measure_slow(rows);
      if (!slow) {
        return slow;
      }
      std::move(slow->begin(), slow->end(), std::back_inserter(rows));
    }
  }
  Result<BenchRow> small = measure_small_reads(environment, subject, *model);
  if (!small) {
    return small.error();
  }
  rows.push_back(std::move(*small));
  return rows;
}

}  // namespace godbox::app
