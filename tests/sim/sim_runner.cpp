// SPDX-License-Identifier: Apache-2.0
//
// Runs the product in the simulator: one seed, or a range of them. Ends with status 0 when all is
// well, 1 when a check failed, 2 for bad arguments. Each failure prints the command that replays
// it.
#include <godbox/sim/sim_world.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include <unistd.h>

namespace {

using godbox::sim::InjectedBug;
using godbox::sim::SimReport;
using godbox::sim::SimWorldOptions;

constexpr const char* kUsage =
    "usage: sim_runner [options]\n"
    "  --seed N            first seed (default 1)\n"
    "  --seeds N           how many seeds to run (default 1); the environment's GODBOX_SIM_SEEDS\n"
    "                      lowers it, and then nothing is needed\n"
    "  --operations N      operations per seed (default 1000)\n"
    "  --faults N          faults per seed (default 5)\n"
    "  --tenants           quotas, a tenant that floods the pool with leases, layers\n"
    "  --bindings          names bound anew, pins, TTLs, watermarks, subscribers, layers, storms\n"
    "  --control-cuts      faults are only such as end control connections: no session is lost\n"
    "  --inject-bug NAME   drop-crc-check, lose-callback, late-write, leak-space, forget-remove,\n"
    "                      forget-rebind, forget-ttl, forget-unpin, skip-event: a mistake of the\n"
    "                      harness that its own checks have to find\n"
    "  --expect-violation TEXT  succeed when at least half of the seeds have TEXT in the finding\n"
    "  --twice             run each seed twice and compare\n"
    "  --need NAME         fail unless NAME was seen in some seed; may be given several times\n"
    "  --verbose           print every operation and fault\n"
    "  --trace             and every event of the network\n";

constexpr std::array<std::pair<std::string_view, InjectedBug>, 9> kBugs{
    {{"drop-crc-check", InjectedBug::drop_crc_check},
     {"lose-callback", InjectedBug::lose_callback},
     {"late-write", InjectedBug::late_write},
     {"leak-space", InjectedBug::leak_space},
     {"forget-remove", InjectedBug::forget_remove},
     {"forget-rebind", InjectedBug::forget_rebind},
     {"forget-ttl", InjectedBug::forget_ttl},
     {"forget-unpin", InjectedBug::forget_unpin},
     {"skip-event", InjectedBug::skip_event}}};

struct Arguments {
  SimWorldOptions world;
  std::uint64_t seeds = 1;
  std::string bug = "none";
  std::string expected_violation;
  bool twice = false;
  std::vector<std::string> needed;
  bool verbose = false;
};

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number)
                                                                  : std::nullopt;
}

bool parse_option(Arguments& arguments, std::string_view option, std::string_view value) {
  if (option == "--inject-bug") {
    const auto found = std::find_if(kBugs.begin(), kBugs.end(),
                                    [&](const auto& bug) { return bug.first == value; });
    if (found != kBugs.end()) {
      arguments.world.bug = found->second;
      arguments.bug = value;
    }
    return found != kBugs.end();
  }
  if (option == "--expect-violation") {
    arguments.expected_violation = value;
    return !value.empty();
  }
  if (option == "--need") {
    arguments.needed.emplace_back(value);
    return true;
  }
  const std::optional<std::uint64_t> number = parse_number(value);
  if (!number) {
    return false;
  }
  if (option == "--seed") {
    arguments.world.seed = *number;
  } else if (option == "--seeds") {
    arguments.seeds = *number;
  } else if (option == "--operations") {
    arguments.world.operations = *number;
  } else if (option == "--faults") {
    arguments.world.faults = *number;
  } else {
    return false;
  }
  return true;
}

std::optional<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--twice") {
      arguments.twice = true;
    } else if (option == "--tenants") {
      arguments.world.tenants = true;
    } else if (option == "--bindings") {
      arguments.world.bindings = true;
    } else if (option == "--control-cuts") {
      arguments.world.control_cuts = true;
    } else if (option == "--verbose" || option == "--trace") {
      arguments.verbose = true;
      arguments.world.log_network = arguments.world.log_network || option == "--trace";
    } else if (i + 1 >= argc || !parse_option(arguments, option, argv[++i])) {
      return std::nullopt;
    }
  }
  if (const char* limit = std::getenv("GODBOX_SIM_SEEDS")) {
    const std::optional<std::uint64_t> seeds = parse_number(limit);
    if (!seeds) {
      return std::nullopt;
    }
    if (*seeds < arguments.seeds) {
      arguments.seeds = *seeds;
      arguments.needed.clear();  // so few cannot show everything
    }
  }
  if (arguments.verbose) {
    arguments.world.log = [](const std::string& line) { std::puts(line.c_str()); };
  }
  return arguments;
}

