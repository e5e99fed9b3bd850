// SPDX-License-Identifier: Apache-2.0
#include "config/fault_text.h"
#include "config/quantity_text.h"
#include <godbox/assert.h>
#include <godbox/emulator/port_fault.h>

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace godbox::emulator {
namespace {

constexpr std::string_view kForm =
    "slow:10% (of the port's rate, above 0% and below 100%), dead, silent, flap:1s, "
    "flap-silent:1s (10ms to 1h) or healthy";

std::optional<PortFault> parse_flap(std::string_view text, PortFaultKind kind) {
  const Result<Duration> period = parse_duration(text);
  if (!period || *period < kPortFaultPeriodMin || *period > kPortFaultPeriodMax) {
    return std::nullopt;
  }
  return PortFault{.kind = kind, .period = *period};
}

std::optional<PortFault> parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view word = text.substr(0, colon);
  if (colon == std::string_view::npos) {
    if (word == "dead") {
      return PortFault{.kind = PortFaultKind::dead};
    }
    if (word == "silent") {
      return PortFault{.kind = PortFaultKind::silent};
    }
    return word == "healthy" ? std::optional(PortFault{}) : std::nullopt;
  }
  const std::string_view amount = text.substr(colon + 1);
  if (word == "slow") {
    const std::optional<double> share = parse_percent(amount);
    return share ? std::optional(PortFault{.kind = PortFaultKind::slow, .rate_share = *share})
                 : std::nullopt;
  }
  if (word == "flap") {
    return parse_flap(amount, PortFaultKind::dead);
  }
  return word == "flap-silent" ? parse_flap(amount, PortFaultKind::silent) : std::nullopt;
}

std::string period_text(Duration period) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(period).count();
  return ms % 1000 == 0 ? fmt::format("{}s", ms / 1000) : fmt::format("{}ms", ms);
}

}  // namespace

Result<PortFault> parse_port_fault(std::string_view text) {
  const std::optional<PortFault> fault = parse(text);
  if (!fault) {
    return Error(Errc::config_invalid,
                 fmt::format("\"{}\" is no fault of a port: allowed is {}", text, kForm));
  }
  return *fault;
}

std::string to_string(const PortFault& fault) {
  switch (fault.kind) {
    case PortFaultKind::healthy:
      return "healthy";
    case PortFaultKind::slow:
      return fmt::format("slow:{:g}%", fault.rate_share * 100);
    case PortFaultKind::dead:
      return fault.period > Duration() ? "flap:" + period_text(fault.period) : "dead";
    case PortFaultKind::silent:
      return fault.period > Duration() ? "flap-silent:" + period_text(fault.period) : "silent";
  }
  return "healthy";
}

Result<NumberedPortFault> parse_numbered_port_fault(std::string_view text) {
  const std::optional<NumberedText> numbered = parse_number_and(text);
  if (!numbered) {
    return Error(Errc::config_invalid,
                 fmt::format("\"{}\" names no Ethernet port: allowed is NUMBER=FAULT, like "
                             "3=slow:10% or 0=dead",
                             text));
  }
  const Result<PortFault> fault = parse_port_fault(numbered->rest);
  if (!fault) {
    return fault.error();
  }
  return NumberedPortFault{EthPortId(numbered->number), *fault};
}

void PortFaults::set(EthPortId id, const PortFault& fault, TimePoint now) {
  GODBOX_ASSERT(id.value() < ports_.size());
  Port& port = ports_[id.value()];
  port.kind.store(PortFaultKind::healthy, std::memory_order_release);
  port.rate_share.store(fault.rate_share, std::memory_order_relaxed);
  port.period_ns.store(fault.period.count(), std::memory_order_relaxed);
  port.begun_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  port.kind.store(fault.kind, std::memory_order_release);
}

PortFault PortFaults::get(EthPortId id) const {
  const Port& port = ports_[id.value()];
  PortFault fault;
  fault.kind = port.kind.load(std::memory_order_acquire);
  if (fault.kind != PortFaultKind::healthy) {
    fault.rate_share = port.rate_share.load(std::memory_order_relaxed);
    fault.period = Duration(port.period_ns.load(std::memory_order_relaxed));
  }
  return fault;
}

std::int64_t PortFaults::periods_since(const Port& port, TimePoint now) {
  const std::int64_t period = port.period_ns.load(std::memory_order_relaxed);
  const std::int64_t begun = port.begun_ns.load(std::memory_order_relaxed);
  return period == 0 ? 0
                     : std::max<std::int64_t>(now.time_since_epoch().count() - begun, 0) / period;
}

PortFaultKind PortFaults::kind_at(EthPortId id, TimePoint now) const {
  const Port& port = ports_[id.value()];
  const PortFaultKind kind = port.kind.load(std::memory_order_acquire);
  const bool is_faulty = kind != PortFaultKind::healthy && periods_since(port, now) % 2 == 0;
  return is_faulty ? kind : PortFaultKind::healthy;
}

double PortFaults::rate_share_at(EthPortId id, TimePoint now) const {
  return kind_at(id, now) == PortFaultKind::slow
             ? ports_[id.value()].rate_share.load(std::memory_order_relaxed)
             : 1;
}

TimePoint PortFaults::next_change(EthPortId id, TimePoint now) const {
  const Port& port = ports_[id.value()];
  if (port.kind.load(std::memory_order_acquire) == PortFaultKind::healthy) {
    return kNever;
  }
  const std::int64_t period = port.period_ns.load(std::memory_order_relaxed);
  const std::int64_t begun = port.begun_ns.load(std::memory_order_relaxed);
  return period == 0 ? kNever
                     : TimePoint(Duration(begun + (periods_since(port, now) + 1) * period));
}

}  // namespace godbox::emulator
