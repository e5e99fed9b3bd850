// SPDX-License-Identifier: Apache-2.0
//
// Real processes over real sockets, broken on purpose: a box in a process of its own, clients in
// theirs, some of them through a relay. Lanes are cut, held up and silenced; clients and the box
// are killed in the middle of what they do. In the end no byte was wrong, no call was late, and the
// box has everything back: space, leases, sessions, descriptors. Each kind of breakage comes at
// least once, and a run in which one of them, or one kind of call, never came off is a failure too.
// Ends with status 0 when all is well, 1 when something was wrong, 2 for bad arguments.
#include "chaos_client.h"
#include "child_process.h"
#include "relay.h"
#include <godbox/connect.h>

#include <boost/json.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

namespace godbox::chaos {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kEthPorts = 3;
constexpr std::size_t kClients = 4;
constexpr milliseconds kStartWithin = seconds(30);
constexpr milliseconds kEndWithin = seconds(30);
constexpr milliseconds kRestartPauseMin = seconds(1);
constexpr milliseconds kNoKillsAtTheEnd = seconds(2);

constexpr const char* kUsage =
    "usage: chaos_runner --godbox PATH [--seconds N] [--seed N]\n"
    "  --godbox PATH   the program that serves the box\n"
    "  --seconds N     how long (default 8; the environment's GODBOX_CHAOS_SECONDS goes before)\n"
    "  --seed N        of what is broken when (default: another one each time)\n";

struct Arguments {
  std::string self;
  std::string godbox;
  std::uint64_t seconds = 8;
  std::uint64_t seed = 0;
  bool as_client = false;
  ClientArguments client;
};

struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Chaos {
 public:
  explicit Chaos(const Arguments& arguments)
      : arguments_(arguments),
        dice_(arguments.seed),
        relay_(kEthPorts, static_cast<std::uint32_t>(arguments.seed)) {
    std::string folder = std::filesystem::temp_directory_path() / "godbox-chaos-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) {
      throw Wrong("no temporary folder");
    }
    folder_ = folder;
  }
  ~Chaos() {
    clients_.clear();
    server_.kill();
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
  }
  Chaos(const Chaos&) = delete;
  Chaos& operator=(const Chaos&) = delete;

  void run() {
    start_server();
    end_ = Clock::now() + std::chrono::seconds(arguments_.seconds);
    clients_.resize(kClients);
    for (std::size_t i = 0; i < kClients; ++i) {
      start_client(i);
    }
    std::shuffle(first_round_.begin(), first_round_.end(), dice_);
    while (Clock::now() < end_) {
      std::this_thread::sleep_for(milliseconds(20 + dice_() % 150));
      check_processes();
      break_something();
    }
    for (std::size_t i = 0; i < kClients; ++i) {
      end_client(i);
    }
    audit();
    stop_server();
    seen_["connections cut"] = relay_.cuts();
    seen_["MiB relayed"] = relay_.relayed_bytes() >> 20U;
    fmt::print("calls are those of clients that lived to tell:\n");
    for (const auto& [what, times] : seen_) {
      fmt::print("  {:8}  {}\n", times, what);
    }
    demand_that_it_happened();
  }

 private:
  enum class Breakage : std::uint8_t { cut, hold_up, silence, kill_client, stop_box, kill_box };

  [[nodiscard]] std::string control_socket() const { return folder_ + "/control.sock"; }

  void start_server() {
    server_ = ChildProcess::start({arguments_.godbox, "serve", "--channels", "6", "--ports",
                                   std::to_string(kEthPorts), "--channel-size", "256MiB",
                                   "--backing-limit", "256MiB", "--tcp-port-base", "0",
                                   "--control-socket", control_socket(), "--json"});
    const std::optional<std::string> line = server_.read_line(kStartWithin);
    if (!line) {
      throw Wrong("the box does not start");
    }
    const boost::json::value ready = boost::json::parse(*line);
    std::vector<std::uint16_t> tcp_ports;
    for (const boost::json::value& port : ready.at("eth_ports").as_array()) {
      const auto address = StreamAddress::parse(std::string_view(port.as_string()));
      tcp_ports.push_back(address->tcp_port);
    }
    if (tcp_ports.size() != kEthPorts) {
      throw Wrong("the box has another number of Ethernet ports");
    }
    relay_.set_targets(tcp_ports);
    if (descriptors_at_start_ == 0) {
      descriptors_at_start_ = server_.descriptor_count();  // before there is any client
    }
    server_started_ = Clock::now();
    ++seen_["box starts"];
  }

