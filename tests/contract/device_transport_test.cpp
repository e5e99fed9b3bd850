// SPDX-License-Identifier: Apache-2.0
//
// The contract of transports, kept by those for memory of a device.
#include "src/served_world.h"
#include <godbox_test/test_device.h>

namespace godbox::test {
namespace {

std::unique_ptr<ServedWorld> device_world(const std::string& scheme, DevicePath path,
                                          const std::string& data_path,
                                          const MemoryForm& form = {}) {
  ConnectOptions options;
  options.device.path = path;
  options.device.staged.staging = 32_MiB;
  options.device.staged.device = 32_MiB;
  options.copy_threads = 2;
  auto world = std::make_unique<ServedWorld>(scheme, options, make_test_device(), form);
  REQUIRE(world->data_path() == data_path);
  return world;
}

TEST_CASE("staging over TCP keeps the contract of transports", "[contract]") {
  check_contract(transport_contract(),
                 [] { return device_world("unix:", DevicePath::automatic, "staged over tcp"); });
}

TEST_CASE("staging over the local transport keeps the contract of transports", "[contract]") {
  check_contract(transport_contract(),
                 [] { return device_world("local:", DevicePath::staged, "staged over local"); });
}

TEST_CASE("a device over the mapped pool keeps the contract of transports", "[contract]") {
  check_contract(transport_contract(),
                 [] { return device_world("local:", DevicePath::automatic, "mapped-device"); });
}

TEST_CASE("a device over a mapped pool of interleaved regions keeps the contract of transports",
          "[contract]") {
  check_contract(transport_contract(), [] {
    return device_world("local:", DevicePath::automatic, "mapped-device", kFinelyInterleaved);
  });
}

}  // namespace
}  // namespace godbox::test
