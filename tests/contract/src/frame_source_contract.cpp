// SPDX-License-Identifier: Apache-2.0
#include "frame_source_contract.h"

#include <godbox_test/allocation_count.h>

#include <catch2/catch_get_random_seed.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include <poll.h>

namespace godbox::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kHeaderBytes = 14;
constexpr std::size_t kTagBytes = 4;
constexpr std::size_t kLeastFrameBytes = 60;  // IEEE 802.3's 64, less the FCS
constexpr std::size_t kNumberAt = kHeaderBytes;
constexpr std::array<std::byte, 2> kExperimental = {std::byte{0x88}, std::byte{0xb5}};
constexpr std::array<std::byte, 2> kTagged = {std::byte{0x81}, std::byte{0x00}};
constexpr auto kPatience = 20s;

// One of 256 KiB of bytes; a frame's begin at a place of its own.
const std::vector<std::byte>& noise() {
  static const std::vector<std::byte> noise_bytes = [] {
    std::vector<std::byte> bytes(std::size_t{256} << 10U);
    std::uint64_t word = Catch::getSeed() | 1U;
    for (std::byte& byte : bytes) {
      word = word * 6364136223846793005U + 1442695040888963407U;
      byte = static_cast<std::byte>(word >> 56U);
    }
    return bytes;
  }();
  return noise_bytes;
}

ConstSpan noise_of(std::uint32_t number, std::size_t size_bytes) {
  const std::size_t places = noise().size() - size_bytes;
  return ConstSpan(noise()).subspan(std::size_t{number} * 7919 % places, size_bytes);
}

// Header and number of a test frame.
std::array<std::byte, kNumberAt + 4> head_of(const MacAddress& to, const MacAddress& from,
                                             std::uint32_t number) {
  std::array<std::byte, kNumberAt + 4> head{};
  std::memcpy(head.data(), to.data(), to.size());
  std::memcpy(head.data() + to.size(), from.data(), from.size());
  std::memcpy(head.data() + 12, kExperimental.data(), kExperimental.size());
  std::memcpy(head.data() + kNumberAt, &number, sizeof(number));
  return head;
}

// Asks again until it is so; false when that takes too long.
bool eventually(const std::function<bool()>& is_so) {
  const auto limit = std::chrono::steady_clock::now() + kPatience;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > limit) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

// Puts a frame behind those that wait for flush(); false when there is no room now.
bool offer(FrameSource& from, FrameSource& to, std::uint32_t number, std::size_t size_bytes) {
  const MutableSpan room = from.room_to_send(size_bytes);
  if (room.empty()) {
    return false;
  }
  write_test_frame(room, to.mac(), from.mac(), number);
  from.commit();
  return true;
}

void send(FrameSource& from, FrameSource& to, std::uint32_t number, std::size_t size_bytes) {
  REQUIRE(eventually([&] { return offer(from, to, number, size_bytes); }));
  from.flush();
}

// The next frames, at most so many; empty when none comes in time. The sender flushes again, as it
// has to where the device did not take all at once.
std::vector<ConstSpan> receive(FrameSource& to, FrameSource& from, std::size_t frames_max) {
  std::vector<ConstSpan> frames(frames_max);
  std::size_t count = 0;
  (void)eventually([&] {
    from.flush();
    return (count = to.receive(frames)) > 0;
  });
  frames.resize(count);
  return frames;
}

// The next frame has to be this one.
void expect(FrameSource& to, FrameSource& from, std::uint32_t number, std::size_t size_bytes) {
  const std::vector<ConstSpan> frames = receive(to, from, 1);
  CAPTURE(Catch::getSeed(), number, size_bytes);
  REQUIRE(frames.size() == 1);
  REQUIRE(frames[0].size() == size_bytes);
  REQUIRE(is_test_frame(frames[0], size_bytes, to.mac(), from.mac(), number));
}

// Whether the descriptor is readable now, or becomes so. A signal ends a wait early, and DPDK's tap
// raises one for each frame.
bool is_readable(int descriptor, std::chrono::milliseconds timeout) {
  const auto limit = std::chrono::steady_clock::now() + timeout;
  pollfd waiting{.fd = descriptor, .events = POLLIN, .revents = 0};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        std::max(limit - std::chrono::steady_clock::now(), std::chrono::nanoseconds(0)));
    const int ready = poll(&waiting, 1, static_cast<int>(left.count()));
    if (ready >= 0 || errno != EINTR) {
      return ready == 1 && (waiting.revents & POLLIN) != 0;
    }
  }
}

