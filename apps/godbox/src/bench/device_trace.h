// SPDX-License-Identifier: Apache-2.0
//
// A device that notes when its kernels and copies ran: the device given, and behind each piece of
// work two events and a look at them whenever somebody polls. So ends are seen late by as much as
// polls are apart (some us while a transfer is driven), and measuring costs events: it is for a
// timeline of one pass, not for figures.
// Thread-safety: as DeviceMemory, and one thread for all its queues. Ownership: the device given
// outlives it, and it outlives its queues. Units: us since start(). Errors: the device's own.
#pragma once

#include <godbox/clock.h>
#include <godbox/device_memory.h>

#include <vector>

namespace godbox::app {

struct DeviceSpan {
  bool is_kernel = false;  // else a copy
  std::uint32_t queue = 0;
  double queued_us = 0, end_us = 0;
  double begin_us = 0;  // when the queue came to it: queued, or the end of what was before it
  std::uint64_t bytes = 0;
};

class TracingDevice final : public DeviceMemory {
 public:
  static constexpr std::size_t kSpansMax = 20000;  // later work is not noted

  explicit TracingDevice(DeviceMemory& device) : device_(device) {}

  // From now on spans are noted, and from none after stop().
  void start();
  void stop() { is_on_ = false; }
  [[nodiscard]] const std::vector<DeviceSpan>& spans() const { return spans_; }

  [[nodiscard]] DeviceKind kind() const override { return device_.kind(); }
  [[nodiscard]] std::string name() const override { return device_.name(); }
  [[nodiscard]] Result<MutableSpan> allocate(SizeBytes size) override {
    return device_.allocate(size);
  }
  void release(MutableSpan memory) override { device_.release(memory); }
  [[nodiscard]] Result<MutableSpan> allocate_staging(SizeBytes size) override {
    return device_.allocate_staging(size);
  }
  void release_staging(MutableSpan memory) override { device_.release_staging(memory); }
  [[nodiscard]] Result<void> register_host(MutableSpan memory) override {
    return device_.register_host(memory);
  }
  void unregister_host(MutableSpan memory) override { device_.unregister_host(memory); }
  [[nodiscard]] bool reaches(ConstSpan memory) const override { return device_.reaches(memory); }
  [[nodiscard]] Result<std::unique_ptr<DeviceQueue>> make_queue() override;
  [[nodiscard]] Result<std::unique_ptr<DeviceEvent>> make_event() override {
    return device_.make_event();
  }

 private:
  friend class TracingQueue;
  [[nodiscard]] double now_us() const;

  DeviceMemory& device_;
  SteadyClock clock_;
  TimePoint begin_{};
  bool is_on_ = false;
  std::uint32_t trace_ = 0;  // how often it was started
  std::uint32_t queues_ = 0;
  std::vector<DeviceSpan> spans_;
};

}  // namespace godbox::app
