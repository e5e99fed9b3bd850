// SPDX-License-Identifier: Apache-2.0
//
// One QEMU process with a guest that runs commands. The guest's root is the machine's own,
// read-only, with a writable layer in the guest's memory over it; commands and their streams go
// through virtio serial ports (docs/vm.md, "Guest protocol").
// Nothing is left behind, not even after kill -9 of this process: QEMU is told to die with its
// parent, all connections to it are unnamed, and memory is given to it as descriptors.
// Thread-safety: one thread, the one that called start() (the kernel ends QEMU with that thread).
// Ownership: owns the process and its connections; the destructor kills it. Units: Durations.
// Errors: device_missing (no QEMU), unsupported (too old a QEMU), io_error (QEMU ended: its own
// words; the guest crashed: its console's last lines), deadline_exceeded (with the console's last
// lines), cancelled (a stop was asked for), invalid_argument.
#pragma once

#include <godbox/clock.h>
#include <godbox/emulator/vm/guest_image.h>
#include <godbox/result.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::emulator::vm {

enum class Accelerator : std::uint8_t { tcg, kvm };
[[nodiscard]] std::string_view to_string(Accelerator accelerator) noexcept;

struct VmLaunch {
  std::string qemu_program = "qemu-system-x86_64";
  // Machine, processors, memory and CXL devices: qemu_arguments(), with descriptor_path()s in it.
  std::vector<std::string> machine_arguments;
  GuestImage image;
  Accelerator accelerator = Accelerator::tcg;
  bool has_network = true;       // QEMU's user network: this machine's loopback is at kHostAddress
  std::string kernel_arguments;  // added to what the guest needs
  // Called with what the guest has reached: "QEMU started", "Linux 6.12... runs", "ready".
  std::function<void(std::string_view)> on_progress;
  std::function<void(std::string_view)> on_console_line;  // of the guest's kernel
};

// The path by which QEMU opens what this process has open; it serves as long as the descriptor.
[[nodiscard]] std::string descriptor_path(int descriptor);

// Where a guest finds the machine that it runs on, and the kernel argument that says so.
inline constexpr std::string_view kHostAddress = "10.0.2.2";
inline constexpr std::string_view kHostArgument = "godbox.host=10.0.2.2";

// A command's streams here; -1: nothing to read, what is written is dropped.
struct CommandStreams {
  int in = -1;
  int out = 1;
  int err = 2;
};

struct GuestCommand {
  std::vector<std::string> arguments;  // not empty; the first is looked up in the guest's PATH
  std::string folder = "/";            // where it runs; made if it is not there
  bool on_terminal = false;            // on the guest's terminal, which is connected to `in`, `out`
};

// Words for a POSIX shell that read as these arguments.
[[nodiscard]] std::string shell_quoted(const std::vector<std::string>& arguments);

class VirtualMachine {
 public:
  static constexpr std::size_t kConsoleLinesKept = 30;

  // Returns when QEMU runs; wait_until_ready() follows.
  [[nodiscard]] static Result<std::unique_ptr<VirtualMachine>> start(VmLaunch launch);
  ~VirtualMachine();
  VirtualMachine(const VirtualMachine&) = delete;
  VirtualMachine& operator=(const VirtualMachine&) = delete;

  // Until the guest takes commands.
  [[nodiscard]] Result<void> wait_until_ready(Duration limit);
  // Runs a command to its end; its exit status, 128 + signal for one that a signal ended. A limit
  // of zero is none; a command that is longer is ended. One at a time. Only one command of a VM's
  // life can read from `in`.
  [[nodiscard]] Result<int> run(const GuestCommand& command, const CommandStreams& streams,
                                Duration limit);
  // Ends the command that is running, from within a call of watch(): run() gives its status.
  void interrupt_command();
  // A short command of the caller's own, also from within a call of watch() while run() waits for
  // another one. It reads nothing, and its words go to the guest's console. One at a time; the
  // limit and the status are as of run().
  [[nodiscard]] Result<int> run_beside(const std::vector<std::string>& arguments, Duration limit);
  void interrupt_beside();
  // One command of QEMU's machine protocol; `arguments` is a JSON object or empty. Its "return" as
  // JSON. Errors: invalid_argument with QEMU's own words.
  [[nodiscard]] Result<std::string> qmp(std::string_view command, std::string_view arguments,
                                        Duration limit);
  // Asks the guest to power off; kills it after the limit. QEMU is gone when it returns.
  void power_off(Duration limit);
  // Serves the VM's events until QEMU ends or `until` has passed; what watch() registered is
  // called.
  [[nodiscard]] Result<void> serve(Duration limit);
  // Called from within every wait of this class while `descriptor` is readable.
  void watch(int descriptor, std::function<void()> on_readable);
  void unwatch(int descriptor);
  // Ends the wait that is going on with `cancelled`, and all later ones.
  void cancel();

  [[nodiscard]] bool is_busy() const;  // a command of run() runs
  [[nodiscard]] int process_id() const;
  [[nodiscard]] std::vector<std::string> console_tail() const;
  // What QEMU itself has said so far: nothing, as long as all is well.
  [[nodiscard]] const std::string& qemu_messages() const;

 private:
  struct Impl;
  explicit VirtualMachine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Errors: device_missing, unsupported (older than 9.2, or without CXL), each naming the package.
[[nodiscard]] Result<void> check_qemu(const std::string& program);

}  // namespace godbox::emulator::vm
