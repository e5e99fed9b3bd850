// SPDX-License-Identifier: Apache-2.0
//
// A client of Redis, Valkey and memcached that adds as little as possible to what the protocol
// asks for: some connections, requests pipelined on each, values moved in place.
// Thread-safety, ownership: see KvClient. Units: bytes, Durations. Errors: those of
// PlainConnection; deadline_exceeded when no byte has moved for `timeout`; unsupported for reads.
#pragma once

#include "plain_connection.h"

#include <chrono>
#include <memory>
#include <vector>

namespace godbox::compare {

struct PlainClientOptions {
  PlainProtocol protocol = PlainProtocol::resp2;
  std::size_t connections = 1;
  // How long it looks for bytes before the thread sleeps: what Godbox's client does by default.
  Duration busy_poll = std::chrono::microseconds(50);
  Duration timeout = std::chrono::seconds(10);
};

class PlainClient : public KvClient {
 public:
  [[nodiscard]] static Result<std::unique_ptr<KvClient>> connect(const StreamAddress& address,
                                                                 const PlainClientOptions& options);

  void submit(KvOp op, std::span<const KvObject> objects, OnDone on_done) override;
  void progress() override;

 private:
  struct Operation {
    std::size_t unanswered = 0;
    OnDone on_done;
  };

  explicit PlainClient(const PlainClientOptions& options) : options_(options) {}
  [[nodiscard]] std::uint32_t take_operation();
  bool move();
  void wait();
  void answered(std::uint32_t operation);
  void fail(const Error& error);

  PlainClientOptions options_;
  std::vector<PlainConnection> connections_;
  std::size_t next_connection_ = 0;
  std::vector<Operation> operations_;
  std::vector<std::uint32_t> free_operations_;
  std::chrono::steady_clock::time_point moved_at_;
  std::optional<Error> failure_;
};

}  // namespace godbox::compare
