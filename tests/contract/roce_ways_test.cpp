// SPDX-License-Identifier: Apache-2.0
//
// Over which of several wires a client over RoCE reaches ports of a box that are all in one network
// with them: each lane has a wire of its own, and another one where that brings no answer.
#include "src/roce_cables.h"
#include "src/transport_work.h"

#include <catch2/generators/catch_generators.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace godbox::test {
namespace {

constexpr std::size_t kSize = std::size_t{1} << 20U;

// A client's end of a hub: what one end sends goes down all of the hub's cables, and what comes up
// goes to the end that it is for.
class HubEnd final : public FrameSource {
 public:
  HubEnd(const std::vector<FrameSource*>& cables, const std::vector<std::unique_ptr<HubEnd>>& ends,
         MacAddress mac)
      : cables_(cables), ends_(ends), mac_(mac) {}

  bool is_cut = false;

  std::string name() const override { return "hub"; }
  MacAddress mac() const override { return mac_; }
  std::uint32_t mtu_bytes() const override { return cables_.front()->mtu_bytes(); }
  std::size_t receive(std::span<ConstSpan> frames) override {
    for (FrameSource* cable : cables_) {
      std::array<ConstSpan, 32> came;
      const std::size_t count = cable->receive(came);
      for (std::size_t i = 0; i < count; ++i) {
        deliver(came[i]);
      }
    }
    return show(in_, shown_, frames);
  }
  MutableSpan room_to_send(std::size_t size_bytes) override {
    const bool is_full = std::ranges::any_of(cables_, [size_bytes](FrameSource* cable) {
      return cable->room_to_send(size_bytes).empty();
    });
    room_.resize(is_full ? 0 : size_bytes);
    return room_;
  }
  void commit() override {
    sent_bytes_ += room_.size();
    for (FrameSource* cable : cables_) {
      const MutableSpan room = is_cut ? MutableSpan() : cable->room_to_send(room_.size());
      if (!room.empty()) {
        std::ranges::copy(room_, room.begin());
        cable->commit();
      }
    }
  }
  void flush() override {
    for (FrameSource* cable : cables_) {
      cable->flush();
    }
  }
  int wait_descriptor() const override { return -1; }
  FrameCounters counters() const override { return {.sent_bytes = sent_bytes_}; }

 private:
  void deliver(ConstSpan frame) {
    for (const auto& end : ends_) {
      if (std::ranges::equal(frame.first(end->mac_.size()), std::as_bytes(std::span(end->mac_))) &&
          !end->is_cut) {
        end->in_.emplace_back(frame.begin(), frame.end());
      }
    }
  }

  const std::vector<FrameSource*>& cables_;
  const std::vector<std::unique_ptr<HubEnd>>& ends_;
  const MacAddress mac_;
  std::deque<Bytes> in_;
  std::vector<Bytes> shown_;
  Bytes room_;
  std::uint64_t sent_bytes_ = 0;
};

// Two wires at a hub with the box's two ports.
class Hub {
 public:
  explicit Hub(const Cables& cables) : options_(cables.here()) {
    for (RoceInterface& interface : options_.roce_interfaces) {
      cables_.push_back(interface.frames);
    }
    for (RoceInterface& interface : options_.roce_interfaces) {
      const auto number = static_cast<std::uint8_t>(ends_.size());
      ends_.push_back(std::make_unique<HubEnd>(cables_, ends_, MacAddress{2, 0, 0, 0, 0, number}));
      interface.frames = ends_.back().get();
    }
  }
  [[nodiscard]] HubEnd& operator[](std::size_t index) { return *ends_[index]; }
  [[nodiscard]] ConnectOptions& options() { return options_; }