// What to run to see this seed again; kept ready for a signal handler.
std::array<char, 512> replay_line{};

void set_replay_line(const char* program, const Arguments& arguments) {
  std::string line =
      fmt::format("replay: {} --seed {} --operations {} --faults {}", program, arguments.world.seed,
                  arguments.world.operations, arguments.world.faults);
  line += arguments.world.tenants ? " --tenants" : "";
  line += arguments.world.bindings ? " --bindings" : "";
  line += arguments.world.control_cuts ? " --control-cuts" : "";
  if (arguments.world.bug != InjectedBug::none) {
    line += " --inject-bug " + arguments.bug;
  }
  line += " --verbose\n";
  line.resize(std::min(line.size(), replay_line.size() - 1));
  replay_line.fill('\0');
  std::copy(line.begin(), line.end(), replay_line.begin());
}

void print_replay_line() {
  const ssize_t written =
      ::write(STDERR_FILENO, replay_line.data(), std::strlen(replay_line.data()));
  static_cast<void>(written);
}

extern "C" void on_crash(int signal) {
  print_replay_line();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

struct Outcomes {
  std::map<std::string, std::uint64_t> seen;
  std::uint64_t found = 0;  // seeds with the expected violation
};

// False for a finding that is not expected. That an expected one is not met is none by itself: not
// every course meets every mistake.
bool run_seed(const Arguments& arguments, Outcomes& outcomes) {
  const SimReport report = godbox::sim::run_sim(arguments.world);
  for (const auto& [what, count] : report.seen) {
    outcomes.seen[what] += count;
  }
  if (arguments.verbose || arguments.seeds == 1) {
    fmt::print("seed {}: {}\n  hash {:016x}, {} ms of virtual time\n", arguments.world.seed,
               report.shape, report.hash, report.virtual_time.count() / 1'000'000);
  }
  const std::string found = report.violations.empty() ? "" : report.violations.front();
  const std::string& expected = arguments.expected_violation;
  const bool is_expected = !expected.empty() && found.find(expected) != std::string::npos;
  outcomes.found += is_expected ? 1 : 0;
  bool good = found.empty() || is_expected;
  if (!found.empty()) {
    fmt::print("seed {}: {}{}\n", arguments.world.seed, found, good ? " (as expected)" : "");
  } else if (!expected.empty()) {
    fmt::print("seed {}: nobody found \"{}\"\n", arguments.world.seed, expected);
  }
  if (arguments.twice && godbox::sim::run_sim(arguments.world).hash != report.hash) {
    fmt::print("seed {}: a second run took another course\n", arguments.world.seed);
    good = false;
  }
  std::fflush(stdout);
  if (!good) {
    print_replay_line();
  }
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  std::optional<Arguments> arguments = parse(argc, argv);
  if (!arguments) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTERM}) {
    std::signal(signal, on_crash);
  }
  const auto began = std::chrono::steady_clock::now();
  Outcomes outcomes;
  std::uint64_t failures = 0;
  const std::uint64_t first = arguments->world.seed;
  for (; arguments->world.seed < first + arguments->seeds; ++arguments->world.seed) {
    set_replay_line(argv[0], *arguments);
    failures += run_seed(*arguments, outcomes) ? 0 : 1;
  }
  if (!arguments->expected_violation.empty()) {
    fmt::print("{} of {} seeds found it\n", outcomes.found, arguments->seeds);
    failures += outcomes.found > 0 && 2 * outcomes.found >= arguments->seeds ? 0 : 1;
  }
  for (const auto& [what, count] : outcomes.seen) {
    fmt::print("  {:12}  {}\n", count, what);
  }
  for (const std::string& what : arguments->needed) {
    if (!outcomes.seen.contains(what) || outcomes.seen.at(what) == 0) {
      fmt::print("never seen: {}\n", what);
      ++failures;
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  fmt::print("{} seeds, {} failures, {:.1f} s\n", arguments->seeds, failures, seconds);
  return failures == 0 ? 0 : 1;
}
