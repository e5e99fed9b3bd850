// SPDX-License-Identifier: Apache-2.0
// The move kernel's arithmetic, lane by lane on the CPU, against the library's CRC32C.
#include "crc_tables.h"
#include "move_plan.h"
#include <godbox/crc32c.h>

#include <catch2/catch_get_random_seed.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <random>
#include <vector>

namespace godbox::driver {
namespace {

std::vector<std::byte> random_bytes(std::size_t size, std::mt19937& random) {
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
  return bytes;
}

// Moves one tile and returns its raw CRC, shifted.
std::uint32_t run_tile(std::byte* to, const std::byte* from, std::uint32_t length,
                       std::uint32_t bytes_after, const kernels::CrcTables& tables) {
  const kernels::TileView view = kernels::view_of(
      reinterpret_cast<unsigned char*>(to), reinterpret_cast<const unsigned char*>(from), length);
  std::uint32_t part = 0;
  for (std::uint32_t lane = 0; lane < kernels::kLanes; ++lane) {
    part ^= kernels::move_lane<true>(view, lane, &tables, tables.step);
  }
  return kernels::shift_bytes(part, bytes_after, tables);
}

TEST_CASE("a tile of every length and alignment moves its bytes, no other, and has their CRC",
          "[unit]") {
  std::mt19937 random(Catch::getSeed());
  const kernels::CrcTables tables = make_crc_tables();
  CrcFinisher finisher(tables);
  std::vector<std::uint32_t> lengths;
  for (std::uint32_t length = 1; length <= 1100; length += length < 70 ? 1 : 37) {
    lengths.push_back(length);
  }
  lengths.insert(lengths.end(), {2048, 4095, 4096, 4097, 16384, 65537, 70000});
  for (const std::uint32_t length : lengths) {
    const auto source = random_bytes(length + 64, random);
    const bool is_short = length <= 1100;
    for (std::size_t from_at = 0; from_at < 16; from_at += is_short ? 1 : 5) {
      for (std::size_t to_at = 0; to_at < 16; to_at += is_short ? 3 : 8) {
        CAPTURE(length, from_at, to_at, Catch::getSeed());
        // Where the heap puts it, so that a byte too many is one beside it.
        const std::vector<std::byte> from(
            source.begin() + static_cast<std::ptrdiff_t>(0),
            source.begin() + static_cast<std::ptrdiff_t>(from_at + length));
        std::vector<std::byte> to(to_at + length + 16, std::byte{0x77});
        const std::uint32_t raw =
            run_tile(to.data() + to_at, from.data() + from_at, length, 0, tables);
        REQUIRE(std::equal(from.begin() + static_cast<std::ptrdiff_t>(from_at), from.end(),
                           to.begin() + static_cast<std::ptrdiff_t>(to_at)));
        REQUIRE(std::count(to.begin(), to.begin() + static_cast<std::ptrdiff_t>(to_at),
                           std::byte{0x77}) == static_cast<std::ptrdiff_t>(to_at));
        REQUIRE(std::count(to.end() - 16, to.end(), std::byte{0x77}) == 16);
        REQUIRE(finisher.finish(raw, length) == crc32c(ConstSpan(from).subspan(from_at)));
      }
    }
  }
}

TEST_CASE("parts of a block add up to its CRC wherever it is cut", "[unit]") {
  std::mt19937 random(Catch::getSeed());
  CAPTURE(Catch::getSeed());
  const kernels::CrcTables tables = make_crc_tables();
  CrcFinisher finisher(tables);
  for (int round = 0; round < 100; ++round) {
    const auto from = random_bytes(1 + random() % 200'000, random);
    std::vector<std::byte> to(from.size());
    std::uint32_t raw = 0;
    for (std::size_t at = 0; at < from.size();) {
      const std::size_t length = std::min<std::size_t>(from.size() - at, 1 + random() % 20'000);
      raw ^= run_tile(to.data() + at, from.data() + at, static_cast<std::uint32_t>(length),
                      static_cast<std::uint32_t>(from.size() - at - length), tables);
      at += length;
    }
    REQUIRE(to == from);
    REQUIRE(finisher.finish(raw, static_cast<std::uint32_t>(from.size())) == crc32c(from));
  }
}

TEST_CASE("CRCs of lengths with each byte of 32 bits are finished right", "[unit]") {
  const kernels::CrcTables tables = make_crc_tables();
  CrcFinisher finisher(tables);
  // A block of zeros has a raw CRC of 0 whatever its length.
  const std::vector<std::byte> zeros(std::size_t{17} << 20U);
  for (const std::uint32_t length :
       {1U, 255U, 256U, 65535U, 65536U, 0x10001U, 0x1000000U, 0x1010101U}) {
    CHECK(finisher.finish(0, length) == crc32c(ConstSpan(zeros).first(length)));
  }
}

TEST_CASE("a plan covers the stream once, within pieces, blocks and the longest tile", "[unit]") {
  std::mt19937 random(Catch::getSeed());
  CAPTURE(Catch::getSeed());
  for (int round = 0; round < 300; ++round) {
    const std::uint32_t piece_max = round % 3 == 0 ? 40 : 70'000;
    std::vector<MovePiece> pieces;
    std::uint32_t total = 0;
    for (std::size_t i = 0; i < 1 + random() % 60; ++i) {
      const auto length = static_cast<std::uint32_t>(1 + random() % piece_max);
      const std::uintptr_t base = 0x100000000 + i * 0x100000;
      pieces.push_back({reinterpret_cast<std::byte*>(base + random() % 64),
                        reinterpret_cast<const std::byte*>(base + 0x80000 + random() % 64),
                        length});
      total += length;
    }
    std::vector<CrcBlock> crc;
    for (std::uint32_t left = total; round % 2 == 0 && left > 0;) {
      const auto length = static_cast<std::uint32_t>(
          std::min<std::size_t>(left, 1 + random() % (round % 4 == 0 ? 100 : 65536)));
      crc.push_back({length, 0});
      left -= length;
    }
    const std::size_t tile_bytes = tile_bytes_for(total, 1 + random() % 5000);
    REQUIRE(tile_bytes % kernels::kStepBytes == 0);
    const std::size_t bound = tile_count_bound(pieces.size(), crc.size(), total, tile_bytes);
    std::vector<kernels::MoveTile> tiles(bound);
    const std::size_t count = plan_tiles(pieces, crc, tile_bytes, tiles);
    REQUIRE(count <= bound);
    std::size_t piece = 0, block = 0;
    std::uint32_t in_piece = 0, in_block = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const kernels::MoveTile& tile = tiles[i];
      REQUIRE(tile.length_bytes > 0);
      REQUIRE(tile.length_bytes <= tile_bytes);
      REQUIRE(tile.to == reinterpret_cast<std::uintptr_t>(pieces[piece].to) + in_piece);
      REQUIRE(tile.from == reinterpret_cast<std::uintptr_t>(pieces[piece].from) + in_piece);
      REQUIRE((tile.to % 16 == 0 || tile.length_bytes < 64));
      in_piece += tile.length_bytes;
      REQUIRE(in_piece <= pieces[piece].length_bytes);
      if (in_piece == pieces[piece].length_bytes) {
        ++piece;
        in_piece = 0;
      }
      in_block += tile.length_bytes;
      if (!crc.empty()) {
        REQUIRE(tile.bytes_after == crc[block].length_bytes - in_block);
        if (tile.bytes_after == 0) {
          ++block;
          in_block = 0;
        }
      }
    }
    REQUIRE(piece == pieces.size());
    REQUIRE(block == crc.size());
  }
}

TEST_CASE("tiles are as long as lets all warps end together", "[unit]") {
  constexpr std::size_t kWarps = 4224;  // of 132 processors
  CHECK(tile_bytes_for(1, kWarps) == kTileBytesMin);
  CHECK(tile_bytes_for(std::size_t{64} << 10U, kWarps) == 2048);
  CHECK(tile_bytes_for(std::size_t{16} << 20U, kWarps) == 4096);   // 4096 tiles
  CHECK(tile_bytes_for(std::size_t{64} << 20U, kWarps) == 16384);  // 4096 tiles
  CHECK(tile_bytes_for(std::size_t{150} << 20U, kWarps) == 8192);  // 4.5 each, not 1.1 or 2.3
  CHECK(tile_bytes_for(std::size_t{1} << 30U, kWarps) == 32768);   // 7.8 each
  CHECK(tile_bytes_for(DeviceQueue::kMoveBytesMax, 1) >= 16384);   // no more than the ring holds
}

TEST_CASE("the largest move that is allowed fits the ring of tiles", "[unit]") {
  for (const std::size_t warps : {std::size_t{1}, std::size_t{4224}, kWarpsMax}) {
    const std::size_t tile_bytes = tile_bytes_for(DeviceQueue::kMoveBytesMax, warps);
    CHECK(tile_count_bound(DeviceQueue::kMovePiecesMax, DeviceQueue::kMoveCrcBlocksMax,
                           DeviceQueue::kMoveBytesMax, tile_bytes) <= kTilesMax);
  }
}

}  // namespace
}  // namespace godbox::driver
