// SPDX-License-Identifier: Apache-2.0
//
// QEMU without a guest: its devices, and this process in the place of the processor. Accesses go
// through the machine's address space as a processor's do, RAM or not.
// Source: QEMU 10.0 docs/devel/testing/qtest.rst, system/qtest.c (the protocol's commands).
// Thread-safety: one thread. Ownership: owns the process, which ends with it. Units: bytes.
// Errors: a REQUIRE of the test fails, with QEMU's own words.
#pragma once

#include "vm/child_process.h"
#include <godbox/units.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::test {

class Qtest {
 public:
  Qtest(const std::string& program, const std::vector<std::string>& machine_arguments);
  ~Qtest();
  Qtest(const Qtest&) = delete;
  Qtest& operator=(const Qtest&) = delete;

  [[nodiscard]] std::uint32_t read32(std::uint64_t address);
  void write32(std::uint64_t address, std::uint32_t value);
  [[nodiscard]] std::vector<std::byte> read(std::uint64_t address, std::size_t size);
  void write(std::uint64_t address, ConstSpan bytes);
  // PCI configuration space, by the ports of the PC.
  [[nodiscard]] std::uint32_t config_read(unsigned bus, unsigned device, unsigned offset);
  void config_write(unsigned bus, unsigned device, unsigned offset, std::uint32_t value);
  // What the monitor prints.
  [[nodiscard]] std::string monitor(std::string_view command);

 private:
  // Of the links, a line at a time.
  struct Line {
    int near = -1;
    std::string unread = {};
  };
  void send(const Line& line, std::string_view text);
  [[nodiscard]] std::string next_line(Line& line);
  // What follows "OK".
  [[nodiscard]] std::string ask(const std::string& command);
  [[nodiscard]] std::string words();

  Line qtest_;
  Line qmp_;
  int output_ = -1;
  std::optional<emulator::vm::ChildProcess> process_;
};

}  // namespace godbox::test
