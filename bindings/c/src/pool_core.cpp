// SPDX-License-Identifier: Apache-2.0
#include "pool_core.h"

#include <algorithm>
#include <future>
#include <utility>

namespace godbox::c {

namespace {

// How long the thread sleeps when no event comes: with work under way its timers are looked at, and
// without, whether the session has to be told that it lives.
constexpr Duration kBusyPause = std::chrono::milliseconds(1);
constexpr Duration kIdlePause = std::chrono::milliseconds(50);

}  // namespace

Result<std::shared_ptr<PoolCore>> PoolCore::open(const Open& open) {
  std::shared_ptr<PoolCore> core(new PoolCore);
  std::promise<Error> opened;
  std::future<Error> failure = opened.get_future();
  core->thread_ = std::thread([&open, opened = std::move(opened), self = core.get()]() mutable {
    Result<Opened> made = open();
    if (made) {
      self->opened_ = std::move(*made);
      self->network_ = &self->opened_.connection->network();
    }
    // Nothing of the opener's is touched from here on.
    opened.set_value(made ? Error() : made.error());
    if (made) {
      self->serve();
    }
  });
  Error why = failure.get();
  if (why.code != Errc::ok) {
    core->close();
    return why;
  }
  return core;
}

PoolCore::~PoolCore() { close(); }

void PoolCore::close() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(is_closing_, true)) {
      return;
    }
    if (network_ != nullptr) {
      network_->wake();
    }
  }
  thread_.join();
}

bool PoolCore::run(const std::function<void()>& task) {
  enum class Answer : std::uint8_t { none, ran } answer = Answer::none;
  std::unique_lock lock(mutex_);
  if (is_closing_) {  // handles go on existing while the thread still tells them
    task_done_.wait(lock, [&] { return is_closed_; });
    return false;
  }
  std::exception_ptr thrown;
  tasks_.emplace_back([&] {
    try {
      task();
    } catch (...) {
      thrown = std::current_exception();
    }
    const std::lock_guard inner(mutex_);
    answer = Answer::ran;
    task_done_.notify_all();
  });
  network_->wake();
  task_done_.wait(lock, [&] { return answer == Answer::ran || is_closed_; });
  if (thrown) {
    std::rethrow_exception(thrown);
  }
  return answer == Answer::ran;
}

void PoolCore::serve() {
  std::unique_lock lock(mutex_);
  while (!is_closing_) {
    const std::vector<std::function<void()>> tasks = std::exchange(tasks_, {});
    lock.unlock();
    for (const std::function<void()>& task : tasks) {
      task();
    }
    bool happened = !tasks.empty();
    for (const std::unique_ptr<kv::KvMover>& mover : movers) {
      happened = mover->progress(TimePoint{}) || happened;
    }
    if (movers.empty()) {
      happened = client().progress(TimePoint{}) || happened;
    }
    if (!happened) {
      wait_for_work();
    }
    lock.lock();
  }
  lock.unlock();
  movers.clear();  // ends what is under way; handles are told by their callbacks
  for (const std::function<void()>& tell : on_close) {
    tell();
  }
  lock.lock();
  network_ = nullptr;
  is_closed_ = true;
  tasks_.clear();
  task_done_.notify_all();
  lock.unlock();
  opened_.connection.reset();
  opened_.device.reset();
}

// A task's wake-up ends the wait also when it came before it.
void PoolCore::wait_for_work() {
  const TimePoint now = network_->clock().now();
  const Duration pause = client().operations_in_flight() > 0 ? kBusyPause : kIdlePause;
  TimePoint until = now + std::min(pause, client().transport().poll_pause());
  for (const std::unique_ptr<kv::KvMover>& mover : movers) {
    until = std::min(until, mover->next_deadline());
  }
  network_->run_until(until);
}

}  // namespace godbox::c
