// SPDX-License-Identifier: Apache-2.0
//
// A contract suite is a list of properties, each a sentence and a function that checks it on a
// fresh world (Catch2's REQUIRE inside). A test file makes the worlds:
//   TEST_CASE("streams over TCP keep the contract", "[contract]") {
//     check_contract(stream_contract(), [] { return std::make_unique<MyWorld>(); });
//   }
// Thread-safety: one thread. Ownership: worlds live for one property.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <memory>
#include <span>

namespace godbox::test {

template <class World>
struct ContractCase {
  const char* sentence;
  void (*check)(World& world);
};

template <class World, class MakeWorld>
void check_contract(std::span<const ContractCase<World>> cases, MakeWorld make_world) {
  for (const ContractCase<World>& property : cases) {
    DYNAMIC_SECTION(property.sentence) {
      const std::unique_ptr<World> world = make_world();
      REQUIRE(world != nullptr);
      property.check(*world);
    }
  }
}

}  // namespace godbox::test
