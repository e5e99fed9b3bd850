// SPDX-License-Identifier: Apache-2.0
//
// Which QEMU runs a VM: the one that qemu-patches/build made, where there is one that works, or
// Debian's. Thread-safety: reads the environment and starts programs; no state.
// Ownership: plain values. Errors: device_missing, unsupported, as check_qemu().
#pragma once

#include <godbox/result.h>

#include <string>

namespace godbox::emulator::vm {

inline constexpr const char* kStockQemu = "qemu-system-x86_64";

struct QemuProgram {
  std::string path;
  std::string version;      // "10.0.13"
  bool is_patched = false;  // CXL memory is RAM to it, interleaved or not
  std::string passed_over;  // why the patched one that is there is not this one; else empty

  // For people: "QEMU 10.0.13 with godbox's patches (/root/.cache/...)".
  [[nodiscard]] std::string description() const;
};

// Where qemu-patches/build puts it: $GODBOX_QEMU, or ${XDG_CACHE_HOME:-~/.cache}/godbox/qemu.
[[nodiscard]] std::string patched_qemu_path();
// `wanted` is a program; empty: the patched one, where it is there and works, else kStockQemu.
[[nodiscard]] Result<QemuProgram> find_qemu(const std::string& wanted);

}  // namespace godbox::emulator::vm
