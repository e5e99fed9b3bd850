// SPDX-License-Identifier: Apache-2.0
//
// CXL interleave: what HDM decoders do to addresses. The ways and the granularity are types that
// hold legal values only, with the encodings of the decoder's control register; place_of and
// hpa_offset_of are the arithmetic. Not to be confused with striping, which is ours and of any
// width. Spec: CXL r3.1 8.2.4.20.7 (CXL HDM Decoder n Control), 8.2.4.20.13 (implementation notes
// on decode). Thread-safety: plain values and pure functions. Units: bytes. Errors:
// invalid_argument, naming the value and what is allowed.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <array>

namespace godbox::cxl {

inline constexpr std::array<unsigned, 8> kInterleaveWaysAllowed = {1, 2, 3, 4, 6, 8, 12, 16};
inline constexpr unsigned kInterleaveWaysMax = 16;
inline constexpr SizeBytes kInterleaveGranularityMin{256};
inline constexpr SizeBytes kInterleaveGranularityMax{16384};

// Over how many targets a decoder spreads its range. A default-constructed value is 1.
class InterleaveWays {
 public:
  constexpr InterleaveWays() = default;
  // Errors: invalid_argument unless ways is one of kInterleaveWaysAllowed.
  [[nodiscard]] static Result<InterleaveWays> create(unsigned ways);
  // From the register's IW field: 0..4 for 1, 2, 4, 8, 16 and 8, 9, 10 for 3, 6, 12.
  // Errors: invalid_argument for a reserved encoding.
  [[nodiscard]] static Result<InterleaveWays> from_encoding(unsigned iw_enc);

  [[nodiscard]] constexpr unsigned count() const {
    return is_power_of_two() ? 1U << iw_enc_ : 3U << (iw_enc_ - kThreeWayEncoding);
  }
  [[nodiscard]] constexpr std::uint8_t iw_enc() const { return iw_enc_; }
  // Bit selection decodes it; 3, 6 and 12 ways need a division by 3 as well.
  [[nodiscard]] constexpr bool is_power_of_two() const { return iw_enc_ < kThreeWayEncoding; }
  // The address bits that select among the targets; of 3, 6, 12 ways those besides the division.
  [[nodiscard]] constexpr unsigned selector_bits() const {
    return is_power_of_two() ? iw_enc_ : unsigned{iw_enc_} - kThreeWayEncoding;
  }
  constexpr bool operator==(const InterleaveWays&) const = default;

 private:
  static constexpr std::uint8_t kThreeWayEncoding = 8;
  constexpr explicit InterleaveWays(std::uint8_t iw_enc) : iw_enc_(iw_enc) {}
  std::uint8_t iw_enc_ = 0;
};

// How many consecutive bytes go to one target. A default-constructed value is 256 B.
class InterleaveGranularity {
 public:
  constexpr InterleaveGranularity() = default;
  // Errors: invalid_argument unless size is a power of two from 256 B to 16 KiB.
  [[nodiscard]] static Result<InterleaveGranularity> create(SizeBytes size);
  // From the register's IG field: log2(size) - 8. Errors: invalid_argument for a reserved encoding.
  [[nodiscard]] static Result<InterleaveGranularity> from_encoding(unsigned ig_enc);

  [[nodiscard]] constexpr SizeBytes size() const { return SizeBytes(std::uint64_t{1} << shift()); }
  [[nodiscard]] constexpr std::uint8_t ig_enc() const { return ig_enc_; }
  [[nodiscard]] constexpr unsigned shift() const { return ig_enc_ + 8U; }
  constexpr bool operator==(const InterleaveGranularity&) const = default;

 private:
  constexpr explicit InterleaveGranularity(std::uint8_t ig_enc) : ig_enc_(ig_enc) {}
  std::uint8_t ig_enc_ = 0;
};

// The legal values next to one that is not: "8 or 12" for 9 ways, "16" for 18.
[[nodiscard]] std::string nearest_interleave_ways(unsigned ways);
[[nodiscard]] SizeBytes nearest_interleave_granularity(SizeBytes size);

struct Interleave {
  InterleaveWays ways;
  InterleaveGranularity granularity;
  constexpr bool operator==(const Interleave&) const = default;
};

// A byte of an interleave set: which member, and where in that member's contribution.
struct InterleavePlace {
  unsigned position = 0;
  SizeBytes dpa_offset;
  constexpr bool operator==(const InterleavePlace&) const = default;
};

// The place of the byte at hpa_offset from the start of the set. Total and O(1).
// Spec: IW < 8 removes IW bits from bit IG + 8 on; IW >= 8 removes IW - 8 bits and divides what
// lies above them by 3.
[[nodiscard]] constexpr InterleavePlace place_of(const Interleave& interleave,
                                                 SizeBytes hpa_offset) {
  const unsigned shift = interleave.granularity.shift();
  const unsigned bits = interleave.ways.selector_bits();
  const std::uint64_t granule = hpa_offset.count() >> shift;
  const std::uint64_t low = granule & ((std::uint64_t{1} << bits) - 1);
  const std::uint64_t inside = hpa_offset.count() & (interleave.granularity.size().count() - 1);
  std::uint64_t high = granule >> bits;
  std::uint64_t position = low;
  if (!interleave.ways.is_power_of_two()) {
    position |= (high % 3) << bits;
    high /= 3;
  }
  return {.position = static_cast<unsigned>(position),
          .dpa_offset = SizeBytes((high << shift) | inside)};
}

// Inverse of place_of. position < ways, and the result must fit 64 bits: both the caller's to see
// to (HdmDecoder checks them).
[[nodiscard]] constexpr SizeBytes hpa_offset_of(const Interleave& interleave,
                                                const InterleavePlace& place) {
  const unsigned shift = interleave.granularity.shift();
  const std::uint64_t granule = place.dpa_offset.count() >> shift;
  const std::uint64_t inside =
      place.dpa_offset.count() & (interleave.granularity.size().count() - 1);
  return SizeBytes(((granule * interleave.ways.count() + place.position) << shift) | inside);
}

}  // namespace godbox::cxl
