// SPDX-License-Identifier: Apache-2.0
//
// usage: perf_machine_ceilings [MiB per side (1024)] [passes (5)]
// What this machine does at best over a working set: copies with 1 to n threads, raw sockets with 1
// to 9 connections, with send and with sendfile. `godbox bench` measures the ones that it needs
// itself.
#include <godbox/perf/ceiling.h>
#include <godbox/perf/mapped_buffer.h>

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace godbox;
using perf::Direction;

constexpr std::uint64_t kMibMin = 4;
constexpr std::uint64_t kMibMax = std::uint64_t{1} << 20U;
constexpr std::uint64_t kPassesMax = 1000;

struct Run {
  SizeBytes size;
  std::uint64_t passes = 5;
};

std::optional<std::uint64_t> number(std::string_view text, std::uint64_t min, std::uint64_t max) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_whole = error == std::errc() && end == text.data() + text.size();
  return is_whole && value >= min && value <= max ? std::optional(value) : std::nullopt;
}

Result<void> report(perf::Ceiling& ceiling, Direction direction, const Run& run) {
  if (auto done = ceiling.calibrate(direction, run.size); !done) {
    return done;
  }
  std::vector<double> rates;
  for (std::uint64_t pass = 0; pass < run.passes; ++pass) {
    const Result<double> rate = ceiling.measure(direction, run.size);
    if (!rate) {
      return rate.error();
    }
    rates.push_back(*rate);
  }
  std::sort(rates.begin(), rates.end());
  fmt::print("{:<9} {:<6} {:6.2f} GB/s  ({:.2f} to {:.2f})  {}\n", ceiling.name(),
             direction == Direction::read ? "read" : "write", rates[rates.size() / 2],
             rates.front(), rates.back(), ceiling.variant());
  return {};
}

Result<void> report_sockets(const perf::CeilingBuffers& buffers, Direction direction,
                            const Run& run) {
  for (const std::size_t connections : {1U, 2U, 4U, 9U}) {
    for (const bool sendfile : {false, true}) {
      if (sendfile && direction == Direction::write) {
        continue;
      }
      const auto sockets = perf::make_socket_ceiling(buffers, {connections, 1, sendfile});
      if (!sockets) {
        return sockets.error();
      }
      if (auto done = report(**sockets, direction, run); !done) {
        return done;
      }
    }
  }
  return {};
}

Result<void> report_all(const Run& run) {
  const Result<perf::MappedBuffer> pool = perf::MappedBuffer::memfd(run.size);
  if (!pool) {
    return pool.error();
  }
  const Result<perf::MappedBuffer> user = perf::MappedBuffer::anonymous(run.size);
  if (!user) {
    return user.error();
  }
  const perf::CeilingBuffers buffers{pool->bytes(), pool->descriptor(), user->bytes(),
                                     pool->is_huge()};
  for (const Direction direction : {Direction::read, Direction::write}) {
    for (std::size_t threads = 1; threads <= std::thread::hardware_concurrency(); threads *= 2) {
      for (const bool streaming : {false, true}) {
        const auto copies =
            perf::make_copy_ceiling(buffers, {threads, std::size_t{64} << 10U, streaming});
        if (auto done = report(*copies, direction, run); !done) {
          return done;
        }
      }
    }
    if (auto done = report_sockets(buffers, direction, run); !done) {
      return done;
    }
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const auto mib = argc > 1 ? number(argv[1], kMibMin, kMibMax) : 1024;
  const auto passes = argc > 2 ? number(argv[2], 1, kPassesMax) : 5;
  if (!mib || !passes || argc > 3) {
    fmt::print(stderr, "usage: perf_machine_ceilings [MiB per side, from 4] [passes, from 1]\n");
    return 2;
  }
  const Result<void> done = report_all({SizeBytes(*mib << 20U), *passes});
  if (!done) {
    fmt::print(stderr, "perf_machine_ceilings: {}\n", done.error().message());
    return 1;
  }
  return 0;
}
