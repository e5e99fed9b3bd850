// SPDX-License-Identifier: Apache-2.0
//
// The state of the fake CUDA driver: its memory, streams and events, and the faults it was told.
// Thread-safety: as said. Ownership: State::get() is the process's. Units: bytes. Errors: CUresult.
#pragma once

#include <godbox_test/fake_cuda.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include <cuda.h>

namespace godbox::test::fake_cuda {

// One passing of an event: done once its stream has come to it.
class Record {
 public:
  [[nodiscard]] bool is_done() const { return is_done_.load(); }
  void finish();
  void wait();

 private:
  std::atomic<bool> is_done_ = false;
  std::mutex mutex_;
  std::condition_variable done_;
};

struct Event {
  std::shared_ptr<Record> record;  // the last; none: it was never recorded
};

enum class RangeKind { device, pinned, registered };

struct Range {
  RangeKind kind = RangeKind::device;
  std::uintptr_t begin = 0;
  std::size_t size = 0;
  std::byte* reached_at = nullptr;  // by the fake's threads
  bool is_read_only = false;
  int descriptor = -1;  // device memory's
};

// All memory that the device reaches. Thread-safe.
class Memory {
 public:
  [[nodiscard]] CUresult allocate(std::size_t size, CUdeviceptr* at);
  [[nodiscard]] CUresult pin(std::size_t size, void** at);
  [[nodiscard]] CUresult add_host(void* at, std::size_t size, bool is_read_only);
  [[nodiscard]] CUresult remove(std::uintptr_t at, RangeKind kind);
  [[nodiscard]] std::optional<Range> find(std::uintptr_t at) const;
  // Where the fake's threads reach these bytes; nullptr if the device does not.
  [[nodiscard]] std::byte* reach(std::uintptr_t at, std::size_t size, bool is_write) const;
  [[nodiscard]] std::size_t count(RangeKind kind) const;
  [[nodiscard]] std::pair<std::size_t, std::size_t> free_and_total() const;
  void set_max(std::size_t bytes);
  void unregister_all();
  void clear();

 private:
  [[nodiscard]] std::size_t free_bytes() const;
  [[nodiscard]] const Range* range_of(std::uintptr_t at) const;
  static void unmap(const Range& range);

  mutable std::mutex mutex_;
  std::map<std::uintptr_t, Range> ranges_;
  std::size_t max_ = std::size_t{4} << 30U;
};

// Does its work in order on a thread of its own.
class Stream {
 public:
  using Work = std::function<CUresult()>;
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  void push(Work work, std::shared_ptr<Record> then = nullptr);
  void synchronize();

 private:
  struct Entry {
    Work work;
    std::shared_ptr<Record> then;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> entries_;
  bool is_busy_ = false, is_ending_ = false;
  std::thread thread_;
};

class State {
 public:
  [[nodiscard]] static State& get();

  // What a call answers before it does anything: an error it was told, or the context's.
  [[nodiscard]] CUresult begin(const char* function, bool needs_context = true);
  [[nodiscard]] CUresult work_result();  // of the next piece of work
  void break_context(CUresult result) { broken_ = static_cast<int>(result); }
  [[nodiscard]] CUresult broken() const { return static_cast<CUresult>(broken_.load()); }
  void wait_while_held();

  [[nodiscard]] Stream* stream_of(CUstream stream);
  void copy_late(Stream::Work work);  // on the legacy stream
  [[nodiscard]] Event* event_of(CUevent event);

  Memory memory;
  std::mutex mutex;  // of all below
  std::map<CUstream, std::unique_ptr<Stream>> streams;
  std::map<CUevent, std::unique_ptr<Event>> events;
  std::unique_ptr<Stream> default_stream;
  std::deque<Stream::Work> late_copies;
  std::size_t modules = 0;
  std::size_t contexts = 0;  // how often the primary one is retained
  int driver_version = 0;
  int device_count = 1;
  std::string hidden;
  unsigned last_grid = 0;
  std::atomic<bool> is_reset = false;

  static const FakeCudaControl kControl;

 private:
  struct Fault {
    int nth = 0;
    CUresult result = CUDA_SUCCESS;
  };
  void reset();
  void set_held(bool is_held);

  std::map<std::string, Fault> faults_;
  std::map<std::string, std::size_t> calls_;
  Fault work_fault_;
  std::atomic<int> broken_ = 0;
  bool is_held_ = false;
  std::condition_variable held_changed_;
};

// The primary context's handle, and the stack of this thread's.
[[nodiscard]] CUcontext primary_context();
[[nodiscard]] bool is_context_current();
void push_context(CUcontext context);
[[nodiscard]] CUcontext pop_context();

// Runs the move kernel on tiles in memory that the device reaches.
[[nodiscard]] CUresult run_move(const Memory& memory, std::uintptr_t tiles, std::uint32_t count,
                                std::uintptr_t parts, std::uintptr_t tables, bool has_crc);

// What the driver has by that name in that version; nullptr if it has none.
[[nodiscard]] void* find_function(const char* name, int version);

}  // namespace godbox::test::fake_cuda
