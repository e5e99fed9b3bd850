// SPDX-License-Identifier: Apache-2.0
#include "vm_impl.h"
#include <godbox/emulator/vm/qemu_command.h>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace godbox::emulator::vm {
namespace {

// The guest powers off by itself when its kernel panics; QEMU then ends, as it never restarts. Its
// timer is not checked: on a machine that gives QEMU no time for a tenth of a second the kernel
// takes the interrupts that it misses for broken hardware, and panics.
constexpr std::string_view kKernelArguments =
    "console=ttyS0 panic=-1 no_timer_check memhp_default_state=offline quiet loglevel=5";

std::vector<std::string> guest_arguments(const VmLaunch& launch) {
  std::vector<std::string> arguments = {
      "-nodefaults",
      "-no-user-config",
      "-no-reboot",
      "-display",
      "none",
      "-name",
      "godbox",
      "-accel",
      std::string(to_string(launch.accelerator)),
      "-kernel",
      launch.image.kernel,
      "-initrd",
      launch.image.initramfs,
      "-append",
      fmt::format("{} {} {}", kKernelArguments, kHostArgument, launch.kernel_arguments),
      "-fsdev",
      "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
      "-device",
      "virtio-9p-pci,bus=pcie.0,fsdev=root,mount_tag=root",
      "-fsdev",
      fmt::format("local,id=modules,path={},security_model=none,readonly=on",
                  option_value(launch.image.modules)),
      "-device",
      "virtio-9p-pci,bus=pcie.0,fsdev=modules,mount_tag=modules"};
  if (launch.has_network) {
    arguments.insert(arguments.end(), {"-netdev", "user,id=net0", "-device",
                                       "virtio-net-pci,bus=pcie.0,netdev=net0,romfile="});
  }
  return arguments;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k) {
      group = (group << 8U) | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= count ? kDigits[(group >> (18U - 6U * k)) & 63U] : '=';
    }
  }
  return text;
}

std::string command_text(const GuestCommand& command) {
  const std::string folder = shell_quoted({command.folder});
  std::string text = fmt::format(
      "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\n"
      "cd {0} 2>/dev/null || {{ mkdir -p {0} && cd {0}; }} || exit 126\n",
      folder);
  for (const char* const name : {"TERM", "LANG"}) {
    const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
    if (value != nullptr) {
      text += fmt::format("export {}={}\n", name, shell_quoted({value}));
    }
  }
  return text + "exec " + shell_quoted(command.arguments) + "\n";
}

}  // namespace

std::string_view to_string(Accelerator accelerator) noexcept {
  return accelerator == Accelerator::kvm ? "kvm" : "tcg";
}

std::string descriptor_path(int descriptor) {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), descriptor);
}

std::string shell_quoted(const std::vector<std::string>& arguments) {
  std::string text;
  for (const std::string& argument : arguments) {
    text += text.empty() ? "'" : " '";
    for (const char character : argument) {
      character == '\'' ? text += "'\\''" : text += character;
    }
    text += '\'';
  }
  return text;
}

VirtualMachine::VirtualMachine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
VirtualMachine::~VirtualMachine() = default;

Result<std::unique_ptr<VirtualMachine>> VirtualMachine::start(VmLaunch launch) {
  Result<GuestLinks> links = GuestLinks::open();
  if (!links) {
    return links.error();
  }
  std::array<int, 2> output{};
  if (::pipe2(output.data(), O_CLOEXEC) != 0) {
    return Error(Errc::io_error, "no pipe for QEMU's messages");
  }
  OwnedDescriptor output_far(output[1]);
  OwnedDescriptor output_near(output[0]);
  ::fcntl(output_near.get(), F_SETFL, O_NONBLOCK);
  ChildOptions child{
      .arguments = {launch.qemu_program}, .descriptors = links->far(), .output = output_far.get()};
  for (const auto& part :
       {guest_arguments(launch), launch.machine_arguments, links->qemu_arguments()}) {
    child.arguments.insert(child.arguments.end(), part.begin(), part.end());
  }
  Result<ChildProcess> process = ChildProcess::start(child);
  if (!process) {
    return process.error();
  }
  links->release_far();
  std::unique_ptr<VirtualMachine> machine(new VirtualMachine(std::make_unique<Impl>(
      std::move(launch), std::move(*process), std::move(*links), std::move(output_near))));
  machine->impl_->progress("QEMU started");
  return machine;
}

Result<void> VirtualMachine::wait_until_ready(Duration limit) {
  if (Result<void> ready =
          impl_->run_until([this] { return impl_->is_ready; }, limit, "the guest was not ready");
      !ready) {
    return ready;
  }
  return impl_->negotiate_qmp(limit);  // here, where no other request can be under way
}

