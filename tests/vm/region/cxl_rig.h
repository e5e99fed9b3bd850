// SPDX-License-Identifier: Apache-2.0
//
// The part of firmware and Linux that makes CXL regions, in small: bus numbers, addresses of
// registers, HDM decoders. It takes any legal form of a plan's topology without switches.
// Spec: CXL r3.1 8.2.4.20 (HDM decoders); PCIe r6.0 7.5.1 (type 0 and 1 headers).
// Thread-safety: one thread. Ownership: borrows the machine and the plan. Units: bytes.
// Errors: a REQUIRE of the test fails.
#pragma once

#include "qtest.h"
#include <godbox/emulator/vm/vm_plan.h>

#include <map>
#include <vector>

namespace godbox::test {

// A region that decoders make: of which devices, by position, in which window.
struct Form {
  cxl::FixedMemoryWindowId window;
  SizeBytes granularity;
  std::vector<cxl::Type3DeviceId> devices;

  [[nodiscard]] unsigned ways() const { return static_cast<unsigned>(devices.size()); }
};

// A byte of a region: the device, and its DPA there.
struct Place {
  cxl::Type3DeviceId device;
  std::uint64_t dpa = 0;
};

class CxlRig {
 public:
  CxlRig(Qtest& machine, const emulator::vm::VmPlan& plan);

  void create(const Form& form);
  void destroy(const Form& form);
  // The first address of the window's regions.
  [[nodiscard]] std::uint64_t base(const Form& form) const;
  // Granules go to the devices in turn, by the position that their address leads to; on the device
  // they follow each other.
  [[nodiscard]] Place place(const Form& form, std::uint64_t offset) const;
  // Whether the machine has all of the region as RAM.
  [[nodiscard]] bool is_ram(const Form& form);

 private:
  void enumerate();
  [[nodiscard]] std::uint64_t find_decoders(std::uint64_t component);
  void set_decoder(std::uint64_t component, const cxl::HpaRange& range, SizeBytes granularity,
                   unsigned ways, const std::vector<unsigned>& targets);
  void clear_decoder(std::uint64_t component);
  [[nodiscard]] std::uint64_t bridge_registers(cxl::HostBridgeId bridge) const;
  [[nodiscard]] cxl::HpaRange range_of(const Form& form) const;
  // Of the form's devices behind a bridge, the port numbers in the order of its decoder's targets.
  [[nodiscard]] std::map<cxl::HostBridgeId, std::vector<unsigned>> targets_of(
      const Form& form) const;

  Qtest& machine_;
  const emulator::vm::VmPlan& plan_;
  std::vector<std::uint64_t> device_registers_;      // by Type3DeviceId
  std::map<std::uint64_t, std::uint64_t> decoders_;  // by component
};

}  // namespace godbox::test
