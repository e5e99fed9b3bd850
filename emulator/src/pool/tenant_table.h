// SPDX-License-Identifier: Apache-2.0
//
// Tenants: isolation domains, known while a session or an object of theirs exists.
// A tenant has an index, which is used again when it is gone, and a number, which never is: memory
// remembers the number of who wrote it last.
// Thread-safety: none of its own (PoolService's lock). Errors: acquire() answers kNoIndex when
// full.
#pragma once

#include "pool/slot_array.h"
#include <godbox/emulator/box_config.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace godbox::emulator {

struct Tenant {
  std::string name;
  std::uint32_t number = 0;
  std::uint64_t users = 0;            // sessions and objects
  std::uint64_t quota_bytes = 0;      // 0: as much as there is
  std::uint64_t reserved_bytes = 0;   // of objects, reservations and regions, sparse ones too
  std::uint64_t evictable_bytes = 0;  // of them, those that eviction may take
  std::uint64_t held_bytes = 0;       // of them, those that leases or hard pins hold
  std::uint64_t objects = 0;          // visible
  std::uint64_t evictions = 0;
  std::uint64_t names_found = 0;  // by lookups
  std::uint64_t names_missed = 0;

  // Without eviction.
  [[nodiscard]] std::uint64_t room_bytes() const {
    return quota_bytes == 0 ? UINT64_MAX : quota_bytes - std::min(quota_bytes, reserved_bytes);
  }
  [[nodiscard]] bool may_hold(std::uint64_t bytes) const {
    return quota_bytes == 0 || held_bytes + bytes <= quota_bytes / 2;
  }
};

class TenantTable {
 public:
  static constexpr std::size_t kTenantsMax = 65536;

  explicit TenantTable(const BoxConfig& config);

  // Index of the tenant, with one more user; kNoIndex when there are too many.
  [[nodiscard]] std::uint32_t acquire(std::string_view name);
  void add_user(std::uint32_t tenant) { ++tenants_[tenant].users; }
  void release(std::uint32_t tenant);
  [[nodiscard]] std::uint32_t number_of(std::uint32_t tenant) const {
    return tenants_[tenant].number;
  }
  [[nodiscard]] Tenant& at(std::uint32_t tenant) { return tenants_[tenant]; }
  [[nodiscard]] const Tenant& at(std::uint32_t tenant) const { return tenants_[tenant]; }
  // Calls visit(const Tenant&) for each that is known.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (const auto& [name, index] : by_name_) {
      visit(tenants_[index]);
    }
  }
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  const std::uint64_t default_quota_bytes_;
  const std::unordered_map<std::string, std::uint64_t> quotas_;  // bytes, by name
  std::vector<Tenant> tenants_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<std::string, std::uint32_t> by_name_;
  std::uint32_t last_number_ = 0;
};

}  // namespace godbox::emulator
