// SPDX-License-Identifier: Apache-2.0
//
// Which boxes of a rack have a block, by rendezvous hashing (Thaler and Ravishankar, 1998): every
// host gives every box a score for the block and takes the highest ones. Nobody keeps a table, and
// a box that is lost moves only the blocks that it had. Scores are of splitmix64's output function
// (Steele, Lea and Flood, 2014), so that any program can find the same boxes.
// Thread-safety: pure functions. Ownership: values. Units: numbers of boxes and blocks.
// Errors: none; preconditions are asserted.
#pragma once

#include <array>
#include <cstdint>

namespace godbox::emulator::model {

inline constexpr std::uint32_t kRackBoxesMax = 64;
inline constexpr std::uint32_t kBlockCopiesMax = 8;

// A set of boxes: bit b is box b.
using BoxMask = std::uint64_t;

// The boxes 0 .. boxes - 1, at most kRackBoxesMax.
[[nodiscard]] constexpr BoxMask first_boxes(std::uint32_t boxes) {
  return boxes >= kRackBoxesMax ? ~BoxMask{0} : (BoxMask{1} << boxes) - 1;
}

// splitmix64(block + splitmix64(box)), where splitmix64(x) is what a generator of that name with
// the seed x gives first.
[[nodiscard]] std::uint64_t rendezvous_score(std::uint64_t block, std::uint32_t box);

struct BlockPlaces {
  std::array<std::uint8_t, kBlockCopiesMax> boxes{};  // the highest score first
  std::uint32_t count = 0;

  [[nodiscard]] BoxMask mask() const {
    BoxMask mask = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      mask |= BoxMask{1} << boxes[i];
    }
    return mask;
  }
};
// The `copies` boxes of the mask with the highest scores, at most kBlockCopiesMax and as many as
// there are; of equal scores the box of the smaller number.
[[nodiscard]] BlockPlaces rendezvous_places(std::uint64_t block, BoxMask boxes,
                                            std::uint32_t copies);

}  // namespace godbox::emulator::model
