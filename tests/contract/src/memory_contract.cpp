// SPDX-License-Identifier: Apache-2.0
#include "memory_contract.h"

#include <algorithm>
#include <array>
#include <thread>

#include <sys/mman.h>

namespace godbox::test {
namespace {

struct Range {
  DramOffset offset;
  SizeBytes size;
};

Range granules(const MemoryTarget& target, std::uint64_t first, std::uint64_t count) {
  const SizeBytes granule = target.backing_granularity();
  return {DramOffset((granule * first).count()), granule * count};
}

bool is_all(ConstSpan range, std::byte value) {
  return std::all_of(range.begin(), range.end(), [=](std::byte byte) { return byte == value; });
}

bool is_all(const MemoryTarget& target, Range range, std::byte value) {
  bool good = true;
  for_each_piece(target, range.offset, range.size.count(),
                 [&](ConstSpan piece) { good = good && is_all(piece, value); });
  return good;
}

void fill(const MemoryTarget& target, Range range, std::byte value) {
  for_each_piece(target, range.offset, range.size.count(),
                 [&](MutableSpan piece) { std::fill(piece.begin(), piece.end(), value); });
}

Errc code(const Result<void>& result) {
  return result.has_value() ? Errc::ok : result.error().code;
}

constexpr std::byte kZero{0};
constexpr std::byte kMark{0xA7};

void describes_itself(MemoryWorld& world) {
  MemoryTarget& target = world.target();
  CHECK_FALSE(target.kind().empty());
  CHECK(target.backing_granularity().count() > 0);
  CHECK(target.size() == target.backing_granularity() * MemoryWorld::kGranules);
  REQUIRE(target.data() != nullptr);
  CHECK(reinterpret_cast<std::uintptr_t>(target.data()) % 4096 == 0);
}

void backs_zeroes(MemoryWorld& world) {
  MemoryTarget& target = world.target();
  const Range range = granules(target, 2, 3);
  REQUIRE(target.back(range.offset, range.size).has_value());
  CHECK(is_all(target, range, kZero));
  fill(target, range, kMark);
  CHECK(is_all(target, range, kMark));
}

void backs_twice(MemoryWorld& world) {
  MemoryTarget& target = world.target();
  const Range inner = granules(target, 4, 2);
  const Range outer = granules(target, 3, 4);
  REQUIRE(target.back(inner.offset, inner.size).has_value());
  fill(target, inner, kMark);
  REQUIRE(target.back(outer.offset, outer.size).has_value());
  CHECK(is_all(target, inner, kMark));
  CHECK(is_all(target, granules(target, 3, 1), kZero));
  CHECK(is_all(target, granules(target, 6, 1), kZero));
}

void discards_only_the_range(MemoryWorld& world) {
  MemoryTarget& target = world.target();
  const Range all = granules(target, 0, MemoryWorld::kGranules);
  REQUIRE(target.back(all.offset, all.size).has_value());
  fill(target, all, kMark);
  const Range middle = granules(target, 5, 4);
  REQUIRE(target.discard(middle.offset, middle.size).has_value());
  CHECK(is_all(target, granules(target, 0, 5), kMark));
  CHECK(is_all(target, granules(target, 9, MemoryWorld::kGranules - 9), kMark));
  REQUIRE(target.back(middle.offset, middle.size).has_value());
  CHECK(is_all(target, middle, kZero));
  CHECK(is_all(target, granules(target, 4, 1), kMark));
}

void discards_what_is_absent(MemoryWorld& world) {
  MemoryTarget& target = world.target();
  const Range range = granules(target, 1, 2);
  CHECK(target.discard(range.offset, range.size).has_value());
  REQUIRE(target.back(range.offset, range.size).has_value());
  REQUIRE(target.discard(range.offset, range.size).has_value());
  CHECK(target.discard(range.offset, range.size).has_value());
}

void refuses_ranges(MemoryWorld& world) {
  MemoryTarget& target = world.target();
  const std::uint64_t size = target.size().count();
  const std::uint64_t granule = target.backing_granularity().count();
  const std::array<Range, 7> bad = {{
      {DramOffset(size), SizeBytes(granule)},
      {DramOffset(size - granule), SizeBytes(2 * granule)},
      {DramOffset(0), SizeBytes(size + granule)},
      {DramOffset(UINT64_MAX - granule + 1), SizeBytes(2 * granule)},
      {DramOffset(granule), SizeBytes(UINT64_MAX - granule + 1)},
      {DramOffset(1), SizeBytes(granule)},
      {DramOffset(0), SizeBytes(granule - 1)},
  }};
  for (const Range& range : bad) {
    CAPTURE(range.offset.count(), range.size.count());
    CHECK(code(target.back(range.offset, range.size)) == Errc::out_of_range);
    CHECK(code(target.discard(range.offset, range.size)) == Errc::out_of_range);
  }
}

void accepts_nothing(MemoryWorld& world) {
  MemoryTarget& target = world.target();
  CHECK(target.back(DramOffset(0), SizeBytes(0)).has_value());
  CHECK(target.discard(DramOffset(target.size().count()), SizeBytes(0)).has_value());
}

void descriptor_shares(MemoryWorld& world) {
  MemoryTarget& target = world.target();
  if (target.descriptor() < 0) {
    SKIP("needs memory with a descriptor");
  }
  const Range range = granules(target, 1, 1);
  REQUIRE(target.back(range.offset, range.size).has_value());
  const MutableSpan mapping = target.mapping();
  void* const other =
      mmap(nullptr, mapping.size(), PROT_READ | PROT_WRITE, MAP_SHARED, target.descriptor(), 0);
  REQUIRE(other != MAP_FAILED);
  fill(target, range, kMark);
  for_each_piece(target, range.offset, range.size.count(), [&](MutableSpan piece) {
    auto* const view = static_cast<std::byte*>(other) + (piece.data() - mapping.data());
    REQUIRE(is_all(ConstSpan(view, piece.size()), kMark));
    view[5] = std::byte{1};
    REQUIRE(piece[5] == std::byte{1});
  });
  munmap(other, mapping.size());
}

void threads_work_apart(MemoryWorld& world) {
  MemoryTarget& target = world.target();
  std::byte* const data = target.data();
  std::array<bool, 2> is_good{};
  const auto work = [&](std::uint64_t parity) {
    bool good = true;
    for (int round = 0; round < 20; ++round) {
      for (std::uint64_t i = parity; i < MemoryWorld::kGranules; i += 2) {
        const Range range = granules(target, i, 1);
        good = good && target.back(range.offset, range.size).has_value();
        good = good && is_all(target, range, kZero);
        fill(target, range, kMark);
        good = good && is_all(target, range, kMark) &&
               target.discard(range.offset, range.size).has_value();
      }
    }
    is_good[parity] = good;
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  CHECK(is_good[0]);
  CHECK(is_good[1]);
  CHECK(target.data() == data);
}

void flushing_keeps_bytes(MemoryWorld& world) {
  MemoryTarget& target = world.target();
  const Range range = granules(target, 0, 1);
  REQUIRE(target.back(range.offset, range.size).has_value());
  fill(target, range, kMark);
  for_each_piece(target, range.offset, range.size.count(), [&](MutableSpan piece) {
    target.flush(piece.subspan(3, 130));
    target.invalidate(piece.subspan(1, 65));
    target.flush(piece.first(0));
    target.invalidate(piece);
  });
  CHECK(is_all(target, range, kMark));
}

constexpr std::array<ContractCase<MemoryWorld>, 10> kCases = {{
    {"a target describes itself", describes_itself},
    {"backed memory reads as zero and can be written", backs_zeroes},
    {"backing again keeps what is there and fills what is not", backs_twice},
    {"discarding gives back the range and nothing beside it", discards_only_the_range},
    {"absent memory can be discarded", discards_what_is_absent},
    {"ranges outside, overflowing or of part granules are refused", refuses_ranges},
    {"empty ranges are accepted", accepts_nothing},
    {"the descriptor maps the same bytes", descriptor_shares},
    {"two threads back and discard disjoint ranges", threads_work_apart},
    {"flushing and invalidating keep the bytes", flushing_keeps_bytes},
}};

}  // namespace

std::span<const ContractCase<MemoryWorld>> memory_contract() { return kCases; }

}  // namespace godbox::test
