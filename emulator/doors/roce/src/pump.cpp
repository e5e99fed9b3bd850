// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox/emulator/roce/pump.h>
#include <godbox/prefetch.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace godbox::emulator {
namespace {

constexpr std::size_t kSmallFrameBytes = 64;
// The longest sleep: whoever sets the clock of a machine back loses no more.
constexpr Duration kSleepMax = std::chrono::seconds(1);

}  // namespace

struct RocePump::Impl {
  // A port with its wire, the frame that the wire had no room for, and since when it has none.
  struct Line {
    RocePort* port = nullptr;
    FrameSource* frames = nullptr;
    RoceQueues* queues = nullptr;  // null: the port has one
    std::size_t queue = 0;
    OutFrame frame;
    bool is_held = false;
    bool is_blocked = false;
    bool waits_for_room = false;  // of other queues
    TimePoint blocked_since = kNever;

    [[nodiscard]] bool is_stalled(TimePoint now) const {
      return blocked_since <= now && now - blocked_since >= kRoceHeldMax;
    }
    [[nodiscard]] MutableSpan room(std::size_t size_bytes, TimePoint now) {
      const MutableSpan found = frames->room_to_send(size_bytes);
      blocked_since = found.empty() ? std::min(blocked_since, now) : kNever;
      return found;
    }
  };

