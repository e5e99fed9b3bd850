// SPDX-License-Identifier: Apache-2.0
//
// What every MemoryTarget that backs its own memory promises (godbox/memory_target.h).
#pragma once

#include "contract_case.h"
#include <godbox/memory_target.h>

namespace godbox::test {

class MemoryWorld {
 public:
  // Granules of the target's own granularity that a target under test has.
  static constexpr std::uint64_t kGranules = 16;

  virtual ~MemoryWorld() = default;
  // Fresh: nothing backed yet; kGranules granules.
  [[nodiscard]] virtual MemoryTarget& target() = 0;
};

[[nodiscard]] std::span<const ContractCase<MemoryWorld>> memory_contract();

}  // namespace godbox::test