std::size_t largest(const FrameSource& source) { return source.mtu_bytes() + kHeaderBytes; }

void names(FrameSourceWorld& world) {
  CHECK_FALSE(world.near().name().empty());
  CHECK_FALSE(world.far().name().empty());
  CHECK(world.near().mac() != world.far().mac());
  CHECK(world.near().mtu_bytes() == world.far().mtu_bytes());
  for (FrameSource* source : {&world.near(), &world.far()}) {
    CHECK(source->mac() != MacAddress{});
    CHECK((source->mac()[0] & 1U) == 0);  // of one station
    CHECK(source->mtu_bytes() >= 68);     // RFC 791
  }
}

void every_size(FrameSourceWorld& world) {
  std::uint32_t number = 0;
  for (std::size_t size = kLeastFrameBytes; size <= largest(world.near()); ++size) {
    send(world.near(), world.far(), number, size);
    expect(world.far(), world.near(), number, size);
    send(world.far(), world.near(), number + 1, size);
    expect(world.near(), world.far(), number + 1, size);
    number += 2;
  }
}

void tagged(FrameSourceWorld& world) {
  if (!world.carries_tags()) {
    SKIP("needs tags of VLANs, which this device takes out of frames");
  }
  const std::size_t size = largest(world.near()) + kTagBytes;
  const MutableSpan room = world.near().room_to_send(size);
  REQUIRE(room.size() == size);
  write_test_frame(room, world.far().mac(), world.near().mac(), 1);
  std::ranges::copy(kTagged, room.begin() + 12);
  const std::vector<std::byte> sent(room.begin(), room.end());
  world.near().commit();
  world.near().flush();
  const std::vector<ConstSpan> frames = receive(world.far(), world.near(), 1);
  REQUIRE(frames.size() == 1);
  CHECK(std::ranges::equal(frames[0], sent));
}

void too_large(FrameSourceWorld& world) {
  CHECK(world.near().room_to_send(largest(world.near()) + kTagBytes + 1).empty());
  CHECK(world.near().room_to_send(std::size_t{1} << 20U).empty());
  send(world.near(), world.far(), 1, largest(world.near()));
  expect(world.far(), world.near(), 1, largest(world.near()));
}

void bursts_in_order(FrameSourceWorld& world) {
  const std::size_t burst = world.waiting_frames();
  std::vector<ConstSpan> frames(burst);
  std::uint32_t sent = 0;
  std::uint32_t received = 0;
  const auto size_of = [&](std::uint32_t number) {
    return kLeastFrameBytes +
           std::size_t{number} * 131 % (largest(world.near()) - kLeastFrameBytes + 1);
  };
  for (int round = 0; round < 200; ++round) {
    for (std::size_t i = 0; i < burst; ++i) {
      REQUIRE(eventually([&] { return offer(world.near(), world.far(), sent, size_of(sent)); }));
      ++sent;
    }
    world.near().flush();
    REQUIRE(eventually([&] {
      world.near().flush();
      const std::size_t count = world.far().receive(frames);
      for (std::size_t i = 0; i < count; ++i, ++received) {
        CAPTURE(Catch::getSeed(), round, received);
        REQUIRE(is_test_frame(frames[i], size_of(received), world.far().mac(), world.near().mac(),
                              received));
      }
      return received == sent;
    }));
  }
  const FrameCounters near = world.near().counters();
  const FrameCounters far = world.far().counters();
  CHECK(near.sent_frames == sent);
  CHECK(far.received_frames == sent);
  CHECK(near.sent_bytes == far.received_bytes);
  CHECK(near.send_drops == 0);
  CHECK(far.receive_drops == 0);
}

void room_given_back(FrameSourceWorld& world) {
  for (std::uint32_t number = 0; number < 1000; ++number) {
    const MutableSpan room = world.near().room_to_send(kLeastFrameBytes + number % 100);
    REQUIRE(room.size() == kLeastFrameBytes + number % 100);
    write_test_frame(room, world.far().mac(), world.near().mac(), number);
  }
  world.near().flush();  // nothing is complete
  send(world.near(), world.far(), 7, 200);
  expect(world.far(), world.near(), 7, 200);
  CHECK(world.near().counters().sent_frames == 1);
  std::vector<ConstSpan> none(1);
  CHECK(world.far().receive(none) == 0);
}