Result<int> VirtualMachine::run(const GuestCommand& command, const CommandStreams& streams,
                                Duration limit) {
  if (command.arguments.empty()) {
    return Error(Errc::invalid_argument, "no command for the guest");
  }
  const bool is_unfinished = !impl_->unfinished_id.empty();
  if (is_busy() || is_unfinished || !impl_->is_ready) {
    return Error(Errc::queue_full, is_busy()       ? "the guest runs another command"
                                   : is_unfinished ? "the guest may still run a command that was "
                                                     "given up"
                                                   : "the guest is not ready");
  }
  const std::string_view verb = command.on_terminal ? "shell" : (streams.in >= 0 ? "run" : "exec");
  const std::string id = std::to_string(++impl_->last_command);
  if (Result<void> sent =
          write_all(impl_->links.near(Link::control),
                    fmt::format("{} {} {}\n", verb, id, base64(command_text(command))), Peer::link);
      !sent) {
    return sent.error();
  }
  impl_->begin_command(id, command.on_terminal, streams);
  // A failure of its output is this command's alone: the VM goes on, and takes the next one.
  Result<void> ended = impl_->run_until(
      [this] { return impl_->command_status.has_value() || !impl_->output_failure.empty(); }, limit,
      "the command did not end");
  if (ended && !impl_->command_status) {
    ended =
        Error(Errc::io_error, "the command's output cannot be written: " + impl_->output_failure);
  }
  if (!ended) {
    impl_->unfinished_id = impl_->kill_command() ? "" : id;
    impl_->end_command(false);
    impl_->output_failure.clear();
    return ended.error();
  }
  const int status = impl_->command_status.value_or(0);
  impl_->end_command(true);
  const std::string output_failure = std::exchange(impl_->output_failure, {});
  if (!output_failure.empty()) {
    return Error(Errc::io_error, "the command's output cannot be written: " + output_failure);
  }
  return status;
}

Result<int> VirtualMachine::run_beside(const std::vector<std::string>& arguments, Duration limit) {
  if (arguments.empty()) {
    return Error(Errc::invalid_argument, "no command for the guest");
  }
  if (!impl_->beside_id.empty() || !impl_->is_ready) {
    return Error(Errc::queue_full, impl_->is_ready ? "the guest is being asked something else"
                                                   : "the guest is not ready");
  }
  const std::string text = command_text({.arguments = arguments});
  const std::string id = std::to_string(++impl_->last_command);
  if (Result<void> sent = write_all(impl_->links.near(Link::control),
                                    fmt::format("beside {} {}\n", id, base64(text)), Peer::link);
      !sent) {
    return sent.error();
  }
  impl_->beside_id = id;
  impl_->beside_status.reset();
  const auto has_ended = [this] { return impl_->beside_status.has_value(); };
  const Result<void> ended = impl_->run_until(has_ended, limit, "the command did not end");
  if (!ended && !impl_->is_cancelled && impl_->send_kill(id)) {
    (void)impl_->run_until(has_ended, kKillLimit, "");
  }
  impl_->beside_id.clear();
  return ended ? Result<int>(impl_->beside_status.value_or(0)) : ended.error();
}

Result<std::string> VirtualMachine::qmp(std::string_view command, std::string_view arguments,
                                        Duration limit) {
  const std::uint64_t id = ++impl_->last_qmp;
  boost::json::object message{{"execute", command}, {"id", id}};
  if (!arguments.empty()) {
    boost::system::error_code failed;
    message["arguments"] = boost::json::parse(arguments, failed);
    if (failed) {
      return Error(Errc::invalid_argument, fmt::format("{}: its arguments are no JSON", command));
    }
  }
  if (!impl_->is_qmp_ready) {
    return Error(Errc::queue_full, "the guest is not ready");
  }
  if (Result<void> sent = write_all(impl_->links.near(Link::qmp),
                                    boost::json::serialize(message) + "\n", Peer::link);
      !sent) {
    return sent.error();
  }
  return impl_->qmp_reply(id, command, limit);
}

void VirtualMachine::power_off(Duration limit) {
  // No command is taken any more.
  if (std::exchange(impl_->is_ready, false) && !impl_->is_gone()) {
    impl_->is_cancelled = false;
    if (write_all(impl_->links.near(Link::control), "poweroff\n", Peer::link)) {
      (void)impl_->run_until([this] { return impl_->is_gone(); }, limit, "");
    }
  }
  impl_->process.kill();
}

Result<void> VirtualMachine::serve(Duration limit) {
  return impl_->run_until([] { return false; }, limit, "the time is over");
}

void VirtualMachine::watch(int descriptor, std::function<void()> on_readable) {
  impl_->watches[descriptor] = std::move(on_readable);
}
void VirtualMachine::unwatch(int descriptor) { impl_->watches.erase(descriptor); }
void VirtualMachine::interrupt_command() {
  if (is_busy()) {
    (void)impl_->send_kill(impl_->command_id);
  }
}
void VirtualMachine::interrupt_beside() {
  if (!impl_->beside_id.empty()) {
    (void)impl_->send_kill(impl_->beside_id);
  }
}
void VirtualMachine::cancel() { impl_->is_cancelled = true; }
bool VirtualMachine::is_busy() const { return !impl_->command_id.empty(); }
int VirtualMachine::process_id() const { return impl_->process.id(); }
std::vector<std::string> VirtualMachine::console_tail() const {
  return {impl_->console_lines.begin(), impl_->console_lines.end()};
}
const std::string& VirtualMachine::qemu_messages() const { return impl_->qemu_words; }

}  // namespace godbox::emulator::vm
