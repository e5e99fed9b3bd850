// SPDX-License-Identifier: Apache-2.0
//
// What a machine of one node can show, and with a second one what moving does. What every target
// promises is checked by tests/contract.
#include <godbox/driver/numa_node_memory.h>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <cstring>

namespace godbox::driver {
namespace {

constexpr NumaNodeId kMissing(9999);

std::vector<NumaNode> nodes_or_skip(std::size_t least) {
  auto nodes = numa_nodes();
  if (!nodes) {
    SKIP("needs a kernel with NUMA: " << nodes.error().message());
  }
  if (nodes->size() < least) {
    SKIP("needs " << least << " NUMA nodes");
  }
  return *nodes;
}

SizeBytes on_node(const NumaPlacement& placement, NumaNodeId node) {
  const auto found = placement.on_node.find(node);
  return found == placement.on_node.end() ? SizeBytes() : found->second;
}

TEST_CASE("nodes have sizes, distances and perhaps processors", "[unit]") {
  bool any_cpus = false;
  for (const NumaNode& node : nodes_or_skip(1)) {
    CHECK(node.size.count() > 0);
    CHECK(node.available <= node.size);
    CHECK(node.distances.at(node.id) == 10);
    any_cpus = any_cpus || node.has_cpus;
  }
  CHECK(any_cpus);
  CHECK(numa_node(kMissing).error().code == Errc::device_missing);
}

TEST_CASE("bound memory lies on its node, interleaved memory on all", "[unit]") {
  const std::vector<NumaNode> nodes = nodes_or_skip(1);
  for (const NumaPolicy policy :
       {NumaPolicy::bind, NumaPolicy::interleave, NumaPolicy::weighted_interleave}) {
    const std::array one{nodes.front().id};
    auto buffer = NumaBuffer::create(1_MiB, policy, one);
    if (!buffer && policy == NumaPolicy::weighted_interleave) {
      CHECK(buffer.error().code == Errc::unsupported);
      continue;
    }
    REQUIRE(buffer.has_value());
    CHECK(numa_placement(buffer->bytes())->absent == 1_MiB);
    REQUIRE(buffer->populate().has_value());
    const auto placement = numa_placement(buffer->bytes());
    REQUIRE(placement.has_value());
    CHECK(on_node(*placement, one[0]) == 1_MiB);
    CHECK(placement->absent.is_zero());
  }
}

TEST_CASE("a buffer needs a size and nodes that exist, and no more than they have", "[unit]") {
  const std::vector<NumaNode> nodes = nodes_or_skip(1);
  const std::array one{nodes.front().id};
  const std::array missing{kMissing};
  CHECK(NumaBuffer::create(SizeBytes(), NumaPolicy::bind, one).error().code ==
        Errc::invalid_argument);
  CHECK(NumaBuffer::create(1_MiB, NumaPolicy::bind, {}).error().code == Errc::invalid_argument);
  CHECK(NumaBuffer::create(1_MiB, NumaPolicy::bind, missing).error().code == Errc::device_missing);
  auto huge = NumaBuffer::create(nodes.front().size * 2, NumaPolicy::bind, one);
  REQUIRE(huge.has_value());
  CHECK(huge->populate().error().code == Errc::backing_full);
}

TEST_CASE("pages move between nodes and keep their bytes", "[unit]") {
  const std::vector<NumaNode> nodes = nodes_or_skip(2);
  const std::array from{nodes[0].id};
  auto buffer = NumaBuffer::create(1_MiB, NumaPolicy::bind, from);
  REQUIRE(buffer.has_value());
  std::memset(buffer->bytes().data(), 0x5A, buffer->bytes().size());
  const auto moved = move_to_node(buffer->bytes(), nodes[1].id);
  REQUIRE(moved.has_value());
  CHECK(*moved == 1_MiB);
  CHECK(on_node(*numa_placement(buffer->bytes()), nodes[1].id) == 1_MiB);
  CHECK(buffer->bytes()[777] == std::byte{0x5A});
}

TEST_CASE("pages can be moved to where they are, and nowhere else than to a node", "[unit]") {
  const std::vector<NumaNode> nodes = nodes_or_skip(1);
  const std::array one{nodes.front().id};
  auto buffer = NumaBuffer::create(64_KiB, NumaPolicy::bind, one);
  REQUIRE(buffer.has_value());
  REQUIRE(buffer->populate().has_value());
  CHECK(*move_to_node(buffer->bytes(), one[0]) == 64_KiB);
  CHECK(move_to_node(buffer->bytes(), kMissing).error().code == Errc::device_missing);
}

TEST_CASE("weights are bounded", "[unit]") {
  const std::vector<NumaNode> nodes = nodes_or_skip(1);
  CHECK(set_interleave_weight(nodes[0].id, 0).error().code == Errc::invalid_argument);
  CHECK(set_interleave_weight(nodes[0].id, 256).error().code == Errc::invalid_argument);
  CHECK(interleave_weight(kMissing).error().code == Errc::unsupported);
}

TEST_CASE("a DRAM channel on a node has its pages there", "[unit]") {
  const std::vector<NumaNode> nodes = nodes_or_skip(1);
  for (const NumaNode& node : nodes) {
    auto memory = NumaNodeMemory::create(node.id, 2_MiB);
    REQUIRE(memory.has_value());
    REQUIRE((*memory)->back(DramOffset(65536), 1_MiB).has_value());
    const ConstSpan backed((*memory)->data() + 65536, (1_MiB).count());
    CHECK(on_node(*numa_placement(backed), node.id) == 1_MiB);
  }
}

TEST_CASE("a DRAM channel is no larger than its node, and refuses before the node is full",
          "[unit]") {
  const std::vector<NumaNode> nodes = nodes_or_skip(1);
  const NumaNode& node = nodes.front();
  CHECK(NumaNodeMemory::create(kMissing, 1_MiB).error().code == Errc::device_missing);
  CHECK(NumaNodeMemory::create(node.id, SizeBytes(1)).error().code == Errc::invalid_argument);
  const SizeBytes whole(node.size.count() / 4096 * 4096);
  CHECK(NumaNodeMemory::create(node.id, whole + 1_MiB).error().code == Errc::out_of_range);
  auto memory = NumaNodeMemory::create(node.id, whole);
  REQUIRE(memory.has_value());
  CHECK((*memory)->back(DramOffset(0), whole).error().code == Errc::backing_full);
}

}  // namespace
}  // namespace godbox::driver
