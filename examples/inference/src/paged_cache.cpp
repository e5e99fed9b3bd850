// SPDX-License-Identifier: Apache-2.0
#include "paged_cache.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <utility>

namespace godbox::inference {
namespace {

constexpr std::byte kSpoilt{0xFF};  // two of them are a NaN in bf16

// To the nearest, ties to even; values here are never NaN.
std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U);
}

float from_bf16(std::uint16_t value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16U);
}

}  // namespace

SizeBytes PagedCache::size_of(const Geometry& geometry, std::uint32_t blocks) {
  return geometry.kv_bytes_per_token() * kBlockTokens * blocks;
}

Result<PagedCache> PagedCache::create(const Geometry& geometry, std::uint32_t blocks,
                                      MutableSpan memory) {
  const SizeBytes size = size_of(geometry, blocks);
  if (memory.size() != size.count()) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} bytes of memory for {} blocks of {} bytes", memory.size(), blocks,
                             size_of(geometry, 1).count()));
  }
  const kv::PagedShape shape{.layers = geometry.layers,
                             .planes = 2,
                             .blocks = blocks,
                             .block_tokens = kBlockTokens,
                             .heads = geometry.kv_heads,
                             .head_dim = geometry.head_dim,
                             .dtype = kv::Dtype::bf16};
  const Result<kv::EngineLayout> layout = kv::find_layout("vllm-flash-attn");
  if (!layout) {
    return layout.error();
  }
  std::vector<MutableSpan> tensors;
  const std::size_t layer_bytes = memory.size() / geometry.layers;
  for (std::size_t layer = 0; layer < geometry.layers; ++layer) {
    tensors.push_back(memory.subspan(layer * layer_bytes, layer_bytes));
  }
  Result<kv::PagedKv> described = kv::PagedKv::create(shape, layout->axes, tensors);
  if (!described) {
    return described.error();
  }
  return PagedCache(std::move(*described), memory);
}

PagedCache::PagedCache(kv::PagedKv described, MutableSpan memory)
    : described_(std::move(described)),
      memory_(memory),
      token_elements_(std::size_t{described_.shape().heads} * described_.shape().head_dim),
      page_copy_(kBlockTokens * token_elements_) {}

std::byte* PagedCache::page(Plane plane, std::uint32_t layer, std::uint32_t block) const {
  const std::size_t page_bytes = page_copy_.size() * sizeof(std::uint16_t);
  const std::size_t planes_before = std::size_t{layer} * 2 + (plane == Plane::values ? 1 : 0);
  return memory_.data() + (planes_before * blocks() + block) * page_bytes;
}

void PagedCache::write(Plane plane, std::uint32_t layer, std::uint32_t block, std::uint32_t slot,
                       std::span<const float> heads) {
  for (std::size_t i = 0; i < token_elements_; ++i) {
    page_copy_[i] = to_bf16(heads[i]);
  }
  const std::size_t token_bytes = token_elements_ * sizeof(std::uint16_t);
  std::memcpy(page(plane, layer, block) + slot * token_bytes, page_copy_.data(), token_bytes);
}

void PagedCache::read(Plane plane, std::uint32_t layer, std::uint32_t block, std::uint32_t tokens,
                      std::vector<float>& out) {
  const std::size_t elements = tokens * token_elements_;
  out.resize(elements);
  std::memcpy(page_copy_.data(), page(plane, layer, block), elements * sizeof(std::uint16_t));
  for (std::size_t i = 0; i < elements; ++i) {
    out[i] = from_bf16(page_copy_[i]);
  }
}

void PagedCache::spoil(std::span<const std::uint32_t> blocks) {
  for (std::uint32_t layer = 0; layer < described_.shape().layers; ++layer) {
    for (const std::uint32_t block : blocks) {
      for (const Plane plane : {Plane::keys, Plane::values}) {
        std::memset(page(plane, layer, block), static_cast<int>(kSpoilt),
                    page_copy_.size() * sizeof(std::uint16_t));
      }
    }
  }
}

}  // namespace godbox::inference
