// SPDX-License-Identifier: Apache-2.0
#include <godbox/striping/paged_kv.h>
#include <godbox_test/allocation_count.h>
#include <godbox_test/engine_cache.h>

#include <catch2/catch_test_macros.hpp>

#include <string>

namespace godbox::kv {
namespace {

using test::ElementPlace;
using test::EngineCache;

constexpr PagedShape kSmall = {.layers = 3,
                               .planes = 2,
                               .blocks = 7,
                               .block_tokens = 4,
                               .heads = 2,
                               .head_dim = 8,
                               .dtype = Dtype::bf16};

PagedShape latent(PagedShape shape) {
  shape.planes = 1;
  shape.heads = 1;
  shape.head_dim = 9;
  return shape;
}

bool is_latent(const EngineLayout& layout) {
  return layout.name.find("mla") != std::string_view::npos;
}

// The object's layer as the header's table of the pool's order says, element by element.
std::vector<std::byte> expected_layer(const PagedShape& shape, std::uint32_t layer,
                                      const std::vector<std::uint32_t>& blocks, PoolOrder order,
                                      std::uint32_t seed) {
  std::vector<std::byte> bytes;
  const std::size_t tokens = blocks.size() * shape.block_tokens;
  const bool by_token = order == PoolOrder::token_major;
  for (std::uint32_t plane = 0; plane < shape.planes; ++plane) {
    for (std::size_t outer = 0; outer < (by_token ? tokens : shape.heads); ++outer) {
      for (std::size_t inner = 0; inner < (by_token ? shape.heads : tokens); ++inner) {
        const std::size_t token = by_token ? outer : inner;
        for (std::uint32_t dim = 0; dim < shape.head_dim; ++dim) {
          const ElementPlace place = {
              .layer = layer,
              .plane = plane,
              .block = blocks[token / shape.block_tokens],
              .token = static_cast<std::uint32_t>(token % shape.block_tokens),
              .head = static_cast<std::uint32_t>(by_token ? inner : outer),
              .dim = dim};
          bytes.resize(bytes.size() + bytes_per_element(shape.dtype));
          EngineCache::write(place, seed, MutableSpan(bytes).last(bytes_per_element(shape.dtype)));
        }
      }
    }
  }
  return bytes;
}

std::vector<std::byte> gathered(const std::vector<LocalSegment>& segments) {
  std::vector<std::byte> bytes;
  for (const LocalSegment& segment : segments) {
    bytes.insert(bytes.end(), segment.data, segment.data + segment.size_bytes);
  }
  return bytes;
}

TEST_CASE("every layout, dtype and pool order gives the same bytes of an object", "[unit]") {
  const std::uint32_t seed = std::random_device()();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (const EngineLayout& layout : known_layouts()) {
    for (const Dtype dtype :
         {Dtype::bf16, Dtype::fp16, Dtype::fp8_e4m3, Dtype::fp8_e5m2, Dtype::fp32}) {
      PagedShape shape = is_latent(layout) ? latent(kSmall) : kSmall;
      shape.dtype = dtype;
      CAPTURE(layout.name, static_cast<int>(dtype));
      EngineCache cache(shape, std::string(layout.axes));
      cache.fill(seed);
      const PagedKv kv = cache.described();
      for (const PoolOrder order : {PoolOrder::token_major, PoolOrder::head_major}) {
        for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
          const auto blocks = test::random_blocks(1 + random() % 5, shape.blocks, random);
          std::vector<LocalSegment> segments;
          kv.append_layer(layer, blocks, order, segments);
          REQUIRE(segments.size() <= kv.segments_max(blocks.size()));
          REQUIRE(gathered(segments) == expected_layer(shape, layer, blocks, order, seed));
        }
      }
    }
  }
}

TEST_CASE("runs that touch are merged, within a layer and never with what was there", "[unit]") {
  const auto segments_of = [](const char* axes, const std::vector<std::uint32_t>& blocks,
                              PoolOrder order) {
    EngineCache cache(kSmall, axes);
    std::vector<LocalSegment> segments;
    cache.described().append_layer(1, blocks, order, segments);
    return segments.size();
  };
  constexpr auto kTokens = PoolOrder::token_major;
  constexpr auto kHeads = PoolOrder::head_major;
  CHECK(segments_of("PBTHD", {2}, kTokens) == 2);        // K, V
  CHECK(segments_of("PBTHD", {2, 3, 4}, kTokens) == 2);  // blocks in a row
  CHECK(segments_of("PBTHD", {4, 3, 2}, kTokens) == 6);
  CHECK(segments_of("BPTHD", {2}, kTokens) == 1);                       // V follows K
  CHECK(segments_of("BPTHD", {2, 3}, kTokens) == 4);                    // K, K, V, V
  CHECK(segments_of("BTHPD", {2}, kTokens) == std::size_t{2} * 4 * 2);  // a run per head and token
  CHECK(segments_of("PBHTD", {2}, kTokens) == std::size_t{2} * 4 * 2);
  CHECK(segments_of("PBHTD", {2}, kHeads) == 2);
  CHECK(segments_of("PBTLHD", {2}, kTokens) == std::size_t{2} * 4);  // a run per token

  EngineCache cache(kSmall, "PBTHD");
  const PagedKv kv = cache.described();
  std::vector<LocalSegment> segments;
  const std::vector<std::uint32_t> first = {2}, next = {3};
  kv.append_layer(0, first, kTokens, segments);
  std::swap(segments[0], segments[1]);  // K's end is last, and the next object's K begins there
  kv.append_layer(0, next, kTokens, segments);
  CHECK(segments.size() == 4);
}

TEST_CASE("30,208 blocks are listed without an allocation", "[unit]") {
  PagedShape shape = kSmall;
  shape.layers = 1;
  shape.heads = 1;
  shape.block_tokens = 1;
  shape.blocks = 30'208;
  EngineCache cache(shape, "PBTHD");
  const PagedKv kv = cache.described();
  std::mt19937 random(5);
  const auto blocks = test::random_blocks(shape.blocks, shape.blocks, random);
  REQUIRE(kv.check_blocks(blocks).has_value());
  std::vector<LocalSegment> segments;
  segments.reserve(kv.segments_max(blocks.size()));
  const std::uint64_t before = test::allocation_count();
  kv.append_layer(0, blocks, PoolOrder::token_major, segments);
  CHECK(test::allocation_count() == before);
  CHECK(segments.size() > 60'000);
}

TEST_CASE("the real layouts of real models have the sizes of the published table", "[unit]") {
  // Described without being touched: no such memory is there.
  const auto page_of = [](const PagedShape& shape, std::string_view axes) {
    std::uint64_t bytes = std::uint64_t{shape.heads} * shape.head_dim * shape.block_tokens;
    bytes *= std::uint64_t{bytes_per_element(shape.dtype)} * shape.blocks;
    std::vector<MutableSpan> tensors;
    for (std::uint32_t i = 0; i < shape.layers; ++i) {
      const std::uint64_t size = bytes * shape.planes;
      tensors.emplace_back(reinterpret_cast<std::byte*>(0x10000000 + i * size), size);
    }
    return PagedKv::create(shape, axes, tensors).value();
  };
  const PagedKv llama = page_of({80, 2, 1000, 16, 8, 128, Dtype::bf16}, "PBTHD");
  CHECK(llama.page_size_bytes() == SizeBytes(64 << 10U));
  CHECK(llama.object_format(1, PoolOrder::token_major) == "nhd-bf16-80x2x16x8x128");
  CHECK(llama.object_format(16, PoolOrder::head_major) == "hnd-bf16-80x2x256x8x128");
  const PagedKv deepseek = page_of({61, 1, 1000, 64, 1, 576, Dtype::bf16}, "BTHD");
  CHECK(deepseek.page_size_bytes() == SizeBytes(72 << 10U));
  CHECK(deepseek.object_format(1, PoolOrder::token_major) == "nhd-bf16-61x1x64x1x576");
}

std::string why_not(const PagedShape& shape, std::string_view axes,
                    std::span<const MutableSpan> tensors) {
  const Result<PagedKv> made = PagedKv::create(shape, axes, tensors);
  REQUIRE(!made.has_value());
  CHECK(made.error().code == Errc::invalid_argument);
  return made.error().detail;
}

TEST_CASE("a shape, axes or tensors that do not fit are refused by name", "[unit]") {
  EngineCache cache(kSmall, "PBTHD");
  const auto tensors = cache.tensors();
  const auto with = [&](auto change) {
    PagedShape shape = kSmall;
    change(shape);
    return why_not(shape, "PBTHD", tensors);
  };
  CHECK(with([](auto& shape) { shape.layers = 0; }).starts_with("layers: 0 given"));
  CHECK(with([](auto& shape) { shape.layers = 1025; }).starts_with("layers: 1025 given"));
  CHECK(with([](auto& shape) { shape.planes = 3; }).starts_with("planes: 3 given"));
  CHECK(with([](auto& shape) { shape.blocks = 0; }).starts_with("blocks: 0 given"));
  CHECK(with([](auto& shape) { shape.block_tokens = 0; }).starts_with("block_tokens: 0 given"));
  CHECK(with([](auto& shape) { shape.heads = 0; }).starts_with("heads: 0 given"));
  CHECK(with([](auto& shape) { shape.head_dim = 0; }).starts_with("head_dim: 0 given"));
  CHECK(with([](auto& shape) { shape.dtype = static_cast<Dtype>(9); }).starts_with("dtype: 9"));
  CHECK(with([](auto& shape) { shape.planes = 1; }).starts_with("heads: 2 given; one plane"));
  // A wrong dtype, more heads than there are, one block more: the tensor's size tells.
  CHECK(with([](auto& shape) { shape.dtype = Dtype::fp8_e4m3; }).find("wrong shape or dtype") !=
        std::string::npos);
  CHECK(with([](auto& shape) { shape.heads = 4; }).starts_with("tensor 0 has"));
  CHECK(with([](auto& shape) { shape.blocks = 8; }).starts_with("tensor 0 has"));
  CHECK(with([](auto& shape) { shape.layers = 2; }).starts_with("3 tensors given"));
  CHECK(why_not(kSmall, "PBTHX", tensors).starts_with("axes: \"PBTHX\""));
  CHECK(why_not(kSmall, "PBTTHD", tensors).starts_with("axes: \"PBTTHD\""));
  CHECK(why_not(kSmall, "PBHD", tensors) == "axes: \"PBHD\" lacks T");
  CHECK(why_not(kSmall, "PBTDH", tensors).find("does not end with D") != std::string::npos);
  CHECK(why_not(kSmall, "", tensors).find("lacks B") != std::string::npos);

  auto null = tensors;
  null[1] = MutableSpan(static_cast<std::byte*>(nullptr), 0);
  CHECK(why_not(kSmall, "PBTHD", null) == "layer 1 K: no memory (a null base)");
  auto twice = tensors;
  twice[2] = twice[0];
  CHECK(why_not(kSmall, "PBTHD", twice).find("overlap") != std::string::npos);
  auto odd = tensors;
  std::vector<std::byte> memory(tensors[0].size() + 8);
  odd[1] = MutableSpan(memory).subspan(1, tensors[0].size());
  CHECK(why_not(kSmall, "PBTHD", odd).find("not aligned to elements of 2 bytes") !=
        std::string::npos);
}

class StridedPlanes {
 public:
  explicit StridedPlanes(const PagedShape& shape = {1, 2, 4, 4, 2, 8, Dtype::bf16})
      : shape_(shape), memory_(8192) {
    for (std::size_t i = 0; i < 2; ++i) {
      planes_.push_back({.tensor = memory_,
                         .base = memory_.data() + i * 4096,
                         .block_stride_bytes = 128,
                         .token_stride_bytes = 32,
                         .head_stride_bytes = 16});
    }
  }
  template <class Change>
  std::string with(Change change) {
    std::vector<KvPlane> planes = planes_;
    change(planes[1]);
    const Result<PagedKv> made = PagedKv::create(shape_, planes);
    return made ? "" : std::string(made.error().detail);
  }

 private:
  PagedShape shape_;
  std::vector<std::byte> memory_;
  std::vector<KvPlane> planes_;
};

TEST_CASE("strides that overlap, leave the tensor or share bytes are refused by name", "[unit]") {
  StridedPlanes planes;
  CHECK(planes.with([](KvPlane&) {}).empty());
  CHECK(planes.with([](KvPlane& plane) { plane.head_stride_bytes = 14; }) ==
        "layer 0 V: a stride of 14 bytes overlaps what lies between, 16 bytes");
  CHECK_FALSE(planes.with([](KvPlane& plane) { plane.head_stride_bytes = 0; }).empty());
  CHECK_FALSE(planes.with([](KvPlane& plane) { plane.token_stride_bytes = 24; }).empty());
  CHECK_FALSE(planes.with([](KvPlane& plane) { plane.block_stride_bytes = 64; }).empty());
  CHECK(planes.with([](KvPlane& plane) { plane.head_stride_bytes = 17; }) ==
        "layer 0 V: a stride of 17 bytes is no whole elements of 2 bytes");
  CHECK(planes.with([](KvPlane& plane) { plane.block_stride_bytes = 4096; })
            .find("outside the tensor") != std::string::npos);
  CHECK(planes.with([](KvPlane& plane) { plane.base += 4000; }).find("outside the tensor") !=
        std::string::npos);
  CHECK(planes.with([](KvPlane& plane) { plane.base -= 8192; }).find("outside the tensor") !=
        std::string::npos);
  CHECK(planes.with([](KvPlane& plane) { plane.block_stride_bytes = ~std::uint64_t{1}; })
            .find("overflow") != std::string::npos);
  // Over the other plane: the same place, or one byte of one run.
  CHECK(planes.with([](KvPlane& plane) { plane.base -= 4096; }) ==
        "layer 0 K and layer 0 V overlap");
  CHECK_FALSE(planes.with([](KvPlane& plane) { plane.base -= 4096 - 510; }).empty());
  CHECK(planes.with([](KvPlane& plane) { plane.base -= 4096 - 512; }).empty());
}

TEST_CASE("planes may lie between each other's runs, and may not meet them", "[unit]") {
  // K and V of a head side by side, as in "BTHPD", with gaps of one element.
  constexpr PagedShape kShape = {1, 2, 3, 2, 2, 4, Dtype::fp16};
  std::vector<std::byte> memory(4096);
  const auto made = [&](std::ptrdiff_t v_at) {
    std::vector<KvPlane> planes(2, KvPlane{.tensor = memory,
                                           .base = memory.data() + 64,
                                           .block_stride_bytes = 80,
                                           .token_stride_bytes = 40,
                                           .head_stride_bytes = 20});
    planes[1].base += v_at;
    return PagedKv::create(kShape, planes).has_value();
  };
  CHECK(made(8));
  CHECK(made(10));
  CHECK(made(12));
  CHECK(made(-8));
  CHECK_FALSE(made(6));
  CHECK_FALSE(made(14));
  CHECK_FALSE(made(-6));
  CHECK_FALSE(made(20));
  CHECK(made(28));         // of the next head
  CHECK_FALSE(made(200));  // 2 blocks and 2 tokens on
  CHECK(made(208));
  CHECK(made(240));  // behind all of it
}

TEST_CASE("lists of blocks: empty, too long, out of range", "[unit]") {
  EngineCache cache(kSmall, "PBTHD");
  const PagedKv kv = cache.described();
  const auto why = [&](const std::vector<std::uint32_t>& blocks) {
    const Result<void> checked = kv.check_blocks(blocks);
    return checked ? Error() : checked.error();
  };
  CHECK(why({0, 6, 0}).code == Errc::ok);
  CHECK(why({}).code == Errc::invalid_argument);
  CHECK(why({}).detail == "the list of blocks is empty");
  CHECK(why({0, 7}).code == Errc::out_of_range);
  CHECK(why({0, 7}).detail == "entry 1 is block 7; the cache has 7");
  CHECK(why(std::vector<std::uint32_t>(PagedKv::kListMax + 1)).code == Errc::too_large);
}

TEST_CASE("layouts are found by name, and each says where it is from", "[unit]") {
  CHECK(find_layout("vllm-flashinfer")->axes == "BPTHD");
  CHECK(find_layout("vllm").error().code == Errc::not_found);
  CHECK(find_layout("vllm").error().detail.find("sglang-mha") != std::string::npos);
  for (const EngineLayout& layout : known_layouts()) {
    CAPTURE(layout.name);
    CHECK(find_layout(layout.name)->axes == layout.axes);
    CHECK(layout.source.find(".py") != std::string_view::npos);
  }
  CHECK(parse_pool_order("hnd").value() == PoolOrder::head_major);
  CHECK(parse_pool_order("").error().code == Errc::invalid_argument);
}

}  // namespace
}  // namespace godbox::kv
