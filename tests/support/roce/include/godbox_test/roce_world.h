// SPDX-License-Identifier: Apache-2.0
//
// Two RoCE ports and a link between them in virtual time. The link loses, doubles, delays,
// reorders and damages frames as its seed says.
// Thread-safety: none. Ownership: owns both ends. Units: shares of 1, Durations. Errors: none.
#pragma once

#include <godbox_test/roce_end.h>

#include <functional>
#include <queue>

namespace godbox::test {

struct RoceLinkOptions {
  double lost = 0, doubled = 0, damaged = 0;
  Duration delay = std::chrono::microseconds(5);
  Duration jitter{};  // up to so much more, for each frame: they overtake each other then
  std::uint64_t seed = 1;
};

struct RoceLinkCounters {
  std::uint64_t frames = 0, lost = 0, doubled = 0, damaged = 0, overtaken = 0;
};

class RoceWorld {
 public:
  // The client's end has other addresses than the box.
  explicit RoceWorld(const RoceLinkOptions& link = {}, const RoceEndOptions& box = {});

  [[nodiscard]] RoceEnd& client() { return client_; }
  [[nodiscard]] RoceEnd& box() { return box_; }
  [[nodiscard]] TimePoint now() const { return now_; }
  [[nodiscard]] const RoceLinkCounters& link() const { return counters_; }
  void set_link(const RoceLinkOptions& link) { link_ = link; }
  // Sees each frame that an end sends, before the link has it; true: it is lost.
  std::function<bool(bool from_client, ConstSpan frame)> watch;

  struct Pair {
    roce::QueuePairNumber client{}, box{};
  };
  // Queue pairs that are connected to each other, each with what its options say of its own end.
  // Numbers, PSNs and paths are filled in; `first_psn` where the client's PSNs begin.
  [[nodiscard]] Pair connect(emulator::QueuePairOptions client, emulator::QueuePairOptions box,
                             std::optional<std::uint32_t> first_psn = std::nullopt);

  // Moves frames and time until `done`; false: nothing more happens, or `limit` has passed.
  [[nodiscard]] bool run_until(const std::function<bool()>& done,
                               Duration limit = std::chrono::seconds(60));
  void run_for(Duration time) {
    static_cast<void>(run_until([] { return false; }, time));
  }
  // Of the client: posts it, and runs until it has completed.
  [[nodiscard]] emulator::WorkStatus run(const Pair& pair, const emulator::SendRequest& request);

 private:
  struct Arrival {
    TimePoint at;
    std::uint64_t order = 0;
    bool to_client = false;
    Bytes frame;
    bool operator<(const Arrival& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };
  bool pump(bool from_client);
  void carry(bool from_client, Bytes frame);
  [[nodiscard]] bool happens(double share);
  void set_time(TimePoint now);

  RoceEnd client_;
  RoceEnd box_;
  RoceLinkOptions link_;
  SeededRandom random_;
  RoceLinkCounters counters_;
  TimePoint now_;
  TimePoint last_arrival_{};
  std::uint64_t order_ = 0;
  std::priority_queue<Arrival> arrivals_;
};

}  // namespace godbox::test
