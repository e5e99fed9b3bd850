// SPDX-License-Identifier: Apache-2.0
#include <godbox/perf/mapped_buffer.h>
#include <godbox/perf/ping_pong.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstring>

using namespace godbox;
using namespace godbox::perf;

namespace {

struct Buffers {
  MappedBuffer pool = MappedBuffer::memfd(64_KiB).value();
  MappedBuffer user = MappedBuffer::anonymous(64_KiB).value();
  [[nodiscard]] CeilingBuffers view() const {
    return {pool.bytes(), pool.descriptor(), user.bytes(), pool.is_huge()};
  }
};

bool all_are(MutableSpan bytes, std::byte value) {
  return std::all_of(bytes.begin(), bytes.end(), [value](std::byte b) { return b == value; });
}

}  // namespace

TEST_CASE("a ping-pong's replies walk through both buffers", "[unit]") {
  const Buffers buffers;
  std::memset(buffers.pool.bytes().data(), 7, 64 << 10);
  std::memset(buffers.user.bytes().data(), 9, 64 << 10);
  const auto ping_pong = PingPong::start(buffers.view(), {64, 4096}).value();
  const auto took_us = ping_pong->measure(16, PingPong::Wait::spin);
  REQUIRE(took_us.has_value());
  REQUIRE(took_us->size() == 16);
  CHECK(std::all_of(took_us->begin(), took_us->end(), [](double us) { return us > 0; }));
  CHECK(all_are(buffers.user.bytes(), std::byte{7}));
}

TEST_CASE("a ping-pong of long requests carries them to the pool's side", "[unit]") {
  const Buffers buffers;
  std::memset(buffers.pool.bytes().data(), 7, 64 << 10);
  std::memset(buffers.user.bytes().data(), 9, 64 << 10);
  const auto ping_pong = PingPong::start(buffers.view(), {4096, 64}).value();
  REQUIRE(ping_pong->measure(16, PingPong::Wait::block).has_value());
  CHECK(all_are(buffers.pool.bytes(), std::byte{9}));
}

TEST_CASE("a ping-pong without bytes or room is refused", "[unit]") {
  const Buffers buffers;
  CHECK_FALSE(PingPong::start(buffers.view(), {0, 4096}).has_value());
  CHECK_FALSE(PingPong::start(buffers.view(), {64, 0}).has_value());
  CHECK_FALSE(PingPong::start(buffers.view(), {64, 65 << 10}).has_value());
}
