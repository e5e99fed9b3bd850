// SPDX-License-Identifier: Apache-2.0
#include "bench/device_trace.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace godbox::app {

class TracingQueue final : public DeviceQueue {
 public:
  TracingQueue(TracingDevice& owner, std::unique_ptr<DeviceQueue> queue, std::uint32_t number)
      : owner_(owner), queue_(std::move(queue)), number_(number) {}

  Errc move(std::span<const MovePiece> pieces, std::span<CrcBlock> crc) override {
    const Errc status = queue_->move(pieces, crc);
    if (status == Errc::ok && owner_.is_on_) {
      std::uint64_t bytes = 0;
      for (const MovePiece& piece : pieces) {
        bytes += piece.length_bytes;
      }
      note(true, bytes);
    }
    return status;
  }

  Errc copy(MutableSpan to, ConstSpan from) override {
    const Errc status = queue_->copy(to, from);
    if (status == Errc::ok && owner_.is_on_) {
      note(false, from.size());
    }
    return status;
  }

  Errc mark(std::uint64_t id) override { return queue_->mark(id); }

  std::size_t poll(std::span<DeviceMark> out) override {
    look();
    return queue_->poll(out);
  }

  Errc record(DeviceEvent& event) override { return queue_->record(event); }
  Errc wait(const DeviceEvent& event) override { return queue_->wait(event); }
  Errc follow(void* native_stream) override { return queue_->follow(native_stream); }
  void* native_handle() const override { return queue_->native_handle(); }

 private:
  struct Open {
    std::uint32_t trace = 0;
    DeviceSpan span;
    std::unique_ptr<DeviceEvent> end;
  };

  void note(bool is_kernel, std::uint64_t bytes) {
    if (owner_.spans_.size() + open_.size() >= TracingDevice::kSpansMax) {
      return;
    }
    Open one;
    one.trace = owner_.trace_;
    one.span = {is_kernel, number_, owner_.now_us(), 0, 0, bytes};
    if (!idle_.empty()) {
      one.end = std::move(idle_.back());
      idle_.pop_back();
    } else if (auto made = owner_.make_event()) {
      one.end = std::move(*made);
    } else {
      return;
    }
    // Behind a full queue it is not noted.
    if (queue_->record(*one.end) == Errc::ok) {
      open_.push_back(std::move(one));
    }
  }

  void look() {
    while (!open_.empty()) {
      const Result<bool> done = open_.front().end->is_done();
      if (!done || !*done) {
        return;
      }
      if (open_.front().trace == owner_.trace_) {
        close(open_.front().span);
      }
      idle_.push_back(std::move(open_.front().end));
      open_.pop_front();
    }
  }

  void close(DeviceSpan span) {
    span.end_us = owner_.now_us();
    // Ends of another trace are of another clock.
    span.begin_us = std::max(span.queued_us, last_trace_ == owner_.trace_ ? last_end_us_ : 0);
    last_end_us_ = span.end_us;
    last_trace_ = owner_.trace_;
    owner_.spans_.push_back(span);
  }

  TracingDevice& owner_;
  std::unique_ptr<DeviceQueue> queue_;
  std::uint32_t number_;
  std::deque<Open> open_;
  std::vector<std::unique_ptr<DeviceEvent>> idle_;
  double last_end_us_ = 0;
  std::uint32_t last_trace_ = 0;
};

void TracingDevice::start() {
  spans_.clear();
  ++trace_;
  begin_ = clock_.now();
  is_on_ = true;
}

double TracingDevice::now_us() const {
  return std::chrono::duration<double, std::micro>(clock_.now() - begin_).count();
}

Result<std::unique_ptr<DeviceQueue>> TracingDevice::make_queue() {
  Result<std::unique_ptr<DeviceQueue>> made = device_.make_queue();
  if (!made) {
    return made;
  }
  return std::unique_ptr<DeviceQueue>(
      std::make_unique<TracingQueue>(*this, std::move(*made), queues_++));
}

}  // namespace godbox::app
