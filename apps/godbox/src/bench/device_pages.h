// SPDX-License-Identifier: Apache-2.0
//
// A paged KV cache in the memory of a device, as vLLM's flash attention has it ([K and V, blocks,
// tokens, heads, dim] per layer; MLA: [blocks, tokens, latent]), with a list of its blocks in
// random order, and what moves and checks its bytes from the host. Every byte is a pattern that
// says where in the cache it belongs. Thread-safety: one thread. Ownership: the device's memory and
// queue are its own; the device outlives it. Units: bytes, GB/s, seconds. Errors: those of the
// device; io_error where its work does not end.
#pragma once

#include "bench/device_options.h"
#include "measure/block_set.h"
#include <godbox/clock.h>
#include <godbox/striping/paged_kv.h>

#include <memory>
#include <optional>
#include <vector>

namespace godbox::app {

// Memory of a device, or pinned memory that it reaches, given back at the end.
class DeviceBuffer {
 public:
  [[nodiscard]] static Result<DeviceBuffer> of_device(DeviceMemory& device, SizeBytes size);
  [[nodiscard]] static Result<DeviceBuffer> staging(DeviceMemory& device, SizeBytes size);
  DeviceBuffer() = default;
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  [[nodiscard]] MutableSpan bytes() const { return bytes_; }

 private:
  DeviceMemory* device_ = nullptr;
  MutableSpan bytes_;
  bool is_staging_ = false;
};

// A queue that is waited for: only measurements do that.
class TimedQueue {
 public:
  [[nodiscard]] static Result<TimedQueue> create(DeviceMemory& device);
  // Queues, and tries again while the queue is full. Errors: those of the call.
  [[nodiscard]] Errc move(std::span<const MovePiece> pieces, std::span<CrcBlock> crc);
  [[nodiscard]] Errc copy(MutableSpan to, ConstSpan from);
  // Until all that was queued is done.
  [[nodiscard]] Errc finish();

 private:
  template <class Call>
  [[nodiscard]] Errc submit(const Call& call);
  [[nodiscard]] Errc wait_for_mark();

  std::unique_ptr<DeviceQueue> queue_;
  std::uint64_t next_mark_ = 1;
  std::uint64_t last_polled_ = 0;
};

class DevicePages {
 public:
  // As many blocks as `working_set` holds, at least one.
  [[nodiscard]] static Result<std::unique_ptr<DevicePages>> create(DeviceMemory& device,
                                                                   const kv::ModelGeometry& model,
                                                                   std::uint32_t block_tokens,
                                                                   SizeBytes working_set,
                                                                   std::uint64_t seed);
  [[nodiscard]] const kv::PagedKv& cache() const { return *cache_; }
  [[nodiscard]] std::span<const std::uint32_t> blocks() const { return blocks_; }
  [[nodiscard]] SizeBytes block_bytes() const { return block_bytes_; }
  [[nodiscard]] SizeBytes listed_bytes() const { return block_bytes_ * blocks_.size(); }
  // All of its memory, contiguous.
  [[nodiscard]] MutableSpan region() const { return region_.bytes(); }
  [[nodiscard]] TimedQueue& queue() { return queue_; }
  [[nodiscard]] MutableSpan staging() const { return staging_.bytes(); }

  // Writes the pattern of `generation` everywhere, or bytes that are none.
  [[nodiscard]] Result<void> fill(std::uint64_t generation);
  [[nodiscard]] Result<void> spoil_all();
  // Compares some of the listed blocks with the pattern.
  [[nodiscard]] Result<void> verify(std::uint64_t generation, std::span<const std::uint32_t> blocks,
                                    Verification& verification);
  // The same of a packed stream: bytes of `segments` in their order, `packed` of the device.
  [[nodiscard]] Result<void> verify_packed(std::span<const LocalSegment> segments, ConstSpan packed,
                                           std::uint64_t generation, std::span<const CrcBlock> crc,
                                           Verification& verification);
  // Where the bytes of blocks lie, layer by layer, in the pool's order.
  [[nodiscard]] std::vector<LocalSegment> segments(std::span<const std::uint32_t> blocks) const;

 private:
  DevicePages() = default;
  [[nodiscard]] PatternId pattern(std::uint64_t generation) const { return {seed_, generation}; }
  [[nodiscard]] std::uint64_t offset_of(const std::byte* at) const;
  template <class Fill>
  [[nodiscard]] Result<void> write_all(const Fill& fill);

  std::uint64_t seed_ = 0;
  DeviceBuffer region_;
  DeviceBuffer staging_;
  TimedQueue queue_;
  std::optional<kv::PagedKv> cache_;
  std::vector<std::uint32_t> blocks_;
  SizeBytes block_bytes_;
};

}  // namespace godbox::app
