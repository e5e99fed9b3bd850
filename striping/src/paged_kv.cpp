// SPDX-License-Identifier: Apache-2.0
#include "paged_kv_check.h"
#include <godbox/assert.h>
#include <godbox/striping/paged_kv.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace godbox::kv {

namespace {

constexpr std::string_view kFlashAttention =
    "vLLM vllm/v1/attention/backends/flash_attn.py get_kv_cache_shape, get_kv_cache_stride_order";
constexpr std::string_view kFlashInfer =
    "vLLM vllm/v1/attention/backends/flashinfer.py, triton_attn.py: the same two functions";
constexpr std::string_view kPacked =
    "vLLM from K and V in one content axis on: vllm/v1/attention/backends/flash_attn.py";
constexpr std::string_view kVllmMla =
    "vLLM vllm/model_executor/layers/attention/mla_attention.py MLACommonBackend";
constexpr std::string_view kSglang = "SGLang python/sglang/srt/mem_cache/memory_pool.py";
constexpr std::string_view kSglangHost =
    "SGLang python/sglang/srt/mem_cache/pool_host mha.py, mla.py init_kv_buffer";

constexpr std::array<EngineLayout, 23> kLayouts = {{
    {"vllm-flash-attn", "PBTHD", kFlashAttention},
    {"vllm-flash-attn-hnd", "PBHTD", kFlashAttention},
    {"vllm-flash-attn-layers", "BLPTHD", kFlashAttention},
    {"vllm-flash-attn-layers-hnd", "BHLPTD", kFlashAttention},
    {"vllm-flashinfer", "BPTHD", kFlashInfer},
    {"vllm-flashinfer-hnd", "BPHTD", kFlashInfer},
    {"vllm-flashinfer-layers", "BLPTHD", kFlashInfer},
    {"vllm-flashinfer-layers-hnd", "BPHLTD", kFlashInfer},
    {"vllm-packed", "BTHPD", kPacked},
    {"vllm-packed-hnd", "BHTPD", kPacked},
    {"vllm-packed-layers", "BLTHPD", kPacked},
    {"vllm-packed-layers-hnd", "BHLTPD", kPacked},
    {"vllm-mla", "BTHD", kVllmMla},
    {"vllm-mla-layers", "BLTHD", kVllmMla},
    {"sglang-mha", "BTHD", kSglang},
    {"sglang-mla", "BTHD", kSglang},
    {"sglang-host-layer-first", "PLBTHD", kSglangHost},
    {"sglang-host-page-first", "PBTLHD", kSglangHost},
    {"sglang-host-page-first-direct", "PBLTHD", kSglangHost},
    {"sglang-host-page-head", "PBHTLD", kSglangHost},
    {"sglang-host-mla-layer-first", "LBTHD", kSglangHost},
    {"sglang-host-mla-page-first", "BTLHD", kSglangHost},
    {"sglang-host-mla-page-first-direct", "BLTHD", kSglangHost},
}};

std::string_view short_name(Dtype dtype) {
  switch (dtype) {
    case Dtype::bf16:
      return "bf16";
    case Dtype::fp16:
      return "fp16";
    case Dtype::fp8_e4m3:
      return "fp8_e4m3";
    case Dtype::fp8_e5m2:
      return "fp8_e5m2";
    case Dtype::fp32:
      return "fp32";
  }
  return "unknown";
}

Error refused(std::string what) { return {Errc::invalid_argument, std::move(what)}; }

std::uint64_t count_of(const PagedShape& shape, char axis) {
  switch (axis) {
    case 'L':
      return shape.layers;
    case 'P':
      return shape.planes;
    case 'B':
      return shape.blocks;
    case 'T':
      return shape.block_tokens;
    case 'H':
      return shape.heads;
    default:
      return shape.head_dim;
  }
}

// What a tensor of the axes is: its size and the stride of each axis.
struct AxisStrides {
  std::uint64_t size_bytes = 0;
  std::array<std::uint64_t, 128> of{};  // by letter; 0: no such axis
};

Result<AxisStrides> strides_of(const PagedShape& shape, std::string_view axes) {
  AxisStrides strides;
  strides.size_bytes = bytes_per_element(shape.dtype);
  for (std::size_t i = axes.size(); i-- > 0;) {
    const char axis = axes[i];
    if (std::string_view("LPBTHD").find(axis) == std::string_view::npos || axes.find(axis) != i) {
      return refused(
          fmt::format("axes: \"{}\" is not made of L, P, B, T, H and D once each", axes));
    }
    strides.of[static_cast<unsigned char>(axis)] = strides.size_bytes;
    if (__builtin_mul_overflow(strides.size_bytes, count_of(shape, axis), &strides.size_bytes)) {
      return refused("the shape's sizes overflow 64 bits");
    }
  }
  for (const char axis : std::string_view("BTHD")) {
    if (strides.of[static_cast<unsigned char>(axis)] == 0) {
      return refused(fmt::format("axes: \"{}\" lacks {}", axes, axis));
    }
  }
  if (!axes.ends_with('D')) {
    return refused(fmt::format("axes: \"{}\" does not end with D, the elements of a head", axes));
  }
  return strides;
}

}  // namespace

