// SPDX-License-Identifier: Apache-2.0
//
// What is never a multiple of anything: objects one byte more and less than pages, blocks, strips
// and stripes, from and to memory that is aligned to nothing, in pieces of any length; and a region
// written and read at any offset, beside a copy of it in memory. Every byte of every pass is
// compared. The rates only say how much was moved; comparing is outside of them.
#include "bench/workloads.h"
#include "cli/json.h"
#include "measure/machine.h"
#include <godbox/crc32c.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::uint64_t kib(std::uint64_t count) { return count << 10U; }
constexpr std::uint64_t mib(std::uint64_t count) { return count << 20U; }

// Pages and blocks of models of GQA and MLA, the strips, a whole stripe of 18 and of 28 channels.
constexpr std::array<std::uint64_t, 12> kSizes{
    128,    4096,         kib(18),      kib(64),      kib(72),      kib(288),
    mib(1), 18 * kib(64), 28 * kib(64), 61 * kib(18), 36 * kib(64), mib(5)};
// Those of larger blocks, as far as four of them fit into the working set; 53.6 MiB is GLM-5's.
constexpr std::array<std::uint64_t, 6> kLargeSizes{mib(8),     mib(20), mib(32),
                                                   56'208'384, mib(80), mib(160)};
constexpr std::uint64_t kLargeShare = 4;
constexpr std::uint64_t kRegionBytes = mib(8) + 13;
constexpr int kRegionOperations = 200;
constexpr std::size_t kPiecesMax = 9;
constexpr std::size_t kPieceBytesMax = 300000;
constexpr std::size_t kSkewMax = 63;  // of memory, in bytes
constexpr std::size_t kRegionMemoryBytes = kPiecesMax * kPieceBytesMax + kSkewMax;

std::vector<std::uint64_t> sizes_for(SizeBytes working_set) {
  std::vector<std::uint64_t> sizes(kSizes.begin(), kSizes.end());
  for (const std::uint64_t size : kLargeSizes) {
    if (size <= working_set.count() / kLargeShare) {
      sizes.push_back(size);
    }
  }
  return sizes;
}

struct Moved {
  std::uint64_t bytes = 0;
  double seconds = 0;
  double cpu_seconds = 0;
};

class OddSizesCase {
 public:
  OddSizesCase(Environment& environment, const BenchCase& subject, std::unique_ptr<Rig> rig)
      : environment_(environment),
        subject_(subject),
        rig_(std::move(rig)),
        random_(environment.plan().seed),
        sizes_(sizes_for(environment.plan().working_set)),
        source_(largest() + kSkewMax),
        target_(largest() + kSkewMax) {}

