// SPDX-License-Identifier: Apache-2.0
//
// One direction of a CXL link over time, flit by flit. Flits start on the link's own beat; one that
// has nothing to carry is not looked at. Whoever owns it asks when the next flit leaves, and sends
// it when no event of the model is earlier. Thread-safety: none. Units: nanoseconds since the
// start. Errors: none.
#pragma once

#include "model/cxl/flit_packer.h"

#include <cmath>
#include <limits>

namespace godbox::emulator::model {

inline constexpr double kNeverNs = std::numeric_limits<double>::infinity();

class LinkDirection {
 public:
  struct Counters {
    std::uint64_t flits = 0;
    std::uint64_t slots = 0;
    std::uint64_t plain = 0;
    std::uint64_t lines = 0;
  };

  LinkDirection(const CxlLinkSpec& spec, CxlDirection direction)
      : packer_(spec, direction),
        flit_ns_(spec.flit_ns()),
        crossing_ns_(spec.crossing_ns),
        credits_(direction == CxlDirection::m2s
                     ? CxlCredits{spec.request_credits, spec.write_credits}
                     : CxlCredits{spec.completion_credits, spec.data_credits}) {}

  void push(bool has_data, std::uint32_t tag, double now_ns) {
    const bool had_work = packer_.has_work(credits_);
    packer_.push(has_data, tag);
    work_since_ns_ = had_work ? work_since_ns_ : now_ns;
  }
  // The receiver has a free buffer again; the sender knows it from `at_ns` on. In order of time.
  void give_credit(bool has_data, double at_ns) { returning_.push_back({at_ns, has_data}); }

  // kNeverNs: nothing waits, or only for credits that nobody has given.
  [[nodiscard]] double next_flit_ns() const {
    if (packer_.has_work(credits_)) {
      return beat_from(work_since_ns_);
    }
    CxlCredits credits = credits_;
    for (const Credit& credit : returning_) {
      ++(credit.has_data ? credits.with_data : credits.plain);
      if (packer_.has_work(credits)) {
        return beat_from(credit.at_ns);
      }
    }
    return kNeverNs;
  }
  // Sends the flit of next_flit_ns(); deliver(tag, has_data, at_ns) for each message that it
  // completes at the other end.
  template <class Deliver>
  void send(Deliver&& deliver) {
    const double start_ns = next_flit_ns();
    take_credits_until(start_ns);
    const PackedFlit flit = packer_.pack(credits_);
    next_beat_ = std::round(start_ns / flit_ns_) + 1;
    work_since_ns_ = start_ns;
    ++counters_.flits;
    counters_.slots += flit.slots_used;
    counters_.plain += flit.plain_count;
    counters_.lines += flit.line_count;
    const double at_ns = start_ns + flit_ns_ + crossing_ns_;
    for (std::uint32_t i = 0; i < flit.plain_count; ++i) {
      deliver(flit.plain[i], false, at_ns);
    }
    for (std::uint32_t i = 0; i < flit.line_count; ++i) {
      deliver(flit.lines[i], true, at_ns);
    }
  }

  [[nodiscard]] const Counters& counters() const { return counters_; }
  [[nodiscard]] double flit_ns() const { return flit_ns_; }
  // A credit comes back in the header of a flit of the other direction.
  [[nodiscard]] double credit_return_ns() const { return flit_ns_ + crossing_ns_; }

 private:
  struct Credit {
    double at_ns;
    bool has_data;
  };

  [[nodiscard]] double beat_from(double ready_ns) const {
    // A time that is a beat but for rounding is that beat.
    return std::max(next_beat_, std::ceil(ready_ns / flit_ns_ - 1e-9)) * flit_ns_;
  }
  void take_credits_until(double now_ns) {
    while (!returning_.empty() && returning_.front().at_ns <= now_ns + 1e-9 * flit_ns_) {
      ++(returning_.front().has_data ? credits_.with_data : credits_.plain);
      returning_.pop_front();
    }
  }

  FlitPacker packer_;
  double flit_ns_;
  double crossing_ns_;
  CxlCredits credits_;
  std::deque<Credit> returning_;
  double work_since_ns_ = 0;
  double next_beat_ = 0;
  Counters counters_;
};

}  // namespace godbox::emulator::model
