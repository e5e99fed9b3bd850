// SPDX-License-Identifier: Apache-2.0
#include "measure/block_set.h"

#include <godbox/assert.h>
#include <godbox/crc32c.h>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace godbox::app {
namespace {

constexpr std::size_t kRemoveBatch = 1024;

Errc first_failure(std::span<const Errc> statuses) {
  const auto failed = std::find_if(statuses.begin(), statuses.end(),
                                   [](Errc status) { return status != Errc::ok; });
  return failed == statuses.end() ? Errc::ok : *failed;
}

}  // namespace

BlockSet::BlockSet(MutableSpan memory, BlockSetOptions options)
    : memory_(memory), options_(std::move(options)) {
  const std::uint64_t block = options_.block.count();
  const std::uint64_t blocks = memory.size() / block;
  const std::uint32_t pieces = options_.pieces_per_block;
  GODBOX_ASSERT(blocks > 0 && pieces > 0 && block % pieces == 0);
  names_.resize(blocks);
  generations_.resize(blocks);
  segments_.reserve(blocks * pieces);
  const std::size_t piece_bytes = block / pieces;
  for (std::uint64_t i = 0; i < blocks * pieces; ++i) {
    segments_.push_back({memory.data() + i * piece_bytes, piece_bytes});
  }
}

std::string BlockSet::renew(std::uint64_t index) {
  const std::uint32_t generation = ++generations_[index];
  fill_pattern(memory_of(index), pattern_of(index));
  return std::exchange(names_[index], fmt::format("{}/{}/{}", options_.prefix, index, generation));
}

void BlockSet::start_put(striping::Client& client, std::uint64_t first, std::uint64_t blocks,
                         Done done, const striping::CallOptions& options) {
  std::vector<striping::PutItem> items;
  for (std::uint64_t i = first; i < first + blocks; ++i) {
    items.push_back({names_[i], segments_of(i), SizeBytes()});
  }
  client.submit_put(
      items,
      [done = std::move(done)](std::span<const Errc> statuses) { done(first_failure(statuses)); },
      options);
}

void BlockSet::start_get(striping::Client& client, std::uint64_t first, std::uint64_t blocks,
                         Done done, const striping::CallOptions& options) {
  std::vector<striping::GetItem> items;
  for (std::uint64_t i = first; i < first + blocks; ++i) {
    items.push_back({names_[i], segments_of(i)});
  }
  client.submit_get(
      items,
      [done = std::move(done)](std::span<const Errc> statuses) { done(first_failure(statuses)); },
      options);
}

void BlockSet::verify(std::uint64_t index, Verification& verification) const {
  const MutableSpan bytes = memory_of(index);
  verification.bytes_checked += bytes.size();
  verification.wrong_bytes += count_wrong_bytes(bytes, pattern_of(index));
  verification.crc32c = crc32c(bytes, verification.crc32c);
}

MutableSpan BlockSet::memory_of(std::uint64_t index) const {
  return memory_.subspan(index * options_.block.count(), options_.block.count());
}

std::span<const LocalSegment> BlockSet::segments_of(std::uint64_t index) const {
  const std::uint32_t pieces = options_.pieces_per_block;
  return std::span(segments_).subspan(index * pieces, pieces);
}

PatternId BlockSet::pattern_of(std::uint64_t index) const {
  return {options_.seed, index + (std::uint64_t{generations_[index]} << 40U)};
}

Errc remove_all(striping::Client& client, const std::vector<std::string>& names) {
  std::vector<std::string_view> batch;
  for (std::size_t begin = 0; begin < names.size(); begin += kRemoveBatch) {
    const std::size_t end = std::min(begin + kRemoveBatch, names.size());
    batch.assign(names.begin() + static_cast<std::ptrdiff_t>(begin),
                 names.begin() + static_cast<std::ptrdiff_t>(end));
    const std::vector<Errc> statuses = client.remove(batch);
    if (const Errc failure = first_failure(statuses); failure != Errc::ok) {
      return failure;
    }
  }
  return Errc::ok;
}

}  // namespace godbox::app
