// SPDX-License-Identifier: Apache-2.0
#include "measure/machine.h"

#include "cli/json.h"
#include <godbox/perf/l3_cache.h>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <thread>

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace godbox::app {
namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

Machine describe_machine() {
  Machine machine;
  machine.cpu_model = cpu_model();
  machine.cores = std::thread::hardware_concurrency();
  machine.memory = SizeBytes(static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                             static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)));
  machine.l3_cache = perf::l3_cache();
  utsname system{};
  if (::uname(&system) == 0) {
    machine.kernel = std::string(system.sysname) + " " + system.release;
  }
  std::array<double, 1> load{};
  if (::getloadavg(load.data(), 1) == 1) {
    machine.load_average = load[0];
  }
  return machine;
}

boost::json::object to_json(const Machine& machine) {
  boost::json::object object;
  object["cpu_model"] = machine.cpu_model;
  object["cores"] = machine.cores;
  object["memory_bytes"] = machine.memory.count();
  object["l3_cache_bytes"] = machine.l3_cache.count();
  object["kernel"] = machine.kernel;
  object["load_average_1min"] = rounded(machine.load_average);
  return object;
}

std::string now_as_text() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

double cpu_seconds_used() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

}  // namespace godbox::app
