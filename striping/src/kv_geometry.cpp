// SPDX-License-Identifier: Apache-2.0
#include <godbox/striping/kv_geometry.h>

#include <fmt/format.h>

#include <array>
#include <initializer_list>
#include <utility>

namespace godbox::kv {

namespace {

constexpr ModelGeometry grouped_query(std::string_view name, std::uint32_t layers,
                                      std::uint32_t kv_heads, std::uint32_t head_dim) {
  return {.name = name,
          .layers = layers,
          .attention = Attention::grouped_query,
          .kv_heads = kv_heads,
          .head_dim = head_dim};
}

constexpr ModelGeometry multi_head_latent(std::string_view name, std::uint32_t layers,
                                          std::uint32_t kv_lora_rank,
                                          std::uint32_t qk_rope_head_dim) {
  return {.name = name,
          .layers = layers,
          .attention = Attention::multi_head_latent,
          .kv_lora_rank = kv_lora_rank,
          .qk_rope_head_dim = qk_rope_head_dim};
}

// From config.json of each model: num_hidden_layers, num_key_value_heads, head_dim, kv_lora_rank,
// qk_rope_head_dim.
constexpr std::array kModels = {
    grouped_query("llama-3.1-8b", 32, 8, 128),    grouped_query("llama-3.1-70b", 80, 8, 128),
    grouped_query("llama-3.1-405b", 126, 8, 128), grouped_query("qwen3-8b", 36, 8, 128),
    grouped_query("qwen3-32b", 64, 8, 128),       grouped_query("qwen3-235b-a22b", 94, 4, 128),
    grouped_query("gpt-oss-120b", 36, 8, 64),     multi_head_latent("deepseek-v3", 61, 512, 64),
    multi_head_latent("kimi-k2", 61, 512, 64),
};

constexpr std::array<std::pair<std::string_view, Dtype>, 11> kDtypeNames = {{
    {"bf16", Dtype::bf16},
    {"bfloat16", Dtype::bf16},
    {"fp16", Dtype::fp16},
    {"float16", Dtype::fp16},
    {"fp8", Dtype::fp8_e4m3},
    {"fp8_e4m3", Dtype::fp8_e4m3},
    {"float8_e4m3fn", Dtype::fp8_e4m3},
    {"fp8_e5m2", Dtype::fp8_e5m2},
    {"float8_e5m2", Dtype::fp8_e5m2},
    {"fp32", Dtype::fp32},
    {"float32", Dtype::fp32},
}};

Result<SizeBytes> product(std::initializer_list<std::uint64_t> factors) {
  std::uint64_t result = 1;
  for (const std::uint64_t factor : factors) {
    if (__builtin_mul_overflow(result, factor, &result)) {
      return Error(Errc::invalid_argument, "the geometry's sizes overflow 64 bits");
    }
  }
  return SizeBytes(result);
}

Result<std::uint32_t> kv_heads_per_rank(const KvCacheSpec& spec) {
  const std::uint32_t heads = spec.model.kv_heads;
  const std::uint32_t ranks = spec.tensor_parallel;
  if (heads == 0) {
    return Error(Errc::invalid_argument, "kv_heads: 0 given, at least 1 needed");
  }
  if (heads % ranks == 0) {
    return heads / ranks;
  }
  if (ranks % heads == 0) {
    return 1U;
  }
  return Error(Errc::invalid_argument,
               fmt::format("tensor_parallel: {} neither divides the {} KV heads nor is a multiple "
                           "of them",
                           ranks, heads));
}

// Bytes of one token in one layer on one rank.
Result<SizeBytes> token_layer_bytes(const KvCacheSpec& spec) {
  if (spec.tensor_parallel == 0) {
    return Error(Errc::invalid_argument, "tensor_parallel: 0 given, at least 1 needed");
  }
  const std::uint64_t element = bytes_per_element(spec.dtype);
  if (spec.model.attention == Attention::multi_head_latent) {
    const std::uint64_t width =
        std::uint64_t{spec.model.kv_lora_rank} + spec.model.qk_rope_head_dim;
    if (width == 0) {
      return Error(Errc::invalid_argument, "kv_lora_rank and qk_rope_head_dim: both 0");
    }
    return product({width, element});
  }
  if (spec.model.head_dim == 0) {
    return Error(Errc::invalid_argument, "head_dim: 0 given, at least 1 needed");
  }
  const Result<std::uint32_t> heads = kv_heads_per_rank(spec);
  if (!heads) {
    return heads.error();
  }
  return product({2, *heads, spec.model.head_dim, element});
}

Result<SizeBytes> times(const Result<SizeBytes>& size, std::uint64_t count) {
  if (!size) {
    return size.error();
  }
  return product({size->count(), count});
}

}  // namespace

std::uint32_t bytes_per_element(Dtype dtype) {
  switch (dtype) {
    case Dtype::bf16:
    case Dtype::fp16:
      return 2;
    case Dtype::fp8_e4m3:
    case Dtype::fp8_e5m2:
      return 1;
    case Dtype::fp32:
      return 4;
  }
  return 0;
}

Result<Dtype> parse_dtype(std::string_view text) {
  for (const auto& [name, dtype] : kDtypeNames) {
    if (name == text) {
      return dtype;
    }
  }
  return Error(
      Errc::invalid_argument,
      fmt::format("dtype: \"{}\" is not one of bf16, fp16, fp8_e4m3, fp8_e5m2, fp32", text));
}

std::span<const ModelGeometry> known_models() { return kModels; }

Result<ModelGeometry> find_model(std::string_view name) {
  for (const ModelGeometry& model : kModels) {
    if (model.name == name) {
      return model;
    }
  }
  std::string names;
  for (const ModelGeometry& model : kModels) {
    names += names.empty() ? "" : ", ";
    names += model.name;
  }
  return Error(Errc::not_found, fmt::format("model: \"{}\" is not one of {}", name, names));
}

Result<SizeBytes> KvCacheSpec::page_size_bytes() const {
  if (block_tokens == 0) {
    return Error(Errc::invalid_argument, "block_tokens: 0 given, at least 1 needed");
  }
  return times(token_layer_bytes(*this), block_tokens);
}

Result<SizeBytes> KvCacheSpec::block_bytes() const {
  if (model.layers == 0) {
    return Error(Errc::invalid_argument, "layers: 0 given, at least 1 needed");
  }
  return times(page_size_bytes(), model.layers);
}

std::uint32_t KvCacheSpec::storing_ranks() const {
  return model.attention == Attention::multi_head_latent ? 1 : tensor_parallel;
}

Result<SizeBytes> KvCacheSpec::bytes_per_token() const {
  if (model.layers == 0) {
    return Error(Errc::invalid_argument, "layers: 0 given, at least 1 needed");
  }
  return times(token_layer_bytes(*this), model.layers);
}

}  // namespace godbox::kv