std::string_view to_string(PoolOrder order) {
  return order == PoolOrder::token_major ? "nhd" : "hnd";
}

Result<PoolOrder> parse_pool_order(std::string_view text) {
  for (const PoolOrder order : {PoolOrder::token_major, PoolOrder::head_major}) {
    if (to_string(order) == text) {
      return order;
    }
  }
  return refused(fmt::format("pool order: \"{}\" is not one of nhd, hnd", text));
}

std::span<const EngineLayout> known_layouts() { return kLayouts; }

Result<EngineLayout> find_layout(std::string_view name) {
  std::string names;
  for (const EngineLayout& layout : kLayouts) {
    if (layout.name == name) {
      return layout;
    }
    names += names.empty() ? "" : ", ";
    names += layout.name;
  }
  return Error(Errc::not_found, fmt::format("layout: \"{}\" is not one of {}", name, names));
}

PagedKv::PagedKv(const PagedShape& shape, std::vector<KvPlane> planes)
    : shape_(shape),
      planes_(std::move(planes)),
      run_bytes_(std::size_t{shape.head_dim} * bytes_per_element(shape.dtype)) {}

Result<PagedKv> PagedKv::create(const PagedShape& shape, std::span<const KvPlane> planes) {
  if (Result<void> checked = check_shape(shape); !checked) {
    return checked.error();
  }
  if (Result<void> checked = check_planes(shape, planes); !checked) {
    return checked.error();
  }
  return PagedKv(shape, {planes.begin(), planes.end()});
}

Result<PagedKv> PagedKv::create(const PagedShape& shape, std::string_view axes,
                                std::span<const MutableSpan> tensors) {
  if (Result<void> checked = check_shape(shape); !checked) {
    return checked.error();
  }
  const Result<AxisStrides> strides = strides_of(shape, axes);
  if (!strides) {
    return strides.error();
  }
  const std::uint64_t layer_stride = strides->of['L'];
  const std::uint64_t plane_stride = strides->of['P'];
  const std::size_t layer_tensors = layer_stride > 0 ? 1 : shape.layers;
  const std::size_t plane_tensors = plane_stride > 0 ? 1 : shape.planes;
  if (tensors.size() != layer_tensors * plane_tensors) {
    return refused(fmt::format(
        "{} tensors given, and axes \"{}\" of {} layers and {} planes need {}", tensors.size(),
        axes, shape.layers, shape.planes, layer_tensors * plane_tensors));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].data() != nullptr && tensors[i].size() != strides->size_bytes) {
      return refused(
          fmt::format("tensor {} has {} bytes, and axes \"{}\" of {} need {}: a wrong "
                      "shape or dtype",
                      i, tensors[i].size(), axes, short_name(shape.dtype), strides->size_bytes));
    }
  }
  std::vector<KvPlane> planes;
  planes.reserve(std::size_t{shape.layers} * shape.planes);
  for (std::size_t plane = 0; plane < shape.planes; ++plane) {
    for (std::size_t layer = 0; layer < shape.layers; ++layer) {
      const MutableSpan tensor = tensors[(plane_tensors > 1 ? plane * layer_tensors : 0) +
                                         (layer_tensors > 1 ? layer : 0)];
      std::byte* base = tensor.data();
      if (base != nullptr) {
        base += layer * layer_stride + plane * plane_stride;
      }
      planes.push_back({.tensor = tensor,
                        .base = base,
                        .block_stride_bytes = strides->of['B'],
                        .token_stride_bytes = strides->of['T'],
                        .head_stride_bytes = strides->of['H']});
    }
  }
  return create(shape, planes);
}

