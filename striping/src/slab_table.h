// SPDX-License-Identifier: Apache-2.0
//
// The layouts of the slabs that a transport over mapped DRAM channels has met, and whether all of a
// slab's pieces lie inside the mapping: then no strip has to be checked. Layouts are asked for once
// and kept, up to kSlabsMax of them; when there are more, those go that no request in flight needs.
// Thread-safety: one thread; a layout that was given stays where it is while a request needs it.
// Errors: out_of_range (beyond the slab or the mapping), limit_exceeded (requests in flight use
// more than kSlabsMax slabs), those of `layout_of`, and protocol_error if it answers another.
#pragma once

#include <godbox/memory_target.h>
#include <godbox/striping/slab_layout.h>
#include <godbox/transport.h>

#include <functional>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace godbox::striping {

class SlabTable {
 public:
  static constexpr std::size_t kSlabsMax = 16384;
  static_assert(kSlabsMax >= kWorkSegmentsMax);  // any one request can be resolved
  using Layouts = std::vector<const SlabLayout*>;
  using Needed = std::unordered_set<const SlabLayout*>;

  // `add_needed` adds the layouts of all requests in flight to a set.
  SlabTable(std::span<const std::unique_ptr<MemoryTarget>> dram_channels,
            std::function<Result<SlabLayout>(SlabId)> layout_of,
            std::function<void(Needed&)> add_needed);

  // Fills in a layout for each remote segment of the request, which lies inside it.
  [[nodiscard]] Errc resolve(const WorkRequest& request, Layouts& layouts);

 private:
  struct Slab {
    SlabLayout layout;
    bool is_mapped = false;
  };

  [[nodiscard]] Result<const Slab*> find(SlabId id, const Layouts& asking);
  void forget(const Layouts& asking);

  std::span<const std::unique_ptr<MemoryTarget>> dram_channels_;
  std::function<Result<SlabLayout>(SlabId)> layout_of_;
  std::function<void(Needed&)> add_needed_;
  std::unordered_map<SlabId, Slab> slabs_;  // pointers to its values stay good
};

// Walks a request's local pieces, of which some may be empty.
class LocalCursor {
 public:
  explicit LocalCursor(std::span<const LocalSegment> local) : local_(local) {}

  // The next bytes, at most `bytes_max`, as far as they lie together; the list is not at its end.
  [[nodiscard]] MutableSpan take(std::size_t bytes_max) {
    while (inside_ == local_[index_].size_bytes) {
      ++index_;
      inside_ = 0;
    }
    const LocalSegment& piece = local_[index_];
    const std::size_t left = piece.size_bytes - inside_;
    const MutableSpan taken(piece.data + inside_, left < bytes_max ? left : bytes_max);
    inside_ += taken.size();
    return taken;
  }

 private:
  std::span<const LocalSegment> local_;
  std::size_t index_ = 0, inside_ = 0;
};

}  // namespace godbox::striping
