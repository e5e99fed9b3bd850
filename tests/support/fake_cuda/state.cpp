// SPDX-License-Identifier: Apache-2.0
#include "state.h"

#include <vector>

namespace godbox::test::fake_cuda {

constexpr int kDriverVersion = 13000;

// --- Contexts ------------------------------------------------------------------------------------

namespace {
thread_local std::vector<CUcontext> context_stack;
int primary = 0;  // its address is the handle
}  // namespace

CUcontext primary_context() { return reinterpret_cast<CUcontext>(&primary); }
bool is_context_current() {
  return !context_stack.empty() && context_stack.back() == primary_context();
}
void push_context(CUcontext context) { context_stack.push_back(context); }
CUcontext pop_context() {
  if (context_stack.empty()) {
    return nullptr;
  }
  auto* const top = context_stack.back();
  context_stack.pop_back();
  return top;
}

// --- Records and streams -------------------------------------------------------------------------

void Record::finish() {
  const std::lock_guard lock(mutex_);
  is_done_ = true;
  done_.notify_all();
}

void Record::wait() {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return is_done_.load(); });
}

Stream::Stream() : thread_([this] { run(); }) {}

Stream::~Stream() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Stream::push(Work work, std::shared_ptr<Record> then) {
  {
    const std::lock_guard lock(mutex_);
    entries_.push_back({std::move(work), std::move(then)});
  }
  changed_.notify_all();
}

void Stream::synchronize() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return entries_.empty() && !is_busy_; });
}

void Stream::run() {
  State& state = State::get();
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return is_ending_ || !entries_.empty(); });
    if (entries_.empty()) {
      return;
    }
    const Entry entry = std::move(entries_.front());
    entries_.pop_front();
    is_busy_ = true;
    lock.unlock();
    state.wait_while_held();
    if (state.broken() == CUDA_SUCCESS) {
      const CUresult result = entry.work ? entry.work() : CUDA_SUCCESS;
      if (result != CUDA_SUCCESS) {
        state.break_context(result);
      }
    }
    if (entry.then) {
      entry.then->finish();  // after a fault too: nobody is left waiting
    }
    lock.lock();
    is_busy_ = false;
    changed_.notify_all();
  }
}

// --- State ---------------------------------------------------------------------------------------

State& State::get() {
  static auto* const state = [] {
    auto* const made = new State;  // never destroyed: its threads may run until the end
    made->driver_version = kDriverVersion;
    return made;
  }();
  return *state;
}

CUresult State::begin(const char* function, bool needs_context) {
  const std::lock_guard lock(mutex);
  ++calls_[function];
  const auto found = faults_.find(function);
  if (found != faults_.end() && --found->second.nth == 0) {
    const CUresult result = found->second.result;
    faults_.erase(found);
    return result;
  }
  if (needs_context && !is_context_current()) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  return needs_context ? broken() : CUDA_SUCCESS;
}

CUresult State::work_result() {
  const std::lock_guard lock(mutex);
  if (work_fault_.nth > 0 && --work_fault_.nth == 0) {
    return work_fault_.result;
  }
  return CUDA_SUCCESS;
}

void State::wait_while_held() {
  std::unique_lock lock(mutex);
  held_changed_.wait(lock, [&] { return !is_held_; });
}

void State::set_held(bool is_held) {
  const std::lock_guard lock(mutex);
  is_held_ = is_held;
  held_changed_.notify_all();
}

Stream* State::stream_of(CUstream stream) {
  const std::lock_guard lock(mutex);
  if (stream == nullptr || stream == CU_STREAM_LEGACY) {
    if (!default_stream) {
      default_stream = std::make_unique<Stream>();
    }
    for (; !late_copies.empty(); late_copies.pop_front()) {
      default_stream->push(std::move(late_copies.front()));
    }
    return default_stream.get();
  }
  const auto found = streams.find(stream);
  return found == streams.end() ? nullptr : found->second.get();
}

void State::copy_late(Stream::Work work) {
  const std::lock_guard lock(mutex);
  late_copies.push_back(std::move(work));
}

Event* State::event_of(CUevent event) {
  const std::lock_guard lock(mutex);
  const auto found = events.find(event);
  return found == events.end() ? nullptr : found->second.get();
}

void State::reset() {
  set_held(false);
  std::map<CUstream, std::unique_ptr<Stream>> left;
  {
    const std::lock_guard lock(mutex);
    left.swap(streams);
    events.clear();
    late_copies.clear();
    is_reset = false;
    modules = 0;
    contexts = 0;
    driver_version = kDriverVersion;
    device_count = 1;
    hidden.clear();
    faults_.clear();
    calls_.clear();
    work_fault_ = {};
  }
  left.clear();  // joins their threads, which may ask for the lock
  broken_ = 0;
  memory.clear();
}

const FakeCudaControl State::kControl{
    .reset = [] { get().reset(); },
    .live =
        [] {
          State& state = get();
          const std::lock_guard lock(state.mutex);
          return FakeCudaLive{.allocations = state.memory.count(RangeKind::device),
                              .pinned = state.memory.count(RangeKind::pinned),
                              .registrations = state.memory.count(RangeKind::registered),
                              .streams = state.streams.size(),
                              .events = state.events.size(),
                              .modules = state.modules,
                              .contexts = state.contexts};
        },
    .fail_call =
        [](const char* function, int nth, int result) {
          const std::lock_guard lock(get().mutex);
          get().faults_[function] = {nth, static_cast<CUresult>(result)};
        },
    .fail_work =
        [](int nth, int result) {
          const std::lock_guard lock(get().mutex);
          get().work_fault_ = {nth, static_cast<CUresult>(result)};
        },
    .set_driver_version =
        [](int version) {
          const std::lock_guard lock(get().mutex);
          get().driver_version = version;
        },
    .set_device_count =
        [](int count) {
          const std::lock_guard lock(get().mutex);
          get().device_count = count;
        },
    .set_memory_max = [](std::size_t bytes) { get().memory.set_max(bytes); },
    .hide =
        [](const char* function) {
          const std::lock_guard lock(get().mutex);
          get().hidden = function == nullptr ? "" : function;
        },
    .reset_device = [] { get().is_reset = true; },
    .unregister_all = [] { get().memory.unregister_all(); },
    .hold = [](bool is_held) { get().set_held(is_held); },
    .calls =
        [](const char* function) {
          const std::lock_guard lock(get().mutex);
          return get().calls_[function];
        },
    .last_grid =
        [] {
          const std::lock_guard lock(get().mutex);
          return get().last_grid;
        },
};

}  // namespace godbox::test::fake_cuda

extern "C" [[gnu::visibility("default")]] const godbox::test::FakeCudaControl* fake_cuda_control();

const godbox::test::FakeCudaControl* fake_cuda_control() {
  return &godbox::test::fake_cuda::State::kControl;
}
