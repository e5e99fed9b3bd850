// SPDX-License-Identifier: Apache-2.0
#include "geometry.h"

#include <fmt/format.h>

#include <array>
#include <string>

namespace godbox::inference {
namespace {

constexpr std::array kGeometries = {
    Geometry{.name = "tiny",
             .layers = 4,
             .hidden = 128,
             .heads = 4,
             .kv_heads = 2,
             .head_dim = 32,
             .intermediate = 384,
             .vocabulary = 1024},
    Geometry{.name = "small",
             .layers = 8,
             .hidden = 512,
             .heads = 8,
             .kv_heads = 2,
             .head_dim = 64,
             .intermediate = 1536,
             .vocabulary = 8192},
};

}  // namespace

std::uint64_t Geometry::parameters() const {
  const std::uint64_t attention =
      std::uint64_t{hidden} * head_dim * (2 * std::uint64_t{heads} + 2 * std::uint64_t{kv_heads});
  const std::uint64_t feed_forward = 3 * std::uint64_t{hidden} * intermediate;
  return layers * (attention + feed_forward) + 2 * std::uint64_t{vocabulary} * hidden;
}

SizeBytes Geometry::kv_bytes_per_token() const {
  constexpr std::uint64_t kPlanes = 2;
  constexpr std::uint64_t kElementBytes = 2;
  return SizeBytes(kPlanes * kElementBytes * layers * kv_heads * head_dim);
}

std::span<const Geometry> known_geometries() { return kGeometries; }

Result<Geometry> find_geometry(std::string_view name) {
  std::string known;
  for (const Geometry& geometry : kGeometries) {
    if (geometry.name == name) {
      return geometry;
    }
    known += (known.empty() ? "" : ", ") + std::string(geometry.name);
  }
  return Error(Errc::not_found, fmt::format("model \"{}\" is not known; known: {}", name, known));
}

}  // namespace godbox::inference
