// SPDX-License-Identifier: Apache-2.0
#include "pool/tenant_table.h"

namespace godbox::emulator {
namespace {

constexpr std::uint64_t kMapNodeBytes = 64;  // estimate: node, key and its allocation

}  // namespace

TenantTable::TenantTable(const BoxConfig& config)
    : default_quota_bytes_(config.tenant_quota ? config.tenant_quota->count() : 0),
      quotas_([&config] {
        std::unordered_map<std::string, std::uint64_t> quotas;
        for (const TenantQuota& each : config.tenant_quotas) {
          quotas.emplace(each.tenant, each.quota.count());
        }
        return quotas;
      }()) {}

std::uint32_t TenantTable::acquire(std::string_view name) {
  const auto known = by_name_.find(std::string(name));
  if (known != by_name_.end()) {
    add_user(known->second);
    return known->second;
  }
  // The last number stands for "several" in the memory's books (kChunkMixed), 0 for nobody.
  if (by_name_.size() >= kTenantsMax || last_number_ == UINT32_MAX - 1) {
    return kNoIndex;
  }
  std::uint32_t tenant = 0;
  if (free_.empty()) {
    tenant = static_cast<std::uint32_t>(tenants_.size());
    tenants_.emplace_back();
  } else {
    tenant = free_.back();
    free_.pop_back();
  }
  tenants_[tenant] = Tenant{std::string(name), ++last_number_, 1};
  const auto quota = quotas_.find(tenants_[tenant].name);
  tenants_[tenant].quota_bytes = quota == quotas_.end() ? default_quota_bytes_ : quota->second;
  by_name_.emplace(name, tenant);
  return tenant;
}

void TenantTable::release(std::uint32_t tenant) {
  Tenant& record = tenants_[tenant];
  GODBOX_ASSERT(record.users > 0);
  if (--record.users == 0) {
    by_name_.erase(record.name);
    record = {};
    free_.push_back(tenant);
  }
}

std::uint64_t TenantTable::memory_bytes() const {
  return tenants_.capacity() * sizeof(Tenant) + by_name_.size() * kMapNodeBytes +
         free_.capacity() * sizeof(std::uint32_t);
}

}  // namespace godbox::emulator
