// SPDX-License-Identifier: Apache-2.0
#include "eal_log.h"
#include "eal_state.h"
#include "signal_shield.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mempool.h>
#include <sched.h>

namespace godbox::driver {
namespace {

constexpr int kCpusMax = RTE_MAX_LCORE;  // more than these DPDK has no numbers for

enum class Life : std::uint8_t { none, running, over };
std::atomic<Life> life = Life::none;

// What an owner can change about an error of rte_eal_init().
std::string_view hint(const EalOptions& options, int error_number) {
  if (options.huge_pages && (error_number == ENOMEM || error_number == EACCES)) {
    return "; reserve huge pages (vm.nr_hugepages) or set huge_pages = false";
  }
  if (error_number == ENOMEM) {
    return "; lower memory";
  }
  return "";
}

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    for (int cpu = 0; cpu < kCpusMax; ++cpu) {
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) {
        cpus.push_back(cpu);
      }
    }
  }
  return cpus;
}

// On a thread of its own: EAL pins the thread that calls it, and takes it for its first core.
Result<void> init_eal(const EalOptions& options, std::vector<std::string>& arguments) {
  Result<void> result;
  const SignalShield shield;
  std::thread([&] {
    std::vector<char*> words;
    words.reserve(arguments.size() + 1);
    for (std::string& argument : arguments) {
      words.push_back(argument.data());
    }
    words.push_back(nullptr);
    const LogCapture log;
    if (rte_eal_init(static_cast<int>(words.size()) - 1, words.data()) < 0) {
      const int error_number = rte_errno;
      result = Error(dpdk_errc(error_number), log.explain("DPDK does not start", error_number) +
                                                  std::string(hint(options, error_number)));
    }
  }).join();
  return result;
}

}  // namespace

Result<std::vector<std::string>> eal_arguments(const EalOptions& options,
                                               const std::vector<int>& cpus) {
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
  if (options.memory < kEalMemoryMin || options.memory > kEalMemoryMax ||
      options.memory.count() % kMiB != 0) {
    return Error(Errc::config_invalid,
                 fmt::format("memory = {} bytes; DPDK's memory is {} to {} MiB, whole ones",
                             options.memory.count(), kEalMemoryMin.count() / kMiB,
                             kEalMemoryMax.count() / kMiB));
  }
  if (cpus.empty()) {
    return Error(Errc::config_invalid,
                 fmt::format("this process may use none of the CPUs 0 to {}", kCpusMax - 1));
  }
  std::vector<std::string> arguments = {
      "godbox", "--no-telemetry", "-m", std::to_string(options.memory.count() / kMiB),
      // One core of DPDK's, which floats over all of ours: nothing runs on it.
      "--lcores", fmt::format("0@({})", fmt::join(cpus, ","))};
  if (options.huge_pages) {
    arguments.emplace_back("--in-memory");
  } else {  // which EAL does not let go with --in-memory; this is the rest of it
    arguments.insert(arguments.end(), {"--no-huge", "--no-shconf", "--iova-mode=va"});
  }
  if (options.pci_addresses.empty()) {
    arguments.emplace_back("--no-pci");
  }
  for (const std::string& address : options.pci_addresses) {
    const std::string_view place = std::string_view(address).substr(0, address.find(','));
    if (place.find(':') == std::string_view::npos ||
        place.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos) {
      return Error(Errc::config_invalid,
                   fmt::format("pci_addresses: \"{}\" is no address like 0000:3b:00.0", address));
    }
    arguments.insert(arguments.end(), {"-a", address});
  }
  return arguments;
}

Result<std::shared_ptr<Eal>> Eal::start(const EalOptions& options) {
  Result<std::vector<std::string>> arguments = eal_arguments(options, allowed_cpus());
  if (!arguments) {
    return arguments.error();
  }
  switch (life) {
    case Life::none:
      break;
    case Life::running:
      return Error(Errc::already_exists, "DPDK runs in this process: share its Eal");
    case Life::over:
      return Error(Errc::already_exists,
                   "DPDK ran in this process and was closed; it starts once in a process");
  }
  set_dpdk_log(options.log);
  if (Result<void> done = init_eal(options, *arguments); !done) {
    set_dpdk_log({});
    return done.error();
  }
  life = Life::running;
  auto state = std::make_unique<State>();
  state->options = options;
  return std::shared_ptr<Eal>(new Eal(std::move(state)));
}

Eal::Eal(std::unique_ptr<State> state) : state_(std::move(state)) {}

Eal::~Eal() {
  for (rte_mempool* pool : state_->parked_pools) {
    rte_mempool_free(pool);
  }
  (void)rte_eal_cleanup();
  set_dpdk_log({});
  life = Life::over;
}

bool Eal::State::claim_device(const std::string& name) {
  const std::scoped_lock lock(mutex);
  return open_devices.insert(name).second;
}

void Eal::State::release_device(const std::string& name) {
  const std::scoped_lock lock(mutex);
  open_devices.erase(name);
}

void Eal::State::release_pool(rte_mempool* pool) {
  const std::scoped_lock lock(mutex);
  if (pool != nullptr) {
    parked_pools.push_back(pool);
  }
  std::erase_if(parked_pools, [](rte_mempool* parked) {
    const bool is_full = rte_mempool_full(parked) == 1;
    if (is_full) {
      rte_mempool_free(parked);
    }
    return is_full;
  });
}

}  // namespace godbox::driver
