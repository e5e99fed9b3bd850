// SPDX-License-Identifier: Apache-2.0
#include "pool/object_index.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace godbox::emulator {
namespace {

std::uint32_t publish(ObjectIndex& index, std::uint32_t tenant, const std::string& name) {
  NewObject object;
  object.tenant = tenant;
  object.name = name;
  object.size_bytes = 1;
  const std::uint32_t slot = index.create(object);
  index.publish(slot);
  return slot;
}

std::vector<std::string> names_from(const ObjectIndex& index, std::uint32_t tenant,
                                    const std::string& first, bool is_behind, std::size_t most) {
  std::vector<std::string> names;
  index.in_order().for_each(tenant, first, is_behind, [&](std::uint32_t slot) {
    if (names.size() < most) {
      names.emplace_back(index.name(index.slot(slot)));
    }
    return names.size() < most;
  });
  return names;
}

// Of many lengths, and many with a common beginning.
std::string any_name(std::mt19937_64& random) {
  std::string name(random() % 4, 'p');
  for (std::size_t i = random() % 6 + 1; i > 0; --i) {
    name.push_back(static_cast<char>(random() % 256));
  }
  return name;
}

TEST_CASE("names come in the order of their bytes from anywhere, whatever came and went",
          "[unit][pool]") {
  std::mt19937_64 random(7);
  ObjectIndex index(NameHashSeed{{1, 2}});
  std::map<std::string, std::uint32_t> expected;
  for (const bool is_growing : {true, false, true}) {
    for (int step = 0; step < 6000; ++step) {
      const std::string name = any_name(random);
      const auto there = expected.lower_bound(name);
      if (is_growing ? !expected.contains(name) : there == expected.end()) {
        expected[name] = publish(index, 3, name);
      } else if (there != expected.end() && !is_growing) {
        index.unpublish(there->second);
        index.destroy(there->second);
        expected.erase(there);
      }
      if (step % 20 != 0) {
        continue;
      }
      const std::string first = any_name(random);
      const bool is_behind = random() % 2 == 0;
      std::vector<std::string> wanted;
      for (auto at = is_behind ? expected.upper_bound(first) : expected.lower_bound(first);
           at != expected.end() && wanted.size() < 300; ++at) {
        wanted.push_back(at->first);
      }
      REQUIRE(names_from(index, 3, first, is_behind, 300) == wanted);
    }
  }
  REQUIRE(expected.size() > 100);
  CHECK(names_from(index, 3, "", false, SIZE_MAX).size() == expected.size());
  CHECK(names_from(index, 2, "", false, SIZE_MAX).empty());
  CHECK(names_from(index, 4, "", false, SIZE_MAX).empty());
}

TEST_CASE("a tenant's last name leaves nothing behind, and the next one begins anew",
          "[unit][pool]") {
  ObjectIndex index(NameHashSeed{{1, 2}});
  for (int round = 0; round < 3; ++round) {
    std::vector<std::uint32_t> slots;
    for (int i = 0; i < 1000; ++i) {
      slots.push_back(publish(index, 0, std::to_string(i)));
    }
    const std::uint64_t full = index.in_order().memory_bytes();
    CHECK(full <= 1000 * 12 + 1024);
    for (const std::uint32_t slot : slots) {
      index.unpublish(slot);
      index.destroy(slot);
    }
    CHECK(index.in_order().memory_bytes() < 1024);
    CHECK(names_from(index, 0, "", false, SIZE_MAX).empty());
  }
}

TEST_CASE("names that came in any order and go from the first to the last leave no chunks behind",
          "[unit][pool]") {
  constexpr std::size_t kNames = 50'000;
  std::mt19937_64 random(11);
  for (const bool is_forwards : {true, false}) {
    ObjectIndex index(NameHashSeed{{1, 2}});
    std::vector<std::string> names;
    for (std::size_t i = 0; i < kNames; ++i) {
      names.push_back(std::to_string(1'000'000 + i));
    }
    std::shuffle(names.begin(), names.end(), random);
    std::map<std::string, std::uint32_t> slots;
    for (const std::string& name : names) {
      slots[name] = publish(index, 0, name);
    }
    const std::uint64_t full = index.in_order().memory_bytes();
    std::sort(names.begin(), names.end());
    if (!is_forwards) {
      std::reverse(names.begin(), names.end());
    }
    for (std::size_t i = 0; i < kNames; ++i) {
      index.unpublish(slots[names[i]]);
      index.destroy(slots[names[i]]);
      if (i + 100 == kNames) {
        CHECK(index.in_order().memory_bytes() < full / 50);
        CHECK(names_from(index, 0, "", false, SIZE_MAX).size() == 99);
      }
    }
    CHECK(index.in_order().memory_bytes() < 1024);
  }
}

}  // namespace
}  // namespace godbox::emulator
