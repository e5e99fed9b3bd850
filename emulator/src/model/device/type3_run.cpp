// SPDX-License-Identifier: Apache-2.0
#include "model/cxl/link_direction.h"
#include "model/dram/address_decoder.h"
#include "model/dram/line_source.h"
#include "model/histogram.h"
#include "model/number_check.h"
#include <godbox/emulator/model/type3_run.h>

#include <fmt/format.h>

#include <memory>
#include <queue>

namespace godbox::emulator::model {
namespace {

// A host and its device: lines on their way, and what happens next to each.
class Type3Model {
 public:
  Type3Model(const Type3Spec& spec, const DramLoad& load)
      : spec_(spec),
        load_(load),
        decoder_(spec.dram),
        source_(load, decoder_.line_count() * spec.dram_channels),
        m2s_(spec.link, CxlDirection::m2s),
        s2m_(spec.link, CxlDirection::s2m),
        cycle_ns_(spec.dram.organization.cycle_ns()),
        gap_ns_(load.offered > Rate()
                    ? static_cast<double>(kLine.count()) * 1e9 / load.offered.bytes_per_second()
                    : 0) {
    const std::uint32_t parts = spec.dram_channels * spec.dram.organization.sub_channels;
    for (std::uint32_t i = 0; i < parts; ++i) {
      parts_.push_back(std::make_unique<Part>(spec.dram));
    }
  }

  Type3Figures run() {
    if (gap_ns_ > 0) {
      schedule(source_.random().exponential(gap_ns_), What::arrival, 0);
    } else {
      for (std::uint32_t i = 0; i < load_.window && started_ < load_.lines; ++i) {
        start_line(0);
      }
    }
    while (done_ < load_.lines) {
      step();
    }
    return figures();
  }

 private:
  enum class What : std::uint8_t {
    arrival,         // a core asks for a line; open loop
    to_device,       // it has come to the link
    at_controller,   // ... through the link and half of the device
    to_host,         // data or completion have come to the link
    at_core,         // ... through the link and the host
    request_credit,  // a buffer of the device is free again
    write_credit,
    data_credit,  // of the host
    completion_credit,
  };
  struct Event {
    double at_ns;
    std::uint64_t order;
    What what;
    std::uint32_t tag;
    bool operator>(const Event& other) const {
      return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
    }
  };
  struct Line {
    bool is_write = false;
    std::uint8_t ends_left = 0;  // the core and, of a write, the DRAM still have to do with it
    std::uint32_t part = 0;
    DramPlace place;
    double arrived_ns = 0;
    double at_controller_ns = 0;
    double dram_done_ns = 0;
    double m2s_ns = 0;
  };
  // A sub-channel, and the lines that wait for room in its queues.
  struct Part {
    explicit Part(const DramSpec& spec) : engine(spec) {}
    DramEngine engine;
    std::array<std::deque<std::uint32_t>, 2> waiting;  // reads, writes
    Cycle run_to = 0;
  };

  void schedule(double at_ns, What what, std::uint32_t tag) {
    events_.push({at_ns, next_order_++, what, tag});
  }

  void start_line(double now_ns) {
    std::uint32_t tag = 0;
    if (free_.empty()) {
      tag = static_cast<std::uint32_t>(lines_.size());
      lines_.emplace_back();
    } else {
      tag = free_.back();
      free_.pop_back();
    }
    const LineSource::Line next = source_.next();
    const std::uint64_t piece = spec_.interleave / kLine;
    const std::uint64_t channels = spec_.dram_channels;
    const std::uint64_t channel = next.number / piece % channels;
    const DecodedLine decoded =
        decoder_.decode(next.number / piece / channels * piece + next.number % piece);
    Line& line = lines_[tag];
    line = {};
    line.is_write = next.is_write;
    line.ends_left = next.is_write ? 2 : 1;
    line.part = static_cast<std::uint32_t>(channel) * spec_.dram.organization.sub_channels +
                decoded.sub_channel;
    line.place = decoded.place;
    line.arrived_ns = now_ns;
    note_in_flight(now_ns);
    ++started_;
    schedule(now_ns + spec_.host_ns / 2, What::to_device, tag);
  }

  [[nodiscard]] double next_event_ns() const {
    if (events_.empty()) {
      return kNeverNs;
    }
    return events_.top().at_ns;
  }

