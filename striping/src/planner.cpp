// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/striping/planner.h>

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace godbox::striping {

namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

struct Totals {
  std::uint64_t bytes = 0;
  std::size_t blocks = 0;
  std::size_t local_pieces = 0;
};

Error wrong(Errc code, std::size_t transfer, const char* what) {
  return Error(code, fmt::format("transfer {}: {}", transfer, what));
}

// Checks one transfer and adds it to `totals`.
Result<void> check(const Transfer& transfer, std::size_t index, Totals& totals) {
  std::uint64_t pool_bytes = 0;
  for (const Extent& extent : transfer.extents) {
    if (extent.address.offset.count() >
        std::numeric_limits<std::uint64_t>::max() - extent.length_bytes) {
      return wrong(Errc::out_of_range, index, "an extent's end overflows");
    }
    pool_bytes += extent.length_bytes;
  }
  std::uint64_t local_bytes = 0;
  for (const LocalSegment& piece : transfer.local) {
    if (piece.size_bytes > 0 && piece.data == nullptr) {
      return wrong(Errc::invalid_argument, index, "a local piece has no memory");
    }
    if (__builtin_add_overflow(local_bytes, piece.size_bytes, &local_bytes)) {
      return wrong(Errc::invalid_argument, index, "the local pieces' sizes overflow");
    }
  }
  if (pool_bytes != local_bytes) {
    return Error(Errc::invalid_argument,
                 fmt::format("transfer {}: {} bytes in the pool, {} bytes of local pieces", index,
                             pool_bytes, local_bytes));
  }
  const std::size_t blocks = crc_block_count(transfer.extents);
  if (!transfer.crc32c.empty() && transfer.crc32c.size() != blocks) {
    return Error(Errc::invalid_argument, fmt::format("transfer {}: {} CRCs for {} blocks", index,
                                                     transfer.crc32c.size(), blocks));
  }
  totals.bytes += pool_bytes;
  totals.blocks += blocks;
  totals.local_pieces += transfer.local.size();
  if (totals.blocks > kPlanPiecesMax || totals.local_pieces > kPlanPiecesMax ||
      transfer.extents.size() > kPlanPiecesMax) {
    return Error(Errc::too_large, fmt::format("more than {} pieces in one batch", kPlanPiecesMax));
  }
  return {};
}

// A lane's share of the batch; behind other work more, as far as that costs nobody balance.
std::uint32_t share_of(const Totals& totals, const PlannerOptions& options) {
  const std::uint64_t lanes = std::max<std::size_t>(options.lane_count, 1);
  const std::uint64_t blocks_max =
      std::clamp(options.run_bytes_max, kRunBytesMin, kRunBytesMax) / kCrcBlockBytes;
  const auto blocks_per_lane = [lanes](std::uint64_t bytes) {
    return ((bytes + lanes - 1) / lanes + kCrcBlockBytes - 1) / kCrcBlockBytes;
  };
  const std::uint64_t behind_others = std::min<std::uint64_t>(
      blocks_per_lane(totals.bytes + options.bytes_ahead), kBusyRunBytesMax / kCrcBlockBytes);
  const std::uint64_t blocks = std::max(blocks_per_lane(totals.bytes), behind_others);
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(blocks, 1, blocks_max)) *
         kCrcBlockBytes;
}

// Walks the pool side of a transfer block by block, and the local side along with it.
class Walker {
 public:
  Walker(const Transfer& transfer, std::uint32_t index) : transfer_(transfer) {
    here_.transfer = index;
    skip_empty();
  }

  [[nodiscard]] bool at_end() const { return here_.extent_index >= transfer_.extents.size(); }
  // A slice that begins here, still without bytes.
  [[nodiscard]] Plan::Cut begin_cut() const { return here_; }
  [[nodiscard]] std::uint32_t block_bytes() const {
    return std::min(kCrcBlockBytes, extent().length_bytes - here_.extent_inside);
  }
  [[nodiscard]] PoolAddress block_address() const {
    return {.slab = extent().address.slab,
            .offset = extent().address.offset + SizeBytes(here_.extent_inside)};
  }
  // Whether the block needs a remote segment of its own when it is added to `cut`.
  [[nodiscard]] bool begins_segment(const Plan::Cut& cut) const {
    return cut.total_bytes == 0 || here_.extent_inside == 0;
  }
  void take_block(Plan::Cut& cut) {
    cut.segments += begins_segment(cut) ? 1U : 0U;
    const std::uint32_t bytes = block_bytes();
    cut.total_bytes += bytes;
    advance_local(bytes);
    here_.crc_home += 1;
    here_.extent_inside += bytes;
    if (here_.extent_inside == extent().length_bytes) {
      here_.extent_index += 1;
      here_.extent_inside = 0;
      skip_empty();
    }
  }

