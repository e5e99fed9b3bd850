// SPDX-License-Identifier: Apache-2.0
#include "pool/wait_table.h"

#include <godbox/assert.h>

#include <algorithm>
#include <vector>

namespace godbox::emulator {
namespace {

constexpr std::uint64_t kWaitBytes = 128;  // estimate: a node in either table

}  // namespace

bool WaitTable::park(Key key, WakeTarget& target, std::uint64_t token) {
  if (keys_.size() >= kWaitsMax) {
    return false;
  }
  const bool is_new = keys_.emplace(Waiter{&target, token}, key).second;
  GODBOX_ASSERT(is_new);
  by_key_.emplace(key, Waiter{&target, token});
  return true;
}

void WaitTable::cancel(WakeTarget& target, std::uint64_t token) {
  const auto found = keys_.find(Waiter{&target, token});
  if (found == keys_.end()) {
    return;  // woken
  }
  const auto [first, last] = by_key_.equal_range(found->second);
  by_key_.erase(
      std::find_if(first, last, [&](const auto& entry) { return entry.second == found->first; }));
  keys_.erase(found);
}

void WaitTable::fire(Key key, WakeReason reason) {
  if (by_key_.empty()) {
    return;
  }
  const auto [first, last] = by_key_.equal_range(key);
  std::vector<Waiter> woken;
  for (auto waiter = first; waiter != last; ++waiter) {
    woken.push_back(waiter->second);
  }
  by_key_.erase(first, last);
  std::sort(woken.begin(), woken.end());  // the same order in every run
  for (const Waiter& waiter : woken) {
    keys_.erase(waiter);
    waiter.target->wake(waiter.token, reason);
  }
}

std::uint64_t WaitTable::memory_bytes() const { return keys_.size() * kWaitBytes; }

}  // namespace godbox::emulator