  // One event of the earliest, after the DRAM commands before it.
  void step() {
    const double link_ns = std::min(m2s_.next_flit_ns(), s2m_.next_flit_ns());
    run_dram_until(link_ns);
    const double event_ns = next_event_ns();
    if (event_ns <= link_ns) {
      const Event event = events_.top();
      events_.pop();
      handle(event);
    } else if (m2s_.next_flit_ns() <= s2m_.next_flit_ns()) {
      m2s_.send([this](std::uint32_t tag, bool, double at_ns) {
        lines_[tag].m2s_ns = at_ns - lines_[tag].arrived_ns - spec_.host_ns / 2;
        schedule(at_ns + spec_.controller_ns / 2, What::at_controller, tag);
      });
    } else {
      s2m_.send([this](std::uint32_t tag, bool has_data, double at_ns) {
        schedule(at_ns + spec_.host_ns / 2, What::at_core, tag);
        // The host has room for what it asked for: it frees the link's buffer at once.
        schedule(at_ns + s2m_.credit_return_ns(),
                 has_data ? What::data_credit : What::completion_credit, 0);
      });
    }
  }

  // What a DRAM does may be what comes next, so the end moves forward as it goes.
  void run_dram_until(double link_ns) {
    for (const auto& part : parts_) {
      while (part->engine.queued() != 0) {
        const double end_ns = std::min(link_ns, next_event_ns());
        const Cycle until =
            end_ns == kNeverNs ? kCycleNever : static_cast<Cycle>(std::floor(end_ns / cycle_ns_));
        if (!run_part(*part, until)) {
          part->run_to = std::max(part->run_to, until);
          break;
        }
      }
    }
  }
  bool run_part(Part& part, Cycle until) {
    return part.engine.run_to_access(
        until, [this, &part](std::uint32_t tag, bool is_write, Cycle issued, Cycle data_end) {
          part.run_to = std::max(part.run_to, issued);
          Line& line = lines_[tag];
          if (is_write) {
            release(tag);
          } else {
            line.dram_done_ns = static_cast<double>(data_end) * cycle_ns_;
            schedule(line.dram_done_ns + spec_.controller_ns / 2, What::to_host, tag);
          }
          fill_queue(part, is_write, issued);
        });
  }

  void handle(const Event& event) {
    const double now_ns = event.at_ns;
    switch (event.what) {
      case What::arrival:
        start_line(now_ns);
        if (started_ < load_.lines) {
          schedule(now_ns + source_.random().exponential(gap_ns_), What::arrival, 0);
        }
        return;
      case What::to_device:
        m2s_.push(lines_[event.tag].is_write, event.tag, now_ns);
        return;
      case What::at_controller:
        at_controller(event.tag, now_ns);
        return;
      case What::to_host:
        s2m_.push(!lines_[event.tag].is_write, event.tag, now_ns);
        return;
      case What::at_core:
        at_core(event.tag, now_ns);
        return;
      case What::request_credit:
      case What::write_credit:
        m2s_.give_credit(event.what == What::write_credit, now_ns);
        return;
      case What::data_credit:
      case What::completion_credit:
        s2m_.give_credit(event.what == What::data_credit, now_ns);
        return;
    }
  }

  void at_controller(std::uint32_t tag, double now_ns) {
    Line& line = lines_[tag];
    line.at_controller_ns = now_ns;
    Part& part = *parts_[line.part];
    part.waiting[line.is_write ? 1 : 0].push_back(tag);
    const auto now = std::max(part.run_to, static_cast<Cycle>(std::ceil(now_ns / cycle_ns_)));
    while (run_part(part, now)) {
    }
    part.run_to = now;
    fill_queue(part, line.is_write, now);
  }
  // A write is complete for its host once the DRAM's controller has it.
  void fill_queue(Part& part, bool is_write, Cycle now) {
    auto& waiting = part.waiting[is_write ? 1 : 0];
    const double now_ns = static_cast<double>(now) * cycle_ns_;
    while (!waiting.empty() && part.engine.has_room(is_write)) {
      const std::uint32_t tag = waiting.front();
      waiting.pop_front();
      part.engine.submit(lines_[tag].place, is_write, tag, now);
      schedule(now_ns + m2s_.credit_return_ns(),
               is_write ? What::write_credit : What::request_credit, 0);
      if (is_write) {
        schedule(now_ns + spec_.controller_ns / 2, What::to_host, tag);
      }
    }
  }

  void at_core(std::uint32_t tag, double now_ns) {
    const Line& line = lines_[tag];
    const double total_ns = now_ns - line.arrived_ns;
    note_in_flight(now_ns);
    ++done_;
    end_ns_ = now_ns;
    time_in_flight_ns_ += total_ns;
    if (!line.is_write) {
      reads_.add(total_ns);
      const double dram_ns = line.dram_done_ns - line.at_controller_ns;
      m2s_sum_ns_ += line.m2s_ns;
      dram_sum_ns_ += dram_ns;
      s2m_sum_ns_ += total_ns - spec_.host_ns - spec_.controller_ns - line.m2s_ns - dram_ns;
    }
    release(tag);
    if (gap_ns_ == 0 && started_ < load_.lines) {
      start_line(now_ns);
    }
  }
  void release(std::uint32_t tag) {
    if (--lines_[tag].ends_left == 0) {
      free_.push_back(tag);
    }
  }
  // The number in flight was the same since the last time it changed.
  void note_in_flight(double now_ns) {
    in_flight_area_ += static_cast<double>(started_ - done_) * (now_ns - last_change_ns_);
    last_change_ns_ = now_ns;
  }

