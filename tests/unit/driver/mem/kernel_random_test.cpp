// SPDX-License-Identifier: Apache-2.0
#include <godbox/driver/kernel_random.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <set>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

TEST_CASE("random words do not repeat", "[unit]") {
  KernelRandom random;
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 5000; ++i) {
    seen.insert(random.next_u64());
  }
  CHECK(seen.size() == 5000);  // 5000 of 2^64: a repeat would be no accident
}

TEST_CASE("fills of any length are random to the last byte", "[unit]") {
  KernelRandom random;
  for (const std::size_t size : {std::size_t{1}, std::size_t{3}, std::size_t{255},
                                 std::size_t{4088}, std::size_t{4096}, std::size_t{100'000}}) {
    CAPTURE(size);
    std::vector<std::byte> all_seen(size);
    // After 40 fills each byte had a bit set at least once, but for one in 2^200 or so.
    for (int i = 0; i < 40; ++i) {
      std::vector<std::byte> bytes(size);
      random.fill(bytes);
      for (std::size_t j = 0; j < size; ++j) {
        all_seen[j] |= bytes[j];
      }
    }
    CHECK(std::find(all_seen.begin(), all_seen.end(), std::byte{0}) == all_seen.end());
  }
}

TEST_CASE("threads get different words", "[unit]") {
  KernelRandom random;
  std::array<std::vector<std::uint64_t>, 4> words;
  std::vector<std::thread> threads;
  for (auto& mine : words) {
    threads.emplace_back([&random, &mine] {
      for (int i = 0; i < 2000; ++i) {
        mine.push_back(random.next_u64());
      }
    });
  }
  std::set<std::uint64_t> seen;
  for (std::size_t i = 0; i < threads.size(); ++i) {
    threads[i].join();
    seen.insert(words[i].begin(), words[i].end());
  }
  CHECK(seen.size() == 8000);
}

TEST_CASE("a forked child does not get its parent's words", "[unit]") {
  KernelRandom random;
  (void)random.next_u64();  // the page is filled
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::uint64_t word = random.next_u64();
    _exit(write(ends[1], &word, sizeof(word)) == sizeof(word) ? 0 : 1);
  }
  REQUIRE(child > 0);
  std::uint64_t childs = 0;
  REQUIRE(read(ends[0], &childs, sizeof(childs)) == sizeof(childs));
  CHECK(childs != random.next_u64());
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace godbox::driver
