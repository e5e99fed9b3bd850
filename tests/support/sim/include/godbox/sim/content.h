// SPDX-License-Identifier: Apache-2.0
//
// Bytes that tell where they come from: word i of a content is a mix of its seed and i, so that a
// byte of another object, of another place or of another time shows. The first byte of each word is
// the seed's lowest byte, the owner's tag, so that whose bytes they are shows without the seed.
// Thread-safety: pure functions. Units: bytes. Errors: none.
#pragma once

#include <godbox/sim/sim_random.h>
#include <godbox/transport.h>

#include <optional>
#include <vector>

namespace godbox::sim {

void fill_content(MutableSpan out, std::uint64_t seed);
[[nodiscard]] constexpr std::uint64_t tagged_seed(std::uint64_t seed, std::uint8_t tag) {
  return (seed & ~std::uint64_t{0xff}) | tag;
}
// Words of `bytes` whose first byte is `tag`, and words that are not zero.
struct TaggedWords {
  std::size_t tagged = 0;
  std::size_t nonzero = 0;
};
[[nodiscard]] TaggedWords count_tagged(ConstSpan bytes, std::uint8_t tag);
// Where `bytes` first differs from the content of `seed`; nothing when it does not.
[[nodiscard]] std::optional<std::size_t> find_difference(ConstSpan bytes, std::uint64_t seed);

// Memory of a client as a user would hand it over: pieces of random length in random places of one
// allocation, with canaries between them. The pieces' order is the order of the bytes.
class ScatteredBuffer {
 public:
  static constexpr std::byte kCanary{0xa5};
  static constexpr std::byte kRetired{0xdb};

  // `pieces_max` 1: one piece. size 0: no piece.
  ScatteredBuffer(std::size_t size_bytes, std::size_t pieces_max, SimRandom& random);

  [[nodiscard]] std::span<const LocalSegment> segments() const { return segments_; }
  [[nodiscard]] std::size_t size_bytes() const { return size_bytes_; }
  void fill(std::uint64_t seed);
  void copy_from(ConstSpan bytes);
  [[nodiscard]] std::vector<std::byte> gather() const;
  [[nodiscard]] bool canaries_stand() const;
  // From now on nobody may touch it: retired() stays true.
  void retire();
  [[nodiscard]] bool is_untouched() const;
  [[nodiscard]] MutableSpan storage() { return storage_; }

 private:
  std::size_t size_bytes_;
  std::vector<std::byte> storage_;
  std::vector<LocalSegment> segments_;
};

}  // namespace godbox::sim
