// SPDX-License-Identifier: Apache-2.0
#include "layer_order.h"

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <utility>

namespace godbox::striping {
namespace {

constexpr PoolAddress kObject{SlabId(3), SlabOffset(4096)};
constexpr PoolAddress kOther{SlabId(3), SlabOffset(8192)};

// Writes down who is told what.
struct Told {
  std::vector<std::pair<int, Errc>> all;
  Client::OnStatuses by(int number) {
    return [this, number](std::span<const Errc> statuses) {
      all.emplace_back(number, statuses.front());
    };
  }
};

void end(const Client::OnStatuses& get, Errc status = Errc::ok) {
  const std::array<Errc, 1> one{status};
  get(one);
}

TEST_CASE("layers that arrive in any order are told of in the order of their gets", "[unit]") {
  LayerOrder order;
  Told told;
  const auto first = order.in_turn(kObject, TrafficClass::foreground, told.by(1));
  const auto second = order.in_turn(kObject, TrafficClass::foreground, told.by(2));
  const auto third = order.in_turn(kObject, TrafficClass::foreground, told.by(3));
  end(third);
  end(second, Errc::key_revoked);
  CHECK(told.all.empty());
  end(first);
  CHECK(told.all ==
        std::vector<std::pair<int, Errc>>{{1, Errc::ok}, {2, Errc::key_revoked}, {3, Errc::ok}});
}

TEST_CASE("another object's layers, and another class's, are not waited for", "[unit]") {
  LayerOrder order;
  Told told;
  const auto held_up = order.in_turn(kObject, TrafficClass::prefetch, told.by(1));
  end(order.in_turn(kOther, TrafficClass::prefetch, told.by(2)));
  end(order.in_turn(kObject, TrafficClass::foreground, told.by(3)));
  CHECK(told.all == std::vector<std::pair<int, Errc>>{{2, Errc::ok}, {3, Errc::ok}});
  end(held_up, Errc::deadline_exceeded);
  CHECK(told.all.back() == std::pair{1, Errc::deadline_exceeded});
}

TEST_CASE("a callback may get the next layer", "[unit]") {
  LayerOrder order;
  Told told;
  Client::OnStatuses next;
  const auto first =
      order.in_turn(kObject, TrafficClass::foreground, [&](std::span<const Errc> statuses) {
        told.by(1)(statuses);
        next = order.in_turn(kObject, TrafficClass::foreground, told.by(3));
      });
  const auto second = order.in_turn(kObject, TrafficClass::foreground, told.by(2));
  end(second);
  end(first);
  end(next);
  CHECK(told.all == std::vector<std::pair<int, Errc>>{{1, Errc::ok}, {2, Errc::ok}, {3, Errc::ok}});
}

}  // namespace
}  // namespace godbox::striping
