// SPDX-License-Identifier: Apache-2.0
//
// KV cache geometry of real models: how many bytes a token, a page (one block of one layer) and a
// block (one token block of all layers) take. Terms as in vLLM's KVCacheSpec: block_size is a
// number of tokens, page_size_bytes the bytes of that block in one layer.
//   attention with K and V:  page = tokens * 2 * kv_heads / tp * head_dim * dtype
//   MLA (DeepSeek):          page = tokens * (kv_lora_rank + qk_rope_head_dim) * dtype, whatever tp
// Thread-safety: constants and pure functions. Units: bytes, tokens.
// Errors: invalid_argument naming the parameter (tp that does not divide the KV heads and is no
// multiple of them, block of 0 tokens), not_found for an unknown model. Sources: the models'
// config.json files.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <span>
#include <string_view>

namespace godbox::kv {

enum class Dtype : std::uint8_t { bf16, fp16, fp8_e4m3, fp8_e5m2, fp32 };
[[nodiscard]] std::uint32_t bytes_per_element(Dtype dtype);
[[nodiscard]] Result<Dtype> parse_dtype(std::string_view text);

enum class Attention : std::uint8_t { grouped_query, multi_head_latent };

struct ModelGeometry {
  std::string_view name;  // "llama-3.1-8b"
  std::uint32_t layers = 0;
  Attention attention = Attention::grouped_query;
  std::uint32_t kv_heads = 0;          // grouped_query
  std::uint32_t head_dim = 0;          // grouped_query
  std::uint32_t kv_lora_rank = 0;      // multi_head_latent
  std::uint32_t qk_rope_head_dim = 0;  // multi_head_latent
};

[[nodiscard]] std::span<const ModelGeometry> known_models();
[[nodiscard]] Result<ModelGeometry> find_model(std::string_view name);

struct KvCacheSpec {
  ModelGeometry model;
  Dtype dtype = Dtype::bf16;
  std::uint32_t tensor_parallel = 1;
  std::uint32_t block_tokens = 16;

  // What one rank stores. TP beyond the KV heads replicates heads (one head per rank).
  [[nodiscard]] Result<SizeBytes> page_size_bytes() const;  // one block of one layer
  [[nodiscard]] Result<SizeBytes> block_bytes() const;      // one block of all layers
  // MLA pages are the same on all ranks: rank 0 stores them for everybody.
  [[nodiscard]] std::uint32_t storing_ranks() const;
  [[nodiscard]] Result<SizeBytes> bytes_per_token() const;  // all layers, one rank
};

}  // namespace godbox::kv
