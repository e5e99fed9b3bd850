// SPDX-License-Identifier: Apache-2.0
//
// What every DeviceMemory promises (godbox/device_memory.h), checked on a real one. Device memory
// is only ever touched by queues here, so the suite runs over memory that the CPU cannot read.
#pragma once

#include "contract_case.h"
#include <godbox/device_memory.h>

namespace godbox::test {

class DeviceWorld {
 public:
  virtual ~DeviceWorld() = default;
  [[nodiscard]] virtual DeviceMemory& device() = 0;
};

[[nodiscard]] std::span<const ContractCase<DeviceWorld>> device_contract();

}  // namespace godbox::test
