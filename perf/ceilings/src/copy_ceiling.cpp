// SPDX-License-Identifier: Apache-2.0
#include <godbox/perf/ceiling.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace godbox::perf {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{4} << 20U;
constexpr int kCalibrationRounds = 3;

// Streams past the caches; falls back to memcpy where the machine has no such stores. `to` and the
// size are multiples of 64 in this file.
void copy_non_temporal(std::byte* to, const std::byte* from, std::size_t size) {
#if defined(__x86_64__)
  for (std::size_t at = 0; at + 64 <= size; at += 64) {
    for (std::size_t lane = at; lane < at + 64; lane += 16) {
      const __m128i word = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + lane));
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + lane), word);
    }
  }
  const std::size_t tail = size % 64;
  std::memcpy(to + size - tail, from + size - tail, tail);
  _mm_sfence();
#else
  std::memcpy(to, from, size);
#endif
}

class CopyCeiling final : public Ceiling {
 public:
  CopyCeiling(const CeilingBuffers& buffers, const CopyCeilingOptions& options)
      : buffers_(buffers), options_(options) {}

  std::string_view name() const override { return options_.streaming ? "streaming" : "memcpy"; }

  std::string variant() const override {
    return fmt::format("{}, pieces of {} KiB, {} threads, {} pages",
                       options_.streaming ? "non-temporal stores" : "memcpy", piece_bytes_ >> 10U,
                       options_.threads, buffers_.pool_is_huge ? "huge" : "small");
  }

  Result<void> calibrate(Direction direction, SizeBytes bytes) override {
    double best_rate = 0;
    for (const std::size_t piece_bytes : {kChunkBytes, options_.strip_bytes}) {
      for (int round = 0; round < kCalibrationRounds; ++round) {
        const double rate = run(piece_bytes, direction, bytes);
        if (rate > best_rate) {
          best_rate = rate;
          piece_bytes_ = piece_bytes;
        }
      }
    }
    return {};
  }

  Result<double> measure(Direction direction, SizeBytes bytes) override {
    return run(piece_bytes_, direction, bytes);
  }

 private:
  double run(std::size_t piece_bytes, Direction direction, SizeBytes bytes) {
    const std::size_t chunks = std::max<std::size_t>(1, bytes.count() / chunk_bytes());
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t i = next.fetch_add(1); i < chunks; i = next.fetch_add(1)) {
        copy_chunk(piece_bytes, direction, position_ + i);
      }
    };
    const auto begin = std::chrono::steady_clock::now();
    {
      std::vector<std::jthread> helpers;
      for (std::size_t i = 1; i < options_.threads; ++i) {
        helpers.emplace_back(work);
      }
      work();
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    position_ += chunks;
    return static_cast<double>(chunks * chunk_bytes()) / took.count() / 1e9;
  }

  // The buffers may be smaller than a chunk (a hot block).
  std::size_t chunk_bytes() const {
    return std::min({kChunkBytes, buffers_.pool_side.size(), buffers_.user_side.size()});
  }

  void copy_chunk(std::size_t piece_bytes, Direction direction, std::size_t index) const {
    std::byte* pool = place(buffers_.pool_side, index);
    std::byte* user = place(buffers_.user_side, index);
    std::byte* to = direction == Direction::read ? user : pool;
    const std::byte* from = direction == Direction::read ? pool : user;
    const std::size_t size = chunk_bytes();
    const std::size_t piece = std::min(piece_bytes, size);
    for (std::size_t at = 0; at < size; at += piece) {
      const std::size_t length = std::min(piece, size - at);
      if (options_.streaming) {
        copy_non_temporal(to + at, from + at, length);
      } else {
        std::memcpy(to + at, from + at, length);
      }
    }
  }

  std::byte* place(MutableSpan buffer, std::size_t index) const {
    return buffer.data() + index % (buffer.size() / chunk_bytes()) * chunk_bytes();
  }

  CeilingBuffers buffers_;
  CopyCeilingOptions options_;
  std::size_t piece_bytes_ = kChunkBytes;
  std::size_t position_ = 0;  // chunks copied so far
};

}  // namespace

std::unique_ptr<Ceiling> make_copy_ceiling(const CeilingBuffers& buffers,
                                           const CopyCeilingOptions& options) {
  return std::make_unique<CopyCeiling>(buffers, options);
}

}  // namespace godbox::perf