  Impl(std::span<const RoceLine> of, const Clock& with_clock, RoceProgram with_program)
      : clock(with_clock), program(std::move(with_program)), descriptor(eventfd(0, EFD_NONBLOCK)) {
    GODBOX_ASSERT(descriptor >= 0);
    for (const RoceLine& line : of) {
      GODBOX_ASSERT(line.port->options().ethernet_mtu_bytes <= line.frames->mtu_bytes());
      lines.push_back(std::make_unique<Line>());
      lines.back()->port = line.port;
      lines.back()->frames = line.frames;
      lines.back()->queues = line.port->options().queues;
      lines.back()->queue = line.port->options().queue;
      if (RoceQueues* const queues = lines.back()->queues; queues != nullptr) {
        queues->set_wake(lines.back()->queue, [this] { wake(); });
        queues->set_stalled(lines.back()->queue, false);
      }
    }
    waits.reserve(lines.size() + 1);
  }
  ~Impl() {
    for (const auto& line : lines) {
      if (line->is_held) {
        line->port->release(line->frame.token);
      }
      if (line->queues != nullptr) {
        line->queues->set_wake(line->queue, {});
      }
    }
    close(descriptor);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  bool receive(Line& line, TimePoint now);
  bool send(Line& line, TimePoint now);
  // False: the wire has no room, and the frame may wait for it.
  bool send_frame(Line& line, TimePoint now);
  bool round();
  void sleep();
  // Whether nobody has given frames to one of the lines' queues; from now on who does wakes.
  [[nodiscard]] bool begin_sleep();
  void end_sleep();
  void wake() const {
    const std::uint64_t one = 1;
    static_cast<void>(write(descriptor, &one, sizeof(one)) == sizeof(one));
  }

  const Clock& clock;
  RoceProgram program;
  const int descriptor;  // readable: wake() was called
  std::vector<std::unique_ptr<Line>> lines;
  std::array<ConstSpan, kRocePumpBurst> received;
  std::vector<pollfd> waits;
  std::atomic<bool> is_stopped{false};
};

// Frames that other queues have no room for wait in the device.
bool RocePump::Impl::receive(Line& line, TimePoint now) {
  const std::size_t frames_max = line.queues == nullptr
                                     ? received.size()
                                     : std::min(received.size(), line.queues->room_for(line.queue));
  line.waits_for_room = frames_max == 0;
  const std::size_t count =
      line.waits_for_room ? 0 : line.frames->receive(std::span(received).first(frames_max));
  for (std::size_t i = 0; i < count; ++i) {
    if (i + 1 < count) {
      prefetch_for_read(received[i + 1]);
    }
    line.port->on_frame(received[i], now);
  }
  const std::size_t given = line.port->take_given(kRocePumpBurst, now);
  if (line.port->next_deadline() <= now) {
    line.port->on_timer(now);
  }
  return count + given > 0;
}

// A frame shows memory, which nobody gets while it waits. So a wire that takes nothing for long
// loses what is for it, as Ethernet may: at once, until it takes something again.
bool RocePump::Impl::send_frame(Line& line, TimePoint now) {
  const std::size_t bytes = line.frame.size_bytes();
  bool is_sent = false;
  if (bytes <= line.frames->mtu_bytes() + kRoceEthernetBytesMax) {
    const MutableSpan room = line.room(bytes, now);
    if (room.empty() && !line.is_stalled(now)) {
      return false;
    }
    is_sent = !room.empty() && line.port->copy_frame(line.frame, room) == bytes;
  }
  if (is_sent) {
    line.frames->commit();
    line.port->count_sent(line.frame);
  } else {
    line.port->count_unsent();
  }
  line.port->release(line.frame.token);
  return true;
}

bool RocePump::Impl::send(Line& line, TimePoint now) {
  const bool was_blocked = line.is_blocked;
  std::size_t sent = 0;
  line.is_blocked = line.is_held && !send_frame(line, now);
  line.is_held = line.is_blocked;
  while (!line.is_blocked && sent < kRocePumpBurst && line.port->next_frame(line.frame, now)) {
    ++sent;
    line.is_blocked = !send_frame(line, now);
    line.is_held = line.is_blocked;
  }
  if (sent > 0 || was_blocked) {
    line.frames->flush();
    // Frames that wait in the source go when it is asked again.
    line.is_blocked = line.is_held || line.room(kSmallFrameBytes, now).empty();
  }
  if (line.queues != nullptr) {
    line.queues->set_stalled(line.queue, line.is_stalled(now));
  }
  return sent > 0;
}

bool RocePump::Impl::round() {
  const TimePoint now = clock.now();
  bool is_busy = false;
  for (const auto& line : lines) {
    is_busy = receive(*line, now) || is_busy;
  }
  is_busy = (program && program(now)) || is_busy;
  for (const auto& line : lines) {
    is_busy = send(*line, now) || is_busy;
  }
  return is_busy;
}

bool RocePump::Impl::begin_sleep() {
  bool may_sleep = true;
  for (const auto& line : lines) {
    may_sleep = (line->queues == nullptr || line->queues->begin_sleep(line->queue)) && may_sleep;
  }
  return may_sleep;
}

void RocePump::Impl::end_sleep() {
  for (const auto& line : lines) {
    if (line->queues != nullptr) {
      line->queues->end_sleep(line->queue);
    }
  }
}

void RocePump::Impl::sleep() {
  waits.clear();
  waits.push_back({.fd = descriptor, .events = POLLIN, .revents = 0});
  const TimePoint now = clock.now();
  TimePoint until = now + kSleepMax;
  for (const auto& line : lines) {
    until = std::min(until, line->port->next_deadline());
    const int of_source = line->frames->wait_descriptor();
    if (of_source < 0 || line->waits_for_room || (line->is_blocked && !line->is_stalled(now))) {
      until = std::min(until, now + kRocePumpInterval);
    } else if (line->is_blocked) {
      until = std::min(until, now + kRocePumpStalledInterval);
    }
    if (of_source >= 0 && !line->waits_for_room) {
      waits.push_back({.fd = of_source, .events = POLLIN, .revents = 0});
    }
  }
  const Duration wait = std::max(until - now, Duration(0));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wait);
  const timespec limit{.tv_sec = seconds.count(), .tv_nsec = (wait - seconds).count()};
  if (begin_sleep()) {
    // What it says does not matter: the next round asks everybody.
    static_cast<void>(ppoll(waits.data(), waits.size(), &limit, nullptr));
  }
  end_sleep();
  std::uint64_t woken = 0;
  static_cast<void>(read(descriptor, &woken, sizeof(woken)) == sizeof(woken));
}

RocePump::RocePump(std::span<const RoceLine> lines, const Clock& clock, RoceProgram program)
    : impl_(std::make_unique<Impl>(lines, clock, std::move(program))) {}

RocePump::~RocePump() = default;

void RocePump::run() {
  while (!impl_->is_stopped.load(std::memory_order_acquire)) {
    if (!impl_->round()) {
      impl_->sleep();
    }
  }
}

bool RocePump::round() { return impl_->round(); }

void RocePump::stop() {
  impl_->is_stopped.store(true, std::memory_order_release);
  impl_->wake();
}

void RocePump::wake() { impl_->wake(); }

}  // namespace godbox::emulator
