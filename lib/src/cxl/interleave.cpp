// SPDX-License-Identifier: Apache-2.0
#include <godbox/cxl/interleave.h>

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace godbox::cxl {
namespace {

constexpr unsigned kPowerOfTwoEncodingMax = 4;
constexpr unsigned kThreeWayEncodingMin = 8;
constexpr unsigned kThreeWayEncodingMax = 10;
constexpr unsigned kGranularityEncodingMax = 6;

}  // namespace

Result<InterleaveWays> InterleaveWays::create(unsigned ways) {
  if (std::ranges::find(kInterleaveWaysAllowed, ways) == kInterleaveWaysAllowed.end()) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} interleave ways; allowed are 1, 2, 3, 4, 6, 8, 12 and 16", ways));
  }
  const auto bits = static_cast<std::uint8_t>(std::countr_zero(ways));
  return InterleaveWays(std::has_single_bit(ways) ? bits : static_cast<std::uint8_t>(bits + 8U));
}

Result<InterleaveWays> InterleaveWays::from_encoding(unsigned iw_enc) {
  const bool legal = iw_enc <= kPowerOfTwoEncodingMax ||
                     (iw_enc >= kThreeWayEncodingMin && iw_enc <= kThreeWayEncodingMax);
  if (!legal) {
    return Error(
        Errc::invalid_argument,
        fmt::format("interleave ways are encoded as {}, which is reserved; allowed are 0 to "
                    "4 (1, 2, 4, 8, 16 ways) and 8 to 10 (3, 6, 12 ways)",
                    iw_enc));
  }
  return InterleaveWays(static_cast<std::uint8_t>(iw_enc));
}

Result<InterleaveGranularity> InterleaveGranularity::create(SizeBytes size) {
  if (!std::has_single_bit(size.count()) || size < kInterleaveGranularityMin ||
      size > kInterleaveGranularityMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("interleave granularity of {} B; allowed are the powers of two from "
                             "256 to 16384",
                             size.count()));
  }
  return InterleaveGranularity(static_cast<std::uint8_t>(std::countr_zero(size.count()) - 8));
}

Result<InterleaveGranularity> InterleaveGranularity::from_encoding(unsigned ig_enc) {
  if (ig_enc > kGranularityEncodingMax) {
    return Error(Errc::invalid_argument,
                 fmt::format("interleave granularity is encoded as {}, which is reserved; allowed "
                             "are 0 (256 B) to 6 (16 KiB)",
                             ig_enc));
  }
  return InterleaveGranularity(static_cast<std::uint8_t>(ig_enc));
}

std::string nearest_interleave_ways(unsigned ways) {
  const auto* const above = std::ranges::lower_bound(kInterleaveWaysAllowed, ways);
  if (above == kInterleaveWaysAllowed.end()) {
    return fmt::format("{}", kInterleaveWaysMax);
  }
  if (*above == ways || above == kInterleaveWaysAllowed.begin()) {
    return fmt::format("{}", *above);
  }
  return fmt::format("{} or {}", *(above - 1), *above);
}

SizeBytes nearest_interleave_granularity(SizeBytes size) {
  const SizeBytes clamped = std::clamp(size, kInterleaveGranularityMin, kInterleaveGranularityMax);
  return SizeBytes(std::bit_floor(clamped.count()));
}

}  // namespace godbox::cxl