SizeBytes PagedKv::page_size_bytes() const {
  return SizeBytes(std::uint64_t{shape_.planes} * shape_.block_tokens * shape_.heads * run_bytes_);
}

std::string PagedKv::object_format(std::uint32_t blocks_per_object, PoolOrder order) const {
  return fmt::format("{}-{}-{}x{}x{}x{}x{}", to_string(order), short_name(shape_.dtype),
                     shape_.layers, shape_.planes,
                     std::uint64_t{blocks_per_object} * shape_.block_tokens, shape_.heads,
                     shape_.head_dim);
}

Result<void> PagedKv::check_blocks(std::span<const std::uint32_t> blocks) const {
  if (blocks.empty()) {
    return refused("the list of blocks is empty");
  }
  if (blocks.size() > kListMax) {
    return Error(Errc::too_large,
                 fmt::format("{} blocks in a list; {} are allowed", blocks.size(), kListMax));
  }
  const auto wrong = std::find_if(blocks.begin(), blocks.end(),
                                  [this](std::uint32_t block) { return block >= shape_.blocks; });
  if (wrong != blocks.end()) {
    return Error(Errc::out_of_range, fmt::format("entry {} is block {}; the cache has {}",
                                                 wrong - blocks.begin(), *wrong, shape_.blocks));
  }
  return {};
}

std::size_t PagedKv::segments_max(std::size_t blocks) const {
  return blocks * shape_.planes * shape_.block_tokens * shape_.heads;
}

void PagedKv::append_layer(std::uint32_t layer, std::span<const std::uint32_t> blocks,
                           PoolOrder order, std::vector<LocalSegment>& out) const {
  GODBOX_ASSERT(layer < shape_.layers);
  const std::size_t first = out.size();
  for (std::size_t plane = 0; plane < shape_.planes; ++plane) {
    append_plane(planes_[plane * shape_.layers + layer], blocks, order, first, out);
  }
}

namespace {

// Adds a run behind the last one, or to it where they touch and both belong to this layer.
void append_run(std::byte* data, std::size_t size_bytes, std::size_t first,
                std::vector<LocalSegment>& out) {
  if (out.size() > first && out.back().data + out.back().size_bytes == data) {
    out.back().size_bytes += size_bytes;
  } else {
    out.push_back({data, size_bytes});
  }
}

}  // namespace

void PagedKv::append_plane(const KvPlane& plane, std::span<const std::uint32_t> blocks,
                           PoolOrder order, std::size_t first,
                           std::vector<LocalSegment>& out) const {
  const bool by_token = order == PoolOrder::token_major;
  // A block's rows, each of runs that follow each other in the pool.
  const std::uint32_t outer = by_token ? shape_.block_tokens : shape_.heads;
  const std::uint32_t inner = by_token ? shape_.heads : shape_.block_tokens;
  const std::uint64_t outer_stride = by_token ? plane.token_stride_bytes : plane.head_stride_bytes;
  const std::uint64_t inner_stride = by_token ? plane.head_stride_bytes : plane.token_stride_bytes;
  const bool is_row_whole = inner == 1 || inner_stride == run_bytes_;
  const std::size_t row_bytes = inner * run_bytes_;
  const auto append_row = [&](std::byte* row) {
    if (is_row_whole) {
      append_run(row, row_bytes, first, out);
      return;
    }
    for (std::uint32_t i = 0; i < inner; ++i) {
      append_run(row + i * inner_stride, run_bytes_, first, out);
    }
  };
  if (!by_token) {  // a head of all blocks, then the next head
    for (std::uint32_t head = 0; head < outer; ++head) {
      for (const std::uint32_t block : blocks) {
        GODBOX_ASSERT(block < shape_.blocks);
        append_row(plane.base + block * plane.block_stride_bytes + head * outer_stride);
      }
    }
    return;
  }
  const bool is_block_whole = is_row_whole && (outer == 1 || outer_stride == row_bytes);
  for (const std::uint32_t block : blocks) {
    GODBOX_ASSERT(block < shape_.blocks);
    std::byte* const begin = plane.base + block * plane.block_stride_bytes;
    if (is_block_whole) {
      append_run(begin, outer * row_bytes, first, out);
      continue;
    }
    for (std::uint32_t token = 0; token < outer; ++token) {
      append_row(begin + token * outer_stride);
    }
  }
}

}  // namespace godbox::kv
