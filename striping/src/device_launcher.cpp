// SPDX-License-Identifier: Apache-2.0
#include "device_launcher.h"

#include <godbox/assert.h>

#include <array>
#include <utility>

namespace godbox::striping {

void DeviceBatch::add_copy(std::vector<Copy>& copies, MutableSpan to, ConstSpan from) {
  if (!copies.empty()) {
    Copy& last = copies.back();
    if (last.to.data() + last.to.size() == to.data() &&
        last.from.data() + last.from.size() == from.data()) {
      last.to = {last.to.data(), last.to.size() + to.size()};
      last.from = {last.from.data(), last.from.size() + from.size()};
      return;
    }
  }
  copies.push_back({.to = to, .from = from});
}

void DeviceBatch::clear() {
  copies_before.clear();
  moves.clear();
  copies_after.clear();
  members.clear();
  status = Errc::ok;
  steps_done_ = 0;
}

Result<std::unique_ptr<DeviceLauncher>> DeviceLauncher::create(DeviceMemory& device,
                                                               std::size_t queues, OnDone on_done) {
  GODBOX_ASSERT(queues > 0 && queues <= kQueuesMax);
  static_assert(kBatchesPerQueue <= DeviceQueue::kMarksMax);
  auto launcher = std::unique_ptr<DeviceLauncher>(new DeviceLauncher());
  launcher->on_done_ = std::move(on_done);
  launcher->batches_.resize(queues * kBatchesPerQueue);
  launcher->queueing_.resize(queues);
  for (std::size_t i = 0; i < queues; ++i) {
    auto queue = device.make_queue();
    if (!queue) {
      return queue.error();
    }
    launcher->queues_.push_back(std::move(*queue));
  }
  return launcher;
}

DeviceBatch* DeviceLauncher::begin(std::size_t queue) {
  if (is_lost_ || queueing_[queue] != nullptr) {
    return nullptr;
  }
  for (std::size_t i = 0; i < kBatchesPerQueue; ++i) {
    DeviceBatch& batch = batches_[queue * kBatchesPerQueue + i];
    if (batch.state_ == DeviceBatch::State::free) {
      batch.clear();
      batch.state_ = DeviceBatch::State::open;
      batch.queue_ = queue;
      return &batch;
    }
  }
  return nullptr;
}

void DeviceLauncher::launch(DeviceBatch& batch) {
  GODBOX_ASSERT(batch.state_ == DeviceBatch::State::open && !batch.moves.is_empty());
  batch.state_ = DeviceBatch::State::queueing;
  queueing_[batch.queue_] = &batch;
  under_way_ += 1;
  idle_polls_ = 0;
  queue_up(batch);
}

void DeviceLauncher::drop(DeviceBatch& batch) {
  GODBOX_ASSERT(batch.state_ == DeviceBatch::State::open);
  batch.state_ = DeviceBatch::State::free;
}

// Queues the steps that are left, as far as there is room. True if it queued any.
bool DeviceLauncher::queue_up(DeviceBatch& batch) {
  const std::size_t steps = batch.copies_before.size() + 1 + batch.copies_after.size();
  bool any = false;
  while (batch.steps_done_ <= steps) {
    const bool is_last = batch.steps_done_ == steps;
    const auto id = static_cast<std::uint64_t>(&batch - batches_.data());
    const Errc answer = is_last ? queues_[batch.queue_]->mark(id) : queue_step(batch);
    if (answer == Errc::queue_full) {
      return any;
    }
    if (answer == Errc::device_lost) {
      lose();
      return true;
    }
    any = true;
    if (answer != Errc::ok) {
      GODBOX_ASSERT(!is_last);
      batch.status = answer;
      batch.steps_done_ = steps;  // only the mark is left, behind what was queued
      continue;
    }
    batch.steps_done_ += 1;
  }
  batch.state_ = DeviceBatch::State::queued;
  queueing_[batch.queue_] = nullptr;
  return any;
}

Errc DeviceLauncher::queue_step(DeviceBatch& batch) {
  DeviceQueue& queue = *queues_[batch.queue_];
  const std::size_t step = batch.steps_done_;
  const std::size_t before = batch.copies_before.size();
  if (step < before) {
    return queue.copy(batch.copies_before[step].to, batch.copies_before[step].from);
  }
  if (step == before) {
    return batch.moves.enqueue(queue);
  }
  const DeviceBatch::Copy& copy = batch.copies_after[step - before - 1];
  return queue.copy(copy.to, copy.from);
}

bool DeviceLauncher::take_marks(std::size_t queue) {
  std::array<DeviceMark, kBatchesPerQueue> marks;
  const std::size_t count = queues_[queue]->poll(marks);
  for (std::size_t i = 0; i < count && !is_lost_; ++i) {
    if (marks[i].status != Errc::ok) {
      lose();
      return true;
    }
    DeviceBatch& batch = batches_[marks[i].id];
    on_done_(batch);
    batch.state_ = DeviceBatch::State::free;
    under_way_ -= 1;
  }
  return count > 0;
}

bool DeviceLauncher::progress() {
  bool any = false;
  for (std::size_t i = 0; i < queues_.size() && !is_idle() && !is_lost_; ++i) {
    if (queueing_[i] != nullptr) {
      any |= queue_up(*queueing_[i]);
    }
    if (!is_lost_) {
      any |= take_marks(i);
    }
  }
  idle_polls_ = any ? 0 : idle_polls_ + (idle_polls_ < kEagerPolls ? 1 : 0);
  return any;
}

void DeviceLauncher::lose() {
  is_lost_ = true;
  under_way_ = 0;
}

}  // namespace godbox::striping
