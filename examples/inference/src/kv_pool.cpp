// SPDX-License-Identifier: Apache-2.0
#include "kv_pool.h"

#include <algorithm>
#include <utility>

namespace godbox::inference {
namespace {

std::vector<std::string_view> views_of(std::span<const std::string> names) {
  return {names.begin(), names.end()};
}

}  // namespace

BlockFetch::BlockFetch(KvPool& pool, kv::KvLoad load)
    : pool_(pool),
      load_(std::move(load)),
      begun_(pool.clock_.now()),
      until_(begun_ + pool.timeout_) {}

void BlockFetch::wait_layer(std::uint32_t layer) {
  if (!pool_.mover_->wait_layer(load_, layer, until_)) {
    wait();
  }
}

void BlockFetch::wait() {
  if (!pool_.mover_->wait(load_, until_)) {
    // What is under way still writes into the cache: it ends within the timeout of its calls.
    pool_.mover_->cancel(load_);
    pool_.mover_->wait(load_, kNever);
  }
  if (std::exchange(is_counted_, true)) {
    return;
  }
  PoolCounters& counters = pool_.counters_;
  counters.fetch_time += pool_.clock_.now() - begun_;
  for (const Errc status : statuses()) {
    if (status == Errc::ok) {
      ++counters.blocks_fetched;
    } else if (status == Errc::not_found) {
      ++counters.blocks_missed;
    } else {
      ++counters.blocks_failed[status];
    }
  }
}

Result<std::unique_ptr<KvPool>> KvPool::connect(const std::string& address, const PagedCache& cache,
                                                Duration timeout) {
  std::unique_ptr<KvPool> pool(new KvPool(address, timeout));
  ConnectOptions options;
  options.client.timeout = timeout;
  options.client.lease = timeout + std::chrono::seconds(1);
  auto connection = godbox::connect(address, options);
  if (!connection) {
    return Error(connection.error().code, address + ": " + connection.error().detail);
  }
  pool->connection_ = std::move(*connection);
  auto mover =
      kv::KvMover::create(pool->connection_->client(), pool->clock_, cache.described(), {});
  if (!mover) {
    return mover.error();
  }
  pool->mover_ = std::move(*mover);
  return pool;
}

std::vector<Errc> KvPool::store(std::span<const std::string> names,
                                std::span<const std::uint32_t> blocks) {
  const TimePoint begin = clock_.now();
  const std::vector<std::string_view> views = views_of(names);
  std::vector<Errc> statuses = mover_->store({views, blocks}, {.timeout = timeout_});
  counters_.store_time += clock_.now() - begin;
  for (const Errc status : statuses) {
    if (status == Errc::ok) {
      ++counters_.blocks_stored;
    } else if (status == Errc::already_exists) {
      ++counters_.blocks_already_there;
    } else {
      ++counters_.blocks_failed[status];
    }
  }
  return statuses;
}

Result<BlockFetch> KvPool::begin_fetch(std::span<const std::string> names,
                                       std::span<const std::uint32_t> blocks) {
  const std::vector<std::string_view> views = views_of(names);
  // Not as a prefix: what lies behind a miss is as good as what lies before it.
  Result<kv::KvLoad> load =
      mover_->begin_load({views, blocks}, {.timeout = timeout_, .prefix = false}, {}, {});
  if (!load) {
    counters_.blocks_failed[load.error().code] += names.size();
    return load.error();
  }
  return BlockFetch(*this, std::move(*load));
}

Result<void> KvPool::remove(std::span<const std::string> names) {
  std::vector<std::string> in_pool;
  for (const std::string& name : names) {
    in_pool.push_back(mover_->name_in_pool(name));
  }
  const std::vector<std::string_view> views = views_of(in_pool);
  for (const Errc status : connection_->client().remove(views)) {
    if (status != Errc::ok && status != Errc::not_found) {
      return Error(status, address_ + ": blocks could not be removed");
    }
  }
  return {};
}

void KvPool::keep_alive() { mover_->progress(clock_.now()); }

SizeBytes KvPool::block_size() const {
  return mover_->layer_size() * mover_->cache().shape().layers;
}

}  // namespace godbox::inference
