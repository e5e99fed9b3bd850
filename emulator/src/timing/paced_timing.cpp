// SPDX-License-Identifier: Apache-2.0
//
// A transfer crosses DRAM channels, their CXL links, SuperNICs and one Ethernet port at the same
// time: bytes flow on while others still wait. It is therefore done when its slowest stage is, not
// after the sum of all stages, which is what a store-and-forward box would take; and the delays of
// a first byte come on top. In a row of queues with constant service the longest wait is the wait
// (Friedman 1965), so that the stages can be booked at once and without a look at each other: a
// transfer that waits for one of them keeps no time of the others that somebody else could use.
#include <godbox/assert.h>
#include <godbox/emulator/timing.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <vector>

namespace godbox::emulator {
namespace {

constexpr std::size_t kDirections = 2;  // indexed by WorkOp

// Time since the first transfer, in parts of a nanosecond, so that many small transfers take as
// long as one large one: enough of them for years.
using Ticks = std::int64_t;
constexpr Ticks kTicksPerNs = 64;
constexpr Ticks kTicksMax = Ticks{1} << 62U;
// Longest time that one transfer can take: keeps absurd rates from overflowing the timeline.
constexpr double kTransferTicksMax =
    static_cast<double>(Duration(std::chrono::hours(1)).count() * kTicksPerNs);

// A queue is when it will have done what was booked. It earns no credit while idle, so there is no
// burst after a pause.
struct Channel {
  Ticks dram = 0;  // reads and writes share its bus
  std::array<Ticks, kDirections> link{};
};
using DuplexQueue = std::array<Ticks, kDirections>;

// What a stage takes for a byte. 0: nothing, it is no stage.
struct StageTimes {
  double dram_channel_ticks = 0;
  double cxl_link_ticks = 0;
  double super_nic_ticks = 0;
  double eth_port_ticks = 0;
  Duration delay{};
};

double ticks_per_byte(Rate rate, double time_scale) {
  GODBOX_ASSERT(rate.bytes_per_second() >= 0 && time_scale > 0);
  return rate > Rate() ? kTicksPerNs * 1e9 * time_scale / rate.bytes_per_second() : 0;
}

// A path that carries all that its channels can give never has more to do than the busiest of them.
bool can_bind(const StageRates& rates, std::uint32_t channels) {
  double channel = rates.dram_channel.bytes_per_second();
  if (rates.cxl_link > Rate() && (channel == 0 || rates.cxl_link.bytes_per_second() < channel)) {
    channel = rates.cxl_link.bytes_per_second();
  }
  return rates.super_nic_path > Rate() &&
         (channel == 0 || rates.super_nic_path.bytes_per_second() < channel * channels);
}

StageTimes times_of(const BoxConfig& config, const StageRates& rates) {
  const double scale = config.time_scale;
  StageTimes times;
  times.dram_channel_ticks = ticks_per_byte(rates.dram_channel, scale);
  times.cxl_link_ticks = ticks_per_byte(rates.cxl_link, scale);
  times.eth_port_ticks = ticks_per_byte(rates.eth_port, scale);
  if (can_bind(rates, config.dram_channels_per_super_nic)) {
    times.super_nic_ticks = ticks_per_byte(rates.super_nic_path, scale);
  }
  const auto delay_ns = static_cast<double>((rates.channel_delay + rates.network_delay).count());
  times.delay = Duration(
      static_cast<std::int64_t>(std::min(delay_ns * scale, kTransferTicksMax / kTicksPerNs) + 0.5));
  return times;
}

class PacedTiming final : public TimingModel {
 public:
  PacedTiming(const BoxConfig& config, const PortFaults* port_faults,
              const ChannelFaults* channel_faults)
      : port_faults_(port_faults),
        channel_faults_(channel_faults),
        channels_per_super_nic_(config.dram_channels_per_super_nic),
        times_{times_of(config, config.rates->read), times_of(config, config.rates->write)},
        channels_(config.dram_channels()),
        super_nics_(config.super_nics),
        eth_ports_(config.eth_ports()),
        booked_(1 + 3 * std::size_t{config.dram_channels()}) {}

