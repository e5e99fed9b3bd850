// SPDX-License-Identifier: Apache-2.0
#include "numa_system.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include <numa.h>
#include <numaif.h>
#include <sys/mman.h>

// Linux 6.9; libnuma 2.0.16 does not know it.
#ifndef MPOL_WEIGHTED_INTERLEAVE
#define MPOL_WEIGHTED_INTERLEAVE 6
#endif
// Linux 5.14.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace godbox::driver {
namespace {

constexpr std::size_t kPagesPerCall = 4096;
constexpr std::uint32_t kWeightMax = 255;
constexpr std::uint64_t kReserveMax = std::uint64_t{256} << 20U;

using NodeMask = std::unique_ptr<bitmask, void (*)(bitmask*)>;

Error no_numa() { return {Errc::unsupported, "this kernel has no NUMA policies"}; }

// Free pages and such as the kernel takes back at need, by the node's meminfo.
SizeBytes available_on(int node, std::uint64_t free_bytes) {
  std::ifstream file(fmt::format("/sys/devices/system/node/node{}/meminfo", node));
  std::uint64_t cached_kb = 0;
  std::uint64_t shared_kb = 0;
  // "Node 0 FilePages:     123 kB"
  for (std::string word, number, key, value; file >> word >> number >> key >> value;
       std::getline(file, word)) {
    if (key == "FilePages:") {
      cached_kb = std::stoull(value);
    } else if (key == "Shmem:") {
      shared_kb = std::stoull(value);
    }
  }
  return SizeBytes(free_bytes + (cached_kb - std::min(cached_kb, shared_kb)) * 1024);
}

bool has_cpus(int node) {
  const NodeMask cpus(numa_allocate_cpumask(), numa_bitmask_free);
  return numa_node_to_cpus(node, cpus.get()) == 0 && numa_bitmask_weight(cpus.get()) > 0;
}

int mode_of(NumaPolicy policy) {
  switch (policy) {
    case NumaPolicy::bind:
      return MPOL_BIND;
    case NumaPolicy::interleave:
      return MPOL_INTERLEAVE;
    case NumaPolicy::weighted_interleave:
      return MPOL_WEIGHTED_INTERLEAVE;
  }
  return MPOL_DEFAULT;
}

std::string weight_path(NumaNodeId id) {
  return fmt::format("/sys/kernel/mm/mempolicy/weighted_interleave/node{}", id.value());
}

// Calls use(pages) for the addresses of the pages of `range`, a batch at a time.
template <class Use>
Result<void> for_page_batches(ConstSpan range, Use&& use) {
  const auto begin = reinterpret_cast<std::uintptr_t>(range.data()) & ~(kNumaPageBytes - 1);
  const auto end = reinterpret_cast<std::uintptr_t>(range.data()) + range.size();
  std::vector<void*> pages;
  for (std::uintptr_t at = begin; at < end;) {
    pages.clear();
    for (; at < end && pages.size() < kPagesPerCall; at += kNumaPageBytes) {
      pages.push_back(reinterpret_cast<void*>(at));  // NOLINT(performance-no-int-to-ptr)
    }
    if (Result<void> done = use(pages); !done) {
      return done;
    }
  }
  return {};
}

}  // namespace

Error numa_error(std::string_view what, int error_number) {
  Errc code = Errc::io_error;
  switch (error_number) {
    case ENOSYS:
    case EOPNOTSUPP:
      code = Errc::unsupported;
      break;
    case EPERM:
    case EACCES:
      code = Errc::permission_denied;
      break;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      code = Errc::limit_exceeded;
      break;
    case ENOSPC:
      code = Errc::backing_full;
      break;
    case ENODEV:
      code = Errc::device_missing;
      break;
    default:
      break;
  }
  return {code, fmt::format("cannot {}: {}", what, std::generic_category().message(error_number))};
}

SizeBytes node_reserve(SizeBytes node_size) {
  return SizeBytes(std::min(kReserveMax, node_size.count() / 32));
}

Result<NumaNode> numa_node(NumaNodeId id) {
  if (numa_available() < 0) {
    return no_numa();
  }
  const int number = id.value();
  long long free_bytes = 0;
  const long long size = number <= numa_max_node() ? numa_node_size64(number, &free_bytes) : -1;
  if (size <= 0) {
    return Error(Errc::device_missing, fmt::format("there is no NUMA node {} with memory", number));
  }
  NumaNode node;
  node.id = id;
  node.size = SizeBytes(static_cast<std::uint64_t>(size));
  node.available = available_on(number, static_cast<std::uint64_t>(free_bytes));
  node.has_cpus = has_cpus(number);
  for (int other = 0; other <= numa_max_node(); ++other) {
    if (const int distance = numa_distance(number, other); distance > 0) {
      node.distances[NumaNodeId(static_cast<std::uint16_t>(other))] =
          static_cast<std::uint32_t>(distance);
    }
  }
  return node;
}

Result<std::vector<NumaNode>> numa_nodes() {
  if (numa_available() < 0) {
    return no_numa();
  }
  std::vector<NumaNode> nodes;
  for (int number = 0; number <= numa_max_node(); ++number) {
    Result<NumaNode> node = numa_node(NumaNodeId(static_cast<std::uint16_t>(number)));
    if (node) {
      nodes.push_back(std::move(*node));
    }
  }
  if (nodes.empty()) {
    return Error(Errc::device_missing, "no NUMA node can be read: is /sys mounted?");
  }
  return nodes;
}

