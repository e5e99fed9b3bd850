// SPDX-License-Identifier: Apache-2.0
#include "plain_client.h"

#include <fmt/format.h>

#include <thread>
#include <utility>

#include <poll.h>

namespace godbox::compare {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr int kWaitMaxMs = 100;

}  // namespace

Result<std::unique_ptr<KvClient>> PlainClient::connect(const StreamAddress& address,
                                                       const PlainClientOptions& options) {
  std::unique_ptr<PlainClient> client(new PlainClient(options));
  if (std::thread::hardware_concurrency() == 1) {
    client->options_.busy_poll = Duration::zero();  // as Godbox's client does
  }
  for (std::size_t i = 0; i < options.connections; ++i) {
    Result<PlainConnection> connection = PlainConnection::connect(address, options.protocol);
    if (!connection) {
      return connection.error();
    }
    client->connections_.push_back(std::move(*connection));
  }
  if (client->connections_.empty()) {
    return Error(Errc::invalid_argument, "a client needs at least one connection");
  }
  return std::unique_ptr<KvClient>(std::move(client));
}

std::uint32_t PlainClient::take_operation() {
  if (free_operations_.empty()) {
    operations_.emplace_back();
    return static_cast<std::uint32_t>(operations_.size() - 1);
  }
  const std::uint32_t operation = free_operations_.back();
  free_operations_.pop_back();
  return operation;
}

void PlainClient::submit(KvOp op, std::span<const KvObject> objects, OnDone on_done) {
  if (op == KvOp::read || objects.empty() || failure_) {
    const bool is_failed = failure_.has_value() && op != KvOp::read && !objects.empty();
    on_done(is_failed ? *failure_
                      : Error(Errc::unsupported,
                              "this store has values under names, and no "
                              "operation over none of them"));
    return;
  }
  if (operations_.size() == free_operations_.size()) {
    moved_at_ = SteadyClock::now();  // there was nothing to wait for
  }
  const std::uint32_t operation = take_operation();
  operations_[operation] = {objects.size(), std::move(on_done)};
  for (const KvObject& object : objects) {
    connections_[next_connection_].add(op, object, operation);
    next_connection_ = (next_connection_ + 1) % connections_.size();
  }
}

void PlainClient::progress() {
  if (failure_ || operations_.size() == free_operations_.size()) {
    return;
  }
  const SteadyClock::time_point begin = SteadyClock::now();
  bool moved = false;
  do {
    moved = move();
  } while (!moved && !failure_ && SteadyClock::now() - begin < options_.busy_poll);
  if (moved) {
    moved_at_ = SteadyClock::now();
  } else if (SteadyClock::now() - moved_at_ > options_.timeout) {
    fail(Error(Errc::deadline_exceeded,
               fmt::format("no byte has moved for {} s",
                           std::chrono::duration<double>(options_.timeout).count())));
  } else if (!failure_) {
    wait();
  }
}

// One round over the connections; whether any byte moved.
bool PlainClient::move() {
  bool moved = false;
  for (PlainConnection& connection : connections_) {
    const Result<bool> done =
        connection.move([this](std::uint32_t operation) { answered(operation); });
    if (!done) {
      fail(done.error());
      return false;
    }
    moved = moved || *done;
  }
  return moved;
}

void PlainClient::wait() {
  std::vector<pollfd> waited;
  waited.reserve(connections_.size());
  for (const PlainConnection& connection : connections_) {
    waited.push_back({connection.descriptor(), connection.wanted_events(), 0});
  }
  (void)::poll(waited.data(), waited.size(), kWaitMaxMs);  // whatever it says, move() finds out
}

void PlainClient::answered(std::uint32_t operation) {
  if (--operations_[operation].unanswered > 0) {
    return;
  }
  const OnDone on_done = std::exchange(operations_[operation].on_done, nullptr);
  free_operations_.push_back(operation);
  on_done({});
}

void PlainClient::fail(const Error& error) {
  failure_ = error;
  std::vector<Operation> operations = std::exchange(operations_, {});
  free_operations_.clear();
  for (const Operation& operation : operations) {
    if (operation.on_done) {
      operation.on_done(error);
    }
  }
}

}  // namespace godbox::compare
