// SPDX-License-Identifier: Apache-2.0
//
// A queue of a CUDA device: a non-blocking stream, and rings in pinned memory from which the kernel
// takes its tiles and into which it puts their CRCs, so that no call allocates or waits.
// Every call that gives the driver work is a step. A fence is an event behind a step; when it has
// passed, so have the steps up to it: the CRCs of their moves are given to the CrcBlocks, their
// tiles are free again, and the marks behind them are polled. Fences are recorded by marks, and now
// and then without, so that a queue nobody marks does not fill up for good.
// Thread-safety: one thread's. Ownership: shares the context. Units: bytes. Errors: as DeviceQueue.
#pragma once

#include "cuda_context.h"
#include <godbox/device_memory.h>

#include <array>
#include <vector>

namespace godbox::driver {

class CudaEvent final : public DeviceEvent {
 public:
  [[nodiscard]] static Result<std::unique_ptr<DeviceEvent>> make(
      std::shared_ptr<CudaContext> context);
  CudaEvent(std::shared_ptr<CudaContext> context, CUevent event)
      : context_(std::move(context)), event_(event) {}
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  [[nodiscard]] Result<bool> is_done() const override;
  [[nodiscard]] void* native_handle() const override { return event_; }
  [[nodiscard]] bool is_of(const CudaContext& context) const { return context_.get() == &context; }

 private:
  std::shared_ptr<CudaContext> context_;
  CUevent event_;
};

class CudaQueue final : public DeviceQueue {
 public:
  // Steps under way. The driver itself holds about a thousand commands and then makes its callers
  // wait; a step is one or two.
  static constexpr std::size_t kStepsMax = 512;

  [[nodiscard]] static Result<std::unique_ptr<DeviceQueue>> make(
      std::shared_ptr<CudaContext> context);
  CudaQueue(std::shared_ptr<CudaContext> context, std::unique_ptr<CudaQueueResources> resources,
            CUstream stream);
  ~CudaQueue() override;
  CudaQueue(const CudaQueue&) = delete;
  CudaQueue& operator=(const CudaQueue&) = delete;

  [[nodiscard]] Errc move(std::span<const MovePiece> pieces, std::span<CrcBlock> crc) override;
  [[nodiscard]] Errc copy(MutableSpan to, ConstSpan from) override;
  [[nodiscard]] Errc mark(std::uint64_t id) override;
  [[nodiscard]] std::size_t poll(std::span<DeviceMark> out) override;
  [[nodiscard]] Errc record(DeviceEvent& event) override;
  [[nodiscard]] Errc wait(const DeviceEvent& event) override;
  [[nodiscard]] Errc follow(void* native_stream) override;
  [[nodiscard]] void* native_handle() const override { return stream_; }

 private:
  struct Fence {
    std::uint64_t step = 0;
    CUevent event = nullptr;
  };
  struct Move {
    std::uint64_t step = 0;
    std::uint64_t tiles_begin = 0, tiles_end = 0;
    std::span<CrcBlock> crc{};
  };
  struct Mark {
    std::uint64_t step = 0;
    std::uint64_t id = 0;
  };

  [[nodiscard]] Errc begin_step();
  void end_step();
  [[nodiscard]] Errc code_of_own(const char* call, CUresult result) const;
  [[nodiscard]] Errc fence();
  void refresh();
  void retire();
  void finish_crc(const Move& move);
  [[nodiscard]] bool reserve_tiles(std::size_t bound);
  [[nodiscard]] Errc launch(std::uint64_t begin, std::size_t count, bool has_crc,
                            unsigned block_count_max);

  const std::shared_ptr<CudaContext> context_;
  const CudaDriver& driver_;
  std::unique_ptr<CudaQueueResources> resources_;
  CUstream stream_;
  CUevent follow_event_;
  CrcFinisher crc_finisher_;

  // Rings: begin and end count up, an entry is at its number modulo the size.
  std::uint64_t steps_passed_ = 0, steps_issued_ = 0;
  std::uint64_t tiles_begin_ = 0, tiles_end_ = 0;
  std::array<Fence, kStepsMax> fences_;
  std::uint64_t fences_begin_ = 0, fences_end_ = 0;
  std::array<Move, kStepsMax> moves_;
  std::uint64_t moves_begin_ = 0, moves_end_ = 0;
  std::array<Mark, kMarksMax> marks_;
  std::uint64_t marks_begin_ = 0, marks_end_ = 0;
};

}  // namespace godbox::driver
