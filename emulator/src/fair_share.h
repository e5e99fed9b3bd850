// SPDX-License-Identifier: Apache-2.0
//
// A limit of the box that its tenants share: a tenant may have as much as is free. So one that
// takes all it can get has half, and the next that does so half of what is left; n that take by
// turns, or again what was given back, come to an (n + 1)th each. None ever takes the last.
// Amounts are small beside the whole: one is taken if it fits what is free before it, and nothing
// always fits.
// It does not hold against one who calls himself by many names: each is a tenant here.
// Thread-safety: none of its own. Units: the caller's. Errors: none.
#pragma once

#include <godbox/assert.h>

#include <cstdint>
#include <vector>

namespace godbox::emulator {

class FairShare {
 public:
  explicit FairShare(std::uint64_t most) : most_(most) {}

  // `tenant`: an index, as of TenantTable.
  [[nodiscard]] bool may_take(std::uint32_t tenant, std::uint64_t amount) const {
    const std::uint64_t own = tenant < taken_.size() ? taken_[tenant] : 0;
    return amount == 0 || own + amount <= most_ - used_;
  }
  // may_take(), or what is known to fit otherwise.
  void take(std::uint32_t tenant, std::uint64_t amount) {
    GODBOX_ASSERT(amount <= most_ - used_);
    if (tenant >= taken_.size()) {
      taken_.resize(tenant + std::size_t{1});
    }
    taken_[tenant] += amount;
    used_ += amount;
  }
  void give_back(std::uint32_t tenant, std::uint64_t amount) {
    GODBOX_ASSERT(tenant < taken_.size() && taken_[tenant] >= amount);
    taken_[tenant] -= amount;
    used_ -= amount;
  }
  [[nodiscard]] std::uint64_t used() const { return used_; }
  [[nodiscard]] std::uint64_t memory_bytes() const {
    return taken_.capacity() * sizeof(std::uint64_t);
  }

 private:
  const std::uint64_t most_;
  std::uint64_t used_ = 0;
  std::vector<std::uint64_t> taken_;  // by tenant
};

}  // namespace godbox::emulator
