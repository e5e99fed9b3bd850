// SPDX-License-Identifier: Apache-2.0
//
// copy_bytes and copy_bytes_crc32c against memcpy: one thread, a pool in a memfd and a user's
// buffer, pieces of one strip scattered over the pool's side. All contestants take turns in each
// round, in an order that is drawn anew, so that a noisy machine is noisy for all of them; the
// ratios are of medians.
//
//   copy_bench           1 GiB working set (cold) and 512 KiB (hot); about a minute
//   copy_bench --small   8 MiB and few rounds: only shows that it runs
#include "median.h"
#include <godbox/crc32c.h>
#include <godbox/perf/mapped_buffer.h>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

namespace {

using namespace godbox;
using namespace godbox::literals;
using godbox::perf::median;

constexpr std::size_t kBaselinePieceBytes = std::size_t{4} << 20U;

// Copies one piece; what it returns goes into the result hash.
using CopyPiece = std::uint32_t (*)(MutableSpan dst, ConstSpan src);

std::uint32_t copy_memcpy(MutableSpan dst, ConstSpan src) {
  std::memcpy(dst.data(), src.data(), src.size());
  return 0;
}
std::uint32_t copy_plain(MutableSpan dst, ConstSpan src) {
  copy_bytes(dst, src);
  return 0;
}
std::uint32_t copy_then_crc(MutableSpan dst, ConstSpan src) {
  std::memcpy(dst.data(), src.data(), src.size());
  return crc32c(src);
}
std::uint32_t copy_fused(MutableSpan dst, ConstSpan src) { return copy_bytes_crc32c(dst, src); }

struct Contestant {
  std::string_view name;
  CopyPiece copy;
  std::size_t piece_bytes;
  std::vector<double> rates = {};  // GB/s of payload, one per round
};

struct Setting {
  std::string_view name;
  SizeBytes working_set;  // source and destination together
  std::size_t piece_bytes;
  bool pool_is_source;  // a get; else a put
  int rounds;
  SizeBytes round_size;
};

// Some machines move lines of zeros faster than others, so the bytes have to look like data.
void fill_with_noise(MutableSpan bytes) {
  std::uint64_t word = 1;
  for (std::size_t at = 0; at + sizeof(word) <= bytes.size(); at += sizeof(word)) {
    word = word * 6364136223846793005U + 1442695040888963407U;
    std::memcpy(bytes.data() + at, &word, sizeof(word));
  }
}

std::vector<std::size_t> shuffled_pieces(std::size_t count, std::mt19937_64& random) {
  std::vector<std::size_t> pieces(count);
  for (std::size_t i = 0; i < count; ++i) {
    pieces[i] = i;
  }
  std::shuffle(pieces.begin(), pieces.end(), random);
  return pieces;
}

class Runner {
 public:
  Runner(MutableSpan pool, MutableSpan user, const Setting& setting)
      : pool_(pool), user_(user), setting_(setting) {}

  void run(std::vector<Contestant>& contestants) {
    std::mt19937_64 random(7);
    for (int round = 0; round <= setting_.rounds; ++round) {
      for (const std::size_t i : shuffled_pieces(contestants.size(), random)) {
        Contestant& contestant = contestants[i];
        const double rate = measure(contestant, random);
        if (round > 0) {  // the first only warms up
          contestant.rates.push_back(rate);
        }
      }
    }
  }
  [[nodiscard]] std::uint32_t hash() const { return hash_; }

 private:
  double measure(const Contestant& contestant, std::mt19937_64& random) {
    const std::size_t piece = contestant.piece_bytes;
    const std::vector<std::size_t> places = shuffled_pieces(pool_.size() / piece, random);
    const std::size_t count = setting_.round_size.count() / piece;
    std::uint32_t sum = 0;
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < count; ++i) {
      const MutableSpan pool = pool_.subspan(places[i % places.size()] * piece, piece);
      const MutableSpan user = user_.subspan(i % places.size() * piece, piece);
      sum += setting_.pool_is_source ? contestant.copy(user, pool) : contestant.copy(pool, user);
    }
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    hash_ = hash_ * 31 + sum;
    return static_cast<double>(count * piece) / time.count() / 1e9;
  }

  MutableSpan pool_;
  MutableSpan user_;
  const Setting& setting_;
  std::uint32_t hash_ = 0;
};

void print(const Setting& setting, const std::vector<Contestant>& contestants) {
  double ceiling = 0;
  for (const Contestant& contestant : contestants) {
    if (contestant.copy == copy_memcpy) {
      ceiling = std::max(ceiling, median(contestant.rates));
    }
  }
  fmt::print(
      "{}: {}, working set {} KiB, pieces of {} KiB scattered over the pool (real, 1 thread)\n",
      setting.name, setting.pool_is_source ? "get, pool to user" : "put, user to pool",
      setting.working_set.count() >> 10U, setting.piece_bytes >> 10U);
  for (const Contestant& contestant : contestants) {
    const double middle = median(contestant.rates);
    const auto [low, high] = std::ranges::minmax(contestant.rates);
    fmt::print(
        "  {:<26} median {:6.2f}  min {:6.2f}  max {:6.2f} GB/s  {:.2f} of the best memcpy\n",
        contestant.name, middle, low, high, middle / ceiling);
  }
}

bool run_setting(const Setting& setting) {
  const SizeBytes half = setting.working_set / 2;
  const auto pool = perf::MappedBuffer::memfd(half);
  const auto user = perf::MappedBuffer::anonymous(half);
  if (!pool || !user) {
    fmt::print(stderr, "copy_bench: {}\n", (pool ? user : pool).error().message());
    return false;
  }
  fill_with_noise(pool->bytes());
  fill_with_noise(user->bytes());
  std::vector<Contestant> contestants = {
      {"memcpy, a piece", copy_memcpy, setting.piece_bytes},
      {"copy_bytes", copy_plain, setting.piece_bytes},
      {"memcpy, then crc32c", copy_then_crc, setting.piece_bytes},
      {"copy_bytes_crc32c", copy_fused, setting.piece_bytes},
  };
  if (half.count() >= 2 * kBaselinePieceBytes) {
    contestants.push_back({"memcpy, 4 MiB", copy_memcpy, kBaselinePieceBytes});
  }
  Runner runner(pool->bytes(), user->bytes(), setting);
  runner.run(contestants);
  print(setting, contestants);
  fmt::print("  result hash {:08x}\n", runner.hash());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const bool small = argc == 2 && std::string_view(argv[1]) == "--small";
  if (argc > 1 && !small) {
    fmt::print(stderr, "usage: copy_bench [--small]\n");
    return 2;
  }
  fmt::print("crc32c by {}\n", crc32c_implementation());
  const SizeBytes cold = small ? 8_MiB : 1_GiB;
  const SizeBytes hot = 512_KiB;
  const int rounds = small ? 3 : 25;
  const SizeBytes round_size = small ? 4_MiB : 128_MiB;
  bool done = true;
  for (const bool pool_is_source : {true, false}) {
    for (const std::size_t piece_bytes : {std::size_t{64} << 10U, std::size_t{4} << 10U}) {
      done = done && run_setting({"cold", cold, piece_bytes, pool_is_source, rounds, round_size});
    }
  }
  for (const std::size_t piece_bytes : {std::size_t{64} << 10U, std::size_t{4} << 10U}) {
    done = done && run_setting({"hot", hot, piece_bytes, true, rounds, round_size});
  }
  return done ? 0 : 1;
}
