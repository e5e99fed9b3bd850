// SPDX-License-Identifier: Apache-2.0
//
// A pool behind the C API: the connection, its device and its movers, and the thread that alone
// touches them. Others give it tasks and wait for answers.
// Thread-safety: run(), suffixes and names are for any thread; what the thread's functions are
// given belongs to them while they run. Ownership: shared by all handles of the pool; close() ends
// the thread and all that it owns. Units: Durations. Errors: session_lost after close().
#pragma once

#include <godbox/connect.h>
#include <godbox/device_memory.h>
#include <godbox/striping/kv_mover.h>

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace godbox::c {

class PoolCore {
 public:
  struct Opened {
    std::unique_ptr<DeviceMemory> device;  // or nullptr
    std::string device_name, device_reason, data_path;
    std::unique_ptr<Connection> connection;
  };
  using Open = std::function<Result<Opened>()>;

  // Opens on the new thread, as connections belong to the thread that makes them.
  [[nodiscard]] static Result<std::shared_ptr<PoolCore>> open(const Open& open);
  ~PoolCore();
  PoolCore(const PoolCore&) = delete;
  PoolCore& operator=(const PoolCore&) = delete;

  void close();
  [[nodiscard]] const std::string& device_name() const { return opened_.device_name; }
  [[nodiscard]] const std::string& device_reason() const { return opened_.device_reason; }
  [[nodiscard]] const std::string& data_path() const { return opened_.data_path; }

  // Runs `task` on the pool's thread and waits until it has run; false, and not run, when the pool
  // is closed. Throws what the task throws. Not from the pool's thread.
  bool run(const std::function<void()>& task);

  // For tasks alone.
  [[nodiscard]] striping::Client& client() { return opened_.connection->client(); }
  [[nodiscard]] const Clock& clock() { return opened_.connection->network().clock(); }
  [[nodiscard]] DeviceMemory* device() { return opened_.device.get(); }
  std::list<std::unique_ptr<kv::KvMover>> movers;
  // Called on the pool's thread before its movers go: handles give their transfers back.
  std::list<std::function<void()>> on_close;

 private:
  PoolCore() = default;
  void serve();
  void wait_for_work();

  Opened opened_;
  std::mutex mutex_;
  std::condition_variable task_done_;
  std::vector<std::function<void()>> tasks_;
  bool is_closing_ = false;
  bool is_closed_ = false;
  StreamNetwork* network_ = nullptr;  // to wake
  std::thread thread_;
};

}  // namespace godbox::c
