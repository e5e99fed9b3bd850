// SPDX-License-Identifier: Apache-2.0
#include "reply_budget.h"

#include <godbox/assert.h>

#include <algorithm>

namespace godbox::emulator {

void ReplyBudget::Share::join(ReplyBudget& budget, std::string_view tenant) {
  GODBOX_ASSERT(budget_ == nullptr);
  const std::lock_guard lock(budget.mutex_);
  part_ = budget.parts_.try_emplace(std::string(tenant)).first;
  ++part_->second.shares;
  budget_ = &budget;
}

void ReplyBudget::Share::leave() {
  if (budget_ == nullptr) {
    return;
  }
  const std::lock_guard lock(budget_->mutex_);
  if (--part_->second.shares == 0) {
    GODBOX_ASSERT(part_->second.bytes == 0);
    budget_->parts_.erase(part_);
  }
}

bool ReplyBudget::Share::has_room() const {
  if (budget_ == nullptr) {
    return true;
  }
  const std::uint64_t used = std::min(budget_->bytes(), budget_->bytes_max_);
  return part_->second.bytes.load(std::memory_order_relaxed) < budget_->bytes_max_ - used;
}

void ReplyBudget::Share::add(std::uint64_t bytes) {
  if (budget_ != nullptr && bytes > 0) {
    part_->second.bytes.fetch_add(bytes, std::memory_order_relaxed);
    budget_->bytes_.fetch_add(bytes, std::memory_order_relaxed);
  }
}

void ReplyBudget::Share::remove(std::uint64_t bytes) {
  if (budget_ != nullptr && bytes > 0) {
    part_->second.bytes.fetch_sub(bytes, std::memory_order_relaxed);
    budget_->bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  }
}

}  // namespace godbox::emulator