  void start_client(std::size_t index) {
    const auto left = std::chrono::duration_cast<milliseconds>(end_ - Clock::now());
    if (left.count() <= 0) {
      return;
    }
    std::vector<std::string> command{
        arguments_.self, "--as-client",           "--control-socket", control_socket(),
        "--seed",        std::to_string(dice_()), "--milliseconds",   std::to_string(left.count())};
    for (std::size_t i = 0; index % 2 == 0 && i < kEthPorts; ++i) {
      command.insert(command.end(), {"--relay-port", std::to_string(relay_.tcp_ports()[i])});
    }
    clients_[index] = ChildProcess::start(command);
    ++seen_["client starts"];
  }

  // A client that ended well is done; one that ended otherwise has said why.
  void judge(int status) {
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      throw Wrong(fmt::format("a client ended with status {:#x}", status));
    }
    ++seen_["clients that ended by themselves"];
  }

  void note_summary(ChildProcess& client) {
    const std::optional<std::string> line = client.read_line(milliseconds(1000));
    std::string_view text = line ? std::string_view(*line) : std::string_view();
    while (!text.empty()) {
      const std::string_view word = text.substr(0, text.find(' '));
      text.remove_prefix(std::min(text.size(), word.size() + 1));
      const std::size_t equals = word.find('=');
      std::uint64_t times = 0;
      if (equals != std::string_view::npos) {
        std::from_chars(word.data() + equals + 1, word.data() + word.size(), times);
        seen_[std::string(word.substr(0, equals))] += times;
      }
    }
  }

  void check_processes() {
    if (server_.wait(milliseconds(0))) {
      throw Wrong("the box ended by itself");
    }
    for (ChildProcess& client : clients_) {
      if (const std::optional<int> status = client.wait(milliseconds(0))) {
        judge(*status);
        note_summary(client);
      }
    }
  }

  // A run in which nothing broke, or nobody got through, shows nothing.
  void demand_that_it_happened() const {
    for (const char* what :
         {"get:ok", "put:ok", "lookup:ok", "write:ok", "read:ok", "connections cut",
          "connections held up", "connections silenced", "clients killed",
          "box stopped for a while", "box killed", "objects read back"}) {
      const auto found = seen_.find(what);
      if (found == seen_.end() || found->second == 0) {
        throw Wrong(fmt::format("it never happened: {}", what));
      }
    }
  }

  void break_something() {
    if (!first_round_.empty()) {
      // Each kind once, in an order of the seed's; one that finds nothing to break comes again.
      const Breakage breakage = first_round_.back();
      first_round_.pop_back();
      if (!apply(breakage)) {
        first_round_.insert(first_round_.begin(), breakage);
      }
      return;
    }
    const std::uint64_t what = dice_() % 100;
    const Breakage breakage = what < 40   ? Breakage::cut
                              : what < 55 ? Breakage::hold_up
                              : what < 65 ? Breakage::silence
                              : what < 82 ? Breakage::kill_client
                              : what < 90 ? Breakage::stop_box
                                          : Breakage::kill_box;
    const bool loses_work = breakage == Breakage::kill_client || breakage == Breakage::kill_box;
    // Who is killed at the very end leaves nothing behind that could be checked.
    if (!loses_work || end_ - Clock::now() > kNoKillsAtTheEnd) {
      static_cast<void>(apply(breakage));
    }
  }

  // Whether there was something to break.
  [[nodiscard]] bool apply(Breakage breakage) {
    switch (breakage) {
      case Breakage::cut:
        return relay_.cut_some() > 0;
      case Breakage::hold_up:
        return note("connections held up", relay_.hold_up_some(milliseconds(20 + dice_() % 600)));
      case Breakage::silence:
        return note("connections silenced", relay_.silence_some());
      case Breakage::kill_client: {
        const std::size_t index = dice_() % kClients;
        clients_[index].kill();
        start_client(index);
        return note("clients killed", 1);
      }
      case Breakage::stop_box:
        server_.signal(SIGSTOP);
        std::this_thread::sleep_for(milliseconds(5 + dice_() % 200));
        server_.signal(SIGCONT);
        return note("box stopped for a while", 1);
      case Breakage::kill_box:
        if (Clock::now() - server_started_ < kRestartPauseMin) {
          return false;
        }
        server_.kill();
        std::this_thread::sleep_for(milliseconds(dice_() % 200));
        start_server();
        return note("box killed", 1);
    }
    return false;
  }

  bool note(const char* what, std::size_t times) {
    seen_[what] += times;
    return times > 0;
  }

  void end_client(std::size_t index) {
    ChildProcess& client = clients_[index];
    if (!client.is_running()) {
      return;
    }
    const std::optional<int> status = client.wait(kEndWithin);
    if (!status) {
      throw Wrong("a client does not end");
    }
    judge(*status);
    note_summary(client);
  }

  boost::json::value status_of(striping::Client& client) {
    const Result<std::string> text = client.status_json();
    if (!text) {
      throw Wrong("status: " + text.error().message());
    }
    return boost::json::parse(*text);
  }

  static std::uint64_t lingering(const boost::json::value& status) {
    std::uint64_t count = 0;
    for (const boost::json::value& port : status.at("eth_ports").as_array()) {
      count += port.at("connections_lingering").to_number<std::uint64_t>();
    }
    return count;
  }

  // Nothing is held by those who are gone; what they left behind is whole.
  void audit() {
    ConnectOptions options;
    options.client.tenant = "chaos";
    auto connection = connect("unix:" + control_socket(), options);
    if (!connection) {
      throw Wrong("the auditor cannot connect: " + connection.error().message());
    }
    striping::Client& client = (*connection)->client();
    boost::json::value status;
    // Connections that are silent for ever may have been sent memory by reference that the relay
    // has not read: that, and no more, is kept until it closes them.
    bool may_linger = true;
    const auto is_quiet = [&] {
      status = status_of(client);
      const auto count = [&](const char* key) { return status.at(key).to_number<std::uint64_t>(); };
      return count("sessions") == 1 && count("reservations") == 0 && count("leases") == 0 &&
             count("regions") == 0 &&
             (lingering(status) == 0 ? count("quarantined") == 0 : may_linger);
    };
    const auto wait_for_quiet = [&] {
      const Clock::time_point until = Clock::now() + kEndWithin;
      while (!is_quiet()) {
        if (Clock::now() > until) {
          throw Wrong("something is still held: " + boost::json::serialize(status));
        }
        std::this_thread::sleep_for(milliseconds(20));
      }
    };
    wait_for_quiet();
    seen_["connections that lingered"] = lingering(status);
    relay_.end_silenced();
    may_linger = false;
    wait_for_quiet();
    read_back(client);
    wait_for_quiet();  // for what was read a moment ago
    if (status.at("objects").to_number<std::uint64_t>() != 0 ||
        status.at("reserved_bytes").to_number<std::uint64_t>() != 0) {
      throw Wrong("space is not accounted for: " + boost::json::serialize(status));
    }
  }

  void read_back(striping::Client& client) {
    const auto listed = client.list("", "", 10'000);
    if (!listed) {
      throw Wrong("list: " + listed.error().message());
    }
    std::map<std::string, std::size_t> known;
    for (std::size_t i = 0; i < kNames; ++i) {
      known[name_of(i)] = i;
    }
    for (const wire::ListEntry& entry : listed->entries) {
      const std::size_t index = known.at(entry.name);
      std::vector<std::byte> block(size_of(index));
      const LocalSegment piece{block.data(), block.size()};
      const striping::GetItem item{entry.name, {&piece, 1}};
      const Errc got = client.get({&item, 1}).front();
      if (got != Errc::ok || sim::find_difference(block, seed_of(index))) {
        throw Wrong(fmt::format("{} was left behind spoilt: {}", entry.name, to_string(got)));
      }
      const std::string_view name = entry.name;
      if (client.remove({&name, 1}).front() != Errc::ok) {
        throw Wrong(entry.name + " cannot be removed");
      }
    }
    seen_["objects read back"] = listed->entries.size();
  }

  void stop_server() {
    const Clock::time_point until = Clock::now() + kEndWithin;
    while (server_.descriptor_count() != descriptors_at_start_) {
      if (Clock::now() > until) {
        throw Wrong(fmt::format("the box had {} descriptors when it started and has {} now",
                                descriptors_at_start_, server_.descriptor_count()));
      }
      std::this_thread::sleep_for(milliseconds(20));
    }
    server_.signal(SIGTERM);
    const std::optional<int> status = server_.wait(kEndWithin);
    if (!status || *status != 0) {
      throw Wrong("the box does not end well");
    }
    if (::waitpid(-1, nullptr, WNOHANG) != -1) {
      throw Wrong("a process is left over");
    }
  }

  const Arguments& arguments_;
  std::mt19937_64 dice_;
  Relay relay_;
  std::string folder_;
  ChildProcess server_;
  std::vector<ChildProcess> clients_;
  std::size_t descriptors_at_start_ = 0;
  Clock::time_point server_started_;
  Clock::time_point end_;
  std::vector<Breakage> first_round_{Breakage::cut,         Breakage::hold_up,  Breakage::silence,
                                     Breakage::kill_client, Breakage::stop_box, Breakage::kill_box};
  std::map<std::string, std::uint64_t> seen_;
};

