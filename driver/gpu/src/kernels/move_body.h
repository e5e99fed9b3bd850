// SPDX-License-Identifier: Apache-2.0
//
// What the move kernel does, lane by lane, as device code and as plain C++17: tests run these very
// functions on the CPU. A tile is a part of a move that one warp of 32 lanes moves, 16 bytes per
// lane and step; its CRC32C comes with it:
//
// A message is a polynomial over GF(2), its first bit the highest power; its raw CRC (begun with 0,
// not inverted) is M * x^32 mod P. A lane takes every 32nd word of 16 bytes and keeps an
// accumulator of 128 bits: acc = acc * x^4096 mod P + word, as steps are 32 words apart. The
// product comes from 32 tables, one per 4 bits: 16 entries of one table lie in 16 banks of shared
// memory, so that no two lanes ever wait for each other. In the end each lane's part is multiplied
// by the power of x that belongs to its place, the parts are added (XOR), and the sum is shifted to
// the tile's place in its CRC block. The host adds up the tiles of each block (cuda_queue.cpp). CRC
// words are reflected as CRC32C's are: bit 31 of a word is x^0.
//
// Words are counted from a tile's end, so that only the first step has idle lanes. Bytes that make
// no word come last, one per lane.
// Thread-safety: pure, but for the tile's own bytes. Units: bytes. Errors: none.
// Sources: RFC 3720 appendix B.4 (the polynomial); Kounavis, Berry: "Novel table lookup-based
// algorithms for high-performance CRC generation", IEEE Trans. Computers, 2008.
#pragma once

#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define GODBOX_LANE __device__ __forceinline__
#else
#define GODBOX_LANE inline
#endif

namespace godbox::driver::kernels {

constexpr std::uint32_t kLanes = 32;
constexpr std::uint32_t kWordBytes = 16;
constexpr std::uint32_t kStepBytes = kLanes * kWordBytes;
constexpr std::uint32_t kStepsAtOnce = 4;  // loads in flight per lane
constexpr std::uint32_t kWarpsPerBlock = 8;
constexpr std::uint32_t kPolynomialReflected = 0x82F63B78;

// One part of a move. The host writes them, the kernel reads them.
struct alignas(16) MoveTile {
  std::uint64_t to = 0;
  std::uint64_t from = 0;
  std::uint32_t length_bytes = 0;
  std::uint32_t bytes_after = 0;  // in its CRC block
  std::uint64_t reserved = 0;
};
static_assert(sizeof(MoveTile) == 32, "two loads of 16 bytes");

struct CrcTables {
  std::uint32_t step[32][16];   // [i][n]: bits n at place 4 i of a word, times x^4096
  std::uint32_t lane[32];       // x^(128 (31 - i) + 32 - 4096)
  std::uint32_t tail[16];       // x^(8 i + 32)
  std::uint32_t power[4][256];  // [k][i]: x^(8 i 256^k)
};

struct alignas(16) Word {
  std::uint32_t w[4];
};

// a * b mod P.
GODBOX_LANE std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (int i = 0; i < 32; ++i) {
    product = (product >> 1U) ^ (kPolynomialReflected & (0U - (product & 1U)));
    product ^= b & (0U - (a & 1U));
    a >>= 1U;
  }
  return product;
}

// p * x^(8 bytes) mod P.
GODBOX_LANE std::uint32_t shift_bytes(std::uint32_t p, std::uint32_t bytes,
                                      const CrcTables& tables) {
  for (int k = 0; k < 4 && bytes != 0; ++k) {
    if ((bytes & 0xFFU) != 0) {
      p = multiply(p, tables.power[k][bytes & 0xFFU]);
    }
    bytes >>= 8U;
  }
  return p;
}

// word * x^4096 mod P.
GODBOX_LANE std::uint32_t step(const Word& word, const std::uint32_t (*table)[16]) {
  std::uint32_t sum = 0;
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int i = 0; i < 32; ++i) {
    // Cut out as an offset in bytes: the place times four, which else costs an instruction more.
    const int place = 4 * (i % 8) - 2;
    const std::uint32_t bits = word.w[i / 8];
    const std::uint32_t offset = (place < 0 ? bits << 2U : bits >> place) & 0x3CU;
    sum ^= *reinterpret_cast<const std::uint32_t*>(
        reinterpret_cast<const unsigned char*>(table[i]) + offset);
  }
  return sum;
}

#ifdef __CUDA_ARCH__

// What is moved is not used again soon: "streaming" leaves the caches to others.
GODBOX_LANE Word load_aligned(const unsigned char* from) {
  const uint4 word = __ldcs(reinterpret_cast<const uint4*>(from));
  return {{word.x, word.y, word.z, word.w}};
}
GODBOX_LANE void store_aligned(unsigned char* to, const Word& word) {
  __stcs(reinterpret_cast<uint4*>(to), make_uint4(word.w[0], word.w[1], word.w[2], word.w[3]));
}

#else

GODBOX_LANE Word load_aligned(const unsigned char* from) {
  Word word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}
GODBOX_LANE void store_aligned(unsigned char* to, const Word& word) {
  std::memcpy(to, &word, sizeof(word));
}

#endif

GODBOX_LANE std::uint32_t misalignment(const unsigned char* at) {
  return static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(at) % kWordBytes);
}