void bytes_stay(FrameSourceWorld& world) {
  send(world.near(), world.far(), 0, 300);
  const std::vector<ConstSpan> held = receive(world.far(), world.near(), world.waiting_frames());
  REQUIRE(held.size() == 1);
  for (std::uint32_t number = 1; number < world.waiting_frames(); ++number) {
    send(world.near(), world.far(), number, 300);
    send(world.far(), world.near(), number, 300);
    expect(world.near(), world.far(), number, 300);
  }
  CHECK(is_test_frame(held[0], 300, world.far().mac(), world.near().mac(), 0));
  for (std::uint32_t number = 1; number < world.waiting_frames(); ++number) {
    expect(world.far(), world.near(), number, 300);
  }
}

void nowhere_to_receive(FrameSourceWorld& world) {
  send(world.near(), world.far(), 1, 100);
  CHECK(world.far().receive({}) == 0);
  expect(world.far(), world.near(), 1, 100);
}

// Sends far more than anything holds. What comes is in order and whole, and all the rest is
// counted.
void overrun(FrameSourceWorld& world) {
  const std::size_t size = largest(world.near());
  std::uint32_t committed = 0;
  int refused = 0;
  for (int attempt = 0; attempt < 20'000 && refused < 100; ++attempt) {
    if (offer(world.near(), world.far(), committed, size)) {
      ++committed;
    } else {
      ++refused;
    }
  }
  CHECK(committed >= world.waiting_frames());
  std::vector<ConstSpan> frames(16);
  std::size_t received = 0;
  std::uint32_t next = 0;
  const auto take_all = [&] {
    world.near().flush();
    for (std::size_t count = 0; (count = world.far().receive(frames)) > 0; received += count) {
      for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t number = 0;
        REQUIRE(frames[i].size() == size);
        std::memcpy(&number, frames[i].data() + kNumberAt, sizeof(number));
        CAPTURE(Catch::getSeed(), number, next);
        REQUIRE(number >= next);
        REQUIRE(is_test_frame(frames[i], size, world.far().mac(), world.near().mac(), number));
        next = number + 1;
      }
    }
    const FrameCounters near = world.near().counters();
    const FrameCounters far = world.far().counters();
    return near.sent_frames + near.send_drops >= committed &&
           (!world.counts_every_loss() || received + far.receive_drops >= near.sent_frames);
  };
  REQUIRE(eventually(take_all));
  CHECK(world.near().counters().sent_frames + world.near().counters().send_drops == committed);
  // And goes on as before, behind what a kernel that counts no losses still had on its way.
  send(world.near(), world.far(), committed, size);
  REQUIRE(eventually([&] {
    (void)take_all();
    return next == committed + 1;
  }));
  const FrameCounters near = world.near().counters();
  const FrameCounters far = world.far().counters();
  CHECK(far.received_frames == received);
  if (world.counts_every_loss()) {
    CHECK(received + far.receive_drops == near.sent_frames);
  }
  CHECK(received > world.waiting_frames());
}

void counted(FrameSourceWorld& world) {
  send(world.near(), world.far(), 0, 100);
  send(world.near(), world.far(), 1, 250);
  expect(world.far(), world.near(), 0, 100);
  expect(world.far(), world.near(), 1, 250);
  const FrameCounters near = world.near().counters();
  const FrameCounters far = world.far().counters();
  CHECK(near.sent_frames == 2);
  CHECK(near.sent_bytes == 350);
  CHECK(near.received_frames == 0);
  CHECK(near.received_bytes == 0);
  CHECK(far.received_frames == 2);
  CHECK(far.received_bytes == 350);
  CHECK(far.sent_frames == 0);
  CHECK(far.sent_bytes == 0);
}

