// SPDX-License-Identifier: Apache-2.0
#include "cache_folder.h"
#include "child_process.h"
#include <godbox/emulator/vm/qemu_program.h>
#include <godbox/emulator/vm/virtual_machine.h>

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace godbox::emulator::vm {
namespace {

// acpi-generic-port, which the latency of CXL memory needs, came with 9.2.
constexpr int kMajorMin = 9;
constexpr int kMinorMin = 2;
constexpr Duration kAnswerMax = std::chrono::seconds(20);
constexpr std::size_t kAnswerBytesMax = std::size_t{1} << 20U;

constexpr std::string_view kHowToGet =
    "Debian 13 has it, Debian 12 in bookworm-backports: qemu-system-x86; scripts/setup --vm "
    "installs it";

// What the program prints; its exit is not waited for. Nothing where that is more than a QEMU says.
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
      if (text.size() > kAnswerBytesMax) {
        return std::string();
      }
    } else if (errno != EINTR) {
      break;
    }
  }
  return Error(Errc::deadline_exceeded, arguments.front() + " does not answer");
}

// A property that only the patches give.
constexpr std::string_view kPatchedProperty = "volatile-memdev-granularity=";

struct Version {
  int major = 0;
  int minor = 0;
  int micro = 0;
};

Result<Version> version_of(const std::string& program) {
  const Result<std::string> text = output_of({program, "--version"});
  if (!text) {
    return Error(text.error().code, fmt::format("{} ({})", text.error().detail, kHowToGet));
  }
  Version version;
  constexpr std::string_view kBefore = "QEMU emulator version ";
  const std::size_t at = text->find(kBefore);
  if (at == std::string::npos || std::sscanf(text->c_str() + at + kBefore.size(), "%d.%d.%d",
                                             &version.major, &version.minor, &version.micro) < 2) {
    return Error(Errc::unsupported, fmt::format("{} says no version of QEMU", program));
  }
  return version;
}

Result<QemuProgram> checked(const std::string& program) {
  const Result<Version> version = version_of(program);
  if (!version) {
    return version.error();
  }
  if (version->major < kMajorMin || (version->major == kMajorMin && version->minor < kMinorMin)) {
    return Error(Errc::unsupported,
                 fmt::format("{} is QEMU {}.{}; CXL needs {}.{} or newer ({})", program,
                             version->major, version->minor, kMajorMin, kMinorMin, kHowToGet));
  }
  const Result<std::string> properties = output_of({program, "-device", "cxl-type3,help"});
  if (!properties || properties->find("volatile-memdev=") == std::string::npos) {
    return Error(Errc::unsupported, fmt::format("{} has no device cxl-type3", program));
  }
  return QemuProgram{
      .path = program,
      .version = fmt::format("{}.{}.{}", version->major, version->minor, version->micro),
      .is_patched = properties->find(kPatchedProperty) != std::string::npos,
      .passed_over = {}};
}

}  // namespace

std::string QemuProgram::description() const {
  std::string kind = " with godbox's patches: CXL memory is RAM to it";
  if (!passed_over.empty()) {
    kind = fmt::format(
        ", stock: CXL memory is slow; that of qemu-patches/build is of no use: {}; "
        "qemu-patches/build mends it",
        passed_over);
  } else if (!is_patched) {
    kind = ", stock: CXL memory is slow, qemu-patches/build makes it fast";
  }
  return fmt::format("QEMU {}{} ({})", version, kind, path);
}

std::string patched_qemu_path() {
  return cache_folder("GODBOX_QEMU", "qemu") + "/current/qemu-system-x86_64";
}

Result<QemuProgram> find_qemu(const std::string& wanted) {
  if (!wanted.empty()) {
    return checked(wanted);
  }
  const std::string patched = patched_qemu_path();
  if (::access(patched.c_str(), X_OK) != 0) {
    return checked(kStockQemu);
  }
  Result<QemuProgram> found = checked(patched);
  if (found && found->is_patched) {
    return found;
  }
  // One that does not start, for a library that is gone, is as good as none, but that is said.
  Result<QemuProgram> stock = checked(kStockQemu);
  if (stock) {
    stock->passed_over = found ? patched + " has no patches" : found.error().detail;
  }
  return stock;
}

Result<void> check_qemu(const std::string& program) {
  const Result<QemuProgram> found = checked(program);
  return found ? Result<void>() : Result<void>(found.error());
}

}  // namespace godbox::emulator::vm
