// SPDX-License-Identifier: Apache-2.0
//
// What a seed makes of a world: sizes, limits, network, names. Thread-safety: plain values.
#pragma once

#include <godbox/sim/sim_box.h>
#include <godbox/sim/sim_world.h>
#include <godbox/striping/client.h>

#include <string>
#include <vector>

namespace godbox::sim {

struct NameShape {
  std::string name;
  std::size_t size_bytes = 0;
  bool sparse = false;
  std::size_t other_size_bytes = 0;  // that it may have too, when it is bound anew; 0: none
};

struct WorldShape {
  SimBoxOptions box;
  SimNetworkOptions network;
  striping::ClientOptions client;
  Duration lane_reply_timeout{};
  std::size_t clients = 1;
  std::size_t tenants = 1;
  std::size_t lanes_per_port = 1;
  bool lanes_on_demand = false;
  std::size_t batch_items_max = 8;
  std::size_t operations_in_flight_max = 4;
  std::vector<NameShape> names;
  bool regions = true;
  bool flood = false;         // tenant 0 holds all that it can; the others have quotas
  bool bindings = false;      // names are bound anew, with pins and TTLs; events have subscribers
  bool slow = false;          // calls may run into their deadlines without any fault
  bool hostile_bits = false;  // the network flips bits in both directions
};

[[nodiscard]] WorldShape draw_shape(const SimWorldOptions& options, SimRandom& random);
[[nodiscard]] std::string describe(const WorldShape& shape);

}  // namespace godbox::sim
