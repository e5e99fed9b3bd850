// SPDX-License-Identifier: Apache-2.0
//
// LIST without an ordered index: a scan that remembers the smallest names. It holds the lock for a
// few thousand slots at a time, because ten million take longer than anybody else should wait.
#include "pool/pool_impl.h"

#include <algorithm>

namespace godbox::emulator {
namespace {

constexpr std::uint32_t kSlotsPerStep = 1024;
constexpr std::uint32_t kPrefetchAhead = 16;

bool by_name(const wire::ListEntry& a, const wire::ListEntry& b) { return a.name < b.name; }

// The `most` smallest names so far, as a heap with the largest of them on top.
class SmallestNames {
 public:
  SmallestNames(const wire::ListRequest& request, std::size_t most)
      : request_(request), most_(most) {}

  void offer(std::string_view name, std::uint64_t size_bytes) {
    if (!name.starts_with(request_.prefix) || (!request_.after.empty() && name <= request_.after)) {
      return;
    }
    if (entries_.size() == most_) {
      has_more_ = true;
      if (most_ == 0 || name >= entries_.front().name) {
        return;
      }
      std::pop_heap(entries_.begin(), entries_.end(), by_name);
      entries_.pop_back();
    }
    entries_.push_back({std::string(name), SizeBytes(size_bytes)});
    std::push_heap(entries_.begin(), entries_.end(), by_name);
  }

  void finish(wire::ListReply& reply) {
    std::sort_heap(entries_.begin(), entries_.end(), by_name);
    // A name that was removed and put again during the scan may have been seen twice.
    const auto same = [](const wire::ListEntry& a, const wire::ListEntry& b) {
      return a.name == b.name;
    };
    entries_.erase(std::unique(entries_.begin(), entries_.end(), same), entries_.end());
    reply.entries.insert(reply.entries.end(), std::make_move_iterator(entries_.begin()),
                         std::make_move_iterator(entries_.end()));
    reply.more = has_more_;
  }

 private:
  const wire::ListRequest& request_;
  std::size_t most_;
  std::vector<wire::ListEntry> entries_;
  bool has_more_ = false;
};

}  // namespace

void PoolService::list(SessionId session_id, const wire::ListRequest& request,
                       wire::ListReply& reply) const {
  SmallestNames names(request, std::min(request.names_max, kListNamesMax));
  bool at_end = false;
  std::unique_lock lock(impl_->mutex);
  for (std::uint32_t begin = 0; !at_end; begin += kSlotsPerStep) {
    if (begin > 0) {
      Impl::open_briefly(lock);
    }
    const Session* session = impl_->session_of(session_id);
    if (session == nullptr) {
      break;
    }
    const ObjectIndex& index = impl_->index;
    const std::uint32_t end = std::min(index.slots().end(), begin + kSlotsPerStep);
    at_end = end == index.slots().end();
    for (std::uint32_t i = begin; i < end; ++i) {
      if (i + kPrefetchAhead < end) {
        __builtin_prefetch(index.slot(i + kPrefetchAhead).blob);
      }
      const ObjectSlot& slot = index.slot(i);
      if (slot.state == SlotState::committed && slot.tenant == session->tenant) {
        names.offer(index.name(slot), slot.size_bytes);
      }
    }
  }
  lock.unlock();
  names.finish(reply);
}

}  // namespace godbox::emulator
