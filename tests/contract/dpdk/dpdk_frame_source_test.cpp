// SPDX-License-Identifier: Apache-2.0
#include "dpdk_world.h"

namespace godbox::test {
namespace {

TEST_CASE("ring ports of DPDK keep the contract", "[contract][dpdk]") {
  check_contract(frame_source_contract(), [] { return make_ring_world(1500); });
}

TEST_CASE("ring ports of DPDK keep the contract with jumbo frames", "[contract][dpdk]") {
  check_contract(frame_source_contract(), [] { return make_ring_world(9000); });
}

TEST_CASE("a guest's port of DPDK keeps the contract", "[contract][dpdk]") {
  check_contract(frame_source_contract(), [] { return make_vhost_world(1500, NearEnd::guest); });
}

TEST_CASE("a host's port of DPDK keeps the contract", "[contract][dpdk]") {
  check_contract(frame_source_contract(), [] { return make_vhost_world(1500, NearEnd::host); });
}

TEST_CASE("a guest's port of DPDK keeps the contract with jumbo frames", "[contract][dpdk]") {
  check_contract(frame_source_contract(), [] { return make_vhost_world(9000, NearEnd::guest); });
}

TEST_CASE("a host's port of DPDK keeps the contract with jumbo frames", "[contract][dpdk]") {
  check_contract(frame_source_contract(), [] { return make_vhost_world(9000, NearEnd::host); });
}

TEST_CASE("memif ports of DPDK keep the contract", "[contract][dpdk]") {
  check_contract(frame_source_contract(), [] { return make_memif_world(); });
}

}  // namespace
}  // namespace godbox::test
