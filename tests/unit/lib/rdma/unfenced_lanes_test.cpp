// SPDX-License-Identifier: Apache-2.0
#include <godbox/rdma/unfenced_lanes.h>

#include <catch2/catch_test_macros.hpp>

#include <functional>
#include <memory>
#include <vector>

namespace godbox::rdma {
namespace {

using wire::LaneToken;

// The box, which answers when it is told to.
struct PlayedBox {
  std::vector<LaneToken> asked;
  std::vector<std::function<void(Errc)>> answers;

  AskForFence ask() {
    return [this](LaneToken lane, std::function<void(Errc)> on_answer) {
      asked.push_back(lane);
      answers.push_back(std::move(on_answer));
    };
  }
};

TEST_CASE("a lane is asked for once, and gone with what it kept when the box has fenced it",
          "[unit]") {
  PlayedBox box;
  const ManualClock clock;
  UnfencedLanes lanes(box.ask(), clock);
  auto kept = std::make_shared<int>();
  lanes.add(LaneToken(7), kept);
  lanes.add(LaneToken(8));
  for (int i = 0; i < 3; ++i) {
    lanes.progress();
  }
  CHECK(box.asked == std::vector{LaneToken(7), LaneToken(8)});
  CHECK(kept.use_count() == 2);
  box.answers[0](Errc::ok);
  lanes.progress();
  CHECK(kept.use_count() == 1);
  CHECK_FALSE(lanes.empty());
  box.answers[1](Errc::ok);
  lanes.progress();
  CHECK(lanes.empty());
}

TEST_CASE("a fence that fails is asked for again after a pause", "[unit]") {
  PlayedBox box;
  ManualClock clock;
  UnfencedLanes lanes(box.ask(), clock);
  lanes.add(LaneToken(7));
  lanes.progress();
  box.answers[0](Errc::write_in_flight);
  lanes.progress();
  clock.advance(kFencePause - Duration(1));
  lanes.progress();
  CHECK(box.asked.size() == 1);
  clock.advance(Duration(1));
  lanes.progress();
  REQUIRE(box.asked.size() == 2);
  CHECK_FALSE(lanes.empty());
  box.answers[1](Errc::ok);
  lanes.progress();
  CHECK(lanes.empty());
}

TEST_CASE("the far side's own answer is as good as the box's", "[unit]") {
  PlayedBox box;
  const ManualClock clock;
  UnfencedLanes lanes(box.ask(), clock);
  const auto connection = std::make_shared<int>(), other = std::make_shared<int>();
  lanes.add(LaneToken(7), connection);
  lanes.add(LaneToken(8));  // without one
  lanes.progress();
  CHECK_FALSE(lanes.on_answered(other.get()));
  CHECK_FALSE(lanes.on_answered(nullptr));
  CHECK(lanes.on_answered(connection.get()));
  CHECK(connection.use_count() == 1);
  box.answers[0](Errc::ok);  // too late: nothing to it
  lanes.progress();
  CHECK_FALSE(lanes.empty());
  box.answers[1](Errc::ok);
  lanes.progress();
  CHECK(lanes.empty());
}

TEST_CASE("without a way to ask, far sides alone are waited for", "[unit]") {
  const ManualClock clock;
  UnfencedLanes lanes({}, clock);
  const auto connection = std::make_shared<int>();
  lanes.add(LaneToken(7), connection);
  lanes.progress();
  CHECK_FALSE(lanes.empty());
  CHECK(lanes.on_answered(connection.get()));
  CHECK(lanes.empty());
}

TEST_CASE("an answer may come when nobody is there for it", "[unit]") {
  PlayedBox box;
  const ManualClock clock;
  {
    UnfencedLanes lanes(box.ask(), clock);
    lanes.add(LaneToken(7));
    lanes.progress();
  }
  REQUIRE(box.answers.size() == 1);
  box.answers[0](Errc::ok);
}

}  // namespace
}  // namespace godbox::rdma