bool take_number(std::string_view text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

bool take_option(Arguments& arguments, std::string_view option, const std::string& value) {
  if (option == "--godbox") {
    arguments.godbox = value;
    return true;
  }
  if (option == "--control-socket") {
    arguments.client.control_socket = value;
    return true;
  }
  std::uint64_t number = 0;
  if (!take_number(value, number)) {
    return false;
  }
  if (option == "--seconds") {
    arguments.seconds = number;
  } else if (option == "--seed") {
    arguments.seed = number;
    arguments.client.seed = number;
  } else if (option == "--milliseconds") {
    arguments.client.time = milliseconds(number);
  } else if (option == "--relay-port") {
    arguments.client.relay_tcp_ports.push_back(static_cast<std::uint16_t>(number));
  } else {
    return false;
  }
  return true;
}

std::optional<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  arguments.self = argv[0];
  arguments.seed = std::random_device{}();
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--as-client") {
      arguments.as_client = true;
    } else if (i + 1 >= argc || !take_option(arguments, option, argv[++i])) {
      return std::nullopt;
    }
  }
  const char* const wanted = std::getenv("GODBOX_CHAOS_SECONDS");
  if (wanted != nullptr && !take_number(wanted, arguments.seconds)) {
    return std::nullopt;
  }
  return arguments.as_client || !arguments.godbox.empty() ? std::optional(arguments) : std::nullopt;
}

int run(const Arguments& arguments) {
  fmt::print("chaos with seed {} for {} s\n", arguments.seed, arguments.seconds);
  std::fflush(stdout);
  try {
    Chaos(arguments).run();
    fmt::print("all is well\n");
    return 0;
  } catch (const std::exception& wrong) {
    fmt::print(stderr, "{}\nagain: {} --godbox {} --seconds {} --seed {}\n", wrong.what(),
               arguments.self, arguments.godbox, arguments.seconds, arguments.seed);
    return 1;
  }
}

}  // namespace

}  // namespace godbox::chaos

int main(int argc, char** argv) {
  const auto arguments = godbox::chaos::parse(argc, argv);
  if (!arguments) {
    std::fputs(godbox::chaos::kUsage, stderr);
    return 2;
  }
  return arguments->as_client ? godbox::chaos::run_client(arguments->client)
                              : godbox::chaos::run(*arguments);
}