 private:
  [[nodiscard]] const Extent& extent() const { return transfer_.extents[here_.extent_index]; }
  void skip_empty() {
    while (!at_end() && extent().length_bytes == 0) {
      here_.extent_index += 1;
    }
  }
  void advance_local(std::size_t bytes) {
    while (bytes > 0) {
      const std::size_t left = transfer_.local[here_.local_index].size_bytes - here_.local_inside;
      if (bytes < left) {
        here_.local_inside += bytes;
        return;
      }
      bytes -= left;
      here_.local_index += 1;
      here_.local_inside = 0;
    }
  }

  const Transfer& transfer_;
  Plan::Cut here_;
};

class Builder {
 public:
  Builder(std::span<const Transfer> transfers, const PlannerOptions& options, std::uint32_t share,
          Plan& plan)
      : transfers_(transfers),
        options_(options),
        share_(share),
        run_bytes_max_(std::clamp(options.run_bytes_max / kCrcBlockBytes * kCrcBlockBytes,
                                  kRunBytesMin, kRunBytesMax)),
        plan_(plan) {}

  Result<void> build() {
    for (std::uint32_t i = 0; i < transfers_.size(); ++i) {
      if (options_.policy == LanePolicy::any) {
        cut_evenly(i);
        continue;
      }
      Result<void> done = cut_by_super_nic(i);
      if (!done) {
        return done;
      }
    }
    std::size_t index = 0;
    for (PlannedRun& run : plan_.runs) {
      write_out(run, plan_.first_cut_of_run[index++]);
    }
    return {};
  }

 private:
  void cut_evenly(std::uint32_t index) {
    const Transfer& transfer = transfers_[index];
    std::uint64_t remaining = 0;
    for (const Extent& extent : transfer.extents) {
      remaining += extent.length_bytes;
    }
    Walker walker(transfer, index);
    if (options_.probe_first && plan_.runs.empty() && !walker.at_end()) {
      Plan::Cut cut = walker.begin_cut();
      walker.take_block(cut);
      remaining -= cut.total_bytes;
      add(cut, SuperNicId(0));
      plan_.open_runs.clear();
    }
    while (!walker.at_end()) {
      const std::uint64_t slices = (remaining + share_ - 1) / share_;
      const std::uint64_t target =
          std::max<std::uint64_t>((remaining + slices - 1) / slices, kRunBytesMin);
      Plan::Cut cut = walker.begin_cut();
      while (!walker.at_end() && fits(walker, cut, run_bytes_max_)) {
        walker.take_block(cut);
        // A rest below the minimum stays with this slice.
        if (cut.total_bytes >= target && remaining - cut.total_bytes >= kRunBytesMin) {
          break;
        }
      }
      remaining -= cut.total_bytes;
      add(cut, SuperNicId(0));
    }
  }

  Result<void> cut_by_super_nic(std::uint32_t index) {
    Walker walker(transfers_[index], index);
    Plan::Cut cut = walker.begin_cut();
    SuperNicId super_nic;
    while (!walker.at_end()) {
      const Result<SuperNicId> owner = options_.super_nic_of(walker.block_address());
      if (!owner) {
        return owner.error();
      }
      if (cut.total_bytes > 0 && (*owner != super_nic || !fits(walker, cut, share_))) {
        add(cut, super_nic);
        cut = walker.begin_cut();
      }
      super_nic = *owner;
      walker.take_block(cut);
    }
    if (cut.total_bytes > 0) {
      add(cut, super_nic);
    }
    return {};
  }

  static bool fits(const Walker& walker, const Plan::Cut& cut, std::uint32_t bytes_max) {
    return cut.total_bytes == 0 ||
           (cut.total_bytes + walker.block_bytes() <= bytes_max &&
            cut.segments + (walker.begins_segment(cut) ? 1U : 0U) <= kWorkSegmentsMax);
  }

