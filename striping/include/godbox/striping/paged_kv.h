// SPDX-License-Identifier: Apache-2.0
//
// An inference engine's paged KV cache as it lies in memory (of a device or of the host), and the
// order in which its bytes lie in the pool.
//
// In memory, a layer has planes: K and V, or the one latent plane of MLA. A plane is a place and
// three strides: element (block, token, head) is a run of head_dim elements at
//   base + block * block_stride + token * token_stride + head * head_stride.
// Engines differ in the order of these axes; PagedKv::create() makes the planes from the axes of
// an engine's tensors, or takes them as they are.
//
// In the pool, an object holds `blocks_per_object` blocks of all layers, one layer after the other;
// a layer holds K and then V (or the latent plane), and a plane
//   token_major:  [tokens of all its blocks][heads][head_dim]
//   head_major:   [heads][tokens of all its blocks][head_dim]
// whatever the engine's layout and the size of its blocks. So engines of different layouts and
// block sizes share objects. token_major is the rule; head_major is for engines that all keep heads
// outside tokens (HND), whose pages would be cut into runs of one head_dim otherwise. The two never
// mix: object_format() names the order, the dtype and the shape, and KvMover puts it behind each
// name, so an engine that expects other bytes finds no object.
//
// Thread-safety: immutable; const calls are concurrent. Ownership: the memory that it describes
// stays the caller's, and is not touched. Units: bytes where the name says so, else tokens, heads,
// elements. Errors: invalid_argument naming what is wrong (a null or misaligned base, a tensor of
// another size than its axes have, as with the wrong dtype, strides that overlap, leave the tensor
// or are no whole elements, planes that share bytes), out_of_range (a block that is not there),
// too_large.
// Sources: see EngineLayout.
#pragma once

#include <godbox/striping/kv_geometry.h>
#include <godbox/transport.h>

#include <string>
#include <vector>

namespace godbox::kv {

enum class PoolOrder : std::uint8_t { token_major, head_major };
[[nodiscard]] std::string_view to_string(PoolOrder order);
[[nodiscard]] Result<PoolOrder> parse_pool_order(std::string_view text);

struct PagedShape {
  std::uint32_t layers = 0;
  std::uint32_t planes = 2;  // 2: K and V; 1: latent
  std::uint32_t blocks = 0;  // in the cache, those that the engine keeps for itself included
  std::uint32_t block_tokens = 0;
  std::uint32_t heads = 0;     // of this rank; 1 for a latent plane
  std::uint32_t head_dim = 0;  // elements; of a latent plane, all of them
  Dtype dtype = Dtype::bf16;

  static constexpr std::uint32_t kLayersMax = 1024;
  static constexpr std::uint32_t kBlocksMax = 1U << 26U;
};

// One plane of one layer, as strides.
struct KvPlane {
  MutableSpan tensor;  // everything that may be touched
  std::byte* base = nullptr;
  std::uint64_t block_stride_bytes = 0;
  std::uint64_t token_stride_bytes = 0;
  std::uint64_t head_stride_bytes = 0;
};

// The order in memory of the axes of an engine's tensors, outermost first, as letters: L layers,
// P planes, B blocks, T tokens of a block, H heads, D the elements of a head, always last. Without
// L there is a tensor per layer, without P one per plane; all of K come first, then all of V, the
// order in which SGLang lists its data_ptrs.
struct EngineLayout {
  std::string_view name;
  std::string_view axes;
  std::string_view source;  // the project's file and class or function that says so
};
// vLLM's and SGLang's. "vllm-flash-attn" [2, blocks, tokens, heads, dim], "vllm-flashinfer"
// [blocks, 2, ...], "vllm-packed" (K and V of a head side by side), "vllm-mla", each also as "-hnd"
// and, for one tensor of all layers, as "-layers"; "sglang-mha", "sglang-mla" and SGLang's pools of
// host memory.
[[nodiscard]] std::span<const EngineLayout> known_layouts();
// Errors: not_found, naming those that are known.
[[nodiscard]] Result<EngineLayout> find_layout(std::string_view name);

class PagedKv {
 public:
  // How many blocks a list may name.
  static constexpr std::size_t kListMax = std::size_t{1} << 20U;

  // From strides: K of all layers, then V of all layers.
  [[nodiscard]] static Result<PagedKv> create(const PagedShape& shape,
                                              std::span<const KvPlane> planes);
  // From the axes of contiguous tensors (see EngineLayout), each of exactly its axes' size.
  [[nodiscard]] static Result<PagedKv> create(const PagedShape& shape, std::string_view axes,
                                              std::span<const MutableSpan> tensors);

  [[nodiscard]] const PagedShape& shape() const { return shape_; }
  // In plane-major order, as create() takes them.
  [[nodiscard]] std::span<const KvPlane> planes() const { return planes_; }
  // One block in one layer: all planes.
  [[nodiscard]] SizeBytes page_size_bytes() const;
  // What an object of so many blocks is in the pool, for its name; the same for all engines that
  // can share it: "nhd-bf16-80x2x16x8x128" is order, dtype, layers, planes, tokens, heads,
  // head_dim.
  [[nodiscard]] std::string object_format(std::uint32_t blocks_per_object, PoolOrder order) const;

  // Errors: invalid_argument (an empty list), too_large (kListMax), out_of_range, each with the
  // entry. Twice the same block is allowed.
  [[nodiscard]] Result<void> check_blocks(std::span<const std::uint32_t> blocks) const;

  // Appends to `out` where the bytes of `layer` of an object lie that consists of `blocks`, in the
  // pool's order, runs that touch each other merged. Both must be in range. Allocates nothing where
  // `out` has room for segments_max() more.
  void append_layer(std::uint32_t layer, std::span<const std::uint32_t> blocks, PoolOrder order,
                    std::vector<LocalSegment>& out) const;
  [[nodiscard]] std::size_t segments_max(std::size_t blocks) const;

 private:
  PagedKv(const PagedShape& shape, std::vector<KvPlane> planes);
  void append_plane(const KvPlane& plane, std::span<const std::uint32_t> blocks, PoolOrder order,
                    std::size_t first, std::vector<LocalSegment>& out) const;

  PagedShape shape_;
  std::vector<KvPlane> planes_;
  std::size_t run_bytes_ = 0;  // of one head of one token
};

}  // namespace godbox::kv
