// SPDX-License-Identifier: Apache-2.0
#include "model/seeded_random.h"
#include <godbox/assert.h>
#include <godbox/emulator/model/rendezvous.h>

#include <bit>

namespace godbox::emulator::model {
namespace {

constexpr std::array<std::uint64_t, kRackBoxesMax> kOfBox = [] {
  std::array<std::uint64_t, kRackBoxesMax> values{};
  for (std::uint32_t box = 0; box < kRackBoxesMax; ++box) {
    values[box] = splitmix64(box);
  }
  return values;
}();

}  // namespace

std::uint64_t rendezvous_score(std::uint64_t block, std::uint32_t box) {
  GODBOX_ASSERT(box < kRackBoxesMax);
  return splitmix64(block + kOfBox[box]);
}

BlockPlaces rendezvous_places(std::uint64_t block, BoxMask boxes, std::uint32_t copies) {
  GODBOX_ASSERT(copies <= kBlockCopiesMax);
  BlockPlaces places;
  std::array<std::uint64_t, kBlockCopiesMax> scores{};
  for (BoxMask left = boxes; left != 0; left &= left - 1) {
    const auto box = static_cast<std::uint8_t>(std::countr_zero(left));
    const std::uint64_t score = rendezvous_score(block, box);
    // Boxes come in rising order: an equal score goes behind.
    std::uint32_t place = places.count;
    while (place > 0 && scores[place - 1] < score) {
      --place;
    }
    if (place >= copies) {
      continue;
    }
    places.count += places.count < copies ? 1 : 0;
    for (std::uint32_t i = places.count - 1; i > place; --i) {
      scores[i] = scores[i - 1];
      places.boxes[i] = places.boxes[i - 1];
    }
    scores[place] = score;
    places.boxes[place] = box;
  }
  return places;
}

}  // namespace godbox::emulator::model
