// SPDX-License-Identifier: Apache-2.0
//
// The fixed random weights of a model: the same on every machine for a geometry and a seed, so that
// nothing has to be downloaded and two hosts have the same model. Weight i of matrix m is
//   (mix(base(seed, m) + (i + 1) * golden) >> 40) / 2^23 - 1     in [-1, 1),
// mix and golden those of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
// Generators, OOPSLA 2014), scaled to the variance that keeps what passes through the matrix as
// large as it was. Thread-safety: immutable. Ownership: owns its numbers. Units: elements.
// Errors: none.
#pragma once

#include "geometry.h"

#include <cstdint>
#include <span>
#include <vector>

namespace godbox::inference {

// Rows lie in tiles of kTile, a column of a tile in one piece: a product adds up kTile rows at a
// time, each in the order of its columns, which compilers make vectors of without reordering sums.
class Matrix {
 public:
  static constexpr std::size_t kTile = 16;

  Matrix() = default;
  // Rows are a multiple of kTile. `number` tells the model's matrices apart.
  Matrix(std::size_t rows, std::size_t columns, float gain, std::uint64_t seed,
         std::uint64_t number);
  [[nodiscard]] std::size_t rows() const { return tiles_.size() / columns_; }
  [[nodiscard]] float at(std::size_t row, std::size_t column) const;
  // out = this * in
  void multiply(std::span<const float> in, std::span<float> out) const;

 private:
  std::size_t columns_ = 1;
  std::vector<float> tiles_;
};

struct LayerWeights {
  Matrix query, key, value;
  Matrix attention_out;
  Matrix gate, up, down;
};

struct Weights {
  Weights(const Geometry& of, std::uint64_t seed_number);

  Geometry geometry;
  std::uint64_t seed;
  Matrix embedding;  // a row per word
  Matrix head;
  std::vector<LayerWeights> layers;
};

}  // namespace godbox::inference
