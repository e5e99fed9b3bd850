// SPDX-License-Identifier: Apache-2.0
//
// The streams of 64-byte lines that tests/vectors/ramulator2 describes: the same lines in the same
// order for every simulator of DRAM. It uses nothing of Godbox, so that a program which is built
// outside can include it. tests/vectors/ramulator2/README.md states the algorithm in words.
// Thread-safety: one thread per DramStream. Units: bytes. Errors: none; DramStreamSpec says what
// its values have to be.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace godbox::test {

inline constexpr std::uint64_t kDramLineBytes = 64;

struct DramLine {
  std::uint64_t address_bytes = 0;
  bool is_write = false;
};

// A stream is a row of runs; a run is `run_lines` lines, each `run_stride_bytes` after the one
// before it. `order` says where the next run begins.
struct DramStreamSpec {
  enum class Order {
    sequential,  // run j at (j * step_bytes) % span_bytes
    random,      // at a multiple of `align_bytes` in [0, span_bytes), drawn from the generator
    cycle,       // at cycle_bytes[j % size]
    hot,         // random; with hot_percent, within [0, hot_bytes) instead
  };
  Order order = Order::sequential;
  std::uint64_t seed = 0;
  std::uint64_t lines = 0;
  std::uint64_t span_bytes = 0;
  std::uint64_t step_bytes = 0;
  std::uint64_t align_bytes = kDramLineBytes;
  std::vector<std::uint64_t> cycle_bytes;
  std::uint64_t hot_bytes = 0;
  std::uint64_t hot_percent = 0;
  std::uint64_t run_lines = 1;
  std::uint64_t run_stride_bytes = kDramLineBytes;
  std::string operations = "R";  // of run j: operations[j % size], R or W
};

// splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
class DramStreamRandom {
 public:
  explicit DramStreamRandom(std::uint64_t seed) : state_(seed) {}

  [[nodiscard]] std::uint64_t below(std::uint64_t limit) {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return (z ^ (z >> 31U)) % limit;
  }

 private:
  std::uint64_t state_;
};

class DramStream {
 public:
  explicit DramStream(DramStreamSpec spec) : spec_(std::move(spec)), random_(spec_.seed) {}

  [[nodiscard]] DramLine next() {
    if (line_of_run_ == 0) {
      run_bytes_ = begin_of_run();
    }
    const DramLine line{run_bytes_ + line_of_run_ * spec_.run_stride_bytes,
                        spec_.operations[run_ % spec_.operations.size()] == 'W'};
    if (++line_of_run_ == spec_.run_lines) {
      line_of_run_ = 0;
      ++run_;
    }
    return line;
  }

 private:
  [[nodiscard]] std::uint64_t begin_of_run() {
    using Order = DramStreamSpec::Order;
    switch (spec_.order) {
      case Order::sequential:
        return run_ * spec_.step_bytes % spec_.span_bytes;
      case Order::cycle:
        return spec_.cycle_bytes[run_ % spec_.cycle_bytes.size()];
      case Order::hot:
        if (random_.below(100) < spec_.hot_percent) {
          return random_.below(spec_.hot_bytes / spec_.align_bytes) * spec_.align_bytes;
        }
        break;
      case Order::random:
        break;
    }
    return random_.below(spec_.span_bytes / spec_.align_bytes) * spec_.align_bytes;
  }

  DramStreamSpec spec_;
  DramStreamRandom random_;
  std::uint64_t run_ = 0;
  std::uint64_t line_of_run_ = 0;
  std::uint64_t run_bytes_ = 0;
};

// FNV-1a, 64 bits, over the whole stream: of each line its address / 64 * 2 + (1 for a write), as
// eight bytes, the least significant one first. Two programs with the same value saw the same
// lines.
[[nodiscard]] inline std::uint64_t dram_stream_fingerprint(const DramStreamSpec& spec) {
  DramStream stream(spec);
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (std::uint64_t i = 0; i < spec.lines; ++i) {
    const DramLine line = stream.next();
    const std::uint64_t word =
        line.address_bytes / kDramLineBytes * 2 + static_cast<std::uint64_t>(line.is_write);
    for (unsigned shift = 0; shift < 64; shift += 8) {
      hash = (hash ^ (word >> shift & 0xFFU)) * 0x100000001B3U;
    }
  }
  return hash;
}

// Where a line lies: the bits of its address above the lowest six, taken from the least significant
// end, piece after piece. A field may come in several pieces; the earlier one holds its lower bits.
// A field without a piece is 0, and bits above the last piece are left out.
enum class DramField : std::size_t { sub_channel, rank, bank_group, bank, row, column_line };

inline constexpr std::size_t kDramFields = 6;
inline constexpr std::array<std::string_view, kDramFields> kDramFieldNames = {
    "sub_channel", "rank", "bank_group", "bank", "row", "column_line",
};

struct DramMappingPiece {
  DramField field = DramField::row;
  unsigned bits = 0;
};

using DramPlace = std::array<std::uint32_t, kDramFields>;  // by DramField

[[nodiscard]] inline DramPlace dram_place(std::uint64_t address_bytes,
                                          const std::vector<DramMappingPiece>& mapping) {
  std::uint64_t rest = address_bytes / kDramLineBytes;
  DramPlace place{};
  std::array<unsigned, kDramFields> bits_so_far{};
  for (const DramMappingPiece& piece : mapping) {
    const auto field = static_cast<std::size_t>(piece.field);
    const std::uint64_t bits = rest & ((std::uint64_t{1} << piece.bits) - 1);
    place[field] |= static_cast<std::uint32_t>(bits << bits_so_far[field]);
    bits_so_far[field] += piece.bits;
    rest >>= piece.bits;
  }
  return place;
}

}  // namespace godbox::test
