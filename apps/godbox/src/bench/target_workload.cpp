// SPDX-License-Identifier: Apache-2.0
#include "bench/target_workload.h"

#include "bench/balance.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "measure/machine.h"
#include "measure/pattern.h"
#include "measure/statistics.h"
#include <godbox/clock.h>
#include <godbox/crc32c.h>
#include <godbox/driver/machine_memory.h>
#include <godbox/perf/mapped_buffer.h>
#include <godbox/striping/local_transport.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace godbox::app {
namespace {

using striping::DramRun;
using striping::LocalTransport;
using striping::SlabLayout;

constexpr std::uint32_t kLargeStrip = 64U << 10U;
constexpr std::uint32_t kSmallStrip = 4U << 10U;
constexpr std::uint64_t kCrcBlockBytes = 64U << 10U;
constexpr SlabId kSlab(1);

double seconds_between(TimePoint from, TimePoint to) {
  return std::chrono::duration<double>(to - from).count();
}

// Large strips where a block has one for each channel.
std::uint32_t strip_for(SizeBytes block, std::size_t channels) {
  return block.count() >= channels * kLargeStrip ? kLargeStrip : kSmallStrip;
}

Result<SlabLayout> make_layout(const TargetPlan& plan, SizeBytes block) {
  const std::size_t channels = plan.dram_channels();
  wire::SlabRecord record;
  record.id = kSlab;
  record.strip_bytes = strip_for(block, channels);
  const std::uint64_t stripe = record.strip_bytes * channels;
  const std::uint64_t stripes = (plan.working_set.count() + stripe - 1) / stripe;
  record.piece_size = SizeBytes(stripes * record.strip_bytes);
  for (std::size_t i = 0; i < channels; ++i) {
    record.members.push_back({DramChannelId(static_cast<std::uint16_t>(i)), DramOffset(0)});
  }
  return SlabLayout::create(record);
}

// The blocks of one size, on the channels and in the user's memory.
class TargetCase {
 public:
  TargetCase(const TargetPlan& plan, SizeBytes block, bool crc, MutableSpan memory,
             SlabLayout layout, std::vector<std::unique_ptr<MemoryTarget>> targets,
             Progress& progress)
      : plan_(plan),
        block_(block),
        crc_(crc),
        memory_(memory),
        layout_(std::move(layout)),
        transport_(std::move(targets),
                   {.copy_threads = plan.copy_threads,
                    .layout_of = [this](SlabId) { return Result<SlabLayout>(layout_); }}),
        progress_(progress),
        crcs_(count() * crc_blocks()) {
    for (std::size_t i = 0; i < crcs_.size(); ++i) {
      const std::uint64_t inside = i % crc_blocks() * kCrcBlockBytes;
      crcs_[i].length_bytes =
          static_cast<std::uint32_t>(std::min(kCrcBlockBytes, block_.count() - inside));
    }
  }

