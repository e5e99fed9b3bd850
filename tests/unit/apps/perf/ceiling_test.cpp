// SPDX-License-Identifier: Apache-2.0
#include <godbox/perf/ceiling.h>
#include <godbox/perf/mapped_buffer.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

using namespace godbox;
using namespace godbox::perf;
using Catch::Matchers::EndsWith;

namespace {

constexpr SizeBytes kSize = 8_MiB;

struct Buffers {
  MappedBuffer pool = MappedBuffer::memfd(kSize).value();
  MappedBuffer user = MappedBuffer::anonymous(kSize).value();
  [[nodiscard]] CeilingBuffers view() const {
    return {pool.bytes(), pool.descriptor(), user.bytes(), pool.is_huge()};
  }
  // Different in every 4 KiB, different on both sides.
  void fill() const {
    for (std::size_t at = 0; at < kSize.count(); ++at) {
      pool.bytes()[at] = static_cast<std::byte>(at / 4096 * 7 + at);
      user.bytes()[at] = static_cast<std::byte>(at / 4096 * 11 + 3);
    }
  }
};

bool equal(MutableSpan a, MutableSpan b) { return std::equal(a.begin(), a.end(), b.begin()); }

// What the kernel says of the mapping that begins there (proc_pid_smaps(5)); -1: no such line.
long mapped_huge_kib(const std::byte* address) {
  std::ifstream file("/proc/self/smaps");
  const std::string begin = fmt::format("{:x}-", reinterpret_cast<std::uintptr_t>(address));
  constexpr std::string_view kKey = "ShmemPmdMapped:";
  bool is_ours = false;
  for (std::string line; std::getline(file, line);) {
    if (line.find('-') < line.find(' ')) {
      is_ours = line.starts_with(begin);
    } else if (is_ours && line.starts_with(kKey)) {
      return std::stol(line.substr(kKey.size()));
    }
  }
  return -1;
}

}  // namespace

TEST_CASE("buffers begin where a huge page can, and say whether the kernel gave any", "[unit]") {
  for (const SizeBytes size : {kSize, kSize + 1_MiB, 64_KiB}) {
    const MappedBuffer pool = MappedBuffer::memfd(size).value();
    CHECK(reinterpret_cast<std::uintptr_t>(pool.bytes().data()) % (2_MiB).count() == 0);
    const MappedBuffer user = MappedBuffer::anonymous(size).value();
    CHECK(reinterpret_cast<std::uintptr_t>(user.bytes().data()) % (2_MiB).count() == 0);
    CHECK_FALSE(user.is_huge());
    const auto whole_kib = static_cast<long>(size.count() / (2_MiB).count() * 2048);
    if (pool.is_huge()) {
      CHECK(mapped_huge_kib(pool.bytes().data()) == whole_kib);
    } else {
      CHECK(mapped_huge_kib(pool.bytes().data()) < std::max(whole_kib, 1L));
    }
  }
}

TEST_CASE("a ceiling says which pages its pool side has", "[unit]") {
  Buffers buffers;
  CeilingBuffers view = buffers.view();
  for (const bool huge : {false, true}) {
    view.pool_is_huge = huge;
    const std::string_view words = huge ? "huge pages" : "small pages";
    CHECK_THAT(make_copy_ceiling(view, {})->variant(), EndsWith(std::string(words)));
    CHECK_THAT(make_socket_ceiling(view, {}).value()->variant(), EndsWith(std::string(words)));
  }
}

TEST_CASE("buffers are present memory of the size asked for, and nothing is refused", "[unit]") {
  const Buffers buffers;
  CHECK(buffers.pool.bytes().size() == kSize.count());
  CHECK(buffers.pool.descriptor() >= 0);
  CHECK(buffers.user.descriptor() == -1);
  CHECK_FALSE(MappedBuffer::anonymous(SizeBytes(0)).has_value());
  CHECK_FALSE(MappedBuffer::memfd(SizeBytes(0)).has_value());
}

