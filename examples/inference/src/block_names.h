// SPDX-License-Identifier: Apache-2.0
//
// Names of a sequence's KV blocks: each says the model and all tokens up to the block's end, so
// that equal prefixes have equal names on every host, and no others have. A block's name is the
// version 5 UUID of its tokens in the namespace that the block before it is (RFC 4122, 4.3: SHA-1).
// Thread-safety: pure functions. Ownership: values. Units: tokens. Errors: none.
#pragma once

#include "weights.h"

#include <span>
#include <string>
#include <vector>

namespace godbox::inference {

// "inference/<uuid>" for each of the first `blocks` blocks, which are full.
[[nodiscard]] std::vector<std::string> block_names(const Weights& model,
                                                   std::span<const std::uint32_t> tokens,
                                                   std::size_t blocks);

}  // namespace godbox::inference