void wakes(FrameSourceWorld& world) {
  const int descriptor = world.far().wait_descriptor();
  if (descriptor < 0) {
    SKIP("needs a descriptor to wait on; this device has none");
  }
  std::vector<ConstSpan> frames(1);
  for (int round = 0; round < 20; ++round) {
    CAPTURE(round);
    // It may be woken for nothing now and then, when its other end has just come for one.
    REQUIRE(eventually(
        [&] { return world.far().receive(frames) == 0 && !is_readable(descriptor, 0ms); }));
    for (std::uint32_t number = 0; number < 3; ++number) {
      send(world.near(), world.far(), number, 100);
    }
    for (std::uint32_t number = 0; number < 3; ++number) {
      REQUIRE(is_readable(descriptor, 10s));
      expect(world.far(), world.near(), number, 100);
    }
  }
}

// A frame comes just as the other end goes to sleep: never is it left asleep.
void never_sleeps_over_a_frame(FrameSourceWorld& world) {
  const int descriptor = world.far().wait_descriptor();
  if (descriptor < 0) {
    SKIP("needs a descriptor to wait on; this device has none");
  }
  constexpr std::uint32_t kFrames = 2000;
  std::atomic<bool> slept_over = false;
  std::thread sender([&] {
    for (std::uint32_t number = 0; number < kFrames; ++number) {
      while (!offer(world.near(), world.far(), number, 60)) {
        if (slept_over) {  // nobody makes room any more
          return;
        }
        world.near().flush();
        std::this_thread::yield();
      }
      world.near().flush();
      if (number % 7 == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(number % 50));
      }
    }
  });
  std::vector<ConstSpan> frames(4);
  std::uint32_t received = 0;
  while (received + world.far().counters().receive_drops < kFrames && !slept_over) {
    const std::size_t count = world.far().receive(frames);
    received += static_cast<std::uint32_t>(count);
    slept_over = count == 0 && !is_readable(descriptor, 10s);
  }
  sender.join();
  CHECK_FALSE(slept_over);
}

void no_allocation(FrameSourceWorld& world) {
  std::array<ConstSpan, 8> frames;
  const std::size_t burst = std::min(frames.size(), world.waiting_frames());
  const auto turn = [&] {
    for (std::uint32_t number = 0; number < burst; ++number) {
      while (!offer(world.near(), world.far(), number, 1000)) {
        world.near().flush();
      }
    }
    world.near().flush();
    for (std::size_t count = 0; count < burst;) {
      world.near().flush();
      const std::size_t more = world.far().receive(frames);
      count += more;
      if (more == 0) {
        std::this_thread::yield();
      }
    }
    (void)world.far().receive(frames);  // that there is none now may not cost anything either
  };
  turn();
  const std::uint64_t before = allocation_count();
  for (int round = 0; round < 100; ++round) {
    turn();
  }
  CHECK(allocation_count() - before == 0);
}

constexpr auto kCases = std::to_array<ContractCase<FrameSourceWorld>>({
    {"both ends say who they are", names},
    {"frames of every size arrive whole, both ways", every_size},
    {"a tagged frame may have a full payload", tagged},
    {"there is no room for more than a frame has", too_large},
    {"bursts arrive in order, and nothing is lost while the queue has room", bursts_in_order},
    {"room that is not committed is given back", room_given_back},
    {"bytes stay until the next receive", bytes_stay},
    {"a receive with no place for frames takes none", nowhere_to_receive},
    {"more than the queue holds is refused or counted", overrun},
    {"frames and bytes are counted at both ends", counted},
    {"the wait descriptor is readable while frames wait and not after", wakes},
    {"nobody sleeps over a frame that comes as it goes to sleep", never_sleeps_over_a_frame},
    {"a warm path allocates nothing", no_allocation},
});

}  // namespace

void write_test_frame(MutableSpan frame, const MacAddress& to, const MacAddress& from,
                      std::uint32_t number) {
  const auto head = head_of(to, from, number);
  std::ranges::copy(head, frame.begin());
  std::ranges::copy(noise_of(number, frame.size() - head.size()),
                    frame.begin() + static_cast<std::ptrdiff_t>(head.size()));
}

bool is_test_frame(ConstSpan frame, std::size_t size_bytes, const MacAddress& to,
                   const MacAddress& from, std::uint32_t number) {
  const auto head = head_of(to, from, number);
  return frame.size() == size_bytes && std::ranges::equal(frame.first(head.size()), head) &&
         std::ranges::equal(frame.subspan(head.size()), noise_of(number, size_bytes - head.size()));
}

std::span<const ContractCase<FrameSourceWorld>> frame_source_contract() { return kCases; }

}  // namespace godbox::test
