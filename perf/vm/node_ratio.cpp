// SPDX-License-Identifier: Apache-2.0
//
// How fast one NUMA node's memory is beside another's, measured in turns: memset, memcpy within the
// node, and reads of whole 64-byte lines at random. perf/vm/run.py runs it in a guest.
// usage: node_ratio NODE NODE MEBIBYTES REPEATS
#include "../micro/median.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

using godbox::perf::median;

constexpr std::size_t kLine = 64;
constexpr std::size_t kRandomReadsMax = 200'000;
constexpr std::array<const char*, 3> kNames = {"memset", "memcpy", "random_read"};
using Rates = std::array<std::vector<double>, kNames.size()>;

int fail(const std::string& what) {
  std::fprintf(stderr, "node_ratio: %s\n", what.c_str());
  return 1;
}

// Memory of one node, all of it there; nullptr where that failed, and has been said.
std::uint8_t* memory_on(unsigned node, std::size_t size) {
  void* const memory =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    fail("no address space");
    return nullptr;
  }
  ::madvise(memory, size, MADV_NOHUGEPAGE);  // the same pages on both nodes
  const std::uint64_t nodes = std::uint64_t{1} << node;
  if (::syscall(SYS_mbind, memory, size, MPOL_BIND, &nodes, 64, 0) != 0) {
    fail("node " + std::to_string(node) + " cannot be used");
    return nullptr;
  }
  std::memset(memory, 1, size);
  return static_cast<std::uint8_t*>(memory);
}

struct Buffers {
  std::uint8_t* from;
  std::uint8_t* to;
};

template <typename Work>
double seconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::uint64_t read_lines(const std::uint8_t* memory, std::size_t size, std::size_t count,
                         std::uint64_t seed) {
  std::uint64_t sum = 0;
  std::uint64_t state = seed;
  for (std::size_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    std::array<std::uint64_t, kLine / 8> line;
    std::memcpy(line.data(), memory + (state >> 24U) % (size / kLine) * kLine, kLine);
    for (const std::uint64_t word : line) {
      sum += word;
    }
  }
  return sum;
}

// Bytes per second of each kind of access, once.
std::uint64_t measure(const Buffers& buffers, std::size_t size, std::uint64_t round, Rates& rates) {
  const std::size_t reads = std::min(kRandomReadsMax, size / kLine);
  std::uint64_t sum = 0;
  const double set_s = seconds([&] { std::memset(buffers.to, static_cast<int>(round), size); });
  const double copy_s = seconds([&] { std::memcpy(buffers.to, buffers.from, size); });
  const double read_s = seconds([&] { sum = read_lines(buffers.to, size, reads, round + 1); });
  rates[0].push_back(static_cast<double>(size) / set_s);
  rates[1].push_back(static_cast<double>(size) / copy_s);
  rates[2].push_back(static_cast<double>(reads * kLine) / read_s);
  return sum;
}

double median_deviation(const std::vector<double>& values) {
  std::vector<double> deviations;
  deviations.reserve(values.size());
  for (const double value : values) {
    deviations.push_back(std::abs(value - median(values)));
  }
  return median(deviations);
}

void print(const std::array<Rates, 2>& rates, std::uint64_t hash) {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    const double first = median(rates[0][i]);
    const double second = median(rates[1][i]);
    std::printf(
        "%s\"%s\": {\"first_mb_per_s\": %.2f, \"first_mad\": %.2f, "
        "\"second_mb_per_s\": %.2f, \"second_mad\": %.2f, \"ratio\": %.3f}",
        i == 0 ? "{" : ", ", kNames[i], first / 1e6, median_deviation(rates[0][i]) / 1e6,
        second / 1e6, median_deviation(rates[1][i]) / 1e6, second / first);
  }
  std::printf(", \"hash\": \"%016llx\"}\n", static_cast<unsigned long long>(hash));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    return fail("usage: node_ratio NODE NODE MEBIBYTES REPEATS");
  }
  const std::array<unsigned, 2> nodes = {static_cast<unsigned>(std::atoi(argv[1])),
                                         static_cast<unsigned>(std::atoi(argv[2]))};
  const auto size = static_cast<std::size_t>(std::atoi(argv[3])) << 20U;
  const auto repeats = static_cast<unsigned>(std::atoi(argv[4]));
  if (nodes[0] >= 64 || nodes[1] >= 64 || size == 0 || repeats == 0) {
    return fail("nodes are 0 to 63; mebibytes and repeats are 1 or more");
  }
  std::array<Buffers, 2> buffers{};
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    for (std::uint8_t** const memory : {&buffers[n].from, &buffers[n].to}) {
      *memory = memory_on(nodes[n], size);
      if (*memory == nullptr) {
        return 1;
      }
    }
  }
  std::array<Rates, 2> rates;
  std::uint64_t hash = 0;
  for (unsigned round = 0; round < repeats; ++round) {
    // Who is first changes.
    for (const std::size_t n : {std::size_t{round % 2}, std::size_t{1 - round % 2}}) {
      hash = hash * 31 + measure(buffers[n], size, round, rates[n]);
    }
  }
  print(rates, hash);
  return 0;
}
