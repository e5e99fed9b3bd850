// SPDX-License-Identifier: Apache-2.0
//
// What channels of one memory owe to each other; what each promises by itself is the contract's
// (tests/contract/memory_target_test.cpp).
#include <godbox/interleaved_targets.h>
#include <godbox_test/heap_memory_target.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <vector>

using namespace godbox;
using test::HeapMemoryTarget;
using Targets = std::vector<std::unique_ptr<MemoryTarget>>;

namespace {

constexpr SizeBytes kUnit = 4_KiB;
constexpr std::byte kMark{0xA7};

struct Rig {
  explicit Rig(unsigned ways, SizeBytes granularity = 256_B, std::uint64_t units = 4,
               HeapMemoryTarget::Options options = {}) {
    auto memory = std::make_unique<HeapMemoryTarget>(kUnit * units * ways, options);
    heap = memory.get();
    targets = interleaved_targets(std::move(memory),
                                  {cxl::InterleaveWays::create(ways).value(),
                                   cxl::InterleaveGranularity::create(granularity).value()},
                                  kUnit)
                  .value();
  }
  HeapMemoryTarget* heap;
  Targets targets;
};

void fill(const MemoryTarget& target, DramOffset offset, SizeBytes size, std::byte value) {
  for_each_piece(target, offset, size.count(),
                 [&](MutableSpan piece) { std::fill(piece.begin(), piece.end(), value); });
}

bool is_all(const MemoryTarget& target, DramOffset offset, SizeBytes size, std::byte value) {
  bool good = true;
  for_each_piece(target, offset, size.count(), [&](ConstSpan piece) {
    good = good &&
           std::all_of(piece.begin(), piece.end(), [=](std::byte byte) { return byte == value; });
  });
  return good;
}

DramOffset unit(std::uint64_t index) { return DramOffset((kUnit * index).count()); }

}  // namespace

TEST_CASE("pieces of a channel are its granules, in order and with the ends cut", "[unit]") {
  const Rig rig(3, 256_B);
  std::vector<std::pair<std::ptrdiff_t, std::size_t>> pieces;
  for_each_piece(*rig.targets[2], DramOffset(200), 400, [&](ConstSpan piece) {
    pieces.emplace_back(piece.data() - rig.heap->data(), piece.size());
  });
  CHECK(pieces == std::vector<std::pair<std::ptrdiff_t, std::size_t>>{
                      {2 * 256 + 200, 56}, {5 * 256, 256}, {8 * 256, 88}});
  CHECK(rig.targets[2]->mapping().size() == rig.heap->size().count());
}

TEST_CASE("a unit is backed with the first channel and given back with the last", "[unit]") {
  const Rig rig(4);
  REQUIRE(rig.targets[1]->back(unit(1), kUnit).has_value());
  CHECK(rig.heap->backed() == kUnit * 4);
  REQUIRE(rig.targets[3]->back(unit(1), kUnit).has_value());
  CHECK(rig.heap->backed() == kUnit * 4);
  REQUIRE(rig.targets[1]->discard(unit(1), kUnit).has_value());
  CHECK(rig.heap->backed() == kUnit * 4);
  REQUIRE(rig.targets[3]->discard(unit(1), kUnit).has_value());
  CHECK(rig.heap->backed() == 0_B);
}

TEST_CASE("what a channel gives back is zero when it comes again, and others' bytes stay",
          "[unit]") {
  const Rig rig(2);
  for (const auto& target : rig.targets) {
    REQUIRE(target->back(unit(0), kUnit * 4).has_value());
    fill(*target, unit(0), kUnit * 4, kMark);
  }
  REQUIRE(rig.targets[0]->discard(unit(1), kUnit * 2).has_value());
  CHECK(is_all(*rig.targets[1], unit(0), kUnit * 4, kMark));
  REQUIRE(rig.targets[0]->back(unit(0), kUnit * 4).has_value());
  CHECK(is_all(*rig.targets[0], unit(0), kUnit, kMark));
  CHECK(is_all(*rig.targets[0], unit(1), kUnit * 2, std::byte{0}));
  CHECK(is_all(*rig.targets[0], unit(3), kUnit, kMark));
  CHECK(is_all(*rig.targets[1], unit(0), kUnit * 4, kMark));
}

TEST_CASE("a unit that all gave back holds nothing of before", "[unit]") {
  const Rig rig(2);
  for (const auto& target : rig.targets) {
    REQUIRE(target->back(unit(0), kUnit).has_value());
    fill(*target, unit(0), kUnit, kMark);
  }
  REQUIRE(rig.targets[0]->discard(unit(0), kUnit).has_value());
  REQUIRE(rig.targets[1]->discard(unit(0), kUnit).has_value());
  REQUIRE(rig.targets[1]->back(unit(0), kUnit).has_value());
  REQUIRE(rig.targets[0]->back(unit(0), kUnit).has_value());
  CHECK(is_all(*rig.targets[0], unit(0), kUnit, std::byte{0}));
  CHECK(is_all(*rig.targets[1], unit(0), kUnit, std::byte{0}));
}

TEST_CASE("a channel that finds no room for a unit has none of it, and can try again", "[unit]") {
  const Rig rig(2, 256_B, 4, {.granularity = kUnit, .backing_max = kUnit * 2});
  const Result<void> refused = rig.targets[0]->back(unit(0), kUnit * 2);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Errc::backing_full);
  REQUIRE(rig.targets[0]->back(unit(3), kUnit).has_value());
  REQUIRE(rig.targets[1]->back(unit(3), kUnit).has_value());
  CHECK_FALSE(rig.targets[1]->back(unit(2), kUnit).has_value());
}

TEST_CASE("memory that is not made of whole units of all channels is refused", "[unit]") {
  for (const std::uint64_t units : {1U, 3U}) {
    const auto refused = interleaved_targets(
        std::make_unique<HeapMemoryTarget>(kUnit * units),
        {cxl::InterleaveWays::create(2).value(), cxl::InterleaveGranularity::create(256_B).value()},
        kUnit);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == Errc::invalid_argument);
    CHECK(refused.error().detail.find("8192") != std::string::npos);
  }
}
