// SPDX-License-Identifier: Apache-2.0
//
// Memory of a device (a GPU), and what moves bytes between it and the host's: kernels that gather
// and scatter pieces, CRC32C computed on the way, and copy engines. driver/gpu implements it on
// CUDA and, for machines without a GPU, on host memory; both pass tests/contract.
//
// Work goes to a DeviceQueue (a CUDA stream) and is done in the order in which it was given; calls
// only enqueue, and none waits for the device. mark() names a place in that order and poll() tells
// when the device has passed it; an event tells the same to other streams of the device.
//
// Addresses: device memory and host memory share one address space (CUDA's unified addressing), so
// std::byte* may point to either; only a queue may touch device memory. Host memory that a queue is
// given must be staging or registered.
// Thread-safety: DeviceMemory's calls are concurrent; a DeviceQueue and its events belong to one
// thread, except DeviceEvent::native_handle(), which is constant.
// Ownership: memory lives until it is released, queues and events until their owner goes; all of
// them before their DeviceMemory. What queued work refers to lives until a mark behind it is polled
// or the queue has gone, whose destructor waits for its work.
// Units: bytes. Errors: device_missing (no device, or none that works: the detail says why),
// device_memory_full, device_lost (the device or its context has failed; every later call answers
// the same, and work that was queued never completes: drop queues and memory and begin anew),
// invalid_argument, limit_exceeded (host memory cannot be pinned), queue_full.
// Sources: CUDA Driver API reference manual (streams, events, memory management, unified
// addressing).
#pragma once

#include <godbox/result.h>
#include <godbox/transport.h>
#include <godbox/units.h>

#include <memory>
#include <string>
#include <string_view>

namespace godbox {

enum class DeviceKind : std::uint8_t { host, cuda };

// One contiguous run of a move. Any alignment is allowed; 16 bytes on both sides is fastest.
struct MovePiece {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  std::uint32_t length_bytes = 0;
};

// What poll() tells of a mark.
struct DeviceMark {
  std::uint64_t id = 0;
  Errc status = Errc::ok;  // or device_lost
};

class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
  // True once the queue has passed the place where it was recorded last; true if it never was.
  // Errors: device_lost.
  [[nodiscard]] virtual Result<bool> is_done() const = 0;
  // CUDA: the CUevent, for cuStreamWaitEvent of an engine's own stream, to be called after
  // record(). Host: nullptr.
  [[nodiscard]] virtual void* native_handle() const = 0;
};

class DeviceQueue {
 public:
  // Named limits: of one move, and of marks that have not been polled. A queue that is empty takes
  // a move of any size up to them; how much more it holds is its own affair (queue_full).
  static constexpr std::size_t kMovePiecesMax = 65536;
  static constexpr std::size_t kMoveCrcBlocksMax = 65536;
  static constexpr std::size_t kMoveBytesMax = std::size_t{1} << 30U;
  static constexpr std::size_t kMarksMax = 1024;

  virtual ~DeviceQueue() = default;

  // Moves the pieces, whose order is that of one byte stream, by a kernel; they must not overlap
  // each other. `crc`: empty, or blocks that cover the stream; crc32c of each is filled in by the
  // time a mark behind the move is polled, and not compared with anything. `pieces` is read before
  // the call returns; `crc` belongs to the queue until then.
  // Errors: what check_move() answers; queue_full (nothing was queued: poll and try again),
  // device_lost.
  [[nodiscard]] virtual Errc move(std::span<const MovePiece> pieces, std::span<CrcBlock> crc) = 0;
  // Copies one contiguous run by a copy engine. Errors: invalid_argument (empty, no address, sizes
  // that differ), queue_full, device_lost.
  [[nodiscard]] virtual Errc copy(MutableSpan to, ConstSpan from) = 0;

  // poll() tells `id` when all that was queued before has been done. Errors: queue_full,
  // device_lost.
  [[nodiscard]] virtual Errc mark(std::uint64_t id) = 0;
  // Takes up to out.size() marks that were passed, in order; never waits. After the device was lost
  // all that are left end at once, with device_lost.
  [[nodiscard]] virtual std::size_t poll(std::span<DeviceMark> out) = 0;

  // Records `event` behind all that is queued now. Errors, of all three: invalid_argument (an event
  // of another device, a stream that is none), queue_full, device_lost.
  [[nodiscard]] virtual Errc record(DeviceEvent& event) = 0;
  // What is queued from now on begins after the event's last record() / after all that is queued
  // now on a stream of the caller's (a CUstream; nullptr: the legacy default stream).
  [[nodiscard]] virtual Errc wait(const DeviceEvent& event) = 0;
  [[nodiscard]] virtual Errc follow(void* native_stream) = 0;
  [[nodiscard]] virtual void* native_handle() const = 0;  // the CUstream; host: nullptr
};

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  [[nodiscard]] virtual DeviceKind kind() const = 0;
  // For people and reports: "NVIDIA H200, driver 12.8" or "host memory (no GPU)".
  [[nodiscard]] virtual std::string name() const = 0;

  // Memory of the device, at least 256-byte aligned, contents unspecified.
  // Errors: invalid_argument (0 bytes), device_memory_full, device_lost.
  [[nodiscard]] virtual Result<MutableSpan> allocate(SizeBytes size) = 0;
  virtual void release(MutableSpan memory) = 0;
  // Host memory that queues reach at the speed of the bus (pinned), page-aligned.
  // Errors: invalid_argument, limit_exceeded, device_lost.
  [[nodiscard]] virtual Result<MutableSpan> allocate_staging(SizeBytes size) = 0;
  virtual void release_staging(MutableSpan memory) = 0;
  // Lets queues reach memory that is there already, such as a mapped DRAM channel, at its own
  // address, until as many calls of unregister_host() with the same memory. Memories may overlap,
  // and be in reach already, which needs nothing more. Errors: invalid_argument (empty, or somebody
  // else in the process has registered a part of it, and not all), limit_exceeded (the system pins
  // no more), unsupported (memory of a kind that cannot be), device_lost.
  [[nodiscard]] virtual Result<void> register_host(MutableSpan memory) = 0;
  virtual void unregister_host(MutableSpan memory) = 0;
  // True if a queue may touch all of `memory`: allocated, staging, registered, or (CUDA) allocated
  // by anybody in this process on this device, as an engine's tensors are.
  [[nodiscard]] virtual bool reaches(ConstSpan memory) const = 0;

  [[nodiscard]] virtual Result<std::unique_ptr<DeviceQueue>> make_queue() = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<DeviceEvent>> make_event() = 0;
};

// What every DeviceQueue::move() refuses: too_large (more pieces, blocks or bytes than a move may
// have); invalid_argument (no pieces, a piece without bytes or without an address, a block of no
// length, blocks whose total is not that of the pieces). Errc::ok for all else.
[[nodiscard]] Errc check_move(std::span<const MovePiece> pieces, std::span<const CrcBlock> crc);
// What every DeviceQueue::copy() refuses: invalid_argument (no bytes, sizes that differ, no
// address).
[[nodiscard]] Errc check_copy(ConstSpan to, ConstSpan from);

[[nodiscard]] std::string_view to_string(DeviceKind kind) noexcept;

}  // namespace godbox
