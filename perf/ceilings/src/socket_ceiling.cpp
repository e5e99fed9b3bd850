// SPDX-License-Identifier: Apache-2.0
#include "socket_pair.h"
#include "socket_pump.h"
#include <godbox/perf/ceiling.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <vector>

namespace godbox::perf {
namespace {

constexpr std::array<std::size_t, 2> kPieceBytes{std::size_t{256} << 10U, std::size_t{1} << 20U};
constexpr int kCalibrationRounds = 3;

class SocketCeiling final : public Ceiling {
 public:
  SocketCeiling(const CeilingBuffers& buffers, const SocketCeilingOptions& options,
                std::vector<SocketPair> pairs)
      : buffers_(buffers), options_(options), pairs_(std::move(pairs)) {}

  std::string_view name() const override { return options_.sendfile ? "sendfile" : "sockets"; }

  std::string variant() const override {
    return fmt::format("{} and recv, pieces of {} KiB, {} connections, {}+1 threads, {} pages",
                       options_.sendfile ? "sendfile" : "send", piece_bytes_ >> 10U, pairs_.size(),
                       options_.server_threads, buffers_.pool_is_huge ? "huge" : "small");
  }

  Result<void> calibrate(Direction direction, SizeBytes bytes) override {
    double best_rate = 0;
    for (const std::size_t piece : kPieceBytes) {
      for (int round = 0; round < kCalibrationRounds; ++round) {
        const Result<double> rate = run(direction, bytes, piece);
        if (!rate) {
          return rate.error();
        }
        if (*rate > best_rate) {
          best_rate = *rate;
          piece_bytes_ = piece;
        }
      }
    }
    return {};
  }

  Result<double> measure(Direction direction, SizeBytes bytes) override {
    return run(direction, bytes, piece_bytes_);
  }

 private:
  Result<double> run(Direction direction, SizeBytes bytes, std::size_t piece_bytes) {
    const bool reading = direction == Direction::read;
    const MutableSpan source = reading ? buffers_.pool_side : buffers_.user_side;
    const MutableSpan target = reading ? buffers_.user_side : buffers_.pool_side;
    PumpJob job(bytes.count(), piece_bytes, position_);
    job.source = source;
    job.target = target;
    job.source_descriptor = options_.sendfile && reading ? buffers_.pool_descriptor : -1;

    const auto begin = std::chrono::steady_clock::now();
    {
      std::vector<std::jthread> servers;
      for (std::size_t index = 0; index < options_.server_threads; ++index) {
        servers.emplace_back([&job, reading, sockets = server_sockets(index)] {
          reading ? pump_out(job, sockets) : pump_in(job, sockets);
        });
      }
      const std::vector<int> sockets = client_sockets();
      reading ? pump_in(job, sockets) : pump_out(job, sockets);
    }
    if (job.error() != 0) {
      return Error(Errc::io_error,
                   fmt::format("the raw sockets failed with errno {}", job.error()));
    }
    position_ += bytes.count();
    const std::chrono::duration<double> took = job.finished_at() - begin;
    return static_cast<double>(bytes.count()) / took.count() / 1e9;
  }

  std::vector<int> server_sockets(std::size_t thread) const {
    std::vector<int> sockets;
    for (std::size_t i = thread; i < pairs_.size(); i += options_.server_threads) {
      sockets.push_back(pairs_[i].server());
    }
    return sockets;
  }

  std::vector<int> client_sockets() const {
    std::vector<int> sockets;
    for (const SocketPair& pair : pairs_) {
      sockets.push_back(pair.client());
    }
    return sockets;
  }

  CeilingBuffers buffers_;
  SocketCeilingOptions options_;
  std::vector<SocketPair> pairs_;
  std::size_t piece_bytes_ = kPieceBytes[0];
  std::uint64_t position_ = 0;  // bytes moved so far
};

}  // namespace

Result<std::unique_ptr<Ceiling>> make_socket_ceiling(const CeilingBuffers& buffers,
                                                     const SocketCeilingOptions& options) {
  if (options.connections == 0 || options.server_threads == 0) {
    return Error(Errc::invalid_argument, "a socket ceiling needs a connection and a server thread");
  }
  if (buffers.pool_side.size() < kPieceBytes.back() ||
      buffers.user_side.size() < kPieceBytes.back()) {
    return Error(Errc::invalid_argument, "a socket ceiling needs buffers of at least 1 MiB");
  }
  Result<std::vector<SocketPair>> pairs = connect_pairs(options.connections);
  if (!pairs) {
    return pairs.error();
  }
  return std::unique_ptr<Ceiling>(
      std::make_unique<SocketCeiling>(buffers, options, std::move(*pairs)));
}

}  // namespace godbox::perf
