// SPDX-License-Identifier: Apache-2.0
//
// A guest without CXL: what every VM of godbox promises about commands, streams, limits and ends.
#include <godbox/emulator/vm/virtual_machine.h>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace godbox::emulator::vm {
namespace {

using namespace std::chrono_literals;

constexpr Duration kBootLimit = 120s;

VmLaunch plain_launch() {
  const auto image = find_guest_image();
  if (!image) {
    SKIP(image.error().detail);
  }
  if (const auto checked = check_qemu("qemu-system-x86_64"); !checked) {
    SKIP(checked.error().detail);
  }
  VmLaunch launch;
  launch.image = *image;
  launch.machine_arguments = {"-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "512M"};
  return launch;
}

// A file in memory that takes a command's output.
class Output {
 public:
  Output() : descriptor_(::memfd_create("output", MFD_CLOEXEC)) {}
  ~Output() { ::close(descriptor_); }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] std::string text() const {
    std::string all(static_cast<std::size_t>(::lseek(descriptor_, 0, SEEK_END)), '\0');
    const ssize_t got = ::pread(descriptor_, all.data(), all.size(), 0);
    all.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return all;
  }

 private:
  int descriptor_;
};

std::unique_ptr<VirtualMachine> booted() {
  auto machine = VirtualMachine::start(plain_launch());
  REQUIRE(machine.has_value());
  const auto ready = (*machine)->wait_until_ready(kBootLimit);
  INFO((ready ? std::string() : ready.error().message()));
  REQUIRE(ready.has_value());
  return std::move(*machine);
}

bool is_alive(int process) { return ::kill(process, 0) == 0; }

}  // namespace

TEST_CASE("a guest runs commands and gives back streams and status", "[qemu]") {
  const auto machine = booted();
  const int process = machine->process_id();
  const Output out;
  const Output err;
  const CommandStreams streams{-1, out.descriptor(), err.descriptor()};

  const auto run = [&](std::vector<std::string> arguments) {
    return machine->run({.arguments = std::move(arguments)}, streams, 60s);
  };
  auto status = run({"sh", "-c", "echo out; echo err >&2; exit 7"});
  REQUIRE(status.has_value());
  CHECK(*status == 7);
  CHECK(out.text() == "out\n");
  CHECK(err.text() == "err\n");

  status = run({"no-such-program"});
  REQUIRE(status.has_value());
  CHECK(*status == 127);
  status = run({"sh", "-c", "kill -9 $$"});
  REQUIRE(status.has_value());
  CHECK(*status == 128 + SIGKILL);

  // What a shell could take apart arrives as it was.
  const Output quoted;
  status = machine->run({.arguments = {"printf", "%s|", "a b", "'\"$HOME", "\\n;", ""}},
                        {-1, quoted.descriptor(), -1}, 60s);
  REQUIRE(status.has_value());
  CHECK(quoted.text() == "a b|'\"$HOME|\\n;||");

  // All of a long output has come when the status has.
  const Output large;
  status = machine->run({.arguments = {"sh", "-c", "head -c 3000000 /dev/zero"}},
                        {-1, large.descriptor(), -1}, 120s);
  REQUIRE(status.has_value());
  CHECK(large.text().size() == 3'000'000);

  // The root can be written to, and the machine's own is not.
  status = run({"sh", "-c", "echo x > /godbox-was-here && mkdir /a && test -f /godbox-was-here"});
  REQUIRE(status.has_value());
  CHECK(*status == 0);
  CHECK(::access("/godbox-was-here", F_OK) != 0);

  // Input, to its end; only one command of a VM's life has any.
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const std::string text(200'000, 'x');
  std::thread writer([&] {
    const ssize_t written = ::write(pipe[1], text.data(), text.size());
    CHECK(written == static_cast<ssize_t>(text.size()));
    ::close(pipe[1]);
  });
  const Output counted;
  status = machine->run({.arguments = {"wc", "-c"}}, {pipe[0], counted.descriptor(), -1}, 60s);
  writer.join();
  ::close(pipe[0]);
  REQUIRE(status.has_value());
  CHECK(counted.text() == "200000\n");

  machine->power_off(1s);
  CHECK_FALSE(is_alive(process));
}

TEST_CASE("what ends a command does not end its VM", "[qemu]") {
  const auto machine = booted();
  ::signal(SIGPIPE, SIG_IGN);
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  ::close(pipe[0]);
  const auto ended = machine->run({.arguments = {"yes"}}, {-1, pipe[1], -1}, 60s);
  ::close(pipe[1]);
  ::signal(SIGPIPE, SIG_DFL);
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().code == Errc::io_error);
  const auto served = machine->serve(1s);
  REQUIRE_FALSE(served.has_value());
  CHECK(served.error().code == Errc::deadline_exceeded);
  CHECK(machine->qmp("query-status", "", 10s).has_value());
  const Output out;
  const auto next = machine->run({.arguments = {"echo", "next"}}, {-1, out.descriptor(), -1}, 60s);
  REQUIRE(next.has_value());
  CHECK(out.text() == "next\n");

  // One that takes too long, and does not listen, ends with its children.
  const auto late = machine->run(
      {.arguments = {"sh", "-c", "trap '' TERM; sleep 1234 & wait; sleep 1234"}}, {-1, -1, -1}, 2s);
  REQUIRE_FALSE(late.has_value());
  CHECK(late.error().code == Errc::deadline_exceeded);
  const Output processes;
  const auto listed =
      machine->run({.arguments = {"sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"}},
                   {-1, processes.descriptor(), -1}, 60s);
  REQUIRE(listed.has_value());
  CHECK(processes.text().find("sh -c") != std::string::npos);
  CHECK(processes.text().find("1234") == std::string::npos);
}

