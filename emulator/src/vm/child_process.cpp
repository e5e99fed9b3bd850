// SPDX-License-Identifier: Apache-2.0
#include "child_process.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace godbox::emulator::vm {
namespace {

std::string system_reason(int error) {
  return std::error_code(error, std::generic_category()).message();
}

// By system call: glibc 2.36 declares it without C linkage.
int pidfd_open(pid_t process) { return static_cast<int>(::syscall(SYS_pidfd_open, process, 0)); }

// In the child, between fork and exec: only what is safe there. Says errno on `report`.
[[noreturn]] void become(char* const* arguments, const std::vector<int>& descriptors, int output,
                         int report, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C is the parent's to answer
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::dup2(null, STDIN_FILENO);
  ::dup2(output >= 0 ? output : null, STDOUT_FILENO);
  ::dup2(output >= 0 ? output : null, STDERR_FILENO);
  for (const int descriptor : descriptors) {
    ::fcntl(descriptor, F_SETFD, 0);
  }
  if (::getppid() == parent) {  // else it died before prctl
    ::execvp(arguments[0], arguments);
  }
  const int reason = errno;
  [[maybe_unused]] const ssize_t written = ::write(report, &reason, sizeof reason);
  ::_exit(127);
}

}  // namespace

Result<ChildProcess> ChildProcess::start(const ChildOptions& options) {
  std::vector<char*> arguments;
  for (const std::string& argument : options.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) {
    return Error(Errc::io_error, "pipe: " + system_reason(errno));
  }
  const OwnedDescriptor report_in(report[0]);
  OwnedDescriptor report_out(report[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) {
    return Error(Errc::io_error, "fork: " + system_reason(errno));
  }
  if (child == 0) {
    become(arguments.data(), options.descriptors, options.output, report_out.get(), parent);
  }
  report_out.reset();
  ChildProcess process(child, OwnedDescriptor(pidfd_open(child)));
  int reason = 0;
  ssize_t got = 0;
  do {
    got = ::read(report_in.get(), &reason, sizeof reason);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof reason) {
    return Error(reason == ENOENT ? Errc::device_missing : Errc::io_error,
                 fmt::format("{}: {}", options.arguments.front(), system_reason(reason)));
  }
  if (process.exit_descriptor() < 0) {
    return Error(Errc::io_error, "pidfd_open: " + system_reason(errno));
  }
  return process;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : id_(std::exchange(other.id_, -1)),
      exit_descriptor_(std::move(other.exit_descriptor_)),
      status_(other.status_) {}

ChildProcess::~ChildProcess() { kill(); }

std::optional<int> ChildProcess::exit_status() {
  if (id_ > 0) {
    int raw = 0;
    if (::waitpid(id_, &raw, WNOHANG) == id_) {
      status_ = WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
      id_ = -1;
    }
  }
  return status_;
}

void ChildProcess::kill() {
  if (id_ > 0 && !exit_status()) {
    ::kill(id_, SIGKILL);
    int raw = 0;
    while (::waitpid(id_, &raw, 0) < 0 && errno == EINTR) {
    }
    status_ = 128 + SIGKILL;
    id_ = -1;
  }
}

}  // namespace godbox::emulator::vm
