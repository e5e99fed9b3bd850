// SPDX-License-Identifier: Apache-2.0
//
// From scatter/gather lists to work requests: coalesces neighbouring pieces, cuts what is too long
// for one request, packs small transfers into one, and spreads a batch over lanes so that each
// carries about the same bytes. A transfer is cut only at CRC blocks (godbox/extent.h) and only
// when lanes would idle.
//   any:    a transfer is cut into even shares, none below kRunBytesMin unless the transfer is;
//           whichever lane has credit takes the next run. Small transfers travel together, up to
//           kPackedBytesMax, as long as that leaves a run for each lane,
//           counting what is queued or in flight already (`any`): behind other work runs grow, to
//           kBusyRunBytesMax at most.
//   affine: each CRC block goes to a lane of the SuperNIC that owns the DRAM channel of its first
//           byte; blocks of one SuperNIC travel together, up to the same share.
// A run carries slices; a slice is one piece of one transfer and can be requested on its own, so
// that a request which failed for one of its transfers is repeated slice by slice and each gets its
// own status. Runs keep the order of the transfers: what is first (layer 0) goes first.
// Thread-safety: pure; a Plan belongs to its caller and is reused, so a warm plan allocates
// nothing. Units: bytes. Errors: invalid_argument (totals or the number of CRCs differ, a null
// piece), out_of_range (an extent's end overflows), too_large (kPlanPiecesMax), those of
// super_nic_of.
#pragma once

#include <godbox/extent.h>
#include <godbox/result.h>
#include <godbox/striping/slab_layout.h>
#include <godbox/transport.h>

#include <functional>
#include <vector>

namespace godbox::striping {

inline constexpr std::uint32_t kRunBytesMin = kCrcBlockBytes;
inline constexpr std::uint32_t kRunBytesMax = 1U << 20U;
// How long runs get only because lanes are busy with other work (PlannerOptions::bytes_ahead).
inline constexpr std::uint32_t kBusyRunBytesMax = 256U << 10U;
// Limits of a request that carries several transfers: what repeating it slice by slice may cost.
inline constexpr std::uint32_t kPackedBytesMax = 256U << 10U;
inline constexpr std::uint32_t kPackedSegmentsMax = 256;
// CRC blocks, and local pieces, of one plan: 256 GiB of full blocks.
inline constexpr std::size_t kPlanPiecesMax = std::size_t{1} << 22U;
static_assert(kRunBytesMax % kCrcBlockBytes == 0 && kRunBytesMax <= kWorkBytesMax);
static_assert(kPackedSegmentsMax <= kWorkSegmentsMax);

enum class LanePolicy : std::uint8_t { any, affine };

// One object or region range to move. The lists belong to the caller until the batch is done.
struct Transfer {
  WorkOp op = WorkOp::read;
  RKey key;
  std::span<const Extent> extents{};      // pool side, in order
  std::span<const LocalSegment> local{};  // this side, in order; the same total
  std::span<std::uint32_t> crc32c{};      // per CRC block of `extents`; empty: no CRC
};

// A piece of one transfer: index ranges into the plan's arrays.
struct PlannedSlice {
  std::uint32_t transfer = 0;  // index into the planned transfers
  std::uint32_t total_bytes = 0;
  std::uint32_t remote_begin = 0, remote_count = 0;
  std::uint32_t local_begin = 0, local_count = 0;
  std::uint32_t crc_begin = 0, crc_count = 0;
  std::uint32_t crc_home = 0;  // index of its first block in the transfer's crc32c
};

// One request of a plan. Its slices, and their ranges of each array, follow one another.
struct PlannedRun {
  WorkOp op = WorkOp::read;
  std::uint32_t slice_begin = 0, slice_count = 0;
  std::uint32_t total_bytes = 0;
  SuperNicId super_nic;  // affine: wanted SuperNIC; any: 0
};

struct Plan {
  std::vector<PlannedRun> runs;
  std::vector<PlannedSlice> slices;
  std::vector<RemoteSegment> remote;
  std::vector<LocalSegment> local;
  std::vector<CrcBlock> crc;  // reads: with the expected values

  void clear();
  // The request for slices [slice_begin, slice_begin + slice_count), at least one.
  [[nodiscard]] WorkRequest request(WorkId id, WorkOp op, std::uint32_t slice_begin,
                                    std::uint32_t slice_count);

  // Scratch of make_plan, kept for its capacity.
  struct Cut {  // a slice before its lists are written out
    std::uint32_t transfer = 0;
    std::uint32_t total_bytes = 0;
    std::uint32_t segments = 0;  // before coalescing
    std::uint32_t extent_index = 0, extent_inside = 0;
    std::uint32_t local_index = 0;
    std::uint32_t crc_home = 0;
    std::uint32_t next = 0;  // of the same run
    std::size_t local_inside = 0;
  };
  struct OpenRun {  // the run that takes further cuts of its kind
    std::uint32_t run = 0;
    std::uint32_t last_cut = 0;
    std::uint32_t segments = 0;
    WorkOp op = WorkOp::read;
    bool has_crc = false;
    bool several_transfers = false;
    SuperNicId super_nic;
  };
  std::vector<Cut> cuts;
  std::vector<std::uint32_t> first_cut_of_run;
  std::vector<OpenRun> open_runs;
};

struct PlannerOptions {
  LanePolicy policy = LanePolicy::any;
  std::size_t lane_count = 1;
  // What waits for those lanes or is in flight on them already: the more, the less a batch has to
  // be cut for all of them to be busy.
  std::uint64_t bytes_ahead = 0;
  // `any`: the first run takes one CRC block and nothing else, so that a lane that was slow can be
  // tried with it.
  bool probe_first = false;
  // Longest request, below kRunBytesMax where lanes grant fewer bytes in flight.
  std::uint32_t run_bytes_max = kRunBytesMax;
  // affine only: the SuperNIC that owns the DRAM channel holding a pool address.
  std::function<Result<SuperNicId>(PoolAddress)> super_nic_of{};
};

// Fills `plan` (cleared first; empty after an error).
[[nodiscard]] Result<void> make_plan(std::span<const Transfer> transfers,
                                     const PlannerOptions& options, Plan& plan);

}  // namespace godbox::striping
