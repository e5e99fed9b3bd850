// SPDX-License-Identifier: Apache-2.0
//
// The NUMA nodes of this machine, memory spread over several of them by policy, where the pages of
// a range really lie, and moving them. CXL memory that was onlined as RAM is a node without CPUs.
// Thread-safety: free functions from any thread; NumaBuffer concurrent on disjoint ranges.
// Ownership: a buffer owns its mapping. Units: bytes; pages are the machine's small ones.
// Errors: named at each call; each names what was asked and the system's reason.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <map>
#include <span>
#include <vector>

namespace godbox::driver {

using NumaNodeId = Id<struct NumaNodeTag, std::uint16_t>;

struct NumaNode {
  NumaNodeId id;
  SizeBytes size;
  SizeBytes available;  // free, or held by nothing but caches
  bool has_cpus = false;
  std::map<NumaNodeId, std::uint32_t> distances;  // 10: the node itself
};

// All nodes with memory, by id; never none. Errors: unsupported (a kernel without NUMA),
// device_missing (/sys is not mounted).
[[nodiscard]] Result<std::vector<NumaNode>> numa_nodes();
// Errors: device_missing (no such node, or one without memory), unsupported.
[[nodiscard]] Result<NumaNode> numa_node(NumaNodeId id);

enum class NumaPolicy : std::uint8_t {
  bind,                // on the nodes given, the nearest first
  interleave,          // page by page, in turn
  weighted_interleave  // in turn, as many pages as the node's weight: Linux 6.9 and later
};

// How many pages in a row weighted_interleave takes from a node, for the whole machine:
// /sys/kernel/mm/mempolicy/weighted_interleave. Errors: unsupported (an older kernel),
// permission_denied (setting needs root), invalid_argument (a weight is 1 to 255), device_missing.
[[nodiscard]] Result<std::uint32_t> interleave_weight(NumaNodeId id);
[[nodiscard]] Result<void> set_interleave_weight(NumaNodeId id, std::uint32_t weight);

struct NumaPlacement {
  std::map<NumaNodeId, SizeBytes> on_node;
  SizeBytes absent;  // not backed by any page yet
};

// Where the pages of [range) lie. Errors: unsupported, io_error.
[[nodiscard]] Result<NumaPlacement> numa_placement(ConstSpan range);
// Moves the pages of [range) that are present to a node; returns the bytes that are there now.
// Errors: device_missing, backing_full (the node has no room), permission_denied, unsupported,
// io_error.
[[nodiscard]] Result<SizeBytes> move_to_node(ConstSpan range, NumaNodeId node);

// Private memory of this process over a set of nodes.
class NumaBuffer {
 public:
  // Address space with a policy; pages come with the first access, or with populate().
  // Errors: invalid_argument (no bytes, no nodes), device_missing, unsupported (weighted_interleave
  // on an older kernel), limit_exceeded, io_error.
  [[nodiscard]] static Result<NumaBuffer> create(SizeBytes size, NumaPolicy policy,
                                                 std::span<const NumaNodeId> nodes);
  NumaBuffer() = default;
  ~NumaBuffer();
  NumaBuffer(NumaBuffer&& other) noexcept;
  NumaBuffer& operator=(NumaBuffer&& other) noexcept;

  [[nodiscard]] MutableSpan bytes() const { return bytes_; }
  // Makes all of it present, unless the nodes have too little left for it. Errors: backing_full.
  [[nodiscard]] Result<void> populate();

 private:
  NumaBuffer(MutableSpan bytes, std::vector<NumaNodeId> nodes)
      : bytes_(bytes), nodes_(std::move(nodes)) {}
  MutableSpan bytes_;
  std::vector<NumaNodeId> nodes_;
};

}  // namespace godbox::driver
