// SPDX-License-Identifier: Apache-2.0
//
// The shapes of the models that the example runs: those of perf/ttft with the same names, so small
// that a processor, and one that QEMU emulates, computes them. Thread-safety: constants and pure
// functions. Ownership: values. Units: elements, tokens, bytes. Errors: not_found, naming those
// that are known.
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <span>
#include <string_view>

namespace godbox::inference {

struct Geometry {
  std::string_view name;
  std::uint32_t layers = 0;
  std::uint32_t hidden = 0;
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t intermediate = 0;
  std::uint32_t vocabulary = 0;
  float rope_theta = 500000.0F;
  float rms_epsilon = 1e-5F;

  [[nodiscard]] std::uint64_t parameters() const;
  // K and V of all layers, in bf16.
  [[nodiscard]] SizeBytes kv_bytes_per_token() const;
};

[[nodiscard]] std::span<const Geometry> known_geometries();
[[nodiscard]] Result<Geometry> find_geometry(std::string_view name);

}  // namespace godbox::inference
