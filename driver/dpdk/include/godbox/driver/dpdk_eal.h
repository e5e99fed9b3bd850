// SPDX-License-Identifier: Apache-2.0
//
// DPDK's environment (EAL) of this process: its memory, its threads, its log. DPDK knows one per
// process and one per lifetime of it: after the last owner has gone, it cannot be started again.
// It takes no signal handlers, writes no files (an empty folder dpdk/rte in XDG_RUNTIME_DIR or /run
// is all), opens no telemetry socket, and leaves the affinity of the calling thread as it was.
// Start it after the last fork() without exec: a child has neither its threads nor a right to its
// devices. Without huge pages its memory is one memfd, which other processes map as guests' virtio
// rings need it; that is what is tested, and it needs no rights. Huge pages and devices of PCI are
// for machines that have them (docs/dpdk.md). Thread-safety: start() from one thread at a time, the
// rest from any. Ownership: shared; every port holds it, and the last owner closes it. Units:
// bytes. Errors: already_exists (there is one, or was), config_invalid (an option), device_missing
// (built without DPDK; a PCI device that is not there), permission_denied, limit_exceeded (memory),
// io_error; the detail has EAL's own reason and the option that it is about. Source: DPDK 22.11,
// Programmer's Guide, "Environment Abstraction Layer", and Linux Guide, "EAL parameters".
#pragma once

#include <godbox/result.h>
#include <godbox/units.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::driver {

enum class DpdkLogLevel : std::uint8_t { error, warning, notice, info, debug };
// A line of DPDK's log, without its end. Called from any thread, one line at a time; it must not
// call DPDK.
using DpdkLog = std::function<void(DpdkLogLevel level, std::string_view line)>;

// Without huge pages each page of this is touched as it is used, not before.
inline constexpr SizeBytes kEalMemoryMin{std::uint64_t{32} << 20U};
inline constexpr SizeBytes kEalMemoryMax{std::uint64_t{64} << 30U};

struct EalOptions {
  // For frames and rings of all ports together: dpdk_port_memory() says what one takes.
  SizeBytes memory{std::uint64_t{256} << 20U};  // whole MiB, kEalMemoryMin to kEalMemoryMax
  bool huge_pages = false;                      // the kernel has to have reserved them
  // Devices of PCI that ports may be made of ("0000:3b:00.0", or with its driver's arguments
  // "0000:3b:00.0,NAME=VALUE"); none: the bus is not looked at.
  std::vector<std::string> pci_addresses{};
  DpdkLog log{};  // none: only errors are kept, for the details of ours
};

class Eal {
 public:
  [[nodiscard]] static Result<std::shared_ptr<Eal>> start(const EalOptions& options);
  ~Eal();
  Eal(const Eal&) = delete;
  Eal& operator=(const Eal&) = delete;

  struct State;
  [[nodiscard]] State& state() { return *state_; }

 private:
  explicit Eal(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace godbox::driver
