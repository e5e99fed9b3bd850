// SPDX-License-Identifier: Apache-2.0
#include "cxl_rig.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <sstream>

namespace godbox::test {
namespace {

// Where QEMU 10.0's q35 has the host bridges' registers, above less than 2.75 GiB of memory.
constexpr std::uint64_t kBridgeRegisters = 0x1'0000'0000;
constexpr std::uint64_t kBridgeRegistersSize = 0x10000;
// Below 4 GiB, where nothing else is.
constexpr std::uint32_t kPortRegisters = 0xC000'0000;
constexpr std::uint32_t kPortRegistersSize = 0x20'0000;

constexpr std::uint64_t kCacheMem = 0x1000;
constexpr std::uint32_t kHdmCapability = 5;
constexpr std::uint32_t kCommit = 1U << 9U;
constexpr std::uint32_t kTypeMemory = 1U << 12U;

unsigned encoded(unsigned ways) {
  return std::has_single_bit(ways) ? static_cast<unsigned>(std::countr_zero(ways))
                                   : 8 + static_cast<unsigned>(std::countr_zero(ways / 3));
}

}  // namespace

CxlRig::CxlRig(Qtest& machine, const emulator::vm::VmPlan& plan) : machine_(machine), plan_(plan) {
  enumerate();
}

// What firmware does. Ports are on their bridge's bus in the order in which QEMU was told of them.
void CxlRig::enumerate() {
  device_registers_.resize(plan_.topology.devices.size());
  std::uint32_t next = kPortRegisters;
  for (std::size_t d = 0; d < plan_.topology.devices.size(); ++d) {
    const cxl::CxlPort& port = plan_.topology.devices[d].attached_to;
    const auto bridge_id = std::get<cxl::HostBridgeId>(port.component);
    const cxl::HostBridge& bridge = plan_.topology.host_bridges[bridge_id.value()];
    const auto at = static_cast<unsigned>(
        std::find(bridge.root_ports.begin(), bridge.root_ports.end(), port.port_number) -
        bridge.root_ports.begin());
    const unsigned root = bridge.bus_number;
    const unsigned bus = root + 1 + at;
    machine_.config_write(root, at, 0x18, root | bus << 8U | bus << 16U);
    machine_.config_write(root, at, 0x20,
                          next >> 16U | ((next + kPortRegistersSize - 1) & 0xFFF0'0000));
    machine_.config_write(root, at, 0x04, 0x6);
    machine_.config_write(bus, 0, 0x10, next);
    machine_.config_write(bus, 0, 0x14, 0);
    machine_.config_write(bus, 0, 0x18, next + kPortRegistersSize / 2);
    machine_.config_write(bus, 0, 0x1C, 0);
    machine_.config_write(bus, 0, 0x04, 0x6);
    device_registers_[d] = next;
    next += kPortRegistersSize;
  }
}

std::uint64_t CxlRig::find_decoders(std::uint64_t component) {
  if (const auto known = decoders_.find(component); known != decoders_.end()) {
    return known->second;
  }
  const std::uint64_t cache_mem = component + kCacheMem;
  const unsigned count = machine_.read32(cache_mem) >> 24U;
  for (unsigned i = 1; i <= count; ++i) {
    const std::uint32_t header = machine_.read32(cache_mem + std::uint64_t{i} * 4);
    if ((header & 0xFFFFU) == kHdmCapability) {
      return decoders_[component] = cache_mem + (header >> 20U);
    }
  }
  FAIL("no HDM decoders at " << std::hex << component);
  return 0;
}

void CxlRig::set_decoder(std::uint64_t component, const cxl::HpaRange& range, SizeBytes granularity,
                         unsigned ways, const std::vector<unsigned>& targets) {
  const std::uint64_t at = find_decoders(component) + 0x10;
  const auto low = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
  std::uint64_t list = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    list |= std::uint64_t{targets[i]} << (8 * i);
  }
  machine_.write32(at + 0x10, 0);
  machine_.write32(at, low(range.base.count()));
  machine_.write32(at + 4, low(range.base.count() >> 32U));
  machine_.write32(at + 8, low(range.size.count()));
  machine_.write32(at + 12, low(range.size.count() >> 32U));
  machine_.write32(at + 0x14, low(list));
  machine_.write32(at + 0x18, low(list >> 32U));
  const auto ig = static_cast<unsigned>(std::countr_zero(granularity.count())) - 8;
  machine_.write32(at + 0x10, kCommit | kTypeMemory | ig | encoded(ways) << 4U);
}

void CxlRig::clear_decoder(std::uint64_t component) {
  machine_.write32(find_decoders(component) + 0x10 + 0x10, 0);
}

// QEMU 10.0 hooks them up from the last one to the first.
std::uint64_t CxlRig::bridge_registers(cxl::HostBridgeId bridge) const {
  const std::size_t from_end = plan_.topology.host_bridges.size() - 1 - bridge.value();
  return kBridgeRegisters + from_end * kBridgeRegistersSize;
}

cxl::HpaRange CxlRig::range_of(const Form& form) const {
  SizeBytes size;
  for (const cxl::Type3DeviceId device : form.devices) {
    size += plan_.topology.devices[device.value()].capacity;
  }
  return {.base = plan_.windows[form.window.value()].expected_hpa.base, .size = size};
}

std::uint64_t CxlRig::base(const Form& form) const { return range_of(form).base.count(); }

std::map<cxl::HostBridgeId, std::vector<unsigned>> CxlRig::targets_of(const Form& form) const {
  std::map<cxl::HostBridgeId, std::vector<unsigned>> targets;
  for (const cxl::Type3DeviceId device : form.devices) {
    const cxl::CxlPort& port = plan_.topology.devices[device.value()].attached_to;
    targets[std::get<cxl::HostBridgeId>(port.component)].push_back(port.port_number);
  }
  return targets;
}

void CxlRig::create(const Form& form) {
  const cxl::HpaRange range = range_of(form);
  const auto targets = targets_of(form);
  const SizeBytes below_window = form.granularity * targets.size();
  for (const auto& [bridge, ports] : targets) {
    // A bridge with one port passes everything through.
    if (plan_.topology.host_bridges[bridge.value()].root_ports.size() > 1) {
      const SizeBytes granularity = ports.size() > 1 ? below_window : SizeBytes(256);
      set_decoder(bridge_registers(bridge), range, granularity, static_cast<unsigned>(ports.size()),
                  ports);
    }
  }
  for (const cxl::Type3DeviceId device : form.devices) {
    set_decoder(device_registers_[device.value()], range, form.granularity, form.ways(), {});
  }
}

void CxlRig::destroy(const Form& form) {
  for (const cxl::Type3DeviceId device : form.devices) {
    clear_decoder(device_registers_[device.value()]);
  }
  for (const auto& [bridge, ports] : targets_of(form)) {
    if (plan_.topology.host_bridges[bridge.value()].root_ports.size() > 1) {
      clear_decoder(bridge_registers(bridge));
    }
  }
}

Place CxlRig::place(const Form& form, std::uint64_t offset) const {
  const std::uint64_t granularity = form.granularity.count();
  const std::uint64_t granule = offset / granularity;
  const std::uint64_t position = (base(form) / granularity + granule) % form.ways();
  return {.device = form.devices[position],
          .dpa = granule / form.ways() * granularity + offset % granularity};
}

bool CxlRig::is_ram(const Form& form) {
  const cxl::HpaRange range = range_of(form);
  std::istringstream lines(machine_.monitor("info mtree -f"));
  bool is_in_memory = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("Root memory region:") != std::string::npos) {
      is_in_memory = line.find("Root memory region: system") != std::string::npos;
    }
    unsigned long long first = 0;
    unsigned long long last = 0;
    if (is_in_memory && std::sscanf(line.c_str(), " %llx-%llx", &first, &last) == 2 &&
        first <= range.base.count() && last >= range.end().count() - 1) {
      return line.find(", ram)") != std::string::npos;
    }
  }
  return false;
}

}  // namespace godbox::test
