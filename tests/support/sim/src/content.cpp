// SPDX-License-Identifier: Apache-2.0
#include <godbox/sim/content.h>

#include <algorithm>
#include <bit>

namespace godbox::sim {

namespace {

constexpr std::size_t kWord = sizeof(std::uint64_t);
constexpr std::size_t kGapBytesMax = 32;

constexpr std::uint64_t kTagMask = 0xff;  // the first byte of a word in memory
static_assert(std::endian::native == std::endian::little);

std::uint64_t word_of(std::uint64_t seed, std::size_t index) {
  return (mix64(seed + (std::uint64_t{index} << 8U)) & ~kTagMask) | (seed & kTagMask);
}

}  // namespace

void fill_content(MutableSpan out, std::uint64_t seed) {
  std::size_t at = 0;
  for (; at + kWord <= out.size(); at += kWord) {
    const std::uint64_t word = word_of(seed, at / kWord);
    std::memcpy(out.data() + at, &word, kWord);
  }
  if (at < out.size()) {
    const std::uint64_t word = word_of(seed, at / kWord);
    std::memcpy(out.data() + at, &word, out.size() - at);
  }
}

std::optional<std::size_t> find_difference(ConstSpan bytes, std::uint64_t seed) {
  for (std::size_t at = 0; at < bytes.size(); at += kWord) {
    const std::uint64_t word = word_of(seed, at / kWord);
    const std::size_t step = std::min(kWord, bytes.size() - at);
    if (std::memcmp(bytes.data() + at, &word, step) != 0) {
      std::size_t inside = 0;
      while (std::memcmp(bytes.data() + at, &word, inside + 1) == 0) {
        ++inside;
      }
      return at + inside;
    }
  }
  return std::nullopt;
}

TaggedWords count_tagged(ConstSpan bytes, std::uint8_t tag) {
  TaggedWords words;
  for (std::size_t at = 0; at + kWord <= bytes.size(); at += kWord) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, kWord);
    words.nonzero += word != 0 ? 1U : 0U;
    words.tagged += word != 0 && (word & kTagMask) == tag ? 1U : 0U;
  }
  return words;
}

ScatteredBuffer::ScatteredBuffer(std::size_t size_bytes, std::size_t pieces_max, SimRandom& random)
    : size_bytes_(size_bytes) {
  std::vector<std::size_t> lengths;
  for (std::size_t left = size_bytes; left > 0;) {
    const bool last = lengths.size() + 1 >= pieces_max;
    lengths.push_back(last ? left : random.between(1, left));
    left -= lengths.back();
  }
  std::vector<std::size_t> places(lengths.size());  // which piece comes next in the storage
  for (std::size_t i = 0; i < places.size(); ++i) {
    places[i] = i;
    std::swap(places[i], places[random.below(i + 1)]);
  }
  std::vector<std::size_t> offsets(lengths.size());
  std::size_t end = random.between(1, kGapBytesMax);
  for (const std::size_t piece : places) {
    offsets[piece] = end;
    end += lengths[piece] + random.between(1, kGapBytesMax);
  }
  storage_.assign(end, kCanary);
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    segments_.push_back(LocalSegment{storage_.data() + offsets[i], lengths[i]});
  }
}

void ScatteredBuffer::fill(std::uint64_t seed) {
  std::vector<std::byte> bytes(size_bytes_);
  fill_content(bytes, seed);
  copy_from(bytes);
}

void ScatteredBuffer::copy_from(ConstSpan bytes) {
  for (const LocalSegment& segment : segments_) {
    std::copy_n(bytes.begin(), segment.size_bytes, segment.data);
    bytes = bytes.subspan(segment.size_bytes);
  }
}

std::vector<std::byte> ScatteredBuffer::gather() const {
  std::vector<std::byte> bytes;
  bytes.reserve(size_bytes_);
  for (const LocalSegment& segment : segments_) {
    bytes.insert(bytes.end(), segment.data, segment.data + segment.size_bytes);
  }
  return bytes;
}

bool ScatteredBuffer::canaries_stand() const {
  std::vector<LocalSegment> in_place(segments_.begin(), segments_.end());
  std::sort(in_place.begin(), in_place.end(),
            [](const LocalSegment& a, const LocalSegment& b) { return a.data < b.data; });
  const std::byte* at = storage_.data();
  const auto stands = [&](const std::byte* end) {
    return std::all_of(at, end, [](std::byte byte) { return byte == kCanary; });
  };
  for (const LocalSegment& segment : in_place) {
    if (!stands(segment.data)) {
      return false;
    }
    at = segment.data + segment.size_bytes;
  }
  return stands(storage_.data() + storage_.size());
}

void ScatteredBuffer::retire() { std::fill(storage_.begin(), storage_.end(), kRetired); }

bool ScatteredBuffer::is_untouched() const {
  return std::all_of(storage_.begin(), storage_.end(),
                     [](std::byte byte) { return byte == kRetired; });
}

}  // namespace godbox::sim
