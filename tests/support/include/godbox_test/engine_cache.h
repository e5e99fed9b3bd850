// SPDX-License-Identifier: Apache-2.0
//
// A paged KV cache as an engine has it, made without PagedKv's arithmetic: tensors are filled by
// walking their axes in memory order, so each element knows which layer, plane, block, token and
// head it is. For tests of all that moves such caches.
// Thread-safety: one thread. Ownership: owns its tensors. Units: as in paged_kv.h.
#pragma once

#include <godbox/striping/paged_kv.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace godbox::test {

// Where an element is: a value per axis of EngineLayout.
struct ElementPlace {
  std::uint32_t layer = 0, plane = 0, block = 0, token = 0, head = 0, dim = 0;
};

class EngineCache {
 public:
  EngineCache(const kv::PagedShape& shape, std::string axes)
      : shape_(shape), axes_(std::move(axes)) {
    std::size_t elements = 1;
    for (const char axis : axes_) {
      elements *= count_of(axis);
    }
    const std::size_t layer_tensors = has('L') ? 1 : shape.layers;
    const std::size_t plane_tensors = has('P') ? 1 : shape.planes;
    memory_.resize(layer_tensors * plane_tensors);
    for (auto& tensor : memory_) {
      // As aligned as any allocator does; what is behind it must not be touched.
      tensor.assign(elements * kv::bytes_per_element(shape.dtype) + kGuardBytes, kGuard);
    }
  }

  [[nodiscard]] const kv::PagedShape& shape() const { return shape_; }
  [[nodiscard]] const std::string& axes() const { return axes_; }
  [[nodiscard]] std::vector<MutableSpan> tensors() {
    std::vector<MutableSpan> spans;
    for (auto& tensor : memory_) {
      spans.emplace_back(tensor.data(), tensor.size() - kGuardBytes);
    }
    return spans;
  }
  [[nodiscard]] kv::PagedKv described() {
    return kv::PagedKv::create(shape_, axes_, tensors()).value();
  }

  // Calls visit(place, element's bytes) for each element, in the order of memory.
  template <class Visit>
  void for_each(Visit visit) {
    const std::size_t element = kv::bytes_per_element(shape_.dtype);
    for (std::size_t tensor = 0; tensor < memory_.size(); ++tensor) {
      const std::size_t layer_tensors = has('L') ? 1 : shape_.layers;
      ElementPlace place;
      place.plane = static_cast<std::uint32_t>(tensor / layer_tensors);
      place.layer = static_cast<std::uint32_t>(has('L') ? 0 : tensor % layer_tensors);
      std::size_t at = 0;
      walk(0, place, [&](const ElementPlace& each) {
        visit(each, MutableSpan(memory_[tensor].data() + at, element));
        at += element;
      });
    }
  }

  // Fills it with what is in no other place, and is not what another seed gives.
  void fill(std::uint32_t seed) {
    for_each([&](const ElementPlace& place, MutableSpan bytes) { write(place, seed, bytes); });
  }
  void clear() {
    for_each([&](const ElementPlace&, MutableSpan bytes) {
      std::memset(bytes.data(), 0xEE, bytes.size());
    });
  }
  // What fill(seed) puts into an element, byte by byte.
  static void write(const ElementPlace& place, std::uint32_t seed, MutableSpan bytes) {
    std::uint64_t mixed = seed;
    for (const std::uint32_t part :
         {place.layer, place.plane, place.block, place.token, place.head, place.dim}) {
      mixed = (mixed + part + 1) * 0x9E3779B97F4A7C15U;
      mixed ^= mixed >> 29U;
    }
    std::memcpy(bytes.data(), &mixed, bytes.size());
  }
  [[nodiscard]] bool is_guard_whole() const {
    for (const auto& tensor : memory_) {
      for (std::size_t i = 0; i < kGuardBytes; ++i) {
        if (tensor[tensor.size() - 1 - i] != kGuard) {
          return false;
        }
      }
    }
    return true;
  }

 private:
  static constexpr std::size_t kGuardBytes = 64;
  static constexpr std::byte kGuard{0x5A};

  [[nodiscard]] bool has(char axis) const { return axes_.find(axis) != std::string::npos; }
  [[nodiscard]] std::uint32_t count_of(char axis) const {
    const std::array<std::pair<char, std::uint32_t>, 6> counts = {{{'L', shape_.layers},
                                                                   {'P', shape_.planes},
                                                                   {'B', shape_.blocks},
                                                                   {'T', shape_.block_tokens},
                                                                   {'H', shape_.heads},
                                                                   {'D', shape_.head_dim}}};
    for (const auto& [letter, count] : counts) {
      if (letter == axis) {
        return count;
      }
    }
    return 0;
  }
  static std::uint32_t& part_of(ElementPlace& place, char axis) {
    switch (axis) {
      case 'L':
        return place.layer;
      case 'P':
        return place.plane;
      case 'B':
        return place.block;
      case 'T':
        return place.token;
      case 'H':
        return place.head;
      default:
        return place.dim;
    }
  }
  template <class Visit>
  void walk(std::size_t depth, ElementPlace& place, const Visit& visit) const {
    if (depth == axes_.size()) {
      visit(place);
      return;
    }
    std::uint32_t& part = part_of(place, axes_[depth]);
    for (part = 0; part < count_of(axes_[depth]); ++part) {
      walk(depth + 1, place, visit);
    }
  }

  kv::PagedShape shape_;
  std::string axes_;
  std::vector<std::vector<std::byte>> memory_;
};

// So many different blocks of `of`, in random order.
[[nodiscard]] inline std::vector<std::uint32_t> random_blocks(std::size_t count, std::uint32_t of,
                                                              std::mt19937& random) {
  std::vector<std::uint32_t> blocks(of);
  for (std::uint32_t i = 0; i < of; ++i) {
    blocks[i] = i;
  }
  std::shuffle(blocks.begin(), blocks.end(), random);
  blocks.resize(count);
  return blocks;
}

}  // namespace godbox::test
