// SPDX-License-Identifier: Apache-2.0
#include "child_process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace godbox::chaos {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

}  // namespace

ChildProcess::~ChildProcess() { kill(); }

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      output_(std::move(other.output_)),
      pending_(std::move(other.pending_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    kill();
    pid_ = std::exchange(other.pid_, -1);
    output_ = std::move(other.output_);
    pending_ = std::move(other.pending_);
  }
  return *this;
}

ChildProcess ChildProcess::start(const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe");
  }
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  ChildProcess child;
  child.output_ = OwnedFd(ends[0]);
  OwnedFd theirs(ends[1]);
  const pid_t parent = ::getpid();
  child.pid_ = ::fork();
  if (child.pid_ < 0) {
    throw std::system_error(errno, std::generic_category(), "fork");
  }
  if (child.pid_ == 0) {
    // Only calls that are safe after fork() in a program with threads.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() == parent && ::dup2(theirs.get(), STDOUT_FILENO) >= 0) {
      ::execv(argv[0], argv.data());
    }
    ::_exit(127);
  }
  return child;
}

std::optional<std::string> ChildProcess::read_line(milliseconds within) {
  const Clock::time_point until = Clock::now() + within;
  while (true) {
    const std::size_t end = pending_.find('\n');
    if (end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
    pollfd poll{output_.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&poll, 1, static_cast<int>(left.count())) <= 0) {
      return std::nullopt;
    }
    std::array<char, 4096> bytes{};
    const ssize_t got = ::read(output_.get(), bytes.data(), bytes.size());
    if (got <= 0) {
      return std::nullopt;
    }
    pending_.append(bytes.data(), static_cast<std::size_t>(got));
  }
}

void ChildProcess::signal(int number) const {
  if (pid_ > 0) {
    ::kill(pid_, number);
  }
}

std::optional<int> ChildProcess::wait(milliseconds within) {
  const Clock::time_point until = Clock::now() + within;
  while (pid_ > 0) {
    int status = 0;
    const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) {
      pid_ = -1;
      return status;
    }
    if (Clock::now() >= until) {
      return std::nullopt;
    }
    std::this_thread::sleep_for(milliseconds(2));
  }
  return std::nullopt;
}

void ChildProcess::kill() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
  }
}

std::size_t ChildProcess::descriptor_count() const { return count_descriptors(pid_); }

std::size_t count_descriptors(pid_t pid) {
  std::size_t count = 0;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    static_cast<void>(entry);
    ++count;
  }
  return count;
}

}  // namespace godbox::chaos
