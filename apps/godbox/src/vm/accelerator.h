// SPDX-License-Identifier: Apache-2.0
//
// KVM or TCG. A /dev/kvm that opens proves nothing (a virtual machine's own KVM may stop at
// Debian's kernel, and QEMU before 11.1 cannot run code or vector instructions on CXL memory under
// it), so KVM is taken only where a guest with one CXL channel on line has just worked.
// Thread-safety: one thread. Errors: unsupported for "kvm" where it does not work, with the reason;
// invalid_argument for another word.
#pragma once

#include <godbox/emulator/vm/virtual_machine.h>
#include <godbox/result.h>

#include <string>

namespace godbox::app {

// "auto", "tcg" or "kvm". `launch` says which QEMU and which guest image. A probe ends with
// `cancelled` when the stop descriptor becomes readable; -1: none.
[[nodiscard]] Result<emulator::vm::Accelerator> choose_accelerator(
    const std::string& wanted, const emulator::vm::VmLaunch& launch, int stop_descriptor);

}  // namespace godbox::app
