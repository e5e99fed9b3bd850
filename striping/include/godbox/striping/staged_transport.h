// SPDX-License-Identifier: Apache-2.0
//
// Any transport, for local memory that is a device's: the bytes go through slots, packed.
//   write: the device gathers the pieces into a slot of its own and computes the CRCs, a copy
//          engine brings it to a pinned slot, the inner transport sends it from there.
//   read:  the inner transport receives into a pinned slot, a copy engine brings it to a slot of
//          the device, which scatters it and computes the CRCs; they are compared here.
// What progress() finds is done in batches: one move, and as few copies as there are runs of slots.
// Several queues each way let the copies of one batch, the kernel of the next and the lanes
// overlap. Nothing is computed twice: the inner transport is given no CRCs.
//
// Lanes, their credits and states are the inner transport's; a request holds its credit, and its
// pinned slot, until it completes. queue_full where there is no credit or no slot.
// All local memory has to be in the device's reach: its own, staging, or registered, which
// register_memory() does for host memory that is not, in whole pages, counted where memories share
// them. post() answers invalid_argument where a piece is not. It asks the device about ranges, not
// about each piece again, and keeps the answers until deregister_memory() of anything: who frees
// device memory that requests used has to call that first.
//
// Fencing: what waits, or is on a lane, ends at once: the pages have no part in it. Kernels that
// read or write pages cannot be recalled, so requests in a batch are held (requests_held()) until
// the device is through with it and what their queue has before: at most 8 batches, by default
// 32 MiB, which is 0.7 ms at 50 GB/s of a device that is idle otherwise. One that is busy with
// other work takes longer, and is not lost for that: its pages stay in use meanwhile. The inner
// transport holds nothing: it is no device's.
// After a read that failed, by crc_mismatch too, the pieces' contents are unspecified.
//
// device_lost, which only the device itself says: every request ends with it, all lanes are down
// with it as their last error, and reopen() does nothing: make a new transport on a new device.
// Driving: the end of device work wakes no network; poll_pause() says how soon to look.
//
// Thread-safety: as Transport. Ownership: it owns the inner transport; the device outlives it.
// Units: bytes. Errors: of create(): invalid_argument (an option), device_memory_full,
// limit_exceeded (memory that cannot be pinned, threads), device_lost. Of post(), besides the inner
// transport's: too_large (more than DeviceQueue::kMovePiecesMax local pieces or CRC blocks). In
// completions: the inner transport's, crc_mismatch, lane_fenced, device_lost.
#pragma once

#include <godbox/device_memory.h>
#include <godbox/transport.h>

#include <memory>

namespace godbox::striping {

struct StagedTransportOptions {
  // Of pinned host memory, and of the device's, for slots: multiples of kWorkBytesMax, 2 to 256 of
  // them. A request holds a pinned slot (its size, rounded up to a power of two) to its end, a
  // device slot only while a batch of it is under way.
  SizeBytes staging{std::uint64_t{128} << 20U};
  SizeBytes device{std::uint64_t{64} << 20U};
  std::uint32_t queues_each_way = 2;               // 1 to 16
  SizeBytes batch_bytes{std::uint64_t{4} << 20U};  // a batch that has so many takes no more
};

class StagedTransport final : public Transport {
 public:
  [[nodiscard]] static Result<std::unique_ptr<StagedTransport>> create(
      std::unique_ptr<Transport> inner, DeviceMemory& device,
      const StagedTransportOptions& options = {});
  ~StagedTransport() override;

  [[nodiscard]] std::string_view name() const override { return "staged"; }
  [[nodiscard]] bool checks_keys() const override;  // as the inner one
  [[nodiscard]] std::size_t lane_count() const override;
  [[nodiscard]] LaneStatus lane_status(LaneId lane) const override;
  [[nodiscard]] Result<void> register_memory(MutableSpan memory) override;
  void deregister_memory(MutableSpan memory) override;
  [[nodiscard]] Errc post(LaneId lane, const WorkRequest& request) override;
  [[nodiscard]] std::size_t poll(std::span<Completion> out) override;
  bool progress() override;
  [[nodiscard]] Duration poll_pause() const override;
  void fence(LaneId lane) override;
  [[nodiscard]] std::uint32_t requests_held(LaneId lane) const override;
  void reopen(LaneId lane) override;

  [[nodiscard]] Transport& inner();

 private:
  struct Impl;
  explicit StagedTransport(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::striping
