// SPDX-License-Identifier: Apache-2.0
#include <godbox/striping/kv_geometry.h>

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace godbox::kv {
namespace {

struct Row {
  const char* model;
  std::uint32_t layers;
  std::uint64_t bytes_per_token;
  std::uint64_t page_16;   // 16 tokens, one layer
  std::uint64_t block_16;  // 16 tokens, all layers
  std::uint64_t page_64, block_64;
  std::uint64_t block_512;
};

constexpr std::uint64_t kKi = 1024;
constexpr std::uint64_t kMi = 1024 * kKi;

TEST_CASE("page, block and token sizes in bf16 match the published table", "[unit]") {
  const Row rows[] = {
      {"llama-3.1-8b", 32, 131'072, 64 * kKi, 2 * kMi, 256 * kKi, 8 * kMi, 64 * kMi},
      {"llama-3.1-70b", 80, 327'680, 64 * kKi, 5 * kMi, 256 * kKi, 20 * kMi, 160 * kMi},
      {"llama-3.1-405b", 126, 516'096, 64 * kKi, 8'257'536, 256 * kKi, 33'030'144, 252 * kMi},
      {"qwen3-8b", 36, 147'456, 64 * kKi, 2'359'296, 256 * kKi, 9 * kMi, 72 * kMi},
      {"qwen3-32b", 64, 262'144, 64 * kKi, 4 * kMi, 256 * kKi, 16 * kMi, 128 * kMi},
      {"qwen3-235b-a22b", 94, 192'512, 32 * kKi, 3'080'192, 128 * kKi, 12'320'768, 94 * kMi},
      {"gpt-oss-120b", 36, 73'728, 32 * kKi, 1'179'648, 128 * kKi, 4'718'592, 36 * kMi},
      {"deepseek-v3", 61, 70'272, 18 * kKi, 1'124'352, 72 * kKi, 4'497'408, 35'979'264},
      {"kimi-k2", 61, 70'272, 18 * kKi, 1'124'352, 72 * kKi, 4'497'408, 35'979'264},
  };
  CHECK(known_models().size() == std::size(rows));
  for (const Row& row : rows) {
    CAPTURE(row.model);
    KvCacheSpec spec{.model = find_model(row.model).value()};
    CHECK(spec.model.layers == row.layers);
    CHECK(spec.bytes_per_token().value() == SizeBytes(row.bytes_per_token));
    CHECK(spec.page_size_bytes().value() == SizeBytes(row.page_16));
    CHECK(spec.block_bytes().value() == SizeBytes(row.block_16));
    spec.block_tokens = 64;
    CHECK(spec.page_size_bytes().value() == SizeBytes(row.page_64));
    CHECK(spec.block_bytes().value() == SizeBytes(row.block_64));
    spec.block_tokens = 512;
    CHECK(spec.block_bytes().value() == SizeBytes(row.block_512));
  }
}

TEST_CASE("tensor parallelism divides pages with K and V down to one head per rank", "[unit]") {
  KvCacheSpec spec{.model = find_model("llama-3.1-70b").value(), .tensor_parallel = 8};
  CHECK(spec.page_size_bytes().value() == SizeBytes(8192));
  CHECK(spec.bytes_per_token().value() == SizeBytes(40'960));
  CHECK(spec.storing_ranks() == 8);
  spec.tensor_parallel = 16;  // 8 heads on 16 ranks: each head twice
  CHECK(spec.page_size_bytes().value() == SizeBytes(8192));
  CHECK(spec.storing_ranks() == 16);
  spec.tensor_parallel = 2;
  CHECK(spec.page_size_bytes().value() == SizeBytes(32'768));
}

TEST_CASE("latent pages are the same on all ranks and stored by one", "[unit]") {
  const KvCacheSpec spec{.model = find_model("deepseek-v3").value(), .tensor_parallel = 16};
  CHECK(spec.page_size_bytes().value() == SizeBytes(18'432));
  CHECK(spec.storing_ranks() == 1);
}

TEST_CASE("the element type scales pages", "[unit]") {
  KvCacheSpec spec{.model = find_model("llama-3.1-8b").value()};
  spec.dtype = parse_dtype("fp8_e4m3").value();
  CHECK(spec.page_size_bytes().value() == SizeBytes(32'768));
  spec.dtype = parse_dtype("float32").value();
  CHECK(spec.page_size_bytes().value() == SizeBytes(131'072));
  spec.dtype = parse_dtype("fp16").value();
  CHECK(spec.page_size_bytes().value() == SizeBytes(65'536));
  CHECK(parse_dtype("fp8_e5m2").value() == Dtype::fp8_e5m2);
  CHECK(parse_dtype("bfloat16").value() == Dtype::bf16);
  CHECK(parse_dtype("int8").error().code == Errc::invalid_argument);
  CHECK(parse_dtype("").error().code == Errc::invalid_argument);
}

TEST_CASE("a geometry that makes no sense is refused with the parameter's name", "[unit]") {
  const auto refused = [](const KvCacheSpec& spec, const char* parameter) {
    const Result<SizeBytes> size = spec.block_bytes();
    return !size && size.error().code == Errc::invalid_argument &&
           size.error().detail.find(parameter) != std::string::npos;
  };
  const ModelGeometry llama = find_model("llama-3.1-8b").value();
  CHECK(refused({.model = llama, .tensor_parallel = 3}, "tensor_parallel: 3"));
  CHECK(refused({.model = llama, .tensor_parallel = 12}, "tensor_parallel: 12"));
  CHECK(refused({.model = llama, .tensor_parallel = 0}, "tensor_parallel: 0"));
  CHECK(refused({.model = llama, .block_tokens = 0}, "block_tokens: 0"));
  ModelGeometry empty;
  CHECK(refused({.model = empty}, "layers"));
  empty.layers = 1;
  CHECK(refused({.model = empty}, "head"));
  ModelGeometry latent{.name = "x", .layers = 2, .attention = Attention::multi_head_latent};
  CHECK(refused({.model = latent}, "kv_lora_rank"));
  ModelGeometry huge = llama;
  huge.layers = huge.kv_heads = huge.head_dim = UINT32_MAX;
  CHECK(refused({.model = huge, .block_tokens = UINT32_MAX}, "overflow"));
}

TEST_CASE("an unknown model is answered with those that are known", "[unit]") {
  const Result<ModelGeometry> found = find_model("llama-4");
  REQUIRE_FALSE(found.has_value());
  CHECK(found.error().code == Errc::not_found);
  CHECK(found.error().detail.find("llama-3.1-8b") != std::string::npos);
  CHECK(found.error().detail.find("deepseek-v3") != std::string::npos);
}

}  // namespace
}  // namespace godbox::kv
