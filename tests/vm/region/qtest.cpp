// SPDX-License-Identifier: Apache-2.0
#include "qtest.h"

#include <boost/json.hpp>
#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <array>
#include <cstdlib>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

namespace godbox::test {
namespace {

constexpr int kAnswerMaxMs = 120'000;  // under a load of other tests
constexpr std::size_t kPieceBytes = 16384;

std::string hex(ConstSpan bytes) {
  std::string text = "0x";
  for (const std::byte byte : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    text += kDigits[std::to_integer<std::size_t>(byte) >> 4U];
    text += kDigits[std::to_integer<std::size_t>(byte) & 15U];
  }
  return text;
}

std::byte digit(char c) { return static_cast<std::byte>(c <= '9' ? c - '0' : c - 'a' + 10); }

std::array<int, 2> link() {
  std::array<int, 2> pair{};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()) == 0);
  fcntl(pair[0], F_SETFD, FD_CLOEXEC);
  return pair;
}

}  // namespace

Qtest::Qtest(const std::string& program, const std::vector<std::string>& machine_arguments) {
  const std::array<int, 2> qtest = link();
  const std::array<int, 2> qmp = link();
  qtest_.near = qtest[0];
  qmp_.near = qmp[0];
  output_ = memfd_create("qemu", MFD_CLOEXEC);
  emulator::vm::ChildOptions child{
      .arguments = {program, "-accel", "qtest", "-display", "none", "-nodefaults", "-chardev",
                    fmt::format("socket,id=qtest,fd={}", qtest[1]), "-qtest", "chardev:qtest",
                    "-qtest-log", "none", "-chardev", fmt::format("socket,id=qmp,fd={}", qmp[1]),
                    "-mon", "chardev=qmp,mode=control"},
      .descriptors = {qtest[1], qmp[1]},
      .output = output_};
  child.arguments.insert(child.arguments.end(), machine_arguments.begin(), machine_arguments.end());
  auto started = emulator::vm::ChildProcess::start(child);
  ::close(qtest[1]);
  ::close(qmp[1]);
  REQUIRE(started.has_value());
  process_.emplace(std::move(*started));
  (void)next_line(qmp_);  // the greeting
  send(qmp_, R"({"execute":"qmp_capabilities"})");
  REQUIRE(next_line(qmp_).find("return") != std::string::npos);
}

Qtest::~Qtest() {
  process_.reset();
  for (const int descriptor : {qtest_.near, qmp_.near, output_}) {
    ::close(descriptor);
  }
}

std::string Qtest::words() {
  std::string text(4096, '\0');
  const ssize_t got = ::pread(output_, text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return text;
}

void Qtest::send(const Line& line, std::string_view text) {
  std::string rest = std::string(text) + "\n";
  while (!rest.empty()) {
    const ssize_t sent = ::send(line.near, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      FAIL("QEMU is gone: " << words());
    }
    rest.erase(0, static_cast<std::size_t>(sent));
  }
}

std::string Qtest::next_line(Line& line) {
  std::size_t from = 0;
  std::size_t end = std::string::npos;
  while ((end = line.unread.find('\n', from)) == std::string::npos) {
    from = line.unread.size();
    std::array<char, 65536> chunk{};
    pollfd ready{line.near, POLLIN, 0};
    const ssize_t got =
        ::poll(&ready, 1, kAnswerMaxMs) > 0 ? ::read(line.near, chunk.data(), chunk.size()) : -1;
    if (got <= 0) {
      FAIL((got == 0 ? "QEMU is gone: " : "QEMU does not answer: ") << words());
    }
    line.unread.append(chunk.data(), static_cast<std::size_t>(got));
  }
  std::string text = line.unread.substr(0, end);
  line.unread.erase(0, end + 1);
  return text;
}

std::string Qtest::ask(const std::string& command) {
  send(qtest_, command);
  const std::string answer = next_line(qtest_);
  if (!answer.starts_with("OK")) {
    FAIL(command.substr(0, 80) << ": " << answer);
  }
  return answer.size() > 3 ? answer.substr(3) : "";
}

std::uint32_t Qtest::read32(std::uint64_t address) {
  return static_cast<std::uint32_t>(
      std::strtoull(ask(fmt::format("readl {:#x}", address)).c_str(), nullptr, 0));
}

void Qtest::write32(std::uint64_t address, std::uint32_t value) {
  (void)ask(fmt::format("writel {:#x} {:#x}", address, value));
}

std::vector<std::byte> Qtest::read(std::uint64_t address, std::size_t size) {
  std::vector<std::byte> bytes;
  while (bytes.size() < size) {
    const std::size_t piece = std::min(kPieceBytes, size - bytes.size());
    const std::string text = ask(fmt::format("read {:#x} {:#x}", address + bytes.size(), piece));
    REQUIRE(text.size() == 2 + 2 * piece);
    for (std::size_t i = 2; i < text.size(); i += 2) {
      bytes.push_back((digit(text[i]) << 4) | digit(text[i + 1]));
    }
  }
  return bytes;
}

void Qtest::write(std::uint64_t address, ConstSpan bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += kPieceBytes) {
    const ConstSpan piece = bytes.subspan(at, std::min(kPieceBytes, bytes.size() - at));
    (void)ask(fmt::format("write {:#x} {:#x} {}", address + at, piece.size(), hex(piece)));
  }
}

std::uint32_t Qtest::config_read(unsigned bus, unsigned device, unsigned offset) {
  (void)ask(fmt::format("outl 0xcf8 {:#x}", 0x8000'0000U | bus << 16U | device << 11U | offset));
  return static_cast<std::uint32_t>(std::strtoull(ask("inl 0xcfc").c_str(), nullptr, 0));
}

void Qtest::config_write(unsigned bus, unsigned device, unsigned offset, std::uint32_t value) {
  (void)ask(fmt::format("outl 0xcf8 {:#x}", 0x8000'0000U | bus << 16U | device << 11U | offset));
  (void)ask(fmt::format("outl 0xcfc {:#x}", value));
}

std::string Qtest::monitor(std::string_view command) {
  send(qmp_, fmt::format(R"({{"execute":"human-monitor-command","arguments":)"
                         R"({{"command-line":"{}"}}}})",
                         command));
  while (true) {
    const boost::json::value message = boost::json::parse(next_line(qmp_));
    if (const boost::json::value* const text = message.as_object().if_contains("return")) {
      return std::string(text->get_string());
    }
    REQUIRE_FALSE(message.as_object().contains("error"));
  }
}

}  // namespace godbox::test
