// SPDX-License-Identifier: Apache-2.0
//
// The turns of layers: reads of an object's layers overlap, and which ends first is a matter of
// lanes; who asked for them hears of each after those that were asked for before it, as a model
// computes with them. Other objects, and other traffic classes, have turns of their own.
// Thread-safety: one thread. Ownership: outlives the callbacks that it gives.
#pragma once

#include <godbox/striping/client.h>

#include <deque>
#include <map>
#include <memory>
#include <utility>

namespace godbox::striping {

class LayerOrder {
 public:
  // To be called once with a get's statuses: passes them on once the gets before it, of the object
  // that begins at `object`, have theirs.
  [[nodiscard]] Client::OnStatuses in_turn(PoolAddress object, TrafficClass traffic_class,
                                           Client::OnStatuses on_done);

 private:
  struct Get {
    Client::OnStatuses on_done;
    std::vector<Errc> statuses{};
    bool is_over = false;
  };
  using Key = std::pair<PoolAddress, TrafficClass>;

  void pass_on(const Key& key);

  std::map<Key, std::deque<std::shared_ptr<Get>>> gets_;  // not passed on yet, oldest first
};

}  // namespace godbox::striping