  Result<Rows> run() {
    Rows rows;
    for (const WorkOp op : plan_.ops) {
      BenchRow row = make_row(op);
      if (auto measured = measure(row); !measured) {
        return measured.error();
      }
      if (op == WorkOp::write) {
        // Every byte is compared, outside the timed part.
        if (auto read = read_and_verify(row); !read) {
          return read.error();
        }
      }
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  std::uint64_t count() const { return plan_.working_set.count() / block_.count(); }
  std::uint64_t crc_blocks() const {
    return (block_.count() + kCrcBlockBytes - 1) / kCrcBlockBytes;
  }
  MutableSpan memory_of(std::uint64_t index) const {
    return memory_.subspan(index * block_.count(), block_.count());
  }
  PatternId pattern_of(std::uint64_t index) const {
    return {plan_.seed, generation_ * count() + index};
  }

  BenchRow make_row(WorkOp op) const {
    BenchRow row;
    row.subject.workload = plan_.workload;
    row.subject.transport = TransportKind::local;
    row.subject.size = block_;
    row.subject.dram_channels = static_cast<std::uint32_t>(plan_.dram_channels());
    row.subject.crc = crc_;
    row.op = op;
    row.working_set = block_ * count();
    row.copy_threads = static_cast<std::uint32_t>(transport_.lane_count());
    row.server_threads = 0;
    row.seed = plan_.seed;
    row.extra["target"] = to_string(plan_.target);
    return row;
  }

  Result<void> measure(BenchRow& row) {
    std::vector<std::uint64_t> on_channel(plan_.dram_channels());
    double seconds = 0;
    if (row.op == WorkOp::read && !is_written_) {
      if (auto written = write_all(nullptr); !written) {
        return written;
      }
    }
    for (std::uint32_t repeat = 0; repeat < plan_.repeats; ++repeat) {
      if (plan_.time_limit_s > 0 && repeat > 0 && seconds >= plan_.time_limit_s) {
        break;
      }
      auto done = row.op == WorkOp::write ? write_all(&row) : read_and_verify(row, true);
      if (!done) {
        return done;
      }
      seconds += static_cast<double>(row.working_set.count()) / row.gb_per_s.back() / 1e9;
      layout_.for_each_run(SlabOffset(0), row.working_set.count(), [&](const DramRun& run) {
        on_channel[run.dram_channel.value()] += run.length_bytes;
      });
      progress_.advance(1);
    }
    row.dram_imbalance = imbalance(on_channel);
    row.block_imbalance_max = worst_block();
    boost::json::array bytes(on_channel.begin(), on_channel.end());
    row.extra["channel_bytes"] = std::move(bytes);
    return {};
  }

  double worst_block() const {
    double worst = 0;
    for (std::uint64_t i = 0; i < count(); ++i) {
      std::vector<std::uint64_t> bytes(plan_.dram_channels());
      layout_.for_each_run(SlabOffset(i * block_.count()), block_.count(), [&](const DramRun& run) {
        bytes[run.dram_channel.value()] += run.length_bytes;
      });
      worst = std::max(worst, imbalance(bytes));
    }
    return worst;
  }

  Result<void> write_all(BenchRow* row) {
    ++generation_;
    for (std::uint64_t i = 0; i < count(); ++i) {
      fill_pattern(memory_of(i), pattern_of(i));
    }
    is_written_ = true;
    return move_all(WorkOp::write, row);
  }

  // Reads all into memory that holds something else, and compares.
  Result<void> read_and_verify(BenchRow& row, bool is_timed = false) {
    for (std::uint64_t i = 0; i < count(); ++i) {
      spoil(memory_of(i));
    }
    if (auto moved = move_all(WorkOp::read, is_timed ? &row : nullptr); !moved) {
      return moved;
    }
    row.verification.crc32c = 0;  // of the last pass
    for (std::uint64_t i = 0; i < count(); ++i) {
      const ConstSpan bytes = memory_of(i);
      row.verification.bytes_checked += bytes.size();
      row.verification.wrong_bytes += count_wrong_bytes(bytes, pattern_of(i));
      row.verification.crc32c = crc32c(bytes, row.verification.crc32c);
    }
    return {};
  }

  // One pass over all blocks; measured into `row` where there is one.
  Result<void> move_all(WorkOp op, BenchRow* row) {
    const double cpu_begin = cpu_seconds_used();
    const TimePoint begin = clock_.now();
    for (std::uint64_t i = 0; i < count(); ++i) {
      const TimePoint block_begin = clock_.now();
      if (const Errc status = move_block(op, i); status != Errc::ok) {
        return Error(status, fmt::format("block {} of {} could not be {}", i, count(),
                                         op == WorkOp::write ? "written" : "read"));
      }
      if (row != nullptr) {
        row->latencies_us.push_back(seconds_between(block_begin, clock_.now()) * 1e6);
      }
    }
    if (row != nullptr) {
      const std::uint64_t bytes = block_.count() * count();
      const double seconds = std::max(seconds_between(begin, clock_.now()), 1e-9);
      row->gb_per_s.push_back(static_cast<double>(bytes) / seconds / 1e9);
      row->cpu_seconds += cpu_seconds_used() - cpu_begin;
      row->bytes_moved += bytes;
    }
    return {};
  }

  // In as many requests as there are threads, none larger than a request may be. All are waited
  // for, also when one fails.
  Errc move_block(WorkOp op, std::uint64_t index) {
    const std::uint64_t lanes = transport_.lane_count();
    const std::uint64_t share = (crc_blocks() + lanes - 1) / lanes * kCrcBlockBytes;
    const std::uint64_t most = std::min<std::uint64_t>(share, kWorkBytesMax);
    Errc status = Errc::ok;
    for (std::uint64_t at = 0; at < block_.count();) {
      std::uint64_t posted = 0;
      for (; posted < lanes && at < block_.count() && status == Errc::ok; ++posted) {
        const std::uint64_t bytes = std::min(most, block_.count() - at);
        status = post_part(op, index, at, bytes, posted);
        at += bytes;
        if (status != Errc::ok) {
          break;
        }
      }
      const Errc done = wait_for(posted);
      status = status == Errc::ok ? done : status;
      if (status != Errc::ok) {
        return status;
      }
    }
    return status;
  }

  Errc post_part(WorkOp op, std::uint64_t index, std::uint64_t at, std::uint64_t bytes,
                 std::uint64_t lane) {
    Part& part = parts_.at(lane);
    part.remote = {RKey(1),
                   {kSlab, SlabOffset(index * block_.count() + at)},
                   static_cast<std::uint32_t>(bytes)};
    part.local = {memory_of(index).data() + at, bytes};
    WorkRequest request;
    request.id = WorkId(lane);
    request.op = op;
    request.total_bytes = bytes;
    request.remote = {&part.remote, 1};
    request.local = {&part.local, 1};
    if (crc_) {
      request.crc = std::span(crcs_).subspan(index * crc_blocks() + at / kCrcBlockBytes,
                                             (bytes + kCrcBlockBytes - 1) / kCrcBlockBytes);
    }
    return transport_.post(LaneId(static_cast<LaneId::rep>(lane)), request);
  }

  Errc wait_for(std::uint64_t posted) {
    Errc status = Errc::ok;
    while (posted > 0) {
      Completion one;
      if (transport_.poll({&one, 1}) == 0) {
        (void)transport_.progress();
        continue;
      }
      --posted;
      status = status == Errc::ok ? one.status : status;
    }
    return status;
  }

  // What a request in flight points to.
  struct Part {
    RemoteSegment remote;
    LocalSegment local;
  };

  const TargetPlan& plan_;
  SizeBytes block_;
  bool crc_;
  MutableSpan memory_;
  SlabLayout layout_;
  LocalTransport transport_;
  Progress& progress_;
  std::vector<CrcBlock> crcs_;
  std::array<Part, LocalTransport::kCopyThreadsMax> parts_;
  SteadyClock clock_;
  std::uint64_t generation_ = 0;  // of the blocks' bytes
  bool is_written_ = false;
};

}  // namespace

Result<Rows> run_target_bench(const TargetPlan& plan) {
  if (auto enough = check_target_memory(plan, driver::available_memory_bytes()); !enough) {
    return enough.error();
  }
  Result<perf::MappedBuffer> memory = perf::MappedBuffer::anonymous(plan.working_set);
  if (!memory) {
    return memory.error();
  }
  Progress progress("measuring", static_cast<double>(plan.sizes.size() * plan.crc.size() *
                                                     plan.ops.size() * plan.repeats));
  Rows rows;
  for (const SizeBytes size : plan.sizes) {
    for (const bool crc : plan.crc) {
      Result<SlabLayout> layout = make_layout(plan, size);
      if (!layout) {
        return layout.error();
      }
      auto targets = open_targets(plan, layout->record().piece_size);
      if (!targets) {
        return targets.error();
      }
      Result<Rows> more = TargetCase(plan, size, crc, memory->bytes(), std::move(*layout),
                                     std::move(*targets), progress)
                              .run();
      if (!more) {
        return more.error();
      }
      std::move(more->begin(), more->end(), std::back_inserter(rows));
    }
  }
  progress.clear();
  return rows;
}

}  // namespace godbox::app
