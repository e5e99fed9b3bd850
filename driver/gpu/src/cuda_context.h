// SPDX-License-Identifier: Apache-2.0
//
// The primary context of one GPU, with the move kernel in it, and whether it has been lost: what a
// CUDA device and its queues share.
// Thread-safety: any thread. Ownership: shared; the context is given back with the last owner.
// Units: bytes. Errors: device_missing, invalid_argument (open), device_lost.
#pragma once

#include "crc_tables.h"
#include "cuda_driver.h"
#include "cuda_tuning.h"
#include <godbox/units.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

namespace godbox::driver {

class CudaContext;

// What a queue needs and what is dear to make: handed from queue to queue, so that a queue that
// goes frees no memory, for which CUDA would wait for the whole device.
struct CudaQueueResources {
  explicit CudaQueueResources(const CudaContext& context) : context_(context) {}
  ~CudaQueueResources();
  CudaQueueResources(const CudaQueueResources&) = delete;
  CudaQueueResources& operator=(const CudaQueueResources&) = delete;
  [[nodiscard]] Result<void> make(std::size_t tile_count, std::size_t event_count);

  kernels::MoveTile* tiles = nullptr;  // pinned: the host writes, kernels or a copy engine read
  std::uint32_t* parts = nullptr;      // pinned: kernels write a tile's raw CRC, the host reads
  CUdeviceptr device_tiles = 0;        // where the tiles of large moves are copied to
  std::vector<CUevent> events;

 private:
  const CudaContext& context_;
};

class CudaContext {
 public:
  [[nodiscard]] static Result<std::shared_ptr<CudaContext>> open(const std::string& library,
                                                                 int ordinal,
                                                                 const CudaTuning& tuning);
  CudaContext(const CudaDriver& driver, const CudaTuning& tuning);
  ~CudaContext();
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;

  // Makes the context current to this thread for as long as it lives; the engine's, if it has
  // another, comes back. An engine that captures a CUDA graph on another thread forbids all threads
  // calls that could be meant for it, even to ask for events: ours are not.
  // A context that cannot be made current (the engine reset the device; this process was forked) is
  // lost: is_lost() then says so, and whoever does not ask it asks works(), since a call would be
  // for whatever context the thread has.
  class Current {
   public:
    explicit Current(const CudaContext& context);
    ~Current();
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;
    [[nodiscard]] bool works() const { return is_pushed_; }

   private:
    const CudaDriver& driver_;
    bool is_pushed_ = false;
    CUstreamCaptureMode capture_mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;  // then what was before
  };

  [[nodiscard]] const CudaDriver& driver() const { return driver_; }
  [[nodiscard]] int ordinal() const { return ordinal_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  // Of a kernel that moves bytes within the device, or to or from the host. The bus is busy long
  // before the device is: there the other processors are left to the engine.
  [[nodiscard]] unsigned block_count_max(bool is_over_bus) const {
    return is_over_bus ? std::min(block_count_max_, tuning_.blocks_over_bus_max) : block_count_max_;
  }
  [[nodiscard]] unsigned tiles_over_bus_max() const { return tuning_.tiles_over_bus_max; }
  [[nodiscard]] int stream_priority() const { return stream_priority_; }
  // Whether the byte is the host's.
  [[nodiscard]] bool is_of_host(const std::byte* at) const;
  [[nodiscard]] bool registers_read_only() const { return registers_read_only_; }
  [[nodiscard]] const kernels::CrcTables& tables() const { return tables_; }
  [[nodiscard]] CUdeviceptr device_tables() const { return device_tables_; }
  [[nodiscard]] CUfunction move_function(bool has_crc) const { return has_crc ? move_crc_ : move_; }

  [[nodiscard]] bool is_lost() const {
    return is_lost_.load(std::memory_order_acquire) || is_forked();
  }
  // In a child of the process that opened the device no call of CUDA's works.
  [[nodiscard]] bool is_forked() const;
  // "the CUDA device was lost: cuEventQuery: CUDA_ERROR_ILLEGAL_ADDRESS (700)"
  [[nodiscard]] Error lost() const;
  void set_lost(const char* call, CUresult result) const;
  // Errc::ok; invalid_argument (what was passed is wrong); device_memory_full (the driver had no
  // room for this work, and took none of it); or device_lost, from now on for all calls.
  [[nodiscard]] Errc code_of(const char* call, CUresult result) const;
  // For calls that give a queue no work: `otherwise` with what the driver said, unless the context
  // has ended, which it then says to each call.
  [[nodiscard]] Error failure(const char* call, CUresult result, Errc otherwise) const;

  [[nodiscard]] Result<std::unique_ptr<CudaQueueResources>> take_resources(std::size_t tile_count,
                                                                           std::size_t event_count);
  void give_back(std::unique_ptr<CudaQueueResources> resources);

 private:
  [[nodiscard]] Result<void> retain(int ordinal);
  [[nodiscard]] Result<void> load_kernels();
  [[nodiscard]] int attribute(CUdevice_attribute which) const;

  const CudaDriver driver_;
  const CudaTuning tuning_;
  const kernels::CrcTables tables_ = make_crc_tables();
  const unsigned forks_;  // of this process, when the device was opened
  int ordinal_ = 0;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUmodule module_ = nullptr;
  CUfunction move_ = nullptr, move_crc_ = nullptr;
  CUdeviceptr device_tables_ = 0;
  std::string name_;
  unsigned block_count_max_ = 1;
  int stream_priority_ = 0;
  bool registers_read_only_ = false;

  mutable std::atomic<bool> is_lost_ = false;
  mutable std::mutex mutex_;
  mutable std::string lost_why_;
  std::vector<std::unique_ptr<CudaQueueResources>> spare_;
};

}  // namespace godbox::driver
