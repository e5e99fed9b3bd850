// SPDX-License-Identifier: Apache-2.0
//
// Faults and counters of a channel's device in a running VM, through QEMU's machine protocol; what
// they are is said in docs/vm.md, "Faults". Only a QEMU of qemu-patches/ has them.
// Thread-safety: one thread, the VM's. Ownership: none. Units: bytes, nanoseconds.
// Errors: invalid_argument (a value, naming what is allowed), those of VirtualMachine::qmp().
#pragma once

#include <godbox/emulator/vm/virtual_machine.h>
#include <godbox/result.h>

#include <boost/json.hpp>

#include <string>

namespace godbox::app {

// {"access", "delay_ns", "link", "media", "bytes_read", "bytes_written"} of QEMU's device `id`.
[[nodiscard]] Result<boost::json::object> read_channel(emulator::vm::VirtualMachine& machine,
                                                       const std::string& id);
// Of the same fields those that the request has, but the counters. All are checked before one is
// set.
[[nodiscard]] Result<void> change_channel(emulator::vm::VirtualMachine& machine,
                                          const std::string& id,
                                          const boost::json::object& request);
[[nodiscard]] bool changes_channel(const boost::json::object& request);

}  // namespace godbox::app
