// SPDX-License-Identifier: Apache-2.0
//
// Transport over shared mapping: the caller's process has the box's DRAM channels mapped and copies
// itself, strip by strip, CRC fused into the copy. One lane per copying thread; the calling thread
// is one of them.
// Authority is the mapping: keys are not checked here, so it is for trusted processes on the same
// machine (DESIGN section 6). The box keeps the space of a session that has mappings until it ends.
// Thread-safety: as Transport; helper threads are its own. Ownership: it owns the targets.
// Units: bytes. Errors in completions: out_of_range (beyond the slab or the mapping), crc_mismatch,
// poison (the memory has lost some of the bytes), lane_fenced, limit_exceeded (requests in flight
// use more than kSlabsMax slabs); those of `layout_of`, which is asked for each slab that is not
// known, and protocol_error if it answers another. Whether a range is backed is not known here: an
// object's extents are, as long as it is leased.
#pragma once

#include <godbox/memory_target.h>
#include <godbox/striping/slab_layout.h>
#include <godbox/transport.h>

#include <functional>
#include <memory>
#include <vector>

namespace godbox::striping {

struct LocalTransportOptions {
  std::size_t copy_threads = 1;  // 1: only the caller's; n: n - 1 helpers more
  // A slab's layout; called from the caller's thread. Answers are kept, up to kSlabsMax of them.
  std::function<Result<SlabLayout>(SlabId)> layout_of{};
  std::function<void()> on_completion{};  // wakes the caller's network; from any thread
};

class LocalTransport final : public Transport {
 public:
  static constexpr std::size_t kCopyThreadsMax = 64;
  static constexpr std::uint32_t kRequestsPerLaneMax = 64;
  static constexpr std::size_t kSlabsMax = 16384;  // whose layouts are kept
  // Where a helper thread could not be started there is no lane for it; lane 0 always exists.

  LocalTransport(std::vector<std::unique_ptr<MemoryTarget>> dram_channels,
                 LocalTransportOptions options);
  ~LocalTransport() override;

  [[nodiscard]] std::string_view name() const override { return "local"; }
  [[nodiscard]] bool checks_keys() const override { return false; }
  [[nodiscard]] std::size_t lane_count() const override;
  [[nodiscard]] LaneStatus lane_status(LaneId lane) const override;
  [[nodiscard]] Result<void> register_memory(MutableSpan memory) override;
  void deregister_memory(MutableSpan memory) override;
  [[nodiscard]] Errc post(LaneId lane, const WorkRequest& request) override;
  [[nodiscard]] std::size_t poll(std::span<Completion> out) override;
  bool progress() override;
  void fence(LaneId lane) override;  // waits for a copy under way on that lane
  void reopen(LaneId lane) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godbox::striping
