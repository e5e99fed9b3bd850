// SPDX-License-Identifier: Apache-2.0
//
// Sizes, rates, addresses and identifiers of Godbox, each a type of its own, so that mixing two of
// them does not compile (tests/compile_fail). Arithmetic exists only where it has a meaning.
// Units: sizes and offsets are bytes, rates bytes per second, times nanoseconds.
// Thread-safety: plain values. Errors: none; overflow is the caller's to exclude.
#pragma once

#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>

namespace godbox {

// A number of bytes.
class SizeBytes {
 public:
  constexpr SizeBytes() = default;
  constexpr explicit SizeBytes(std::uint64_t bytes) : bytes_(bytes) {}
  [[nodiscard]] constexpr std::uint64_t count() const { return bytes_; }
  [[nodiscard]] constexpr bool is_zero() const { return bytes_ == 0; }
  constexpr auto operator<=>(const SizeBytes&) const = default;
  constexpr SizeBytes& operator+=(SizeBytes other) {
    bytes_ += other.bytes_;
    return *this;
  }
  constexpr SizeBytes& operator-=(SizeBytes other) {
    bytes_ -= other.bytes_;
    return *this;
  }
  friend constexpr SizeBytes operator+(SizeBytes a, SizeBytes b) { return a += b; }
  friend constexpr SizeBytes operator-(SizeBytes a, SizeBytes b) { return a -= b; }
  friend constexpr SizeBytes operator*(SizeBytes a, std::uint64_t n) {
    return SizeBytes(a.bytes_ * n);
  }
  friend constexpr SizeBytes operator*(std::uint64_t n, SizeBytes a) { return a * n; }
  friend constexpr SizeBytes operator/(SizeBytes a, std::uint64_t n) {
    return SizeBytes(a.bytes_ / n);
  }
  friend constexpr std::uint64_t operator/(SizeBytes a, SizeBytes b) { return a.bytes_ / b.bytes_; }
  friend constexpr SizeBytes operator%(SizeBytes a, SizeBytes b) {
    return SizeBytes(a.bytes_ % b.bytes_);
  }

 private:
  std::uint64_t bytes_ = 0;
};

inline namespace literals {
constexpr SizeBytes operator""_B(unsigned long long n) { return SizeBytes(n); }
constexpr SizeBytes operator""_KiB(unsigned long long n) { return SizeBytes(n << 10U); }
constexpr SizeBytes operator""_MiB(unsigned long long n) { return SizeBytes(n << 20U); }
constexpr SizeBytes operator""_GiB(unsigned long long n) { return SizeBytes(n << 30U); }
constexpr SizeBytes operator""_TiB(unsigned long long n) { return SizeBytes(n << 40U); }
}  // namespace literals

// The monotonic timeline that every Clock of Godbox reads; not a std clock, so that a wall-clock
// time cannot be passed by mistake.
struct Timeline {
  using rep = std::int64_t;
  using period = std::nano;
  using duration = std::chrono::nanoseconds;
  using time_point = std::chrono::time_point<Timeline>;
  static constexpr bool is_steady = true;
};
using Duration = std::chrono::nanoseconds;
using TimePoint = Timeline::time_point;
inline constexpr TimePoint kNever = TimePoint::max();

// Bytes per second.
class Rate {
 public:
  constexpr Rate() = default;
  constexpr explicit Rate(double bytes_per_second) : bytes_per_second_(bytes_per_second) {}
  [[nodiscard]] constexpr double bytes_per_second() const { return bytes_per_second_; }
  constexpr auto operator<=>(const Rate&) const = default;
  // The time that `size` takes at this rate, rounded to a nanosecond; the rate must be positive.
  [[nodiscard]] constexpr Duration time_for(SizeBytes size) const {
    return Duration(static_cast<std::int64_t>(
        static_cast<double>(size.count()) * 1e9 / bytes_per_second_ + 0.5));
  }

 private:
  double bytes_per_second_ = 0;
};

// A byte position in one address space named by Tag. Position + size is a position; position -
// position is a size; positions of two spaces do not mix.
template <class Tag>
class Offset {
 public:
  constexpr Offset() = default;
  constexpr explicit Offset(std::uint64_t bytes) : bytes_(bytes) {}
  [[nodiscard]] constexpr std::uint64_t count() const { return bytes_; }
  constexpr auto operator<=>(const Offset&) const = default;
  friend constexpr Offset operator+(Offset a, SizeBytes b) { return Offset(a.bytes_ + b.count()); }
  friend constexpr SizeBytes operator-(Offset a, Offset b) {
    return SizeBytes(a.bytes_ - b.bytes_);
  }
  constexpr Offset& operator+=(SizeBytes b) {
    bytes_ += b.count();
    return *this;
  }

 private:
  std::uint64_t bytes_ = 0;
};
using SlabOffset = Offset<struct SlabOffsetTag>;      // inside one slab, in pool order
using DramOffset = Offset<struct DramOffsetTag>;      // inside one DRAM channel's capacity
using RegionOffset = Offset<struct RegionOffsetTag>;  // inside one remote memory region

// An identifier: compares and hashes, and does no arithmetic.
template <class Tag, class Rep>
class Id {
 public:
  using rep = Rep;
  constexpr Id() = default;
  constexpr explicit Id(Rep value) : value_(value) {}
  [[nodiscard]] constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const Id&) const = default;

 private:
  Rep value_ = 0;
};
using DramChannelId = Id<struct DramChannelIdTag, std::uint16_t>;  // index 0..n-1 in the box
using SuperNicId = Id<struct SuperNicIdTag, std::uint16_t>;        // index 0..n-1 in the box
using EthPortId = Id<struct EthPortIdTag, std::uint16_t>;          // index 0..n-1 in the box
using LaneId = Id<struct LaneIdTag, std::uint16_t>;                // index 0..n-1 in a Transport
using SlabId = Id<struct SlabIdTag, std::uint32_t>;                // never reused in an epoch
using SessionId = Id<struct SessionIdTag, std::uint64_t>;          // random
using LdId = Id<struct LdIdTag, std::uint16_t>;    // CXL LD-ID: a logical device; 0: none
using Epoch = Id<struct EpochTag, std::uint64_t>;  // one life of a box's contents
using LeaseId = Id<struct LeaseIdTag, std::uint64_t>;
using ReservationId = Id<struct ReservationIdTag, std::uint64_t>;  // a put between its two phases
using WorkId = Id<struct WorkIdTag, std::uint64_t>;
using RKey = Id<struct RKeyTag, std::uint32_t>;  // IBTA's R_Key: 32 random bits; 0 is never valid

// A place in the pool.
struct PoolAddress {
  SlabId slab;
  SlabOffset offset;
  constexpr auto operator<=>(const PoolAddress&) const = default;
};

using MutableSpan = std::span<std::byte>;
using ConstSpan = std::span<const std::byte>;

}  // namespace godbox

template <class Tag, class Rep>
struct std::hash<godbox::Id<Tag, Rep>> {
  std::size_t operator()(godbox::Id<Tag, Rep> id) const noexcept {
    return std::hash<Rep>{}(id.value());
  }
};
