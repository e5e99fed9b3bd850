// SPDX-License-Identifier: Apache-2.0
//
// Tenants: isolation domains, known while a session or an object of theirs exists.
// A tenant has an index, which is used again when it is gone, and a number, which never is: memory
// remembers the number of who wrote it last.
// Thread-safety: none of its own (PoolService's lock). Errors: acquire() answers kNoIndex when
// full.
#pragma once

#include "pool/slot_array.h"

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace godbox::emulator {

class TenantTable {
 public:
  static constexpr std::size_t kTenantsMax = 65536;

  // Index of the tenant, with one more user; kNoIndex when there are too many.
  [[nodiscard]] std::uint32_t acquire(std::string_view name);
  void add_user(std::uint32_t tenant) { ++tenants_[tenant].users; }
  void release(std::uint32_t tenant);
  [[nodiscard]] std::uint32_t number_of(std::uint32_t tenant) const {
    return tenants_[tenant].number;
  }
  [[nodiscard]] std::uint64_t memory_bytes() const;

 private:
  struct Tenant {
    std::string name;
    std::uint32_t number = 0;
    std::uint64_t users = 0;  // sessions and objects
  };

  std::vector<Tenant> tenants_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<std::string, std::uint32_t> by_name_;
  std::uint32_t last_number_ = 0;
};

}  // namespace godbox::emulator