 private:
  ConnectOptions options_;
  std::vector<FrameSource*> cables_;
  std::vector<std::unique_ptr<HubEnd>> ends_;
};

std::uint64_t sent_over(const FrameSource& wire) { return wire.counters().sent_bytes; }

// Which of the wires the bytes of a WRITE over that lane go, which are all compared.
std::size_t wire_of(ServedWorld& world, const std::vector<RoceInterface>& wires, LaneId on,
                    const Place& place) {
  std::vector<std::uint64_t> before;
  for (const RoceInterface& wire : wires) {
    before.push_back(sent_over(*wire.frames));
  }
  Run write(1, WorkOp::write, place, kSize), read(2, WorkOp::read, place, kSize);
  write.fill(before.front());
  REQUIRE(do_one(world, on, write.request) == Errc::ok);
  std::size_t found = wires.size();
  for (std::size_t i = 0; i < wires.size(); ++i) {
    if (sent_over(*wires[i].frames) - before[i] >= kSize) {
      REQUIRE(found == wires.size());
      found = i;
    } else {
      CHECK(sent_over(*wires[i].frames) - before[i] < kSize / 16);
    }
  }
  REQUIRE(found < wires.size());
  REQUIRE(do_one(world, on, read.request) == Errc::ok);
  CHECK(read.memory == write.memory);
  return found;
}

TEST_CASE("of two wires in one network each lane has its own", "[contract]") {
  const Cables cables(2, ",mtu=4200", Networks::one_for_all);
  ConnectOptions options = cables.here();
  // Only one of the wires leads to each port, and whoever names them need not know which.
  const bool is_crossed = GENERATE(false, true);
  CAPTURE(is_crossed);
  if (is_crossed) {
    std::ranges::reverse(options.roce_interfaces);
  }
  const auto world = world_over(cables, options);
  wait_until_all_up(*world);
  const auto place = world->allocate(SizeBytes(kSize));
  REQUIRE(world->transport().lane_count() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(world->transport().lane_status(lane(i)).eth_port ==
          EthPortId(static_cast<EthPortId::rep>(i)));
    CHECK(wire_of(*world, options.roce_interfaces, lane(i), place) == (is_crossed ? 1 - i : i));
  }
}

TEST_CASE("lanes are spread over wires that all reach the same ports, and over each port's",
          "[contract]") {
  const Cables cables(2, ",mtu=4200", Networks::one_for_all);
  Hub hub(cables);
  hub.options().lanes_per_eth_port = 2;
  const auto world = world_over(cables, hub.options());
  wait_until_all_up(*world);
  const auto place = world->allocate(SizeBytes(kSize));
  REQUIRE(world->transport().lane_count() == 4);
  std::set<std::pair<EthPortId::rep, std::size_t>> pairs;
  for (std::size_t i = 0; i < 4; ++i) {
    pairs.emplace(world->transport().lane_status(lane(i)).eth_port.value(),
                  wire_of(*world, hub.options().roce_interfaces, lane(i), place));
  }
  CHECK(pairs == decltype(pairs){{0, 0}, {0, 1}, {1, 0}, {1, 1}});
}

TEST_CASE("a lane whose wire is cut goes on over another one", "[contract]") {
  const Cables cables(2, ",mtu=4200", Networks::one_for_all);
  Hub hub(cables);
  const auto world = world_over(cables, hub.options());
  wait_until_all_up(*world);
  const auto place = world->allocate(SizeBytes(kSize));
  REQUIRE(wire_of(*world, hub.options().roce_interfaces, kLane, place) == 0);
  hub[0].is_cut = true;
  Bytes bytes = random_bytes(kSize, 1);
  CHECK(move(*world, WorkOp::write, place, 0, bytes) == Errc::lane_timeout);
  world->transport().reopen(kLane);
  wait_until_all_up(*world);
  CHECK(world->transport().lane_status(kLane).eth_port == EthPortId(0));
  CHECK(wire_of(*world, hub.options().roce_interfaces, kLane, place) == 1);
  CHECK(wire_of(*world, hub.options().roce_interfaces, lane(1), place) == 1);
}

}  // namespace
}  // namespace godbox::test
