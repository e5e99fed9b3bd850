// SPDX-License-Identifier: Apache-2.0
#include "layer_order.h"

namespace godbox::striping {

Client::OnStatuses LayerOrder::in_turn(PoolAddress object, TrafficClass traffic_class,
                                       Client::OnStatuses on_done) {
  const Key key{object, traffic_class};
  auto get = std::make_shared<Get>(Get{.on_done = std::move(on_done)});
  gets_[key].push_back(get);
  return [this, key, get](std::span<const Errc> statuses) {
    get->statuses.assign(statuses.begin(), statuses.end());
    get->is_over = true;
    pass_on(key);
  };
}

// A callback may ask for further layers.
void LayerOrder::pass_on(const Key& key) {
  for (auto found = gets_.find(key); found != gets_.end() && found->second.front()->is_over;
       found = gets_.find(key)) {
    const std::shared_ptr<Get> get = std::move(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) {
      gets_.erase(found);
    }
    get->on_done(get->statuses);
  }
}

}  // namespace godbox::striping