TEST_CASE("a command beside the one that runs has a status of its own, and none of its words",
          "[qemu]") {
  const auto machine = booted();
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  REQUIRE(::write(pipe[1], "x", 1) == 1);
  Result<int> beside = Error(Errc::not_found);
  Result<int> late = 0;
  Result<int> second = 0;
  machine->watch(pipe[0], [&] {
    machine->unwatch(pipe[0]);
    second = machine->run({.arguments = {"true"}}, {-1, -1, -1}, 60s);
    beside = machine->run_beside({"sh", "-c", "echo beside; echo beside >&2; exit 3"}, 60s);
    late = machine->run_beside({"sleep", "1234"}, 2s);
    machine->interrupt_beside();  // of nothing
  });
  const Output out;
  const auto status = machine->run({.arguments = {"sh", "-c", "echo one; sleep 20; echo two"}},
                                   {-1, out.descriptor(), out.descriptor()}, 120s);
  ::close(pipe[0]);
  ::close(pipe[1]);
  REQUIRE(status.has_value());
  CHECK(*status == 0);
  CHECK(out.text() == "one\ntwo\n");
  REQUIRE(beside.has_value());
  CHECK(*beside == 3);
  REQUIRE_FALSE(late.has_value());
  CHECK(late.error().code == Errc::deadline_exceeded);
  REQUIRE_FALSE(second.has_value());
  CHECK(second.error().code == Errc::queue_full);
  CHECK(machine->run_beside({"true"}, 60s).value() == 0);
}

TEST_CASE("a guest that crashes is reported with its console's last lines", "[qemu]") {
  const auto machine = booted();
  CHECK(machine->qmp("query-status", "", 10s).has_value());
  const auto refused = machine->qmp("no-such-command", "", 10s);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().detail.find("no-such-command") != std::string::npos);

  const auto ended = machine->run(
      {.arguments = {"sh", "-c", "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger"}},
      {-1, -1, -1}, 60s);
  REQUIRE_FALSE(ended.has_value());
  CHECK(ended.error().code == Errc::io_error);
  INFO(ended.error().detail);
  CHECK(ended.error().detail.find("sysrq triggered crash") != std::string::npos);
}

TEST_CASE("a guest that is never ready is ended within its limit", "[qemu]") {
  VmLaunch launch = plain_launch();
  launch.kernel_arguments = "rdinit=/no-such-init root=/dev/nothing rootwait loglevel=7";
  const auto machine = VirtualMachine::start(std::move(launch));
  REQUIRE(machine.has_value());
  const auto start = std::chrono::steady_clock::now();
  const auto ready = (*machine)->wait_until_ready(15s);
  REQUIRE_FALSE(ready.has_value());
  CHECK(std::chrono::steady_clock::now() - start < 17s);
  INFO(ready.error().detail);
  CHECK(ready.error().detail.find("console") != std::string::npos);
}

TEST_CASE("QEMU dies with its parent, even when that is killed", "[qemu]") {
  VmLaunch launch = plain_launch();
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const pid_t parent = ::fork();
  REQUIRE(parent >= 0);
  if (parent == 0) {
    const auto machine = VirtualMachine::start(std::move(launch));
    const int process = machine ? (*machine)->process_id() : -1;
    [[maybe_unused]] const ssize_t written = ::write(pipe[1], &process, sizeof process);
    ::pause();
    ::_exit(0);
  }
  int process = -1;
  REQUIRE(::read(pipe[0], &process, sizeof process) == sizeof process);
  REQUIRE(process > 0);
  CHECK(is_alive(process));
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  for (int i = 0; i < 100 && is_alive(process); ++i) {
    std::this_thread::sleep_for(50ms);
  }
  CHECK_FALSE(is_alive(process));
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_CASE("what cannot start is named", "[qemu]") {
  VmLaunch launch = plain_launch();
  launch.qemu_program = "no-such-qemu";
  const auto missing = VirtualMachine::start(launch);
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().code == Errc::device_missing);
  CHECK(missing.error().detail.find("no-such-qemu") != std::string::npos);

  launch = plain_launch();
  launch.machine_arguments = {"-machine", "no-such-machine"};
  const auto machine = VirtualMachine::start(launch);
  REQUIRE(machine.has_value());
  const auto ready = (*machine)->wait_until_ready(20s);
  REQUIRE_FALSE(ready.has_value());
  CHECK(ready.error().code == Errc::io_error);
  CHECK(ready.error().detail.find("no-such-machine") != std::string::npos);

  CHECK(check_qemu("no-such-qemu").error().code == Errc::device_missing);
  CHECK(check_qemu("true").error().code == Errc::unsupported);
  const std::string old_qemu = std::filesystem::temp_directory_path() / "godbox-test-old-qemu";
  std::ofstream(old_qemu) << "#!/bin/sh\necho 'QEMU emulator version 8.2.0 (Debian 1:8.2.0)'\n";
  std::filesystem::permissions(old_qemu, std::filesystem::perms::owner_all);
  const auto too_old = check_qemu(old_qemu);
  std::filesystem::remove(old_qemu);
  REQUIRE_FALSE(too_old.has_value());
  CHECK(too_old.error().code == Errc::unsupported);
  CHECK(too_old.error().detail.find("8.2") != std::string::npos);
  const auto image = find_guest_image("/nowhere");
  REQUIRE_FALSE(image.has_value());
  CHECK(image.error().detail.find("scripts/guest-image") != std::string::npos);
}

}  // namespace godbox::emulator::vm
