// SPDX-License-Identifier: Apache-2.0
//
// A paged cache on NUMA nodes, page by page in turn, all of it present before it is used, and where
// its pages really lie. Thread-safety: one thread. Ownership: owns the memory, which stays where it
// is when this moves. Units: bytes, blocks. Errors: those of driver::NumaBuffer and PagedCache.
#pragma once

#include "paged_cache.h"
#include <godbox/driver/numa_nodes.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace godbox::inference {

class CacheMemory {
 public:
  [[nodiscard]] static Result<CacheMemory> create(const Geometry& geometry, std::uint32_t blocks,
                                                  std::span<const driver::NumaNodeId> nodes);

  [[nodiscard]] PagedCache& cache() { return *cache_; }
  [[nodiscard]] Result<driver::NumaPlacement> placement() const;
  // How fast all of it is copied to `copy`, once: what the memory can do, beside what an engine
  // makes of it.
  [[nodiscard]] Rate copy_rate(std::vector<std::byte>& copy) const;

 private:
  CacheMemory(driver::NumaBuffer buffer, std::unique_ptr<PagedCache> cache)
      : buffer_(std::move(buffer)), cache_(std::move(cache)) {}

  driver::NumaBuffer buffer_;
  std::unique_ptr<PagedCache> cache_;
};

// "208 KiB on node 19, 208 KiB on node 20"
[[nodiscard]] std::string to_text(const driver::NumaPlacement& placement);
// Whether every page is present, and on one of these nodes.
[[nodiscard]] bool is_on(const driver::NumaPlacement& placement,
                         std::span<const driver::NumaNodeId> nodes);

}  // namespace godbox::inference
