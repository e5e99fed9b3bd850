// SPDX-License-Identifier: Apache-2.0
//
// Frames through DPDK's ports, as a door moves them: from memory into the frame, through the
// device, from the frame into memory; sender and receiver take turns on one thread, in bursts.
// Beside it the ceiling: the same bytes by memcpy and nothing else, as often as they are copied on
// the way (net_ring hands frames over, net_vhost copies each once more). All contestants take turns
// in each round, so that a noisy machine is noisy for all of them.
//
//   dpdk_bench           some seconds
//   dpdk_bench --small   few frames: only shows that it runs
#include "median.h"
#include "port_pair.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

namespace {

using namespace godbox;
using driver::DpdkPort;
using driver::DpdkPortPtr;
using godbox::perf::median;
using godbox::perf::open_ring_pair;
using godbox::perf::open_vhost_pair;
using godbox::perf::PortPair;

constexpr std::uint32_t kMtuBytes = 4200;
constexpr std::uint16_t kFramesOnTheWay = 512;
constexpr std::array<std::size_t, 2> kFrameBytes = {64, 4096};
constexpr std::size_t kMemoryBytes = std::size_t{8} << 20U;  // walked through by both ends
constexpr std::size_t kBurst = driver::kDpdkBurstFrames / 2;

struct Memory {
  std::vector<std::byte> source = std::vector<std::byte>(kMemoryBytes, std::byte{0x5a});
  std::vector<std::byte> target = std::vector<std::byte>(kMemoryBytes);
  std::vector<std::byte> frames = std::vector<std::byte>(kMemoryBytes);
  std::size_t at = 0;

  [[nodiscard]] std::size_t next(std::size_t size_bytes) {
    at = at + 2 * size_bytes <= kMemoryBytes ? at + size_bytes : 0;
    return at;
  }
};

struct Contestant {
  std::string name;
  DpdkPortPtr from = {};  // null: the ceiling
  DpdkPortPtr to = {};
  int copies = 2;
  std::array<std::vector<double>, kFrameBytes.size()> frames_per_s = {};
};

std::size_t through_memory(Memory& memory, std::size_t frame_bytes, int copies) {
  for (std::size_t i = 0; i < kBurst; ++i) {
    const std::size_t at = memory.next(frame_bytes);
    std::memcpy(memory.frames.data() + at, memory.source.data() + at, frame_bytes);
    for (int copy = 2; copy < copies; ++copy) {
      std::memcpy(memory.source.data() + at, memory.frames.data() + at, frame_bytes);
    }
    std::memcpy(memory.target.data() + at, memory.frames.data() + at, frame_bytes);
  }
  return kBurst;
}

std::size_t through_ports(Memory& memory, std::size_t frame_bytes, DpdkPort& from, DpdkPort& to) {
  std::array<ConstSpan, kBurst> frames;
  for (std::size_t i = 0; i < kBurst; ++i) {
    const MutableSpan room = from.room_to_send(frame_bytes);
    if (room.empty()) {
      break;
    }
    std::memcpy(room.data(), memory.source.data() + memory.next(frame_bytes), frame_bytes);
    from.commit();
  }
  from.flush();
  const std::size_t count = to.receive(frames);
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(memory.target.data() + memory.next(frame_bytes), frames[i].data(),
                frames[i].size());
  }
  return count;
}

// Frames per second of so many frames.
double measure(Contestant& contestant, Memory& memory, std::size_t frame_bytes,
               std::size_t frames) {
  const auto begin = std::chrono::steady_clock::now();
  std::size_t done = 0;
  while (done < frames) {
    done += contestant.from == nullptr
                ? through_memory(memory, frame_bytes, contestant.copies)
                : through_ports(memory, frame_bytes, *contestant.from, *contestant.to);
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  return static_cast<double>(done) / time.count();
}

Result<std::vector<Contestant>> make_contestants(const std::shared_ptr<driver::Eal>& eal) {
  Result<PortPair> rings = open_ring_pair(eal, kMtuBytes, kFramesOnTheWay);
  if (!rings) {
    return rings.error();
  }
  Result<PortPair> guest = open_vhost_pair(eal, kMtuBytes, kFramesOnTheWay);
  if (!guest) {
    return guest.error();
  }
  std::vector<Contestant> contestants;
  contestants.push_back({.name = "memcpy, 2 copies", .copies = 2});
  contestants.push_back({.name = "memcpy, 3 copies", .copies = 3});
  contestants.push_back({.name = "net_ring to net_ring",
                         .from = std::move(rings->near),
                         .to = std::move(rings->far)});
  contestants.push_back({.name = "net_virtio_user to net_vhost",
                         .from = std::move(guest->near),
                         .to = std::move(guest->far),
                         .copies = 3});
  return contestants;
}

void print(const std::vector<Contestant>& contestants) {
  for (std::size_t size = 0; size < kFrameBytes.size(); ++size) {
    fmt::print("frames of {} B (real, 1 thread for both ends, DPDK without huge pages)\n",
               kFrameBytes[size]);
    for (const Contestant& contestant : contestants) {
      const std::vector<double>& rates = contestant.frames_per_s[size];
      const auto ceiling = std::ranges::find_if(contestants, [&](const Contestant& other) {
        return other.from == nullptr && other.copies == contestant.copies;
      });
      const double middle = median(rates);
      const auto [low, high] = std::ranges::minmax(rates);
      fmt::print(
          "  {:<28} median {:8.3f} million frames/s ({:7.3f} GB/s)  min {:8.3f}  max {:8.3f}  "
          "{:5.1f} % of its ceiling, {} copies\n",
          contestant.name, middle / 1e6, middle * static_cast<double>(kFrameBytes[size]) / 1e9,
          low / 1e6, high / 1e6, 100 * middle / median(ceiling->frames_per_s[size]),
          contestant.copies);
    }
  }
}

// Every byte that came, so that no copy can be left out.
std::uint32_t hash_of(const std::vector<std::byte>& bytes) {
  std::uint32_t hash = 0;
  for (const std::byte byte : bytes) {
    hash = hash * 31 + static_cast<std::uint32_t>(byte);
  }
  return hash;
}

}  // namespace

int main(int argc, char** argv) {
  const bool small = argc == 2 && std::string_view(argv[1]) == "--small";
  if (argc > 1 && !small) {
    fmt::print(stderr, "usage: dpdk_bench [--small]\n");
    return 2;
  }
  const Result<std::shared_ptr<driver::Eal>> eal = driver::Eal::start({});
  Result<std::vector<Contestant>> contestants =
      eal ? make_contestants(*eal) : Result<std::vector<Contestant>>(eal.error());
  if (!contestants) {
    fmt::print(stderr, "dpdk_bench: {}\n", contestants.error().message());
    return 1;
  }
  Memory memory;
  const int rounds = small ? 3 : 25;
  const std::size_t frames = small ? 2000 : 100'000;
  for (int round = 0; round <= rounds; ++round) {
    for (std::size_t size = 0; size < kFrameBytes.size(); ++size) {
      for (Contestant& contestant : *contestants) {
        const double rate = measure(contestant, memory, kFrameBytes[size], frames);
        if (round > 0) {  // the first only warms up
          contestant.frames_per_s[size].push_back(rate);
        }
      }
    }
  }
  print(*contestants);
  fmt::print("result hash {:08x}\n", hash_of(memory.target));
  return 0;
}