TEST_CASE("the copy ceiling really copies, in both directions and with several threads", "[unit]") {
  const Buffers buffers;
  const bool streaming = GENERATE(false, true);
  for (const std::size_t threads : {1U, 3U}) {
    for (const Direction direction : {Direction::read, Direction::write}) {
      const auto ceiling = make_copy_ceiling(buffers.view(), {threads, 64U << 10U, streaming});
      REQUIRE(ceiling->calibrate(direction, kSize).has_value());
      CHECK_FALSE(ceiling->variant().empty());
      buffers.fill();
      const std::vector<std::byte> pool(buffers.pool.bytes().begin(), buffers.pool.bytes().end());
      const auto rate = ceiling->measure(direction, kSize);
      REQUIRE(rate.has_value());
      CHECK(*rate > 0);
      CHECK(equal(buffers.pool.bytes(), buffers.user.bytes()));
      const bool pool_is_unchanged =
          std::equal(pool.begin(), pool.end(), buffers.pool.bytes().begin());
      CHECK(pool_is_unchanged == (direction == Direction::read));
    }
  }
}

TEST_CASE("the copy ceiling takes buffers smaller than its chunks", "[unit]") {
  const MappedBuffer pool = MappedBuffer::memfd(64_KiB).value();
  const MappedBuffer user = MappedBuffer::anonymous(64_KiB).value();
  const auto ceiling =
      make_copy_ceiling({pool.bytes(), pool.descriptor(), user.bytes()}, {1, 64U << 10U, false});
  REQUIRE(ceiling->calibrate(Direction::read, 64_KiB).has_value());
  pool.bytes()[65535] = std::byte{42};
  REQUIRE(ceiling->measure(Direction::read, 64_KiB).has_value());
  CHECK(user.bytes()[65535] == std::byte{42});
}

TEST_CASE("one raw connection carries the bytes in order", "[unit]") {
  const Buffers buffers;
  for (const bool sendfile : {false, true}) {
    buffers.fill();
    const auto ceiling = make_socket_ceiling(buffers.view(), {1, 1, sendfile}).value();
    const auto rate = ceiling->measure(Direction::read, kSize);
    REQUIRE(rate.has_value());
    CHECK(*rate > 0);
    CHECK(equal(buffers.pool.bytes(), buffers.user.bytes()));
    CHECK(ceiling->name() == (sendfile ? "sendfile" : "sockets"));
  }
}

TEST_CASE("many raw connections carry all bytes in both directions", "[unit]") {
  const Buffers buffers;
  const auto ceiling = make_socket_ceiling(buffers.view(), {9, 2, false}).value();
  for (const Direction direction : {Direction::read, Direction::write}) {
    REQUIRE(ceiling->calibrate(direction, kSize).has_value());
    const MutableSpan source =
        direction == Direction::read ? buffers.pool.bytes() : buffers.user.bytes();
    const MutableSpan target =
        direction == Direction::read ? buffers.user.bytes() : buffers.pool.bytes();
    std::memset(source.data(), 1, source.size());
    std::memset(target.data(), 2, target.size());
    // Every connection fills pieces of its own: twice round, so that no byte is left out.
    REQUIRE(ceiling->measure(direction, kSize * 2).has_value());
    const auto moved = std::count(target.begin(), target.end(), std::byte{1});
    CHECK(moved > static_cast<std::ptrdiff_t>(target.size() / 2));
  }
}

TEST_CASE("a socket ceiling without connections, threads or room is refused", "[unit]") {
  const Buffers buffers;
  CHECK_FALSE(make_socket_ceiling(buffers.view(), {0, 1, false}).has_value());
  CHECK_FALSE(make_socket_ceiling(buffers.view(), {1, 0, false}).has_value());
  const MappedBuffer small = MappedBuffer::anonymous(64_KiB).value();
  CHECK_FALSE(
      make_socket_ceiling({buffers.pool.bytes(), -1, small.bytes()}, {1, 1, false}).has_value());
}
