// SPDX-License-Identifier: Apache-2.0
#include "cache_memory.h"

#include <godbox/clock.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace godbox::inference {

Result<CacheMemory> CacheMemory::create(const Geometry& geometry, std::uint32_t blocks,
                                        std::span<const driver::NumaNodeId> nodes) {
  const driver::NumaPolicy policy =
      nodes.size() > 1 ? driver::NumaPolicy::interleave : driver::NumaPolicy::bind;
  Result<driver::NumaBuffer> buffer =
      driver::NumaBuffer::create(PagedCache::size_of(geometry, blocks), policy, nodes);
  if (!buffer) {
    return buffer.error();
  }
  if (Result<void> populated = buffer->populate(); !populated) {
    return populated.error();
  }
  Result<PagedCache> cache = PagedCache::create(geometry, blocks, buffer->bytes());
  if (!cache) {
    return cache.error();
  }
  return CacheMemory(std::move(*buffer), std::make_unique<PagedCache>(std::move(*cache)));
}

Rate CacheMemory::copy_rate(std::vector<std::byte>& copy) const {
  const ConstSpan bytes = buffer_.bytes();
  copy.assign(bytes.size(), std::byte{});  // present before the time begins
  const SteadyClock clock;
  const TimePoint begin = clock.now();
  std::memcpy(copy.data(), bytes.data(), bytes.size());
  const std::chrono::duration<double> took = clock.now() - begin;
  return Rate(static_cast<double>(bytes.size()) / took.count());
}

Result<driver::NumaPlacement> CacheMemory::placement() const {
  return driver::numa_placement(buffer_.bytes());
}

std::string to_text(const driver::NumaPlacement& placement) {
  std::string text;
  const auto add = [&](SizeBytes size, const std::string& where) {
    text += fmt::format("{}{} KiB {}", text.empty() ? "" : ", ", size.count() >> 10U, where);
  };
  for (const auto& [node, size] : placement.on_node) {
    add(size, fmt::format("on node {}", node.value()));
  }
  if (!placement.absent.is_zero()) {
    add(placement.absent, "absent");
  }
  return text;
}

bool is_on(const driver::NumaPlacement& placement, std::span<const driver::NumaNodeId> nodes) {
  return placement.absent.is_zero() &&
         std::all_of(placement.on_node.begin(), placement.on_node.end(), [&](const auto& entry) {
           return std::find(nodes.begin(), nodes.end(), entry.first) != nodes.end();
         });
}

}  // namespace godbox::inference
