// SPDX-License-Identifier: Apache-2.0
//
// The CXL and machine part of QEMU's command line for a plan: the machine with its fixed memory
// windows, processor, memory, NUMA nodes, host bridges, root ports, switches, and a Type 3 device
// per DRAM channel on the memory that backs it. Kernel, disks, network, monitor and accelerator are
// the launcher's. Written for QEMU 10.0. Thread-safety: pure functions. Ownership: values.
// Units: bytes. Errors: invalid_argument for inputs that do not fit the plan.
#pragma once

#include <godbox/cxl/topology.h>
#include <godbox/emulator/vm/interleaved_memory.h>
#include <godbox/emulator/vm/vm_plan.h>
#include <godbox/result.h>

#include <span>
#include <string>
#include <vector>

namespace godbox::emulator::vm {

struct QemuInputs {
  // By Type3DeviceId: the file that backs the device's DRAM channel, of its capacity or more.
  std::vector<std::string> backing_paths;
  // By Type3DeviceId: files with cdat_table()'s bytes. Empty: QEMU's own figures.
  std::vector<std::string> cdat_paths;
  // Devices whose memory is in common; all of them have its path. Only with a patched QEMU.
  std::vector<InterleavedMemory> interleaved;
  std::string switch_cdat_path;  // with switch_cdat_table()'s bytes; empty: QEMU's own figures
};

// Names of QEMU's objects; the launcher adds and removes devices by them.
[[nodiscard]] std::string bridge_id(cxl::HostBridgeId bridge);           // "hb0"
[[nodiscard]] std::string port_id(const cxl::CxlPort& port);             // "hb0rp1", "sw0dp1"
[[nodiscard]] std::string device_id(cxl::Type3DeviceId device);          // "mem0"
[[nodiscard]] std::string memory_backend_id(cxl::Type3DeviceId device);  // "dram0"

// Arguments for exec, without the program's name: option and value are two elements.
[[nodiscard]] Result<std::vector<std::string>> qemu_arguments(const VmPlan& plan,
                                                              const QemuInputs& inputs);
// A value within an option: QEMU takes a comma for the end of one unless it is doubled.
[[nodiscard]] std::string option_value(std::string_view value);
// A command for people and shells: quoted where needed, an option per line.
[[nodiscard]] std::string shell_text(std::string_view program,
                                     std::span<const std::string> arguments);

}  // namespace godbox::emulator::vm
