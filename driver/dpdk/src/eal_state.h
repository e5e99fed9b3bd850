// SPDX-License-Identifier: Apache-2.0
//
// What the ports of one Eal share. Thread-safety: the mutex's. Ownership: pools that were parked
// are the state's until their frames are back.
#pragma once

#include <godbox/driver/dpdk_eal.h>

#include <mutex>
#include <set>

struct rte_mempool;

namespace godbox::driver {

struct Eal::State {
  EalOptions options;
  std::mutex mutex;
  // Pools of closed ports, some of whose frames another port still holds.
  std::vector<rte_mempool*> parked_pools{};
  std::set<std::string> open_devices{};

  // Whether nobody has it; then it is the caller's until release_device().
  [[nodiscard]] bool claim_device(const std::string& name);
  void release_device(const std::string& name);
  // Frees it when all of its frames are back, then or later.
  void release_pool(rte_mempool* pool);
};

// The words that rte_eal_init() is called with. `cpus` are those that DPDK's threads may use, not
// empty. Errors: config_invalid.
[[nodiscard]] Result<std::vector<std::string>> eal_arguments(const EalOptions& options,
                                                             const std::vector<int>& cpus);

}  // namespace godbox::driver