  Result<Rows> run() {
    Rows rows;
    for (const bool is_region : {false, true}) {
      BenchRow row = row_for(environment_, subject_, *rig_, WorkOp::read,
                             SizeBytes(is_region ? kRegionBytes : largest()));
      row.depth = 1;
      row.is_cold = false;  // each is written just before it is read
      row.extra["shape"] = is_region ? "region" : "objects";
      for (std::uint32_t repeat = 0; repeat < environment_.plan().repeats; ++repeat) {
        const Result<Moved> moved = is_region ? region_pass(row) : object_pass(row, repeat);
        if (!moved) {
          return moved.error();
        }
        row.gb_per_s.push_back(static_cast<double>(moved->bytes) / moved->seconds / 1e9);
        row.bytes_moved += moved->bytes;
        row.cpu_seconds += moved->cpu_seconds;
        environment_.progress().advance(0.5);
      }
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  std::uint64_t largest() const { return *std::max_element(sizes_.begin(), sizes_.end()) + 1; }
  std::uint64_t below(std::uint64_t count) { return random_() % count; }

  // Memory cut into pieces of any length.
  std::vector<LocalSegment> cut(MutableSpan memory) {
    std::vector<LocalSegment> pieces;
    while (!memory.empty()) {
      const bool is_last = pieces.size() + 1 == kPiecesMax;
      const std::size_t size = is_last ? memory.size() : 1 + below(memory.size());
      pieces.push_back({memory.data(), size});
      memory = memory.subspan(size);
    }
    return pieces;
  }

  MutableSpan somewhere(std::vector<std::byte>& buffer, std::uint64_t size) {
    return MutableSpan(buffer).subspan(below(kSkewMax + 1), size);
  }

  template <class Call>
  Errc timed(Moved& moved, BenchRow& row, std::uint64_t bytes, Call call) {
    const double cpu_begin = cpu_seconds_used();
    const TimePoint begin = rig_->clock().now();
    const Errc status = call();
    const double took = std::chrono::duration<double>(rig_->clock().now() - begin).count();
    moved.seconds += took;
    moved.cpu_seconds += cpu_seconds_used() - cpu_begin;
    moved.bytes += bytes;
    row.latencies_us.push_back(took * 1e6);
    return status;
  }

  Result<Moved> object_pass(BenchRow& row, std::uint32_t repeat) {
    Moved moved;
    row.verification.crc32c = 0;
    for (const std::uint64_t base : sizes_) {
      for (const std::uint64_t size : {base - 1, base, base + 1}) {
        const std::string name = fmt::format("odd/{}/{}", repeat, size);
        if (const Errc status = one_object(moved, row, name, size); status != Errc::ok) {
          return Error(status, fmt::format("an object of {} bytes", size));
        }
      }
    }
    return moved;
  }

  Errc one_object(Moved& moved, BenchRow& row, const std::string& name, std::uint64_t size) {
    const PatternId pattern{environment_.plan().seed, size};
    const MutableSpan from = somewhere(source_, size);
    fill_pattern(from, pattern);
    const std::vector<LocalSegment> data = cut(from);
    const striping::PutItem put{name, data, SizeBytes()};
    Errc status = timed(moved, row, size, [&] { return rig_->client().put({&put, 1}).front(); });
    if (status != Errc::ok) {
      return status;
    }
    const MutableSpan to = somewhere(target_, size);
    spoil(to);
    const std::vector<LocalSegment> into = cut(to);
    const striping::GetItem get{name, into};
    status = timed(moved, row, size, [&] { return rig_->client().get({&get, 1}).front(); });
    if (status != Errc::ok) {
      return status;
    }
    row.verification.bytes_checked += size;
    row.verification.wrong_bytes += count_wrong_bytes(to, pattern);
    row.verification.crc32c = crc32c(to, row.verification.crc32c);
    const std::string_view names[] = {name};
    return rig_->client().remove(names).front();
  }

  // Pieces that no two of overlap, so that a write has one outcome: one in each part of the region.
  std::vector<striping::RegionPiece> draw_pieces(MutableSpan memory) {
    const std::uint64_t count = 1 + below(kPiecesMax);
    const std::uint64_t part = kRegionBytes / count;
    std::vector<striping::RegionPiece> pieces;
    std::size_t used = below(kSkewMax);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t inside = below(part);
      const std::size_t size =
          std::min<std::size_t>({1 + below(kPieceBytesMax), part - inside, memory.size() - used});
      if (size > 0) {
        pieces.push_back({RegionOffset(i * part + inside), {memory.data() + used, size}});
        used += size;
      }
    }
    return pieces;
  }

  Result<Moved> region_pass(BenchRow& row) {
    Result<striping::Region> region = rig_->client().allocate(SizeBytes(kRegionBytes));
    if (!region) {
      return region.error();
    }
    std::vector<std::byte> reference(kRegionBytes);
    fill_pattern(reference, {environment_.plan().seed, 0});
    Moved moved;
    row.verification.crc32c = 0;
    const striping::RegionPiece all{RegionOffset(0), {reference.data(), reference.size()}};
    Errc status = timed(moved, row, kRegionBytes, [&] {
      return rig_->client().write(*region, {&all, 1});
    });
    for (int i = 0; i < kRegionOperations && status == Errc::ok; ++i) {
      status = i % 2 == 0 ? write_somewhere(moved, row, *region, reference)
                          : read_somewhere(moved, row, *region, reference);
    }
    if (status != Errc::ok) {
      return Error(status, "a region at offsets of any kind");
    }
    if (auto freed = rig_->client().free(*region); !freed) {
      return freed.error();
    }
    return moved;
  }

  static std::uint64_t bytes_of(std::span<const striping::RegionPiece> pieces) {
    std::uint64_t bytes = 0;
    for (const striping::RegionPiece& piece : pieces) {
      bytes += piece.local.size_bytes;
    }
    return bytes;
  }

  Errc write_somewhere(Moved& moved, BenchRow& row, const striping::Region& region,
                       std::vector<std::byte>& reference) {
    const MutableSpan memory = MutableSpan(source_).first(kRegionMemoryBytes);
    const std::vector<striping::RegionPiece> pieces = draw_pieces(memory);
    fill_pattern(memory, {environment_.plan().seed, random_()});
    for (const striping::RegionPiece& piece : pieces) {
      std::memcpy(reference.data() + piece.offset.count(), piece.local.data,
                  piece.local.size_bytes);
    }
    return timed(moved, row, bytes_of(pieces),
                 [&] { return rig_->client().write(region, pieces); });
  }

  Errc read_somewhere(Moved& moved, BenchRow& row, const striping::Region& region,
                      const std::vector<std::byte>& reference) {
    const MutableSpan memory = MutableSpan(target_).first(kRegionMemoryBytes);
    const std::vector<striping::RegionPiece> pieces = draw_pieces(memory);
    spoil(memory);
    const Errc status =
        timed(moved, row, bytes_of(pieces), [&] { return rig_->client().read(region, pieces); });
    for (const striping::RegionPiece& piece : pieces) {
      const ConstSpan read(piece.local.data, piece.local.size_bytes);
      const std::byte* const expected = reference.data() + piece.offset.count();
      for (std::size_t i = 0; i < read.size(); ++i) {
        row.verification.wrong_bytes += read[i] != expected[i] ? 1U : 0U;
      }
      row.verification.bytes_checked += read.size();
      row.verification.crc32c = crc32c(read, row.verification.crc32c);
    }
    return status;
  }

  Environment& environment_;
  BenchCase subject_;
  std::unique_ptr<Rig> rig_;
  std::mt19937_64 random_;
  std::vector<std::uint64_t> sizes_;
  std::vector<std::byte> source_;
  std::vector<std::byte> target_;
};

}  // namespace

Result<Rows> run_odd_sizes_case(Environment& environment, const BenchCase& subject) {
  const BenchPlan& plan = environment.plan();
  Result<std::unique_ptr<Rig>> rig = start_rig(plan, subject, client_for(plan, subject));
  if (!rig) {
    return rig.error();
  }
  return OddSizesCase(environment, subject, std::move(*rig)).run();
}

}  // namespace godbox::app
