// SPDX-License-Identifier: Apache-2.0
//
// A paged KV cache in bf16 as an inference engine has it, in memory that the caller gives: per
// layer a tensor [2, blocks, tokens, heads, dim], vLLM's flash attention layout. It is read a page
// at a time, in one run: memory that QEMU serves access by access costs the same for a long one.
// Thread-safety: one thread. Ownership: the memory stays the caller's and outlives it.
// Units: bytes, tokens, elements, blocks by index. Errors: those of kv::PagedKv::create();
// invalid_argument for memory of another size than size_of().
#pragma once

#include "geometry.h"
#include <godbox/striping/paged_kv.h>

#include <span>
#include <vector>

namespace godbox::inference {

enum class Plane : std::uint8_t { keys, values };

class PagedCache {
 public:
  // Of an object in the pool, too: a layer of it has at least wire::kLayerBytesMin.
  static constexpr std::uint32_t kBlockTokens = 16;

  [[nodiscard]] static SizeBytes size_of(const Geometry& geometry, std::uint32_t blocks);
  [[nodiscard]] static Result<PagedCache> create(const Geometry& geometry, std::uint32_t blocks,
                                                 MutableSpan memory);

  [[nodiscard]] const kv::PagedKv& described() const { return described_; }
  [[nodiscard]] std::uint32_t blocks() const { return described_.shape().blocks; }
  // One token's heads, one after the other, rounded to bf16.
  void write(Plane plane, std::uint32_t layer, std::uint32_t block, std::uint32_t slot,
             std::span<const float> heads);
  // The first `tokens` of a block: [tokens][heads][dim].
  void read(Plane plane, std::uint32_t layer, std::uint32_t block, std::uint32_t tokens,
            std::vector<float>& out);
  // Fills blocks with bytes that are no number, so that what is read without having been written
  // shows.
  void spoil(std::span<const std::uint32_t> blocks);

 private:
  PagedCache(kv::PagedKv described, MutableSpan memory);
  [[nodiscard]] std::byte* page(Plane plane, std::uint32_t layer, std::uint32_t block) const;

  kv::PagedKv described_;
  MutableSpan memory_;
  std::size_t token_elements_;  // of one plane of one layer
  std::vector<std::uint16_t> page_copy_;
};

}  // namespace godbox::inference