  // Puts the cut into the open run of its kind, or opens a new one.
  void add(const Plan::Cut& cut, SuperNicId super_nic) {
    const Transfer& transfer = transfers_[cut.transfer];
    const bool has_crc = !transfer.crc32c.empty();
    const auto index = static_cast<std::uint32_t>(plan_.cuts.size());
    plan_.cuts.push_back(cut);
    plan_.cuts.back().next = kNone;

    auto open = std::find_if(plan_.open_runs.begin(), plan_.open_runs.end(),
                             [&](const Plan::OpenRun& candidate) {
                               return candidate.op == transfer.op && candidate.has_crc == has_crc &&
                                      candidate.super_nic == super_nic;
                             });
    if (open == plan_.open_runs.end()) {
      open = plan_.open_runs.insert(
          open, Plan::OpenRun{
                    .run = kNone, .op = transfer.op, .has_crc = has_crc, .super_nic = super_nic});
    }
    if (open->run != kNone && joins(*open, cut)) {
      open->several_transfers |= plan_.cuts[open->last_cut].transfer != cut.transfer;
      plan_.cuts[open->last_cut].next = index;
      open->last_cut = index;
      open->segments += cut.segments;
      plan_.runs[open->run].total_bytes += cut.total_bytes;
      plan_.runs[open->run].slice_count += 1;
      return;
    }
    open->run = static_cast<std::uint32_t>(plan_.runs.size());
    open->last_cut = index;
    open->segments = cut.segments;
    open->several_transfers = false;
    plan_.first_cut_of_run.push_back(index);
    plan_.runs.push_back({.op = transfer.op,
                          .slice_count = 1,
                          .total_bytes = cut.total_bytes,
                          .super_nic = super_nic});
  }

  [[nodiscard]] bool joins(const Plan::OpenRun& open, const Plan::Cut& cut) const {
    const bool several =
        open.several_transfers || plan_.cuts[open.last_cut].transfer != cut.transfer;
    const std::uint32_t bytes_max = several ? std::min(share_, kPackedBytesMax) : share_;
    const std::size_t segments_max = several ? kPackedSegmentsMax : kWorkSegmentsMax;
    return plan_.runs[open.run].total_bytes + cut.total_bytes <= bytes_max &&
           open.segments + cut.segments <= segments_max;
  }

  void write_out(PlannedRun& run, std::uint32_t cut_index) {
    run.slice_begin = static_cast<std::uint32_t>(plan_.slices.size());
    while (cut_index != kNone) {
      const Plan::Cut& cut = plan_.cuts[cut_index];
      PlannedSlice slice;
      slice.transfer = cut.transfer;
      slice.total_bytes = cut.total_bytes;
      slice.crc_home = cut.crc_home;
      write_pool_side(cut, slice);
      write_local_side(cut, slice);
      plan_.slices.push_back(slice);
      cut_index = cut.next;
    }
  }

  void write_pool_side(const Plan::Cut& cut, PlannedSlice& slice) {
    const Transfer& transfer = transfers_[cut.transfer];
    slice.remote_begin = static_cast<std::uint32_t>(plan_.remote.size());
    slice.crc_begin = static_cast<std::uint32_t>(plan_.crc.size());
    std::uint32_t left = cut.total_bytes;
    std::uint32_t inside = cut.extent_inside;
    for (std::uint32_t i = cut.extent_index; left > 0; ++i) {
      const Extent& extent = transfer.extents[i];
      const std::uint32_t take = std::min(left, extent.length_bytes - inside);
      if (take > 0) {
        append_remote(
            transfer.key,
            {.slab = extent.address.slab, .offset = extent.address.offset + SizeBytes(inside)},
            take, slice.remote_begin);
        if (!transfer.crc32c.empty()) {
          append_crc_blocks(transfer, cut.crc_home, take, slice.crc_begin);
        }
      }
      left -= take;
      inside = 0;
    }
    slice.remote_count = static_cast<std::uint32_t>(plan_.remote.size()) - slice.remote_begin;
    slice.crc_count = static_cast<std::uint32_t>(plan_.crc.size()) - slice.crc_begin;
  }