  [[nodiscard]] Type3Figures figures() const {
    Type3Figures result;
    result.lines = done_;
    result.elapsed_ns = end_ns_;
    result.delivered = Rate(static_cast<double>(done_ * kLine.count()) * 1e9 / end_ns_);
    result.read_mean_ns = reads_.mean();
    result.read_p50_ns = reads_.quantile(0.5);
    result.read_p99_ns = reads_.quantile(0.99);
    if (reads_.total() != 0) {
      const auto reads = static_cast<double>(reads_.total());
      result.host_ns = spec_.host_ns;
      result.controller_ns = spec_.controller_ns;
      result.m2s_ns = m2s_sum_ns_ / reads;
      result.dram_ns = dram_sum_ns_ / reads;
      result.s2m_ns = s2m_sum_ns_ / reads;
    }
    const auto busy = [this](const LinkDirection& link) {
      return static_cast<double>(link.counters().flits) * link.flit_ns() / end_ns_;
    };
    result.m2s_utilisation = busy(m2s_);
    result.s2m_utilisation = busy(s2m_);
    for (const auto& part : parts_) {
      result.dram_utilisation += static_cast<double>(part->engine.counters().bus_busy) * cycle_ns_ /
                                 end_ns_ / static_cast<double>(parts_.size());
    }
    result.in_flight_mean = in_flight_area_ / end_ns_;
    result.in_flight_by_little = time_in_flight_ns_ / end_ns_;
    return result;
  }

  const Type3Spec& spec_;
  const DramLoad& load_;
  AddressDecoder decoder_;
  LineSource source_;
  LinkDirection m2s_;
  LinkDirection s2m_;
  double cycle_ns_;
  double gap_ns_;
  std::vector<std::unique_ptr<Part>> parts_;
  std::vector<Line> lines_;
  std::vector<std::uint32_t> free_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t next_order_ = 0;
  std::uint64_t started_ = 0;
  std::uint64_t done_ = 0;
  double end_ns_ = 0;
  double last_change_ns_ = 0;
  double in_flight_area_ = 0;
  double time_in_flight_ns_ = 0;
  double m2s_sum_ns_ = 0;
  double dram_sum_ns_ = 0;
  double s2m_sum_ns_ = 0;
  Histogram reads_;
};

Result<void> check_load(const Type3Spec& spec, const DramLoad& load) {
  const SizeBytes capacity = spec.dram.organization.capacity() * spec.dram_channels;
  if (Result<void> valid = validate(load, capacity); !valid) {
    return valid;
  }
  if (!(load.offered > Rate()) && load.window == 0) {
    return Error(Errc::config_invalid,
                 "load.window = 0: a load without `offered` needs a number of lines in flight");
  }
  return {};
}

}  // namespace

Result<void> validate(const Type3Spec& spec) {
  for (const Result<void>& part : {validate(spec.link), validate(spec.dram)}) {
    if (!part) {
      return part;
    }
  }
  // By the names that a parameter file has for them.
  constexpr double kRoundTripMaxNs = 10'000;
  for (const NumberCheck& number :
       {NumberCheck{"host.round_trip_ns", spec.host_ns, 0, kRoundTripMaxNs},
        NumberCheck{"controller.round_trip_ns", spec.controller_ns, 0, kRoundTripMaxNs},
        NumberCheck{"dram.channels", static_cast<double>(spec.dram_channels), 1, 16}}) {
    if (Result<void> valid = check(number); !valid) {
      return valid;
    }
  }
  if (spec.interleave < kLine || !(spec.interleave % kLine).is_zero() ||
      spec.interleave > SizeBytes(16384)) {
    return Error(Errc::config_invalid,
                 fmt::format("dram.interleave_bytes = {}: allowed are multiples of {} to 16384",
                             spec.interleave.count(), kLine.count()));
  }
  return {};
}

Result<Type3Figures> run_type3(const Type3Spec& spec, const DramLoad& load) {
  if (const Result<void> valid = validate(spec); !valid) {
    return valid.error();
  }
  if (const Result<void> valid = check_load(spec, load); !valid) {
    return valid.error();
  }
  return Type3Model(spec, load).run();
}

}  // namespace godbox::emulator::model
