// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>
#include <godbox_test/faulty_device.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <thread>
#include <utility>

namespace godbox::test {

class FaultyDevice::Queue final : public DeviceQueue {
 public:
  Queue(FaultyDevice& device, std::unique_ptr<DeviceQueue> inner)
      : device_(device), inner_(std::move(inner)) {
    device_.queues_.push_back(this);
  }
  ~Queue() override {
    std::array<DeviceMark, 8> some;
    while (!flush()) {
      (void)inner_->poll(some);
    }
    std::erase(device_.queues_, this);
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  Errc move(std::span<const MovePiece> list, std::span<CrcBlock> crc) override {
    if (device_.lose_at_ == device_.moves) {
      device_.lose();
    }
    if (const Errc wrong = device_.fault(); wrong != Errc::ok) {
      return wrong;
    }
    for (const MovePiece& piece : list) {
      const Errc wrong =
          device_.check_reach({piece.to, piece.length_bytes}, {piece.from, piece.length_bytes});
      if (wrong != Errc::ok) {
        return wrong;
      }
    }
    if (const Errc wrong = check_move(list, crc); wrong != Errc::ok) {
      return wrong;
    }
    const Errc answer = give([this, copied = std::vector<MovePiece>(list.begin(), list.end()),
                              crc] { return inner_->move(copied, crc); });
    device_.moves += answer == Errc::ok ? 1U : 0U;
    device_.pieces += answer == Errc::ok ? list.size() : 0U;
    return answer;
  }
  Errc copy(MutableSpan to, ConstSpan from) override {
    if (const Errc wrong = device_.fault(); wrong != Errc::ok) {
      return wrong;
    }
    if (const Errc wrong = device_.check_reach(to, from); wrong != Errc::ok) {
      return wrong;
    }
    const Errc answer = give([this, to, from] { return inner_->copy(to, from); });
    device_.copies += answer == Errc::ok ? 1U : 0U;
    return answer;
  }
  Errc mark(std::uint64_t id) override {
    if (const Errc wrong = device_.fault(); wrong != Errc::ok) {
      return wrong;
    }
    const Errc answer = give([this, id] { return inner_->mark(id); });
    if (answer == Errc::ok) {
      marks_.push_back(id);
    }
    return answer;
  }
  std::size_t poll(std::span<DeviceMark> out) override {
    std::size_t count = 0;
    if (device_.is_lost_) {
      for (; count < out.size() && !marks_.empty(); ++count) {
        out[count] = {.id = marks_.front(), .status = Errc::device_lost};
        marks_.pop_front();
      }
    } else if (!device_.holds_marks) {
      if (!device_.holds_work) {
        (void)flush();
      }
      count = inner_->poll(out);
      marks_.erase(marks_.begin(), marks_.begin() + static_cast<std::ptrdiff_t>(count));
    }
    return count;
  }
  Errc record(DeviceEvent& event) override {
    const Errc wrong = device_.fault();
    return wrong == Errc::ok ? inner_->record(event) : wrong;
  }
  Errc wait(const DeviceEvent& event) override {
    const Errc wrong = device_.fault();
    return wrong == Errc::ok ? inner_->wait(event) : wrong;
  }
  Errc follow(void* native_stream) override { return inner_->follow(native_stream); }
  void* native_handle() const override { return inner_->native_handle(); }

  // Until all that was queued has ended.
  void finish() {
    held_.clear();
    std::array<DeviceMark, 8> some;
    while (inner_->mark(~std::uint64_t{0}) != Errc::ok) {
      (void)inner_->poll(some);
    }
    while (true) {
      const std::size_t count = inner_->poll(some);
      if (count > 0 && some[count - 1].id == ~std::uint64_t{0}) {
        return;
      }
      std::this_thread::yield();
    }
  }

 private:
  FaultyDevice& device_;
  std::unique_ptr<DeviceQueue> inner_;
  std::deque<std::uint64_t> marks_;
  std::deque<std::function<Errc()>> held_;

  // Does it now, or behind what is held.
  Errc give(std::function<Errc()> work) {
    if (!device_.holds_work && held_.empty()) {
      return work();
    }
    held_.push_back(std::move(work));
    return Errc::ok;
  }
  // Gives the inner queue what was held, as it has room. True when nothing is left.
  bool flush() {
    while (!held_.empty()) {
      const Errc answer = held_.front()();
      if (answer == Errc::queue_full) {
        return false;
      }
      GODBOX_ASSERT(answer == Errc::ok);
      held_.pop_front();
    }
    return true;
  }
};

FaultyDevice::~FaultyDevice() { GODBOX_ASSERT(queues_.empty()); }

void FaultyDevice::lose() {
  if (!is_lost_) {
    is_lost_ = true;
    for (Queue* const queue : queues_) {
      queue->finish();
    }
  }
}

bool FaultyDevice::is_clean() const {
  return allocated_.empty() && staging_.empty() && registered_.empty() && queues_.empty();
}

Errc FaultyDevice::fault() {
  calls_ += 1;
  if (is_lost_) {
    return Errc::device_lost;
  }
  return full_every > 0 && calls_ % full_every == 0 ? Errc::queue_full : Errc::ok;
}

Errc FaultyDevice::check_reach(ConstSpan a, ConstSpan b) {
  if (holds(a) && holds(b)) {
    return Errc::ok;
  }
  strays += 1;
  return Errc::invalid_argument;
}

void FaultyDevice::remember(Ranges& ranges, ConstSpan memory) {
  ranges.emplace(memory.data(), memory.size());
}

void FaultyDevice::forget(Ranges& ranges, ConstSpan memory) {
  const auto found = ranges.find(memory.data());
  GODBOX_ASSERT(found != ranges.end() && found->second == memory.size());
  ranges.erase(found);
}

Result<MutableSpan> FaultyDevice::allocate(SizeBytes size) {
  if (is_lost_ || allocations_fail) {
    return Error(is_lost_ ? Errc::device_lost : Errc::device_memory_full, "the test says so");
  }
  Result<MutableSpan> made = inner_.allocate(size);
  if (made) {
    remember(allocated_, *made);
  }
  return made;
}

void FaultyDevice::release(MutableSpan memory) {
  forget(allocated_, memory);
  inner_.release(memory);
}

Result<MutableSpan> FaultyDevice::allocate_staging(SizeBytes size) {
  if (is_lost_ || staging_fails) {
    return Error(is_lost_ ? Errc::device_lost : Errc::limit_exceeded, "the test says so");
  }
  Result<MutableSpan> made = inner_.allocate_staging(size);
  if (made) {
    remember(staging_, *made);
  }
  return made;
}

void FaultyDevice::release_staging(MutableSpan memory) {
  forget(staging_, memory);
  inner_.release_staging(memory);
}

Result<void> FaultyDevice::register_host(MutableSpan memory) {
  if (is_lost_ || (registrations_max && registered_.size() >= *registrations_max)) {
    return Error(is_lost_ ? Errc::device_lost : Errc::limit_exceeded, "the test says so");
  }
  Result<void> done = inner_.register_host(memory);
  if (done) {
    remember(registered_, memory);
  }
  return done;
}

void FaultyDevice::unregister_host(MutableSpan memory) {
  forget(registered_, memory);
  inner_.unregister_host(memory);
}

bool FaultyDevice::reaches(ConstSpan memory) const {
  reach_calls += 1;
  return holds(memory);
}

// Also where ranges that touch hold it together.
bool FaultyDevice::holds(ConstSpan memory) const {
  const std::byte* at = memory.data();
  const std::byte* const end = at + memory.size();
  bool found = at != nullptr;
  while (found && at < end) {
    found = false;
    for (const Ranges* const ranges : {&allocated_, &staging_, &registered_}) {
      const auto behind = ranges->upper_bound(at);
      if (behind == ranges->begin()) {
        continue;
      }
      const auto& [begin, size] = *std::prev(behind);
      if (at < begin + size) {
        at = begin + size;
        found = true;
      }
    }
  }
  return found;
}

Result<std::unique_ptr<DeviceQueue>> FaultyDevice::make_queue() {
  if (is_lost_ || (queues_max && queues_.size() >= *queues_max)) {
    return Error(is_lost_ ? Errc::device_lost : Errc::limit_exceeded, "the test says so");
  }
  auto made = inner_.make_queue();
  if (!made) {
    return made.error();
  }
  return std::unique_ptr<DeviceQueue>(std::make_unique<Queue>(*this, std::move(*made)));
}

Result<std::unique_ptr<DeviceEvent>> FaultyDevice::make_event() {
  if (is_lost_) {
    return Error(Errc::device_lost, "the test says so");
  }
  return inner_.make_event();
}

}  // namespace godbox::test
