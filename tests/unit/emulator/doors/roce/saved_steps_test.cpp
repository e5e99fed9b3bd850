// SPDX-License-Identifier: Apache-2.0
//
// The saved inputs of the fuzz target roce_fuzz: that those which are sessions get through to the
// pool and to the programs, so that the fuzzer begins with inputs that reach all of the port.
#include <godbox_test/roce_steps.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <string>
#include <string_view>

namespace godbox::emulator {
namespace {

using test::Bytes;
using test::RoceSteps;

std::filesystem::path saved_inputs() {
  return std::filesystem::path(GODBOX_VECTORS_DIR).parent_path() / "fuzz" / "corpus" / "roce_fuzz";
}

Bytes saved(std::string_view name) {
  std::ifstream file(saved_inputs() / name, std::ios::binary);
  REQUIRE(file.is_open());
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  Bytes bytes(text.size());
  std::ranges::transform(text, bytes.begin(), [](char c) { return static_cast<std::byte>(c); });
  return bytes;
}

struct Session {
  std::string_view name;
  std::uint64_t sends = 0, writes = 0, reads = 0, atomics = 0, duplicates = 0;
  std::uint64_t bytes_read = 0, bytes_written = 0;
  std::uint64_t naks_sequence = 0, naks_invalid = 0, naks_access = 0, naks_not_ready = 0;
  std::uint64_t completed = 0, received = 0;
  bool operator==(const Session&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Session& of) {
  return out << of.name << ": sends " << of.sends << " writes " << of.writes << " reads "
             << of.reads << " atomics " << of.atomics << " duplicates " << of.duplicates
             << " bytes_read " << of.bytes_read << " bytes_written " << of.bytes_written << " naks "
             << of.naks_sequence << ' ' << of.naks_invalid << ' ' << of.naks_access << ' '
             << of.naks_not_ready << " completed " << of.completed << " received " << of.received;
}

Session played(std::string_view name) {
  RoceSteps steps;
  steps.run(saved(name));
  const RocePortCounters& counters = steps.counters();
  return {.name = name,
          .sends = counters.sends.get(),
          .writes = counters.writes.get(),
          .reads = counters.reads.get(),
          .atomics = counters.atomics.get(),
          .duplicates = counters.duplicates.get(),
          .bytes_read = counters.bytes_read.get(),
          .bytes_written = counters.bytes_written.get(),
          .naks_sequence = counters.naks_sequence.get(),
          .naks_invalid = counters.naks_invalid.get(),
          .naks_access = counters.naks_access.get(),
          .naks_not_ready = counters.naks_not_ready.get(),
          .completed = steps.completed(),
          .received = steps.received()};
}

}  // namespace

TEST_CASE("saved sessions of roce_fuzz do what they are for", "[unit][roce]") {
  const std::array<Session, 7> sessions{{
      {.name = "session",
       .writes = 3,
       .reads = 3,
       .atomics = 4,
       .duplicates = 3,
       .bytes_read = 5 + 600 + 24 + 344,
       .bytes_written = 604,
       .naks_sequence = 1,
       .naks_access = 1},
      {.name = "reads",
       .reads = 2,
       .duplicates = 1,
       .bytes_read = 150'000 + 47'600,
       .naks_access = 1},
      {.name = "writes",
       .writes = 4,
       .duplicates = 1,
       .bytes_written = 600 + 4 + 300 + 400,
       .naks_access = 1,
       .received = 2},
      {.name = "atomics", .atomics = 3, .duplicates = 3, .naks_invalid = 1},
      {.name = "sends",
       .sends = 3,
       .duplicates = 1,
       .naks_invalid = 1,
       .naks_not_ready = 1,
       .received = 3},
      {.name = "held",
       .writes = 1,
       .reads = 2,
       .atomics = 1,
       .duplicates = 2,
       .bytes_read = 444 + 1000,
       .bytes_written = 4},
      {.name = "asked", .completed = 7},
  }};
  for (const Session& session : sessions) {
    CHECK(played(session.name) == session);
  }
}

TEST_CASE("saved sessions of roce_fuzz reach the ways that are seldom taken", "[unit][roce]") {
  const auto count = [](const char* name, RoceCounter RocePortCounters::*counter) {
    RoceSteps steps;
    steps.run(saved(name));
    return (steps.counters().*counter).get();
  };
  CHECK(count("writes", &RocePortCounters::pins_expired) == 1);
  CHECK(count("asked", &RocePortCounters::rnr_waits) == 1);
  CHECK(count("asked", &RocePortCounters::timeouts) == 1);
  CHECK(count("asked", &RocePortCounters::retransmits) == 4);
}

TEST_CASE("all saved inputs of roce_fuzz leave nothing behind", "[unit][roce]") {
  std::size_t played = 0;
  for (const auto& entry : std::filesystem::directory_iterator(saved_inputs())) {
    const std::string name = entry.path().filename().string();
    CAPTURE(name);
    RoceSteps steps;
    steps.run(saved(name));  // asserts
    CHECK(steps.counters().frames_received.get() > 0);
    ++played;
  }
  CHECK(played >= 25);
}

}  // namespace godbox::emulator
