// SPDX-License-Identifier: Apache-2.0
#include "slab_table.h"

#include <utility>

namespace godbox::striping {

SlabTable::SlabTable(std::span<const std::unique_ptr<MemoryTarget>> dram_channels,
                     std::function<Result<SlabLayout>(SlabId)> layout_of,
                     std::function<void(Needed&)> add_needed)
    : dram_channels_(dram_channels),
      layout_of_(std::move(layout_of)),
      add_needed_(std::move(add_needed)) {}

Errc SlabTable::resolve(const WorkRequest& request, Layouts& layouts) {
  layouts.clear();
  for (const RemoteSegment& segment : request.remote) {
    const Result<const Slab*> found = find(segment.address.slab, layouts);
    if (!found) {
      return found.error().code;
    }
    const SlabLayout& layout = (*found)->layout;
    const std::uint64_t capacity = layout.capacity().count();
    const std::uint64_t offset = segment.address.offset.count();
    if (!(*found)->is_mapped || offset > capacity || segment.length_bytes > capacity - offset) {
      return Errc::out_of_range;
    }
    layouts.push_back(&layout);
  }
  return Errc::ok;
}

Result<const SlabTable::Slab*> SlabTable::find(SlabId id, const Layouts& asking) {
  const auto known = slabs_.find(id);
  if (known != slabs_.end()) {
    return &known->second;
  }
  if (!layout_of_) {
    return Error(Errc::not_found);
  }
  Result<SlabLayout> asked = layout_of_(id);
  if (!asked || asked->id() != id) {
    return asked ? Error(Errc::protocol_error) : asked.error();
  }
  if (slabs_.size() >= kSlabsMax) {
    forget(asking);
  }
  if (slabs_.size() >= kSlabsMax) {
    return Error(Errc::limit_exceeded);
  }
  const wire::SlabRecord& record = asked->record();
  bool is_mapped = true;
  for (const wire::SlabMember& member : record.members) {
    const std::size_t index = member.dram_channel.value();
    is_mapped &=
        index < dram_channels_.size() &&
        member.offset.count() + record.piece_size.count() <= dram_channels_[index]->size().count();
  }
  return &slabs_.emplace(id, Slab{std::move(*asked), is_mapped}).first->second;
}

// Forgets the layouts that no request needs: neither one in flight nor the one `asking`.
void SlabTable::forget(const Layouts& asking) {
  Needed needed(asking.begin(), asking.end());
  add_needed_(needed);
  std::erase_if(slabs_,
                [&needed](const auto& entry) { return !needed.contains(&entry.second.layout); });
}

}  // namespace godbox::striping
