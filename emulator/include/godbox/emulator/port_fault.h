// SPDX-License-Identifier: Apache-2.0
//
// What is wrong with Ethernet ports on purpose, now and by the clock: a port that is slow, dead,
// silent, or that flaps. The box's doors and its pacing ask here; it may be changed while the box
// serves. As people write it, of a port alone and with its number in front:
//   slow:10%         moves this share of its rate; paced boxes only
//   dead             open connections are closed, new ones too, at once
//   silent           connections stand and nothing comes through, as behind a switch that lost it
//   flap:1s          dead for so long, healthy for so long, and so on; dead first
//   flap-silent:1s   the same, silent
//   healthy          no fault
//   3=slow:10%       of Ethernet port 3
// Thread-safety: PortFaults from any thread; set() of one port from one at a time. Units: shares of
// 1, Durations. Errors: config_invalid with a sentence that says what is allowed.
#pragma once

#include <godbox/clock.h>
#include <godbox/emulator/box_config.h>
#include <godbox/result.h>
#include <godbox/units.h>

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator {

enum class PortFaultKind : std::uint8_t { healthy, slow, dead, silent };

struct PortFault {
  PortFaultKind kind = PortFaultKind::healthy;
  double rate_share = 1;  // slow: of the port's rate, above 0 and below 1
  Duration period{};      // above 0: so long with the fault, then as long without it, ...

  bool operator==(const PortFault&) const = default;
};

inline constexpr Duration kPortFaultPeriodMin = std::chrono::milliseconds(10);
inline constexpr Duration kPortFaultPeriodMax = std::chrono::hours(1);
// Of a port on an RDMA device, which is looked at every 50 ms.
inline constexpr Duration kVerbsFaultPeriodMin = std::chrono::milliseconds(100);

[[nodiscard]] Result<PortFault> parse_port_fault(std::string_view text);
// As parse_port_fault() reads it.
[[nodiscard]] std::string to_string(const PortFault& fault);

struct NumberedPortFault {
  EthPortId eth_port;
  PortFault fault;
};
// "3=dead".
[[nodiscard]] Result<NumberedPortFault> parse_numbered_port_fault(std::string_view text);

// Whether that port of this box can have the fault: slow needs a rate, and a port on an RDMA device
// answers by itself, so that it cannot be silent, nor flap faster than it is looked at.
[[nodiscard]] Result<void> check_port_fault(const BoxConfig& config, EthPortId id,
                                            const PortFault& fault);

class PortFaults {
 public:
  explicit PortFaults(std::size_t eth_ports) : ports_(eth_ports) {}

  // From `now` on; a period begins with the fault.
  void set(EthPortId id, const PortFault& fault, TimePoint now);
  [[nodiscard]] PortFault get(EthPortId id) const;
  // What the port is at this moment: never a period's healthy half of a faulty kind.
  [[nodiscard]] PortFaultKind kind_at(EthPortId id, TimePoint now) const;
  // Of its rate, what the port moves at this moment.
  [[nodiscard]] double rate_share_at(EthPortId id, TimePoint now) const;
  // When kind_at() changes by itself; kNever for a fault without a period.
  [[nodiscard]] TimePoint next_change(EthPortId id, TimePoint now) const;

 private:
  // `kind` is written last and read first; a reader that comes in between sees a healthy port.
  struct Port {
    std::atomic<PortFaultKind> kind{PortFaultKind::healthy};
    std::atomic<double> rate_share{1};
    std::atomic<std::int64_t> period_ns{0};
    std::atomic<std::int64_t> begun_ns{0};
  };
  // Whole periods since the fault began; even: with the fault.
  [[nodiscard]] static std::int64_t periods_since(const Port& port, TimePoint now);

  std::vector<Port> ports_;
};

}  // namespace godbox::emulator
