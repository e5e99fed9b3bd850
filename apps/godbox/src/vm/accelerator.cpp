// SPDX-License-Identifier: Apache-2.0
#include "vm/accelerator.h"

#include "vm/own_program.h"
#include <godbox/driver/mapped_memory.h>
#include <godbox/emulator/vm/qemu_command.h>
#include <godbox/emulator/vm/vm_plan.h>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include <fcntl.h>
#include <unistd.h>

namespace godbox::app {
namespace {

using emulator::vm::Accelerator;
using emulator::vm::VirtualMachine;
using emulator::vm::VmLaunch;

constexpr Duration kProbeBootLimit = std::chrono::seconds(20);
constexpr Duration kProbeLimit = std::chrono::seconds(20);
constexpr SizeBytes kProbeChannel{std::uint64_t{256} << 20U};

// An error says why KVM does not work, or `cancelled` that nobody knows yet.
Result<void> try_kvm(const VmLaunch& wanted, int stop_descriptor) {
  emulator::vm::VmConfig config;
  config.box.super_nics = 1;
  config.box.dram_channels_per_super_nic = 1;
  config.box.dram_channel_size = kProbeChannel;
  const auto plan = emulator::vm::make_plan(config);
  const auto memory = driver::MappedMemory::memfd(kProbeChannel);
  if (!plan || !memory) {
    return plan ? memory.error() : plan.error();
  }
  emulator::vm::QemuInputs inputs;
  inputs.backing_paths = {emulator::vm::descriptor_path((*memory)->descriptor())};
  auto arguments = emulator::vm::qemu_arguments(*plan, inputs);
  if (!arguments) {
    return arguments.error();
  }
  VmLaunch launch = wanted;
  launch.machine_arguments = std::move(*arguments);
  launch.accelerator = Accelerator::kvm;
  launch.on_progress = {};
  launch.on_console_line = {};
  const auto machine = VirtualMachine::start(std::move(launch));
  if (!machine) {
    return machine.error();
  }
  if (stop_descriptor >= 0) {
    (*machine)->watch(stop_descriptor, [&] {
      (*machine)->unwatch(stop_descriptor);
      (*machine)->cancel();
    });
  }
  if (auto ready = (*machine)->wait_until_ready(kProbeBootLimit); !ready) {
    return ready;
  }
  // Where KVM cannot emulate an access to CXL memory the guest ends here.
  const auto status = (*machine)->run({.arguments = {own_program(), "cxl", "up", "--as", "numa"}},
                                      {-1, -1, -1}, kProbeLimit);
  if (!status) {
    return status.error();
  }
  return *status == 0 ? Result<void>()
                      : Error(Errc::unsupported, "CXL memory does not come on line under it");
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The answer holds while machine, QEMU and guest stay the same; a probe that fails takes its whole
// limit, so it is kept beside the guest image: what was probed, then why KVM does not work there.
class KeptAnswer {
 public:
  explicit KeptAnswer(const VmLaunch& launch)
      : path_(std::filesystem::path(launch.image.kernel).replace_filename("kvm-probe")) {
    std::error_code ignored;
    // An absolute path replaces the folder.
    const auto qemu_time = std::filesystem::last_write_time(
        std::filesystem::path("/usr/bin") / launch.qemu_program, ignored);
    probed_ = fmt::format("{} {} {} {}", first_line("/proc/sys/kernel/random/boot_id"),
                          launch.image.release, launch.qemu_program,
                          ignored ? 0 : qemu_time.time_since_epoch().count());
  }
  [[nodiscard]] std::optional<std::string> read() const {
    std::ifstream file(path_);
    std::string probed;
    std::string reason;
    if (!std::getline(file, probed) || probed != probed_) {
      return std::nullopt;
    }
    std::getline(file, reason);
    return reason;
  }
  // A cache that cannot be written means that the next VM probes again.
  void write(const std::string& reason) const {
    std::ofstream(path_) << probed_ << '\n' << reason << '\n';
  }

 private:
  std::filesystem::path path_;
  std::string probed_;
};

}  // namespace

Result<Accelerator> choose_accelerator(const std::string& wanted, const VmLaunch& launch,
                                       int stop_descriptor) {
  if (wanted == "tcg") {
    return Accelerator::tcg;
  }
  if (wanted != "auto" && wanted != "kvm") {
    return Error(
        Errc::invalid_argument,
        fmt::format("--accelerator: \"{}\" is not allowed; allowed: auto, tcg, kvm", wanted));
  }
  if (const int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC); kvm >= 0) {
    ::close(kvm);
  } else if (wanted == "kvm") {
    return Error(Errc::unsupported, "KVM does not work here: /dev/kvm cannot be opened");
  } else {
    return Accelerator::tcg;
  }
  const KeptAnswer kept(launch);
  std::optional<std::string> known = wanted == "kvm" ? std::nullopt : kept.read();
  if (!known) {
    spdlog::info("vm: a probe boot tries KVM");
    const Result<void> tried = try_kvm(launch, stop_descriptor);
    if (!tried && tried.error().code == Errc::cancelled) {
      return tried.error();
    }
    // Without the console's lines, which follow a ';'.
    known = tried ? "" : tried.error().detail.substr(0, tried.error().detail.find(';'));
    kept.write(*known);
  }
  const std::string& reason = *known;
  if (reason.empty()) {
    spdlog::info("vm: KVM works here: a guest with CXL memory on line ran");
    return Accelerator::kvm;
  }
  if (wanted == "kvm") {
    return Error(Errc::unsupported, fmt::format("KVM does not work here: {}", reason));
  }
  spdlog::info("vm: no KVM ({}); QEMU's own TCG runs the guest", reason);
  return Accelerator::tcg;
}

}  // namespace godbox::app
