// SPDX-License-Identifier: Apache-2.0
#include "weights.h"

#include <array>
#include <cmath>

namespace godbox::inference {
namespace {

constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15U;
constexpr std::uint64_t kMatricesMax = 4096;
// Queries and keys are larger than what a trained model has before it is trained: so a token sees a
// few others rather than the mean of all, and what it says depends on each page of the cache.
constexpr float kAttentionGain = 1.8F;

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

// In [-1, 1), with 24 bits: exact in a float.
float random_weight(std::uint64_t base, std::uint64_t index) {
  const std::uint64_t bits = mix(base + (index + 1) * kGolden) >> 40U;
  return static_cast<float>(static_cast<std::int64_t>(bits) - (std::int64_t{1} << 23U)) /
         static_cast<float>(std::uint32_t{1} << 23U);
}

}  // namespace

Matrix::Matrix(std::size_t rows, std::size_t columns, float gain, std::uint64_t seed,
               std::uint64_t number)
    : columns_(columns), tiles_(rows * columns) {
  const std::uint64_t base = mix(seed * kMatricesMax + number);
  const float scale = gain * std::sqrt(3.0F / static_cast<float>(columns));
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t column = 0; column < columns; ++column) {
      tiles_[(row / kTile * columns + column) * kTile + row % kTile] =
          scale * random_weight(base, row * columns + column);
    }
  }
}

float Matrix::at(std::size_t row, std::size_t column) const {
  return tiles_[(row / kTile * columns_ + column) * kTile + row % kTile];
}

void Matrix::multiply(std::span<const float> in, std::span<float> out) const {
  const float* weight = tiles_.data();
  for (std::size_t row = 0; row < rows(); row += kTile) {
    std::array<float, kTile> sums{};
    for (std::size_t column = 0; column < columns_; ++column, weight += kTile) {
      const float factor = in[column];
      for (std::size_t i = 0; i < kTile; ++i) {
        sums[i] += weight[i] * factor;
      }
    }
    for (std::size_t i = 0; i < kTile; ++i) {
      out[row + i] = sums[i];
    }
  }
}

Weights::Weights(const Geometry& of, std::uint64_t seed_number) : geometry(of), seed(seed_number) {
  std::uint64_t number = 0;
  const auto matrix = [&](std::size_t rows, std::size_t columns, float gain = 1.0F) {
    return Matrix(rows, columns, gain, seed, number++);
  };
  const Geometry& g = geometry;
  const std::size_t query_rows = std::size_t{g.heads} * g.head_dim;
  const std::size_t kv_rows = std::size_t{g.kv_heads} * g.head_dim;
  // Its elements' variance is one, whatever the width.
  embedding = matrix(g.vocabulary, g.hidden, std::sqrt(static_cast<float>(g.hidden)));
  head = matrix(g.vocabulary, g.hidden);
  for (std::uint32_t layer = 0; layer < g.layers; ++layer) {
    LayerWeights one;
    one.query = matrix(query_rows, g.hidden, kAttentionGain);
    one.key = matrix(kv_rows, g.hidden, kAttentionGain);
    one.value = matrix(kv_rows, g.hidden);
    one.attention_out = matrix(g.hidden, query_rows);
    one.gate = matrix(g.intermediate, g.hidden);
    one.up = matrix(g.intermediate, g.hidden);
    one.down = matrix(g.hidden, g.intermediate);
    layers.push_back(std::move(one));
  }
}

}  // namespace godbox::inference
