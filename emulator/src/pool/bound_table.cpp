// SPDX-License-Identifier: Apache-2.0
#include "pool/bound_table.h"

#include <algorithm>

namespace godbox::emulator {

static_assert(wire::kLogicalDevicesMax < wire::kLdIdMax);  // there is always a free number

LogicalDevice::Holder* LogicalDevice::holder_of(SessionId session) {
  const auto found = std::find_if(holders.begin(), holders.end(), [session](const Holder& holder) {
    return holder.session == session;
  });
  return found == holders.end() ? nullptr : &*found;
}

std::size_t LogicalDevice::active_holders() const {
  return static_cast<std::size_t>(std::count_if(
      holders.begin(), holders.end(), [](const Holder& holder) { return !holder.has_let_go; }));
}

LogicalDevice* BoundTable::create() {
  if (devices_.size() >= wire::kLogicalDevicesMax) {
    return nullptr;
  }
  do {
    last_id_ =
        last_id_ == wire::kLdIdMax ? std::uint16_t{1} : static_cast<std::uint16_t>(last_id_ + 1);
  } while (devices_.contains(LdId(last_id_)));
  LogicalDevice& device = devices_[LdId(last_id_)];
  device.id = LdId(last_id_);
  return &device;
}

LogicalDevice* BoundTable::find(LdId id) {
  const auto found = devices_.find(id);
  return found == devices_.end() ? nullptr : &found->second;
}

std::size_t BoundTable::holders() const {
  std::size_t count = 0;
  for (const auto& [id, device] : devices_) {
    count += device.holders.size();
  }
  return count;
}

SizeBytes BoundTable::bytes() const {
  SizeBytes total;
  for (const auto& [id, device] : devices_) {
    total += device.size;
  }
  return total;
}

SizeBytes BoundTable::bytes_of(std::string_view vm) const {
  SizeBytes total;
  for (const auto& [id, device] : devices_) {
    const bool counts = device.maker == vm && device.state != wire::LogicalDeviceState::leaving &&
                        !is_bound(device.copy_of);
    total += counts ? device.size : SizeBytes();
  }
  return total;
}

bool BoundTable::is_bound(LdId id) const {
  const auto found = devices_.find(id);
  return found != devices_.end() && found->second.state == wire::LogicalDeviceState::bound;
}

bool BoundTable::has_copy(LdId id) const {
  return std::any_of(devices_.begin(), devices_.end(), [id](const auto& entry) {
    return entry.second.copy_of == id && entry.second.state != wire::LogicalDeviceState::leaving;
  });
}

}  // namespace godbox::emulator
