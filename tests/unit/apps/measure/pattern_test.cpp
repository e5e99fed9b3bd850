// SPDX-License-Identifier: Apache-2.0
#include "measure/pattern.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

using namespace godbox;
using namespace godbox::app;

namespace {

std::vector<std::byte> pattern(std::size_t size, PatternId id, std::uint64_t offset = 0) {
  std::vector<std::byte> bytes(size);
  fill_pattern(bytes, id, offset);
  return bytes;
}

}  // namespace

TEST_CASE("a pattern matches itself at any size and offset", "[unit]") {
  for (const std::size_t size : {1U, 7U, 8U, 9U, 100U, 4096U}) {
    for (const std::uint64_t offset : {0U, 1U, 5U, 8U, 12345U}) {
      const auto bytes = pattern(size, {3, 4}, offset);
      CHECK(count_wrong_bytes(bytes, {3, 4}, offset) == 0);
    }
  }
}

TEST_CASE("a pattern written in pieces is the pattern written at once", "[unit]") {
  const auto whole = pattern(1000, {1, 2});
  std::vector<std::byte> pieces(1000);
  for (std::size_t at = 0; at < 1000;) {
    const std::size_t size = std::min<std::size_t>(1000 - at, 13);
    fill_pattern(std::span(pieces).subspan(at, size), {1, 2}, at);
    at += size;
  }
  CHECK(pieces == whole);
}

TEST_CASE("every wrong byte is counted, and only those", "[unit]") {
  auto bytes = pattern(4096, {1, 2});
  for (const std::size_t at : {0U, 7U, 8U, 4095U}) {
    bytes[at] ^= std::byte{1};
  }
  CHECK(count_wrong_bytes(bytes, {1, 2}) == 4);
}

TEST_CASE("bytes of another seed, object or place are wrong", "[unit]") {
  const auto bytes = pattern(4096, {1, 2});
  CHECK(count_wrong_bytes(bytes, {2, 2}) > 4000);
  CHECK(count_wrong_bytes(bytes, {1, 3}) > 4000);
  CHECK(count_wrong_bytes(bytes, {2, 1}) > 4000);
  CHECK(count_wrong_bytes(bytes, {1, 2}, 8) > 4000);
}

TEST_CASE("spoilt and empty memory is no pattern", "[unit]") {
  std::vector<std::byte> bytes(4096);
  CHECK(count_wrong_bytes(bytes, {1, 2}) > 4000);
  spoil(bytes);
  CHECK(count_wrong_bytes(bytes, {1, 2}) > 4000);
}
