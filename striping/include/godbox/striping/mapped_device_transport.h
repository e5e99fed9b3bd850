// SPDX-License-Identifier: Apache-2.0
//
// The pool's DRAM channels mapped into this process and registered with a device, which moves the
// bytes itself, straight between pages and strips, and computes the CRCs on the way: no copy by a
// CPU, no staging. What progress() finds on a lane is one move; a lane is a queue of the device.
// As with LocalTransport, authority is the mapping: for trusted processes on the same machine.
//
// Registering pins the memory: all of each channel, at create(), backed or not. Whoever owns it has
// to know: memory that was given back to the machine and fetched anew would be another than the
// one that the device has. A box is told by MAP_MEMORY's flag (docs/wire-protocol.md, 9.3).
// `register_bytes_max` says how much may be pinned; of memory that is fetched on demand it fetches
// all, and what the box had not backed stays fetched when this goes.
// Channels whose coherence is `software` are refused: the device's writes pass the CPU caches of
// this host, which only the CPU can flush; use StagedTransport over LocalTransport.
// Poison: after a move, channels that have met poison are asked for the request's runs, and it
// completes with poison. That finds what the CPU's handler has seen: the host device's own
// accesses, and pages lost before. A GPU that reads a lost page itself ends its context instead,
// and with it all that the process has on that device, its engine's tensors too: device_lost. Where
// that may not be, use StagedTransport: its pool is read by the CPU.
//
// Fencing: requests that wait end at once; those whose moves were launched cannot be recalled and
// are held (requests_held()) until the device is through: at most 8 batches of 8 MiB, 1.3 ms at
// 50 GB/s of a device that is idle otherwise. One that is busy with other work takes longer, and is
// not lost for that. After a read that failed, the pieces' contents are unspecified. device_lost:
// as StagedTransport. Driving: by poll_pause(), as no network is woken. The local memory of
// requests has to be in the device's reach: see StagedTransport.
//
// Thread-safety: as Transport. Ownership: it owns the targets; the device outlives it. Units:
// bytes. Errors: of create(): invalid_argument (an option), unsupported (a software coherent
// channel, memory that cannot be registered), limit_exceeded (more than may or can be pinned,
// threads), device_lost; each names the channel. In completions: out_of_range, crc_mismatch,
// poison, too_large (more than DeviceQueue::kMovePiecesMax pieces, cut at strips and at local
// pieces), limit_exceeded and those of `layout_of` as LocalTransport, lane_fenced, device_lost.
#pragma once

#include <godbox/device_memory.h>
#include <godbox/memory_target.h>
#include <godbox/striping/slab_layout.h>
#include <godbox/transport.h>

#include <functional>
#include <memory>
#include <vector>

namespace godbox::striping {

struct MappedDeviceOptions {
  // A slab's layout; called from the caller's thread. Answers are kept.
  std::function<Result<SlabLayout>(SlabId)> layout_of{};
  std::uint32_t lanes = 4;         // queues of the device, 1 to 16
  SizeBytes register_bytes_max{};  // of all channels together; 0: no limit
  // Registering takes a second per so many GB. It is done in pieces of this size, and this is
  // called behind each: to drive a network, whose session would run out meanwhile.
  SizeBytes register_at_once{std::uint64_t{1} << 30U};
  std::function<void()> on_registered{};
  SizeBytes batch_bytes{std::uint64_t{8} << 20U};  // a batch that has so many takes no more
};

class MappedDeviceTransport final : public Transport {
 public:
  static constexpr std::uint32_t kLanesMax = 16;
  static constexpr std::uint32_t kRequestsPerLaneMax = 64;

  // Takes the channels if it succeeds, and leaves them where they are if not.
  [[nodiscard]] static Result<std::unique_ptr<MappedDeviceTransport>> create(
      std::vector<std::unique_ptr<MemoryTarget>>& dram_channels, DeviceMemory& device,
      const MappedDeviceOptions& options);
  ~MappedDeviceTransport() override;

  [[nodiscard]] std::string_view name() const override { return "mapped-device"; }
  [[nodiscard]] bool checks_keys() const override { return false; }
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

 private:
  struct Impl;
  explicit MappedDeviceTransport(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::striping