  void append_remote(RKey key, PoolAddress address, std::uint32_t bytes, std::uint32_t begin) {
    if (plan_.remote.size() > begin) {
      RemoteSegment& last = plan_.remote.back();
      if (last.address.slab == address.slab &&
          last.address.offset + SizeBytes(last.length_bytes) == address.offset) {
        last.length_bytes += bytes;  // stays below a run's size, so it cannot overflow
        return;
      }
    }
    plan_.remote.push_back({.key = key, .address = address, .length_bytes = bytes});
  }

  // `bytes` of one extent that begin at a block's boundary.
  void append_crc_blocks(const Transfer& transfer, std::uint32_t crc_home, std::uint32_t bytes,
                         std::uint32_t crc_begin) {
    while (bytes > 0) {
      const std::uint32_t block = std::min(bytes, kCrcBlockBytes);
      const std::size_t home = crc_home + (plan_.crc.size() - crc_begin);
      plan_.crc.push_back({.length_bytes = block, .crc32c = transfer.crc32c[home]});
      bytes -= block;
    }
  }

  void write_local_side(const Plan::Cut& cut, PlannedSlice& slice) {
    const Transfer& transfer = transfers_[cut.transfer];
    slice.local_begin = static_cast<std::uint32_t>(plan_.local.size());
    std::size_t left = cut.total_bytes;
    std::size_t inside = cut.local_inside;
    for (std::uint32_t i = cut.local_index; left > 0; ++i) {
      const LocalSegment& piece = transfer.local[i];
      const std::size_t take = std::min(left, piece.size_bytes - inside);
      if (take > 0) {
        append_local({.data = piece.data + inside, .size_bytes = take}, slice.local_begin);
      }
      left -= take;
      inside = 0;
    }
    slice.local_count = static_cast<std::uint32_t>(plan_.local.size()) - slice.local_begin;
  }

  void append_local(const LocalSegment& piece, std::uint32_t begin) {
    if (plan_.local.size() > begin) {
      LocalSegment& last = plan_.local.back();
      if (last.data + last.size_bytes == piece.data) {
        last.size_bytes += piece.size_bytes;
        return;
      }
    }
    plan_.local.push_back(piece);
  }

  std::span<const Transfer> transfers_;
  const PlannerOptions& options_;
  const std::uint32_t share_;
  const std::uint32_t run_bytes_max_;
  Plan& plan_;
};

}  // namespace

void Plan::clear() {
  runs.clear();
  slices.clear();
  remote.clear();
  local.clear();
  crc.clear();
  cuts.clear();
  first_cut_of_run.clear();
  open_runs.clear();
}

WorkRequest Plan::request(WorkId id, WorkOp op, std::uint32_t slice_begin,
                          std::uint32_t slice_count) {
  GODBOX_ASSERT(slice_count > 0 && std::size_t{slice_begin} + slice_count <= slices.size());
  const PlannedSlice& first = slices[slice_begin];
  const PlannedSlice& last = slices[slice_begin + slice_count - 1];
  WorkRequest request;
  request.id = id;
  request.op = op;
  for (std::uint32_t i = slice_begin; i < slice_begin + slice_count; ++i) {
    request.total_bytes += slices[i].total_bytes;
  }
  request.remote = std::span<const RemoteSegment>(remote).subspan(
      first.remote_begin, last.remote_begin + last.remote_count - first.remote_begin);
  request.local = std::span<const LocalSegment>(local).subspan(
      first.local_begin, last.local_begin + last.local_count - first.local_begin);
  request.crc = std::span<CrcBlock>(crc).subspan(first.crc_begin,
                                                 last.crc_begin + last.crc_count - first.crc_begin);
  return request;
}

Result<void> make_plan(std::span<const Transfer> transfers, const PlannerOptions& options,
                       Plan& plan) {
  GODBOX_ASSERT(options.policy == LanePolicy::any || options.super_nic_of != nullptr);
  plan.clear();
  Totals totals;
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    Result<void> checked = check(transfers[i], i, totals);
    if (!checked) {
      return checked;
    }
  }
  Result<void> built = Builder(transfers, options, share_of(totals, options), plan).build();
  if (!built) {
    plan.clear();
  }
  return built;
}

}  // namespace godbox::striping
