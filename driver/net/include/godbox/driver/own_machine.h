// SPDX-License-Identifier: Apache-2.0
//
// Which addresses are on this machine. Until TLS and tokens exist nothing else is connected to
// (DESIGN section 10). In a VM the machine that it runs on counts too, where the kernel's command
// line names it, as who boots a VM does: "godbox.host=10.0.2.2" is the host's loopback, behind
// QEMU's user network. Listening is on loopback only, always.
// Thread-safety: pure functions, and one that reads /proc/cmdline once. Errors: none.
#pragma once

#include <godbox/stream.h>

#include <string>
#include <string_view>

namespace godbox::driver {

// The address that a kernel command line gives to its host; empty where it gives none.
[[nodiscard]] std::string host_machine_of(std::string_view kernel_command_line);
// Of the kernel that runs this process.
[[nodiscard]] const std::string& host_machine();
// Loopback, a local socket, or the host machine.
[[nodiscard]] bool is_own_machine(const StreamAddress& address, std::string_view host_machine);

}  // namespace godbox::driver