GODBOX_LANE Word load_bytes(const unsigned char* from) {
  Word word{};
  for (std::uint32_t i = 0; i < kWordBytes; ++i) {
    word.w[i / 4] |= static_cast<std::uint32_t>(from[i]) << (8 * (i % 4));
  }
  return word;
}
GODBOX_LANE void store_bytes(unsigned char* to, const Word& word) {
  for (std::uint32_t i = 0; i < kWordBytes; ++i) {
    to[i] = static_cast<unsigned char>(word.w[i / 4] >> (8 * (i % 4)));
  }
}

// Sixteen bytes that lie across two aligned words, both of which are the tile's own.
GODBOX_LANE Word load_across(const unsigned char* from) {
  const std::uint32_t shift = misalignment(from);
  const Word low = load_aligned(from - shift);
  const Word high = load_aligned(from - shift + kWordBytes);
  std::uint32_t all[8] = {low.w[0],  low.w[1],  low.w[2],  low.w[3],
                          high.w[0], high.w[1], high.w[2], high.w[3]};
  // Selected, not indexed: registers have no index.
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int i = 0; i < 6; ++i) {
    all[i] = (shift & 8U) != 0 ? all[i + 2] : all[i];
  }
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int i = 0; i < 5; ++i) {
    all[i] = (shift & 4U) != 0 ? all[i + 1] : all[i];
  }
  const std::uint32_t bits = 8 * (shift & 3U);
  Word word;
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t both = static_cast<std::uint64_t>(all[i + 1]) << 32U | all[i];
    word.w[i] = static_cast<std::uint32_t>(both >> bits);
  }
  return word;
}

// A tile as the lanes see it; the addresses are those at which the caller reaches the bytes.
struct TileView {
  unsigned char* to = nullptr;
  const unsigned char* from = nullptr;
  std::uint32_t words = 0;
  std::uint32_t tail_bytes = 0;
};

GODBOX_LANE TileView view_of(unsigned char* to, const unsigned char* from, std::uint32_t length) {
  TileView view;
  view.to = to;
  view.from = from;
  view.words = length / kWordBytes;
  view.tail_bytes = length % kWordBytes;
  return view;
}

template <bool kIsAligned>
GODBOX_LANE Word load_word(const TileView& tile, std::uint32_t index) {
  const unsigned char* const at = tile.from + std::uint64_t{index} * kWordBytes;
  if (kIsAligned || misalignment(tile.from) == 0) {
    return load_aligned(at);
  }
  // Never a byte beside the tile: it may be no memory, or another's.
  return index == 0 || index + 1 == tile.words ? load_bytes(at) : load_across(at);
}

template <bool kIsAligned>
GODBOX_LANE void store_word(const TileView& tile, std::uint32_t index, const Word& word) {
  unsigned char* const at = tile.to + std::uint64_t{index} * kWordBytes;
  if (kIsAligned || misalignment(tile.to) == 0) {
    store_aligned(at, word);
  } else {
    store_bytes(at, word);
  }
}

// Moves the lane's words; with kHasCrc, returns its accumulator times x^4096.
template <bool kHasCrc, bool kIsAligned>
GODBOX_LANE std::uint32_t move_words(const TileView& tile, std::uint32_t lane,
                                     const std::uint32_t (*step_table)[16]) {
  const std::uint32_t steps = (tile.words + kLanes - 1) / kLanes;
  const std::uint32_t idle = steps * kLanes - tile.words;  // lanes, in the first step
  Word acc{};
  for (std::uint32_t first = 0; first < steps; first += kStepsAtOnce) {
    Word words[kStepsAtOnce];
#ifdef __CUDACC__
#pragma unroll
#endif
    for (std::uint32_t i = 0; i < kStepsAtOnce; ++i) {
      const std::uint32_t place = (first + i) * kLanes + lane;
      const bool is_mine = first + i < steps && place >= idle;
      words[i] = is_mine ? load_word<kIsAligned>(tile, place - idle) : Word{};
    }
#ifdef __CUDACC__
#pragma unroll
#endif
    for (std::uint32_t i = 0; i < kStepsAtOnce; ++i) {
      const std::uint32_t place = (first + i) * kLanes + lane;
      if (first + i < steps && place >= idle) {
        store_word<kIsAligned>(tile, place - idle, words[i]);
      }
      if (kHasCrc && first + i < steps) {
        words[i].w[3] ^= step(acc, step_table);
        acc = words[i];
      }
    }
  }
  return kHasCrc ? step(acc, step_table) : 0;
}

// Moves what is the lane's of the tile and, with kHasCrc, returns its part of the tile's CRC.
template <bool kHasCrc>
GODBOX_LANE std::uint32_t move_lane(const TileView& tile, std::uint32_t lane,
                                    const CrcTables* tables,
                                    const std::uint32_t (*step_table)[16]) {
  std::uint32_t part = misalignment(tile.from) == 0 && misalignment(tile.to) == 0
                           ? move_words<kHasCrc, true>(tile, lane, step_table)
                           : move_words<kHasCrc, false>(tile, lane, step_table);
  if (kHasCrc) {
    part = shift_bytes(multiply(part, tables->lane[lane]), tile.tail_bytes, *tables);
  }
  if (lane < tile.tail_bytes) {
    const std::uint64_t at = std::uint64_t{tile.words} * kWordBytes + lane;
    const unsigned char byte = tile.from[at];
    tile.to[at] = byte;
    if (kHasCrc) {
      part ^= multiply(static_cast<std::uint32_t>(byte) << 24U,
                       tables->tail[tile.tail_bytes - 1 - lane]);
    }
  }
  return part;
}

}  // namespace godbox::driver::kernels