  [[nodiscard]] std::string_view name() const override { return "paced"; }

  [[nodiscard]] TimePoint admit(const TimedTransfer& transfer, TimePoint now) override {
    const auto direction = static_cast<std::size_t>(transfer.op);
    GODBOX_ASSERT(direction < kDirections && transfer.eth_port.value() < eth_ports_.size() &&
                  transfer.dram_channels.size() <= channels_.size());
    // One lock for all stages, so that two transfers cross them in the same order.
    const std::lock_guard lock(mutex_);
    if (origin_ == kNever) {
      origin_ = now;
    }
    Booking booking{.now = (now - origin_).count() * kTicksPerNs, .next = booked_.data()};
    booking.done = booking.now;
    book(booking, transfer, direction, now);
    // Up: an answer is never sooner than what it waits for.
    const TimePoint done = origin_ + Duration((booking.done + kTicksPerNs - 1) / kTicksPerNs) +
                           times_[direction].delay;
    if (done > transfer.latest) {
      // Backwards: a SuperNIC may have been booked for several channels.
      while (booking.next != booked_.data()) {
        --booking.next;
        *booking.next->queue = booking.next->before;
      }
    }
    return done;
  }

 private:
  // So that it can be taken back.
  struct Booked {
    Ticks* queue;
    Ticks before;
  };
  struct Booking {
    Ticks now;
    Booked* next;
    Ticks done = 0;

    void book(Ticks& queue, double work) {
      *next++ = {&queue, queue};
      queue = std::min(
          std::max(queue, now) + static_cast<Ticks>(std::min(work, kTransferTicksMax) + 0.5),
          kTicksMax);
      done = std::max(done, queue);
    }
  };

  void book(Booking& booking, const TimedTransfer& transfer, std::size_t direction, TimePoint now) {
    const StageTimes& times = times_[direction];
    if (times.eth_port_ticks > 0) {
      const double share =
          port_faults_ != nullptr ? port_faults_->rate_share_at(transfer.eth_port, now) : 1;
      booking.book(eth_ports_[transfer.eth_port.value()][direction],
                   static_cast<double>(transfer.total_bytes) * times.eth_port_ticks / share);
    }
    for (const DramChannelLoad& load : transfer.dram_channels) {
      const std::size_t index = load.dram_channel.value();
      GODBOX_ASSERT(index < channels_.size());
      Channel& channel = channels_[index];
      const auto bytes = static_cast<double>(load.bytes);
      const double share =
          channel_faults_ != nullptr ? channel_faults_->rate_share(load.dram_channel) : 1;
      const double longer = share == 1 ? bytes : bytes / share;
      if (times.dram_channel_ticks > 0) {
        booking.book(channel.dram, longer * times.dram_channel_ticks);
      }
      if (times.cxl_link_ticks > 0) {
        booking.book(channel.link[direction], longer * times.cxl_link_ticks);
      }
      if (times.super_nic_ticks > 0) {
        booking.book(super_nics_[index / channels_per_super_nic_][direction],
                     bytes * times.super_nic_ticks);
      }
    }
  }

  const PortFaults* const port_faults_;
  const ChannelFaults* const channel_faults_;
  const std::uint32_t channels_per_super_nic_;
  const std::array<StageTimes, kDirections> times_;
  std::mutex mutex_;
  TimePoint origin_ = kNever;
  std::vector<Channel> channels_;
  std::vector<DuplexQueue> super_nics_;
  std::vector<DuplexQueue> eth_ports_;
  std::vector<Booked> booked_;  // by the transfer that is being admitted, at most all of it
};

}  // namespace

std::unique_ptr<TimingModel> make_paced_timing(const BoxConfig& config,
                                               const PortFaults* port_faults,
                                               const ChannelFaults* channel_faults) {
  GODBOX_ASSERT(config.rates.has_value());
  return std::make_unique<PacedTiming>(config, port_faults, channel_faults);
}

}  // namespace godbox::emulator
