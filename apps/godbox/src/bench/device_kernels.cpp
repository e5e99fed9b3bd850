// SPDX-License-Identifier: Apache-2.0
//
// The kernels alone. A repeat is a large copy within the device, then the move without CRCs and the
// move with them, of the same bytes: so what the CRC costs is a ratio of neighbours in time.
#include "bench/device_workload.h"
#include "cli/json.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <algorithm>

namespace godbox::app {
namespace {

constexpr std::uint32_t kCrcBlockBytes = 64U << 10U;
// Of one kernel: what a batch of the staged transport has at the least, and much.
constexpr std::uint64_t kMoveBytes = std::uint64_t{64} << 20U;
constexpr std::size_t kPiecesMax = DeviceQueue::kMovePiecesMax;

// One call of DeviceQueue::move.
struct Move {
  std::size_t pieces_begin = 0, pieces_count = 0;
  std::size_t crc_begin = 0, crc_count = 0;
};

class KernelCase {
 public:
  KernelCase(DeviceMemory& device, const DevicePlan& plan, DevicePages& pages,
             const kv::ModelGeometry& model)
      : device_(device),
        plan_(plan),
        pages_(pages),
        model_(model),
        segments_(pages.segments(pages.blocks())) {}

  Result<Rows> run() {
    Result<DeviceBuffer> packed = DeviceBuffer::of_device(device_, pages_.listed_bytes());
    if (!packed) {
      return packed.error();
    }
    packed_ = std::move(*packed);
    Rows rows;
    if (auto filled = pages_.fill(kGeneration); !filled) {
      return filled.error();
    }
    for (const WorkOp op : {WorkOp::write, WorkOp::read}) {
      plan_moves(op);
      auto more = measure(op);
      if (!more) {
        return more.error();
      }
      if (std::find(plan_.ops.begin(), plan_.ops.end(), op) != plan_.ops.end()) {
        std::move(more->begin(), more->end(), std::back_inserter(rows));
      }
    }
    return rows;
  }

 private:
  static constexpr std::uint64_t kGeneration = 1;

  void plan_moves(WorkOp op) {
    pieces_.clear();
    crc_.clear();
    moves_.clear();
    std::uint64_t at = 0;
    std::uint64_t in_move = 0;
    for (const LocalSegment& one : segments_) {
      if (moves_.empty() || in_move + one.size_bytes > kMoveBytes ||
          moves_.back().pieces_count == kPiecesMax) {
        close_move(in_move);
        moves_.push_back({pieces_.size(), 0, crc_.size(), 0});
        in_move = 0;
      }
      std::byte* const packed = packed_.bytes().data() + at;
      MovePiece piece;
      piece.to = op == WorkOp::write ? packed : one.data;
      piece.from = op == WorkOp::write ? one.data : packed;
      piece.length_bytes = static_cast<std::uint32_t>(one.size_bytes);
      pieces_.push_back(piece);
      ++moves_.back().pieces_count;
      at += one.size_bytes;
      in_move += one.size_bytes;
    }
    close_move(in_move);
  }

  // CRC blocks cover each move on their own.
  void close_move(std::uint64_t bytes) {
    for (std::uint64_t done = 0; done < bytes; done += kCrcBlockBytes) {
      crc_.push_back(
          {static_cast<std::uint32_t>(std::min<std::uint64_t>(kCrcBlockBytes, bytes - done)), 0});
      ++moves_.back().crc_count;
    }
  }

  Result<double> seconds_of_copy() {
    const TimePoint begin = clock_.now();
    Errc status =
        pages_.queue().copy(packed_.bytes(), pages_.region().first(packed_.bytes().size()));
    status = status == Errc::ok ? pages_.queue().finish() : status;
    if (status != Errc::ok) {
      return Error(status, "a copy within the device failed");
    }
    return std::chrono::duration<double>(clock_.now() - begin).count();
  }

  Result<double> seconds_of_moves(bool crc) {
    const TimePoint begin = clock_.now();
    Errc status = Errc::ok;
    for (std::size_t i = 0; i < moves_.size() && status == Errc::ok; ++i) {
      const Move& one = moves_[i];
      status = pages_.queue().move(
          std::span(pieces_).subspan(one.pieces_begin, one.pieces_count),
          crc ? std::span(crc_).subspan(one.crc_begin, one.crc_count) : std::span<CrcBlock>());
    }
    status = status == Errc::ok ? pages_.queue().finish() : status;
    if (status != Errc::ok) {
      return Error(status, "a kernel over the device's pages failed");
    }
    return std::chrono::duration<double>(clock_.now() - begin).count();
  }

