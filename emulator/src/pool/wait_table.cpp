// SPDX-License-Identifier: Apache-2.0
#include "pool/wait_table.h"

#include <godbox/assert.h>

namespace godbox::emulator {
namespace {

constexpr std::uint64_t kWaitBytes = 160;  // estimate: a node in either table

}  // namespace

bool WaitTable::park(Key key, const Request& request, const Cost& cost) {
  const Place place(key, ++parked_);
  const auto known = waits_.find(request);
  if (known != waits_.end()) {
    GODBOX_ASSERT(known->second.is_woken);
    known->second.place = place;
    known->second.is_woken = false;
  } else {
    if (!counts_.may_take(cost.tenant, 1) || !bytes_.may_take(cost.tenant, cost.bytes)) {
      return false;
    }
    counts_.take(cost.tenant, 1);
    bytes_.take(cost.tenant, cost.bytes);
    waits_.emplace(request, Wait{place, false, cost});
  }
  by_key_.emplace(place, request);
  return true;
}

void WaitTable::end(const Request& request) {
  const auto found = waits_.find(request);
  if (found == waits_.end()) {
    return;
  }
  const Wait& wait = found->second;
  if (!wait.is_woken) {
    by_key_.erase(wait.place);
  }
  counts_.give_back(wait.cost.tenant, 1);
  bytes_.give_back(wait.cost.tenant, wait.cost.bytes);
  waits_.erase(found);
}

void WaitTable::fire(Key key, WakeReason reason) {
  auto next = by_key_.lower_bound(Place(key, 0));
  while (next != by_key_.end() && next->first.first == key) {
    const Request request = next->second;
    next = by_key_.erase(next);
    waits_.at(request).is_woken = true;
    request.target->wake(request.token, reason);
  }
}

std::uint64_t WaitTable::memory_bytes() const {
  return waits_.size() * kWaitBytes + counts_.memory_bytes() + bytes_.memory_bytes();
}

}  // namespace godbox::emulator
