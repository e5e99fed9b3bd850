// SPDX-License-Identifier: Apache-2.0
//
// Clients over RoCE by themselves, over datagram sockets to the RoCE ports of a box that is served
// here: the wires, and requests with memory of their own.
#pragma once

#include "served_world.h"
#include <godbox/app/roce_wires.h>
#include <godbox_test/seeded_random.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace godbox::test {

// Ethernet cables between this end and ports of the box: each in a network of its own.
class Cables {
 public:
  explicit Cables(int count, const std::string& mtu = ",mtu=4200") {
    std::vector<std::string> here;
    for (int i = 0; i < count; ++i) {
      const std::string number = std::to_string(i), network = "10.9." + number;
      const std::string box = folder_.path("box" + number), end = folder_.path("end" + number);
      box_.push_back(network + ".2/24" + mtu + "@dgram:" + box + "," + end);
      here.push_back(network + ".9/24" + mtu + "@dgram:" + end + "," + box);
    }
    auto wires = app::RoceWires::open(here, "--wire");
    if (!wires.has_value()) {
      FAIL(wires.error().message());
    }
    wires_ = std::move(*wires);
  }

  [[nodiscard]] const std::vector<std::string>& of_box() const { return box_; }
  [[nodiscard]] ConnectOptions here() const {
    ConnectOptions options;
    options.roce_interfaces = wires_->interfaces();
    return options;
  }

 private:
  ServedFolder folder_;
  std::vector<std::string> box_;
  std::unique_ptr<app::RoceWires> wires_;
};

inline std::unique_ptr<ServedWorld> world_over(const Cables& cables,
                                               const ConnectOptions& options) {
  return std::make_unique<ServedWorld>("roce:", options, nullptr, MemoryForm{}, cables.of_box());
}

inline constexpr LaneId kLane{0};

// A request of all bytes of a place, from or to memory of its own.
struct Run {
  std::vector<std::byte> memory;
  std::vector<LocalSegment> local;
  std::vector<RemoteSegment> remote;
  WorkRequest request;

  Run(std::uint64_t id, WorkOp op, const TransportWorld::Place& place, std::size_t size)
      : memory(size), local{{memory.data(), size}} {
    for (const Extent& extent : place.extents) {
      remote.push_back({place.key, extent.address, extent.length_bytes});
    }
    request.id = WorkId(id);
    request.op = op;
    request.total_bytes = size;
    request.remote = remote;
    request.local = local;
  }
  void fill(std::uint64_t seed) {
    SeededRandom random(seed);
    random.fill(memory);
  }
};

inline std::map<std::uint64_t, Errc> finish(TransportWorld& world, std::size_t count) {
  std::map<std::uint64_t, Errc> done;
  REQUIRE(world.run([&] {
    (void)world.transport().progress();
    for (Completion one; world.transport().poll({&one, 1}) > 0;) {
      CHECK(done.emplace(one.id.value(), one.status).second);
    }
    return done.size() >= count;
  }));
  return done;
}

}  // namespace godbox::test
