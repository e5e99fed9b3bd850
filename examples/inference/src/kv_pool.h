// SPDX-License-Identifier: Apache-2.0
//
// The pool as the engine sees it: blocks of its cache go there under names and come back, over one
// door (`dax:`, `tcp:`, ...). Nothing of it is needed: a pool that is slow, full or gone costs what
// has to be computed again, and says so in the counters. Thread-safety: one thread, which calls
// keep_alive() while it is busy with other things. Ownership: owns the connection; the cache's
// memory outlives it. Units: bytes, Durations, blocks by index. Errors: those of connect() and
// KvMover; per block those of KvMover's transfers.
#pragma once

#include "paged_cache.h"
#include <godbox/connect.h>
#include <godbox/striping/kv_mover.h>

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::inference {

struct PoolCounters {
  std::uint64_t blocks_stored = 0;
  std::uint64_t blocks_already_there = 0;
  std::uint64_t blocks_fetched = 0;
  std::uint64_t blocks_missed = 0;
  std::map<Errc, std::uint64_t> blocks_failed;  // of both directions, by why
  Duration store_time{};
  Duration fetch_time{};  // from the lookup until the last layer is in place
};

class KvPool;

// Blocks on their way into the cache, layer 0 first.
class BlockFetch {
 public:
  // Until the layer's pages are in place, or will not come: the statuses say which.
  void wait_layer(std::uint32_t layer);
  void wait();
  // By block, in the order of the names; what is not ok is for the caller to compute.
  [[nodiscard]] std::span<const Errc> statuses() const { return load_.statuses(); }

 private:
  friend class KvPool;
  BlockFetch(KvPool& pool, kv::KvLoad load);

  KvPool& pool_;
  kv::KvLoad load_;
  TimePoint begun_;
  TimePoint until_;
  bool is_counted_ = false;
};

class KvPool {
 public:
  // `timeout` is of each transfer.
  [[nodiscard]] static Result<std::unique_ptr<KvPool>> connect(const std::string& address,
                                                               const PagedCache& cache,
                                                               Duration timeout);

  // All layers of these blocks; by name: ok and already_exists, both there; else why not.
  [[nodiscard]] std::vector<Errc> store(std::span<const std::string> names,
                                        std::span<const std::uint32_t> blocks);
  [[nodiscard]] Result<BlockFetch> begin_fetch(std::span<const std::string> names,
                                               std::span<const std::uint32_t> blocks);
  // Errors: of the call. Names that are not there are no error.
  [[nodiscard]] Result<void> remove(std::span<const std::string> names);
  void keep_alive();
  [[nodiscard]] bool is_open() const { return connection_->client().is_open(); }

  [[nodiscard]] const PoolCounters& counters() const { return counters_; }
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] SizeBytes block_size() const;
  [[nodiscard]] kv::KvMover& mover() { return *mover_; }

 private:
  friend class BlockFetch;
  KvPool(std::string address, Duration timeout) : address_(std::move(address)), timeout_(timeout) {}

  std::string address_;
  Duration timeout_;
  SteadyClock clock_;
  std::unique_ptr<Connection> connection_;
  std::unique_ptr<kv::KvMover> mover_;  // goes before its connection
  PoolCounters counters_;
};

}  // namespace godbox::inference
