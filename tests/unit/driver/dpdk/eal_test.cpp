// SPDX-License-Identifier: Apache-2.0
//
// DPDK starts once in a process, so each case here starts it in a child of its own.
#include "eal_state.h"
#include <godbox/driver/dpdk_port.h>

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>
#include <functional>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

namespace godbox::driver {
namespace {

// What the work in the child said, a line for each finding; "died" when it did not end by itself.
std::string in_child(const std::function<std::string()>& work) {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    (void)alarm(60);
    const std::string said = work();
    const bool is_written = write(ends[1], said.data(), said.size()) >= 0;
    _exit(is_written ? 0 : 1);
  }
  (void)close(ends[1]);
  std::string said;
  std::array<char, 1024> bytes{};
  for (ssize_t count = 0; (count = read(ends[0], bytes.data(), bytes.size())) > 0;) {
    said.append(bytes.data(), static_cast<std::size_t>(count));
  }
  (void)close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? said : said + "died";
}

std::string outcome(const Result<std::shared_ptr<Eal>>& eal) {
  return eal ? "started\n" : eal.error().message() + "\n";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("DPDK starts once in a process, and says so to the next") {
  const std::string said = in_child([] {
    std::string text;
    Result<std::shared_ptr<Eal>> first = Eal::start({});
    text += outcome(first);
    text += outcome(Eal::start({}));
    first = Error(Errc::cancelled);  // the last owner
    return text + outcome(Eal::start({}));
  });
  CHECK(said ==
        "started\n"
        "already_exists: DPDK runs in this process: share its Eal\n"
        "already_exists: DPDK ran in this process and was closed; it starts once in a process\n");
}

TEST_CASE("DPDK leaves signals, the thread's CPUs and the file system alone") {
  const std::string said = in_child([] {
    const std::string folder = fmt::format("/tmp/godbox-eal-{}", getpid());
    (void)setenv("XDG_RUNTIME_DIR", folder.c_str(), 1);
    const auto handlers = [] {
      std::array<struct sigaction, 32> all{};
      for (int number = 1; number < 32; ++number) {
        (void)sigaction(number, nullptr, &all[static_cast<std::size_t>(number)]);
      }
      return all;
    };
    const auto before = handlers();
    sigset_t mask_before;
    (void)pthread_sigmask(SIG_SETMASK, nullptr, &mask_before);
    cpu_set_t cpus_before;
    (void)sched_getaffinity(0, sizeof(cpus_before), &cpus_before);
    const Result<std::shared_ptr<Eal>> eal = Eal::start({});
    std::string text = outcome(eal);
    const auto after = handlers();
    for (std::size_t number = 1; number < before.size(); ++number) {
      if (before[number].sa_handler != after[number].sa_handler) {
        text += fmt::format("signal {} was taken\n", number);
      }
    }
    sigset_t mask_after;
    (void)pthread_sigmask(SIG_SETMASK, nullptr, &mask_after);
    cpu_set_t cpus_after;
    (void)sched_getaffinity(0, sizeof(cpus_after), &cpus_after);
    for (int number = 1; number < 32; ++number) {
      if (sigismember(&mask_before, number) != sigismember(&mask_after, number)) {
        text += fmt::format("signal {} was masked\n", number);
      }
    }
    text += CPU_EQUAL(&cpus_before, &cpus_after) != 0 ? "" : "CPUs were taken\n";
    text += access(folder.c_str(), F_OK) == 0 ? "a folder was made\n" : "";
    return text;
  });
  CHECK(said == "started\n");
}

TEST_CASE("huge pages that nobody reserved are an error that names them") {
  std::ifstream reserved("/proc/sys/vm/nr_hugepages");
  long pages = 0;
  if (!(reserved >> pages) || pages != 0) {
    SKIP("needs a machine without huge pages");
  }
  const std::string said = in_child([] { return outcome(Eal::start({.huge_pages = true})); });
  CAPTURE(said);
  CHECK(contains(said, "DPDK does not start: "));
  CHECK(contains(said, "hugepage"));
  CHECK(contains(said, "or set huge_pages = false"));
}

TEST_CASE("the log's lines come whole, with their levels") {
  const std::string said = in_child([] {
    std::vector<std::pair<DpdkLogLevel, std::string>> lines;
    {
      const auto eal = Eal::start({.log = [&](DpdkLogLevel level, std::string_view line) {
        lines.emplace_back(level, line);
      }});
      (void)open_dpdk_port(*eal, {.device = "net_nothing0"});
    }
    std::string text;
    for (const auto& [level, line] : lines) {
      text += fmt::format("{}:{}\n", static_cast<int>(level), line);
    }
    return text;
  });
  CAPTURE(said);
  CHECK(contains(said, "3:EAL: Detected CPU lcores"));
  CHECK(contains(said, "0:EAL: "));
  CHECK(contains(said, "net_nothing0"));
  CHECK_FALSE(contains(said, "\n\n"));
}

TEST_CASE("options of DPDK that cannot be are refused by name, and DPDK can still start") {
  const std::string said = in_child([] {
    std::string text;
    text += outcome(Eal::start({.memory = SizeBytes(std::uint64_t{31} << 20U)}));
    text += outcome(Eal::start({.memory = SizeBytes((std::uint64_t{64} << 20U) + 1)}));
    text += outcome(Eal::start({.pci_addresses = {"eth0"}}));
    text += outcome(Eal::start({.pci_addresses = {"0000:3b:00.0 arg"}}));
    return text + outcome(Eal::start({}));
  });
  CHECK(said ==
        "config_invalid: memory = 32505856 bytes; DPDK's memory is 32 to 65536 MiB, whole ones\n"
        "config_invalid: memory = 67108865 bytes; DPDK's memory is 32 to 65536 MiB, whole ones\n"
        "config_invalid: pci_addresses: \"eth0\" is no address like 0000:3b:00.0\n"
        "config_invalid: pci_addresses: \"0000:3b:00.0 arg\" is no address like 0000:3b:00.0\n"
        "started\n");
}

TEST_CASE("a PCI device that is not there is missing when its port is opened") {
  const std::string said = in_child([] {
    const auto eal = Eal::start({.pci_addresses = {"0000:ff:1f.7"}});
    if (!eal) {
      return outcome(eal);
    }
    return open_dpdk_port(*eal, {.device = "0000:ff:1f.7"}).error().message();
  });
  CAPTURE(said);
  CHECK(contains(said, "device_missing: DPDK has no Ethernet device 0000:ff:1f.7"));
}

TEST_CASE("EAL's arguments are what the options say") {
  const auto has = [](const std::vector<std::string>& arguments, std::string_view word) {
    return std::ranges::count(arguments, word) == 1;
  };
  const auto plain = eal_arguments({}, {0, 1});
  REQUIRE(plain.has_value());
  for (const char* word : {"--no-huge", "--no-pci", "--no-shconf", "--no-telemetry",
                           "--iova-mode=va", "256", "0@(0,1)"}) {
    CAPTURE(word);
    CHECK(has(*plain, word));
  }
  CHECK_FALSE(has(*plain, "--in-memory"));
  const auto huge = eal_arguments(
      {.huge_pages = true, .pci_addresses = {"0000:3b:00.0", "0000:3b:00.1,arg=1"}}, {3});
  REQUIRE(huge.has_value());
  for (const char* word : {"--in-memory", "0000:3b:00.0", "0000:3b:00.1,arg=1", "0@(3)"}) {
    CAPTURE(word);
    CHECK(has(*huge, word));
  }
  for (const char* word : {"--no-huge", "--no-pci", "--iova-mode=va"}) {
    CAPTURE(word);
    CHECK_FALSE(has(*huge, word));
  }
  CHECK_FALSE(eal_arguments({}, {}).has_value());
}

}  // namespace
}  // namespace godbox::driver
