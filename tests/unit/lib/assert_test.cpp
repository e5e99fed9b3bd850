// SPDX-License-Identifier: Apache-2.0
#include <godbox/assert.h>

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <csignal>
#include <string>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

struct ChildEnd {
  int signal = 0;
  std::string error_output;
};

// What becomes of a process that asserts.
ChildEnd end_of_child_that_asserts(bool condition) {
  std::array<int, 2> pipe_ends{};
  REQUIRE(pipe(pipe_ends.data()) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(pipe_ends[1], STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL);  // Catch2 handles it otherwise
    GODBOX_ASSERT(condition);
    _exit(0);
  }
  close(pipe_ends[1]);
  ChildEnd end;
  std::array<char, 512> buffer{};
  for (ssize_t n = 0; (n = read(pipe_ends[0], buffer.data(), buffer.size())) > 0;) {
    end.error_output.append(buffer.data(), static_cast<std::size_t>(n));
  }
  close(pipe_ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return end;
}

}  // namespace

TEST_CASE("a failed assertion names itself and aborts, in every build", "[unit]") {
  const ChildEnd end = end_of_child_that_asserts(false);
  CHECK(end.signal == SIGABRT);
  CHECK(end.error_output.find("assert_test.cpp:") != std::string::npos);
  CHECK(end.error_output.find(": assertion failed: condition\n") != std::string::npos);
}

TEST_CASE("an assertion that holds says nothing", "[unit]") {
  const ChildEnd end = end_of_child_that_asserts(true);
  CHECK(end.signal == 0);
  CHECK(end.error_output.empty());
}
