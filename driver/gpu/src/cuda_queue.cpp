// SPDX-License-Identifier: Apache-2.0
#include "cuda_queue.h"

#include "move_plan.h"

#include <algorithm>
#include <utility>

namespace godbox::driver {
namespace {

// A queue nobody marks records a fence of its own this often.
constexpr std::size_t kStepsPerFenceMax = CudaQueue::kStepsMax / 4;

std::uint64_t address(const std::byte* at) { return reinterpret_cast<std::uintptr_t>(at); }

}  // namespace

// --- Events --------------------------------------------------------------------------------------

Result<std::unique_ptr<DeviceEvent>> CudaEvent::make(std::shared_ptr<CudaContext> context) {
  const CudaContext::Current current(*context);
  if (context->is_lost()) {
    return context->lost();
  }
  CUevent event = nullptr;
  const CUresult result = context->driver().cuEventCreate(&event, CU_EVENT_DISABLE_TIMING);
  if (result != CUDA_SUCCESS) {
    return context->failure("cuEventCreate", result, Errc::device_memory_full);
  }
  return std::unique_ptr<DeviceEvent>(std::make_unique<CudaEvent>(std::move(context), event));
}

CudaEvent::~CudaEvent() {
  const CudaContext::Current current(*context_);
  if (current.works()) {
    (void)context_->driver().cuEventDestroy(event_);
  }
}

Result<bool> CudaEvent::is_done() const {
  const CudaContext::Current current(*context_);
  if (context_->is_lost()) {
    return context_->lost();
  }
  const CUresult result = context_->driver().cuEventQuery(event_);
  if (result == CUDA_ERROR_NOT_READY) {
    return false;
  }
  if (const Errc code = context_->code_of("cuEventQuery", result); code != Errc::ok) {
    return code == Errc::device_lost ? context_->lost() : Error(code);
  }
  return true;
}

// --- The queue -----------------------------------------------------------------------------------

Result<std::unique_ptr<DeviceQueue>> CudaQueue::make(std::shared_ptr<CudaContext> context) {
  const CudaContext::Current current(*context);
  if (context->is_lost()) {
    return context->lost();
  }
  auto resources = context->take_resources(kTilesMax, kStepsMax + 1);
  if (!resources) {
    return resources.error();
  }
  // Before the engine's: its kernels, each as wide as the device, would leave ours no turn.
  CUstream stream = nullptr;
  const CUresult result = context->driver().cuStreamCreateWithPriority(
      &stream, CU_STREAM_NON_BLOCKING, context->stream_priority());
  if (result != CUDA_SUCCESS) {
    context->give_back(std::move(*resources));
    return context->failure("cuStreamCreateWithPriority", result, Errc::device_memory_full);
  }
  return std::unique_ptr<DeviceQueue>(
      std::make_unique<CudaQueue>(std::move(context), std::move(*resources), stream));
}

CudaQueue::CudaQueue(std::shared_ptr<CudaContext> context,
                     std::unique_ptr<CudaQueueResources> resources, CUstream stream)
    : context_(std::move(context)),
      driver_(context_->driver()),
      resources_(std::move(resources)),
      stream_(stream),
      follow_event_(resources_->events.back()),
      crc_finisher_(context_->tables()) {
  for (std::size_t i = 0; i < kStepsMax; ++i) {
    fences_[i].event = resources_->events[i];
  }
}

CudaQueue::~CudaQueue() {
  {
    const CudaContext::Current current(*context_);
    if (current.works()) {
      const CUresult result = driver_.cuStreamSynchronize(stream_);
      if (context_->code_of("cuStreamSynchronize", result) == Errc::ok) {
        steps_passed_ = steps_issued_;
        retire();
      }
      (void)driver_.cuStreamDestroy(stream_);
    }
  }
  context_->give_back(std::move(resources_));
}

Errc CudaQueue::begin_step() {
  if (context_->is_lost()) {
    return Errc::device_lost;
  }
  if (steps_issued_ - steps_passed_ == kStepsMax) {
    refresh();
  }
  if (context_->is_lost()) {
    return Errc::device_lost;
  }
  return steps_issued_ - steps_passed_ == kStepsMax ? Errc::queue_full : Errc::ok;
}

void CudaQueue::end_step() {
  ++steps_issued_;
  const std::uint64_t fenced =
      fences_begin_ == fences_end_ ? steps_passed_ : fences_[(fences_end_ - 1) % kStepsMax].step;
  if (steps_issued_ - fenced >= kStepsPerFenceMax) {
    (void)fence();  // if it fails a later one does it, or the device is lost, as that one says
  }
}

// Of calls with handles of ours alone: one that the driver no longer knows went with the context.
// And where it had no room it may have later.
Errc CudaQueue::code_of_own(const char* call, CUresult result) const {
  const Errc code = context_->code_of(call, result);
  if (code == Errc::invalid_argument) {
    context_->set_lost(call, result);
    return Errc::device_lost;
  }
  return code == Errc::device_memory_full ? Errc::queue_full : code;
}

// There is room: each fence under way is behind a step of its own that is.
Errc CudaQueue::fence() {
  if (steps_passed_ == steps_issued_ ||
      (fences_begin_ != fences_end_ &&
       fences_[(fences_end_ - 1) % kStepsMax].step == steps_issued_)) {
    return Errc::ok;
  }
  Fence& fence = fences_[fences_end_ % kStepsMax];
  const CUresult result = driver_.cuEventRecord(fence.event, stream_);
  const Errc code = code_of_own("cuEventRecord", result);
  if (code == Errc::ok) {
    fence.step = steps_issued_;
    ++fences_end_;
  }
  return code;
}

void CudaQueue::refresh() {
  while (fences_begin_ != fences_end_) {
    const Fence& fence = fences_[fences_begin_ % kStepsMax];
    const CUresult result = driver_.cuEventQuery(fence.event);
    if (result == CUDA_ERROR_NOT_READY || code_of_own("cuEventQuery", result) != Errc::ok) {
      break;
    }
    steps_passed_ = fence.step;
    ++fences_begin_;
  }
  retire();
}

void CudaQueue::retire() {
  while (moves_begin_ != moves_end_) {
    const Move& move = moves_[moves_begin_ % kStepsMax];
    if (move.step > steps_passed_) {
      break;
    }
    finish_crc(move);
    tiles_begin_ = move.tiles_end;
    ++moves_begin_;
  }
}

void CudaQueue::finish_crc(const Move& move) {
  std::size_t at = move.tiles_begin % kTilesMax;
  for (CrcBlock& block : move.crc) {
    std::uint32_t raw = 0;
    while (true) {
      raw ^= resources_->parts[at];
      const bool is_last = resources_->tiles[at].bytes_after == 0;
      ++at;
      if (is_last) {
        break;
      }
    }
    block.crc32c = crc_finisher_.finish(raw, block.length_bytes);
  }
}

// Tiles of a move lie side by side: where they do not fit before the ring's end, at its beginning.
bool CudaQueue::reserve_tiles(std::size_t bound) {
  const auto to_next_round = [&] { return kTilesMax - tiles_end_ % kTilesMax; };
  if (tiles_begin_ == tiles_end_ && tiles_end_ % kTilesMax != 0) {
    tiles_end_ += to_next_round();
    tiles_begin_ = tiles_end_;
  }
  const std::size_t skipped = bound > to_next_round() ? to_next_round() : 0;
  if (tiles_end_ - tiles_begin_ + skipped + bound > kTilesMax) {
    return false;
  }
  tiles_end_ += skipped;
  return true;
}

Errc CudaQueue::move(std::span<const MovePiece> pieces, std::span<CrcBlock> crc) {
  if (const Errc checked = check_move(pieces, crc); checked != Errc::ok) {
    return checked;
  }
  const CudaContext::Current current(*context_);
  if (const Errc begun = begin_step(); begun != Errc::ok) {
    return begun;
  }
  std::size_t total_bytes = 0;
  for (const MovePiece& piece : pieces) {
    total_bytes += piece.length_bytes;
  }
  // The pieces of a move are of one kind, as a rule.
  const bool is_over_bus =
      context_->is_of_host(pieces.front().to) || context_->is_of_host(pieces.front().from);
  const unsigned blocks_max = context_->block_count_max(is_over_bus);
  const std::size_t tile_bytes =
      tile_bytes_for(total_bytes, std::size_t{blocks_max} * kernels::kWarpsPerBlock);
  const std::size_t bound = tile_count_bound(pieces.size(), crc.size(), total_bytes, tile_bytes);
  if (!reserve_tiles(bound)) {
    // What has passed in the meantime may have made room; a fence lets later tries see the rest.
    if (fence() == Errc::ok) {
      refresh();
    }
    if (context_->is_lost()) {
      return Errc::device_lost;
    }
    if (!reserve_tiles(bound)) {
      return Errc::queue_full;
    }
  }
  const std::span<kernels::MoveTile> room(resources_->tiles + tiles_end_ % kTilesMax, bound);
  const std::size_t count = plan_tiles(pieces, crc, tile_bytes, room);
  if (const Errc launched = launch(tiles_end_, count, !crc.empty(), blocks_max);
      launched != Errc::ok) {
    return launched;
  }
  moves_[moves_end_ % kStepsMax] = {.step = steps_issued_ + 1,
                                    .tiles_begin = tiles_end_,
                                    .tiles_end = tiles_end_ + count,
                                    .crc = crc};
  ++moves_end_;
  tiles_end_ += count;
  end_step();
  return Errc::ok;
}

Errc CudaQueue::launch(std::uint64_t begin, std::size_t count, bool has_crc,
                       unsigned block_count_max) {
  const std::size_t at = begin % kTilesMax;
  CUdeviceptr tiles = reinterpret_cast<std::uintptr_t>(resources_->tiles + at);
  if (count > context_->tiles_over_bus_max()) {
    const CUdeviceptr copied = resources_->device_tiles + at * sizeof(kernels::MoveTile);
    const CUresult result =
        driver_.cuMemcpyAsync(copied, tiles, count * sizeof(kernels::MoveTile), stream_);
    if (const Errc code = context_->code_of("cuMemcpyAsync", result); code != Errc::ok) {
      return code;
    }
    tiles = copied;
  }
  auto count32 = static_cast<std::uint32_t>(count);
  CUdeviceptr parts = reinterpret_cast<std::uintptr_t>(resources_->parts + at);
  CUdeviceptr tables = context_->device_tables();
  std::array<void*, 4> arguments{&tiles, &count32, &parts, &tables};
  const auto blocks = static_cast<unsigned>(std::min<std::size_t>(
      (count + kernels::kWarpsPerBlock - 1) / kernels::kWarpsPerBlock, block_count_max));
  constexpr unsigned kThreads = kernels::kWarpsPerBlock * kernels::kLanes;
  const CUresult result =
      driver_.cuLaunchKernel(context_->move_function(has_crc), blocks, 1, 1, kThreads, 1, 1, 0,
                             stream_, arguments.data(), nullptr);
  return context_->code_of("cuLaunchKernel", result);
}

Errc CudaQueue::copy(MutableSpan to, ConstSpan from) {
  if (const Errc checked = check_copy(to, from); checked != Errc::ok) {
    return checked;
  }
  const CudaContext::Current current(*context_);
  if (const Errc begun = begin_step(); begun != Errc::ok) {
    return begun;
  }
  const CUresult result =
      driver_.cuMemcpyAsync(address(to.data()), address(from.data()), to.size(), stream_);
  if (const Errc code = context_->code_of("cuMemcpyAsync", result); code != Errc::ok) {
    return code;
  }
  end_step();
  return Errc::ok;
}

Errc CudaQueue::mark(std::uint64_t id) {
  const CudaContext::Current current(*context_);
  if (context_->is_lost()) {
    return Errc::device_lost;
  }
  if (marks_end_ - marks_begin_ == kMarksMax) {
    return Errc::queue_full;
  }
  if (const Errc code = fence(); code != Errc::ok) {
    return code;
  }
  marks_[marks_end_ % kMarksMax] = {.step = steps_issued_, .id = id};
  ++marks_end_;
  return Errc::ok;
}

std::size_t CudaQueue::poll(std::span<DeviceMark> out) {
  if (fences_begin_ != fences_end_ && !context_->is_lost()) {
    const CudaContext::Current current(*context_);
    if (current.works()) {
      refresh();
    }
  }
  const bool is_lost = context_->is_lost();
  std::size_t count = 0;
  while (count < out.size() && marks_begin_ != marks_end_) {
    const Mark& mark = marks_[marks_begin_ % kMarksMax];
    if (mark.step > steps_passed_ && !is_lost) {
      break;
    }
    out[count] = {.id = mark.id,
                  .status = mark.step > steps_passed_ ? Errc::device_lost : Errc::ok};
    ++count;
    ++marks_begin_;
  }
  return count;
}

Errc CudaQueue::record(DeviceEvent& event) {
  const auto* const recorded = dynamic_cast<CudaEvent*>(&event);
  if (recorded == nullptr || !recorded->is_of(*context_)) {
    return Errc::invalid_argument;
  }
  const CudaContext::Current current(*context_);
  if (const Errc begun = begin_step(); begun != Errc::ok) {
    return begun;
  }
  auto* const handle = static_cast<CUevent>(recorded->native_handle());
  const CUresult result = driver_.cuEventRecord(handle, stream_);
  if (const Errc code = context_->code_of("cuEventRecord", result); code != Errc::ok) {
    return code;
  }
  end_step();
  return Errc::ok;
}

Errc CudaQueue::wait(const DeviceEvent& event) {
  const auto* const awaited = dynamic_cast<const CudaEvent*>(&event);
  if (awaited == nullptr || !awaited->is_of(*context_)) {
    return Errc::invalid_argument;
  }
  const CudaContext::Current current(*context_);
  if (const Errc begun = begin_step(); begun != Errc::ok) {
    return begun;
  }
  auto* const handle = static_cast<CUevent>(awaited->native_handle());
  const CUresult result = driver_.cuStreamWaitEvent(stream_, handle, CU_EVENT_WAIT_DEFAULT);
  if (const Errc code = context_->code_of("cuStreamWaitEvent", result); code != Errc::ok) {
    return code;
  }
  end_step();
  return Errc::ok;
}

Errc CudaQueue::follow(void* native_stream) {
  const CudaContext::Current current(*context_);
  if (const Errc begun = begin_step(); begun != Errc::ok) {
    return begun;
  }
  // A wait is for the record before it, so one event serves for all.
  auto* const stream =
      native_stream == nullptr ? CU_STREAM_LEGACY : static_cast<CUstream>(native_stream);
  // To follow a stream that is being captured would make this one a part of the engine's graph.
  CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
  CUresult result = driver_.cuStreamIsCapturing(stream, &capture);
  if (const Errc code = context_->code_of("cuStreamIsCapturing", result); code != Errc::ok) {
    return code;
  }
  if (capture != CU_STREAM_CAPTURE_STATUS_NONE) {
    return Errc::invalid_argument;
  }
  result = driver_.cuEventRecord(follow_event_, stream);
  if (const Errc code = context_->code_of("cuEventRecord", result); code != Errc::ok) {
    return code;
  }
  result = driver_.cuStreamWaitEvent(stream_, follow_event_, CU_EVENT_WAIT_DEFAULT);
  if (const Errc code = context_->code_of("cuStreamWaitEvent", result); code != Errc::ok) {
    return code;
  }
  end_step();
  return Errc::ok;
}

}  // namespace godbox::driver