  void add(BenchRow& row, double seconds, double copy_seconds) const {
    const auto bytes = static_cast<double>(pages_.listed_bytes().count());
    row.gb_per_s.push_back(bytes / seconds / 1e9);
    row.ceiling_gb_per_s.push_back(bytes / copy_seconds / 1e9);
    row.latencies_us.push_back(seconds * 1e6);
    row.bytes_moved += pages_.listed_bytes().count();
  }

  BenchRow make_row(WorkOp op, bool crc) const {
    BenchRow row = device_row(device_, plan_, pages_, model_, op, crc);
    row.subject.workload = Workload::device_kernel;
    row.ceiling_kind = "device-copy";
    row.ceiling_variant = "one copy within the device";
    row.extra["pieces"] = pieces_.size();
    row.extra["kernels"] = moves_.size();
    return row;
  }

  Result<Rows> measure(WorkOp op) {
    Rows rows;
    rows.push_back(make_row(op, false));
    rows.push_back(make_row(op, true));
    std::vector<double> costs;
    for (std::uint32_t repeat = 0; repeat <= plan_.repeats; ++repeat) {
      const Result<double> copied = seconds_of_copy();
      // Unpacking needs what packing has left, and the copy has written over it.
      if (op == WorkOp::read) {
        if (auto prepared = prepare_packed(); !prepared) {
          return prepared.error();
        }
      }
      const Result<double> plain = seconds_of_moves(false);
      const Result<double> with_crc = seconds_of_moves(true);
      if (!copied || !plain || !with_crc) {
        return !copied ? copied.error() : !plain ? plain.error() : with_crc.error();
      }
      if (repeat == 0) {
        continue;  // warms up
      }
      add(rows[0], *plain, *copied);
      add(rows[1], *with_crc, *copied);
      costs.push_back((*with_crc / *plain - 1) * 100);
    }
    rows[1].extra["crc_cost_percent"] = figure(summarise(costs).median, 3);
    for (BenchRow& row : rows) {
      if (auto checked = verify(op, row); !checked) {
        return checked.error();
      }
    }
    std::erase_if(rows, [this](const BenchRow& row) {
      return std::find(plan_.crc.begin(), plan_.crc.end(), row.subject.crc) == plan_.crc.end();
    });
    return rows;
  }

  // Packs the pages anew, by the moves the other way round.
  Result<void> prepare_packed() {
    for (MovePiece& piece : pieces_) {
      piece = {const_cast<std::byte*>(piece.from), piece.to, piece.length_bytes};
    }
    const Result<double> packed = seconds_of_moves(false);
    for (MovePiece& piece : pieces_) {
      piece = {const_cast<std::byte*>(piece.from), piece.to, piece.length_bytes};
    }
    return packed ? Result<void>() : packed.error();
  }

  Result<void> verify(WorkOp op, BenchRow& row) {
    const std::span<CrcBlock> crc = row.subject.crc ? std::span(crc_) : std::span<CrcBlock>();
    if (op == WorkOp::write) {
      // What the copy left there is not what packing leaves.
      for (CrcBlock& block : crc) {
        block.crc32c = ~block.crc32c;
      }
      const Result<double> packed = seconds_of_moves(row.subject.crc);
      return packed ? pages_.verify_packed(segments_, packed_.bytes(), kGeneration, crc,
                                           row.verification)
                    : packed.error();
    }
    if (auto spoilt = pages_.spoil_all(); !spoilt) {
      return spoilt;
    }
    const Result<double> unpacked = seconds_of_moves(row.subject.crc);
    if (!unpacked) {
      return unpacked.error();
    }
    if (auto checked =
            pages_.verify_packed(segments_, packed_.bytes(), kGeneration, crc, row.verification);
        !checked) {
      return checked;
    }
    if (auto checked = pages_.verify(kGeneration, pages_.blocks(), row.verification); !checked) {
      return checked;
    }
    return pages_.fill(kGeneration);
  }

  DeviceMemory& device_;
  const DevicePlan& plan_;
  DevicePages& pages_;
  const kv::ModelGeometry& model_;
  std::vector<LocalSegment> segments_;
  DeviceBuffer packed_;
  std::vector<MovePiece> pieces_;
  std::vector<CrcBlock> crc_;
  std::vector<Move> moves_;
  SteadyClock clock_;
};

}  // namespace

Result<Rows> measure_device_kernels(DeviceMemory& device, const DevicePlan& plan,
                                    DevicePages& pages, const kv::ModelGeometry& model) {
  return KernelCase(device, plan, pages, model).run();
}

}  // namespace godbox::app
