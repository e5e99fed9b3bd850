// SPDX-License-Identifier: Apache-2.0
//
// LIST: a page of names from where it begins, so that it costs what it tells and not what the pool
// holds. The lock is held for a part of a page at a time.
#include "pool/pool_impl.h"

#include <algorithm>

namespace godbox::emulator {
namespace {

constexpr std::size_t kNamesPerStep = 1024;

}  // namespace

// Of the page as far as it goes in one step; true if there may be more of it.
bool PoolService::Impl::list_step(const Session& session, const wire::ListRequest& request,
                                  ListPage& page, wire::ListReply& reply) {
  const TimePoint now = clock.now();
  std::vector<std::uint32_t> over;
  std::size_t seen = 0;
  bool is_done = true;
  index.in_order().for_each(
      session.tenant, page.from, page.is_behind, [&](std::uint32_t slot_index) {
        const ObjectSlot& slot = index.slot(slot_index);
        const std::string_view name = index.name(slot);
        if (!name.starts_with(request.prefix)) {
          return false;
        }
        if (seen == kNamesPerStep) {
          is_done = false;
          return false;
        }
        ++seen;
        if (is_over(slot_index, now)) {
          over.push_back(slot_index);
          return true;
        }
        reply.more = reply.entries.size() == page.names_max;
        if (!reply.more) {
          reply.entries.push_back({std::string(name), SizeBytes(slot.size_bytes)});
        }
        page.from.assign(name);
        page.is_behind = true;
        return !reply.more;
      });
  for (const std::uint32_t slot_index : over) {
    expire(slot_index);
  }
  return !is_done;
}

void PoolService::list(SessionId session_id, const wire::ListRequest& request,
                       wire::ListReply& reply) {
  Impl::ListPage page;
  page.names_max = std::min(request.names_max, kListNamesMax);
  page.is_behind = !request.after.empty() && request.after >= request.prefix;
  page.from = page.is_behind ? request.after : request.prefix;
  reply.more = false;
  std::unique_lock lock(impl_->mutex);
  for (bool has_more = true; has_more;) {
    const Session* session = impl_->session_of(session_id);
    has_more = session != nullptr && impl_->list_step(*session, request, page, reply);
    if (has_more) {
      Impl::open_briefly(lock);
    }
  }
}

}  // namespace godbox::emulator
