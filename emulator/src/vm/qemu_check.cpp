// SPDX-License-Identifier: Apache-2.0
#include "child_process.h"
#include <godbox/emulator/vm/virtual_machine.h>

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <poll.h>

namespace godbox::emulator::vm {
namespace {

// acpi-generic-port, which the latency of CXL memory needs, came with 9.2.
constexpr int kMajorMin = 9;
constexpr int kMinorMin = 2;
constexpr Duration kAnswerMax = std::chrono::seconds(20);

constexpr std::string_view kHowToGet =
    "Debian 13 has it, Debian 12 in bookworm-backports: qemu-system-x86; scripts/setup --vm "
    "installs it";

// What the program prints; its exit is not waited for.
Result<std::string> output_of(const std::vector<std::string>& arguments) {
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    return Error(Errc::io_error, "no pipe");
  }
  const OwnedDescriptor in(pipe[0]);
  OwnedDescriptor out(pipe[1]);
  Result<ChildProcess> child =
      ChildProcess::start({.arguments = arguments, .descriptors = {}, .output = out.get()});
  out.reset();
  if (!child) {
    return child.error();
  }
  const TimePoint end = SteadyClock().now() + kAnswerMax;
  std::string text;
  std::array<char, 4096> chunk{};
  while (SteadyClock().now() < end) {
    pollfd ready{in.get(), POLLIN, 0};
    if (::poll(&ready, 1, 1000) <= 0) {
      continue;
    }
    const ssize_t got = ::read(in.get(), chunk.data(), chunk.size());
    if (got == 0) {
      return text;
    }
    if (got > 0) {
      text.append(chunk.data(), static_cast<std::size_t>(got));
    } else if (errno != EINTR) {
      break;
    }
  }
  return Error(Errc::deadline_exceeded, arguments.front() + " does not answer");
}

}  // namespace

Result<void> check_qemu(const std::string& program) {
  const Result<std::string> version = output_of({program, "--version"});
  if (!version) {
    return Error(version.error().code, fmt::format("{} ({})", version.error().detail, kHowToGet));
  }
  int major = 0;
  int minor = 0;
  constexpr std::string_view kBefore = "QEMU emulator version ";
  const std::size_t at = version->find(kBefore);
  if (at == std::string::npos ||
      std::sscanf(version->c_str() + at + kBefore.size(), "%d.%d", &major, &minor) != 2) {
    return Error(Errc::unsupported, fmt::format("{} says no version of QEMU", program));
  }
  if (major < kMajorMin || (major == kMajorMin && minor < kMinorMin)) {
    return Error(Errc::unsupported,
                 fmt::format("{} is QEMU {}.{}; CXL needs {}.{} or newer ({})", program, major,
                             minor, kMajorMin, kMinorMin, kHowToGet));
  }
  const Result<std::string> devices = output_of({program, "-device", "help"});
  if (!devices || devices->find("\"cxl-type3\"") == std::string::npos) {
    return Error(Errc::unsupported, fmt::format("{} has no device cxl-type3", program));
  }
  return {};
}

}  // namespace godbox::emulator::vm
