// SPDX-License-Identifier: Apache-2.0
//
// Whether the planes of a paged KV cache are what they say: inside their tensors, and no byte in
// two places.
// Thread-safety: pure functions. Units: bytes. Errors: invalid_argument, naming layer and plane.
#pragma once

#include <godbox/striping/paged_kv.h>

namespace godbox::kv {

[[nodiscard]] Result<void> check_shape(const PagedShape& shape);
// `shape` has been checked.
[[nodiscard]] Result<void> check_planes(const PagedShape& shape, std::span<const KvPlane> planes);

}  // namespace godbox::kv