Result<std::uint32_t> interleave_weight(NumaNodeId id) {
  std::ifstream file(weight_path(id));
  std::uint32_t weight = 0;
  if (!(file >> weight)) {
    return Error(Errc::unsupported,
                 fmt::format("{} cannot be read: weights need Linux 6.9", weight_path(id)));
  }
  return weight;
}

Result<void> set_interleave_weight(NumaNodeId id, std::uint32_t weight) {
  if (weight < 1 || weight > kWeightMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("a weight of {}: allowed is 1 to {}", weight, kWeightMax));
  }
  if (auto there = interleave_weight(id); !there) {
    return there.error();
  }
  std::ofstream file(weight_path(id));
  if (!(file << weight << std::flush)) {
    return Error(Errc::permission_denied,
                 fmt::format("{} cannot be written: that needs root", weight_path(id)));
  }
  return {};
}

Result<void> bind_memory(MutableSpan memory, NumaPolicy policy, std::span<const NumaNodeId> nodes) {
  if (numa_available() < 0) {
    return no_numa();
  }
  const NodeMask mask(numa_allocate_nodemask(), numa_bitmask_free);
  for (const NumaNodeId node : nodes) {
    if (auto there = numa_node(node); !there) {
      return there.error();
    }
    numa_bitmask_setbit(mask.get(), node.value());
  }
  // One more: the kernel counts the bits beginning with 1.
  if (mbind(memory.data(), memory.size(), mode_of(policy), mask->maskp, mask->size + 1, 0) == 0) {
    return {};
  }
  if (errno == EINVAL && policy == NumaPolicy::weighted_interleave) {
    return Error(Errc::unsupported, "weighted interleave needs Linux 6.9");
  }
  return numa_error(fmt::format("bind {} bytes to {} NUMA nodes", memory.size(), nodes.size()),
                    errno);
}

Result<NumaPlacement> numa_placement(ConstSpan range) {
  NumaPlacement placement;
  std::vector<int> on;
  const auto look = [&](std::vector<void*>& pages) -> Result<void> {
    on.assign(pages.size(), -1);
    // Without target nodes it moves nothing, and tells where the pages are.
    if (move_pages(0, pages.size(), pages.data(), nullptr, on.data(), 0) != 0) {
      return numa_error("find the nodes of pages", errno);
    }
    for (const int node : on) {
      SizeBytes& bytes = node < 0 ? placement.absent
                                  : placement.on_node[NumaNodeId(static_cast<std::uint16_t>(node))];
      bytes = bytes + SizeBytes(kNumaPageBytes);
    }
    return {};
  };
  if (auto done = for_page_batches(range, look); !done) {
    return done.error();
  }
  return placement;
}

Result<SizeBytes> move_to_node(ConstSpan range, NumaNodeId node) {
  const Result<NumaNode> there = numa_node(node);
  if (!there) {
    return there.error();
  }
  std::uint64_t moved_bytes = 0;
  std::vector<int> to;
  std::vector<int> on;
  const auto move = [&](std::vector<void*>& pages) -> Result<void> {
    to.assign(pages.size(), node.value());
    on.assign(pages.size(), -1);
    if (move_pages(0, pages.size(), pages.data(), to.data(), on.data(), MPOL_MF_MOVE) < 0) {
      const int error_number = errno == ENOMEM ? ENOSPC : errno;
      return numa_error(fmt::format("move pages to NUMA node {}", node.value()), error_number);
    }
    for (const int where : on) {
      moved_bytes += where == node.value() ? kNumaPageBytes : 0;
    }
    return {};
  };
  if (auto done = for_page_batches(range, move); !done) {
    return done.error();
  }
  return SizeBytes(moved_bytes);
}

Result<NumaBuffer> NumaBuffer::create(SizeBytes size, NumaPolicy policy,
                                      std::span<const NumaNodeId> nodes) {
  if (size.is_zero() || nodes.empty()) {
    return Error(Errc::invalid_argument, "a NUMA buffer needs a size and at least one node");
  }
  void* const at = mmap(nullptr, size.count(), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    return numa_error(fmt::format("map {} bytes", size.count()), errno);
  }
  NumaBuffer buffer(MutableSpan(static_cast<std::byte*>(at), size.count()),
                    std::vector<NumaNodeId>(nodes.begin(), nodes.end()));
  if (auto bound = bind_memory(buffer.bytes_, policy, nodes); !bound) {
    return bound.error();
  }
  return buffer;
}

NumaBuffer::~NumaBuffer() {
  if (!bytes_.empty()) {
    munmap(bytes_.data(), bytes_.size());
  }
}

NumaBuffer::NumaBuffer(NumaBuffer&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), nodes_(std::move(other.nodes_)) {}

NumaBuffer& NumaBuffer::operator=(NumaBuffer&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(nodes_, other.nodes_);
  return *this;
}

Result<void> NumaBuffer::populate() {
  std::uint64_t room_bytes = 0;
  for (const NumaNodeId id : nodes_) {
    const Result<NumaNode> node = numa_node(id);
    if (!node) {
      return node.error();
    }
    const std::uint64_t kept = node_reserve(node->size).count();
    room_bytes += node->available.count() - std::min(kept, node->available.count());
  }
  if (room_bytes < bytes_.size()) {
    return Error(Errc::backing_full, fmt::format("{} bytes wanted, the NUMA nodes have room for {}",
                                                 bytes_.size(), room_bytes));
  }
  if (madvise(bytes_.data(), bytes_.size(), MADV_POPULATE_WRITE) != 0) {
    return numa_error(fmt::format("populate {} bytes", bytes_.size()),
                      errno == ENOMEM ? ENOSPC : errno);
  }
  return {};
}

}  // namespace godbox::driver
