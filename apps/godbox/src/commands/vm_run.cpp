// SPDX-License-Identifier: Apache-2.0
#include "cli/format.h"
#include "cli/json.h"
#include "cli/lists.h"
#include "cli/log.h"
#include "cli/table.h"
#include "vm/pool_memory.h"
#include "vm/terminal_pump.h"
#include "vm/vm_commands.h"
#include "vm/vm_limits.h"
#include "vm/vm_options.h"
#include "vm/vm_session.h"
#include <godbox/emulator/box_config.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace godbox::app {
namespace {

// As with other programs that run a command elsewhere: what they themselves failed at, and what a
// signal ended.
constexpr int kVmFailed = 125;
constexpr int kInterrupted = 130;
constexpr double kSecondsMax = 1e6;

struct RunOptions {
  VmOptions vm;
  VmSessionOptions session;
  std::string bring_up = "none";
  std::optional<std::string> pool;  // a box's control socket; empty: the default one
  double boot_limit_s = 180;
  double limit_s = 0;
  bool no_network = false;
  std::vector<std::string> command;
};

struct NameOptions {
  std::string name = "default";
  double limit_s = 30;
  std::string serial;
  std::string dpa;
  std::string length;
  std::string link;
  std::string media;
  std::string access;
  std::optional<std::uint64_t> delay_ns;
  bool clear = false;
  bool force = false;
  bool json = false;
  std::vector<std::string> command;
};

constexpr std::string_view kRunFooter = R"(Examples:
  godbox vm run --preset laptop -- cxl list -M              18 CXL devices of 256 MiB
  godbox vm run --preset emfasys18 -- cxl list -M           18 of 1 TiB, sparse
  godbox vm run --preset laptop --up numa -- numactl -H     19 NUMA nodes
  godbox vm run --preset laptop --up dax                    until godbox vm stop or Ctrl-C
The guest's root is this machine's, read-only, with a writable layer in the guest's memory. The exit
code is the command's; 125: the VM failed, 130: it was stopped. scripts/guest-image prepares the
kernel once.)";

ExitCode vm_failed(const Error& error) {
  if (error.code == Errc::config_invalid || error.code == Errc::invalid_argument) {
    return fail("vm", error);
  }
  (void)fail("vm", error);
  return static_cast<ExitCode>(error.code == Errc::cancelled ? kInterrupted : kVmFailed);
}

Duration seconds(double value) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(value));
}

std::string working_folder() {
  std::error_code failed;
  const std::string folder = std::filesystem::current_path(failed).string();
  return failed ? "/" : folder;
}

// SIGINT, SIGTERM and SIGHUP as a descriptor, so that the VM is always ended in order.
class StopSignals {
 public:
  StopSignals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      ::sigaddset(&set, signal);
    }
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    descriptor_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~StopSignals() { ::close(descriptor_); }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  [[nodiscard]] int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

Result<VmSessionOptions> session_options(const RunOptions& options) {
  VmSessionOptions session = options.session;
  session.boot_limit = seconds(options.boot_limit_s);
  session.has_network = !options.no_network;
  if (options.bring_up == "dax") {
    session.bring_up = BringUp::dax;
  } else if (options.bring_up == "numa") {
    session.bring_up = BringUp::numa;
  } else if (options.bring_up != "none") {
    return Error(
        Errc::config_invalid,
        fmt::format("--up: \"{}\" is not allowed; allowed: none, dax, numa", options.bring_up));
  }
  return session;
}

struct Prepared {
  emulator::vm::VmPlan plan;
  VmSessionOptions session;
};

// The channels of a box that runs: its shape, its numbers, its bytes. They are the pool's, so a
// kernel must not take them as its RAM.
Result<emulator::vm::VmPlan> plan_of_pool(const RunOptions& options, const ChannelLease& pool) {
  if (!options.vm.topology_file.empty()) {
    return Error(Errc::config_invalid, "--pool and --topology: the box has its own topology");
  }
  if (options.vm.form == "slots") {
    return Error(Errc::config_invalid,
                 "--pool and --form slots: that form shows none of the pool's channels");
  }
  const BoxOptions& box = options.vm.box;
  const std::pair<const char*, bool> of_the_box[] = {
      {"--super-nics", box.super_nics.has_value()},
      {"--channels", box.dram_channels.has_value()},
      {"--channel-size", box.dram_channel_size.has_value()},
      {"--owner bound", options.vm.owner.has_value() && *options.vm.owner != "pool"},
      {"--granularity without --form", !options.vm.form && options.vm.granularity.has_value()},
      {"--box-id", options.vm.box_id.has_value()}};
  for (const auto& [option, is_given] : of_the_box) {
    if (is_given) {
      return Error(Errc::config_invalid,
                   fmt::format("--pool and {}: that is the box's to say", option));
    }
  }
  if (options.bring_up == "numa") {
    return Error(Errc::config_invalid,
                 "--pool and --up numa: a pool's bytes never become a kernel's RAM; --up dax");
  }
  Result<emulator::vm::VmConfig> config = build_vm_config(options.vm);
  if (!config) {
    return config.error();
  }
  config->box.super_nics = pool.super_nics();
  config->box.dram_channels_per_super_nic =
      static_cast<std::uint32_t>(pool.descriptors().size()) / pool.super_nics();
  config->box.dram_channel_size = pool.dram_channel_size();
  config->owner = cxl::ChannelOwner::pool;
  config->box_id = pool.box_number();
  return options.vm.form ? emulator::vm::make_plan(*config)
                         : plan_as_it_lies(*config, channel_groups(pool));
}

Result<Prepared> prepare(const RunOptions& options) {
  Result<VmSessionOptions> session = session_options(options);
  if (!session) {
    return session.error();
  }
  if (options.vm.form == "slots" && session->bring_up != BringUp::none) {
    return Error(Errc::config_invalid,
                 "--form slots and --up: there is nothing to bring up before something is bound");
  }
  if (options.pool) {
    Result<std::unique_ptr<ChannelLease>> pool = ChannelLease::take(*options.pool);
    if (!pool) {
      return pool.error();
    }
    session->pool = std::move(*pool);
  }
  Result<emulator::vm::VmPlan> plan =
      session->pool != nullptr ? plan_of_pool(options, *session->pool) : build_vm_plan(options.vm);
  if (!plan) {
    return plan.error();
  }
  return Prepared{.plan = std::move(*plan), .session = std::move(*session)};
}

// What a reader that has gone away leaves is an error of a write, not the end of the VM.
void ignore_closed_pipes() { ::signal(SIGPIPE, SIG_IGN); }

// Looks twice a second, whatever the VM waits for, whether its time is over, with which it ends, or
// the box whose memory it shows is gone: then the channels are dead, and where QEMU cannot do that,
// the VM ends too.
class Watchdog {
 public:
  Watchdog(VmSession& session, const ChannelLease* pool, Duration limit)
      : machine_(session.machine()),
        session_(session),
        pool_(pool),
        end_(limit > Duration::zero() ? SteadyClock().now() + limit : kNever),
        descriptor_(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    constexpr long kPeriodNs = 500'000'000;
    const itimerspec period{{0, kPeriodNs}, {0, kPeriodNs}};
    ::timerfd_settime(descriptor_, 0, &period, nullptr);
    machine_.watch(descriptor_, [this] { look(); });
  }
  ~Watchdog() {
    machine_.unwatch(descriptor_);
    ::close(descriptor_);
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Why it ended the VM; `otherwise` if it did not.
  [[nodiscard]] Error reason(const Error& otherwise) const { return why_ ? *why_ : otherwise; }

 private:
  void look() {
    std::uint64_t count = 0;
    (void)!::read(descriptor_, &count, sizeof count);
    session_.note_lost_boxes();
    if (SteadyClock().now() >= end_) {
      why_ = Error(Errc::deadline_exceeded, "the time of --timeout is over");
    } else if (pool_ != nullptr && pool_->is_lost()) {
      pool_ = nullptr;  // once
      lose_pool();
    }
    if (why_) {
      machine_.unwatch(descriptor_);
      machine_.cancel();
    }
  }

  void lose_pool() {
    if (session_.lose_pool()) {
      spdlog::warn("vm: the box whose memory this VM shows is gone: its channels are dead now");
    } else {
      why_ = Error(Errc::session_lost, "the box whose memory this VM shows is gone");
    }
  }

  emulator::vm::VirtualMachine& machine_;
  VmSession& session_;
  const ChannelLease* pool_;
  TimePoint end_;
  int descriptor_;
  std::optional<Error> why_;
};

ExitCode run_command(const RunOptions& options) {
  ignore_closed_pipes();
  const StopSignals signals;  // before there are threads that could take them
  Result<Prepared> prepared = prepare(options);
  if (!prepared) {
    return fail("vm", prepared.error());
  }
  prepared->session.stop_descriptor = signals.descriptor();
  const auto session = VmSession::start(prepared->plan, prepared->session);
  if (!session) {
    return vm_failed(session.error());
  }
  emulator::vm::VirtualMachine& machine = (*session)->machine();
  if (options.command.empty()) {
    spdlog::info(
        "vm: \"{}\" runs until godbox vm stop or Ctrl-C; godbox vm exec and shell reach it",
        options.session.name);
    const Watchdog watchdog(**session, prepared->session.pool.get(), seconds(options.limit_s));
    const Result<void> ended = machine.serve(Duration::zero());
    (*session)->power_off();
    const Error why = watchdog.reason(ended.error());
    return why.code == Errc::cancelled ? ExitCode::ok : vm_failed(why);
  }
  const Watchdog watchdog(**session, prepared->session.pool.get(), Duration::zero());
  const Result<int> status =
      machine.run({.arguments = options.command, .folder = working_folder()},
                  {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}, seconds(options.limit_s));
  (*session)->power_off();
  return status ? static_cast<ExitCode>(*status) : vm_failed(watchdog.reason(status.error()));
}

boost::json::object exec_request(const std::vector<std::string>& arguments, bool on_terminal) {
  return {{"do", "exec"},
          {"arguments", boost::json::array(arguments.begin(), arguments.end())},
          {"folder", working_folder()},
          {"terminal", on_terminal}};
}

ExitCode exit_status(const boost::json::object& reply) {
  const boost::json::value* const status = reply.if_contains("status");
  boost::system::error_code failed;
  const int value = status != nullptr ? status->to_number<int>(failed) : kVmFailed;
  return static_cast<ExitCode>(failed ? kVmFailed : value);
}

std::vector<std::string> shell_arguments() {
  return {"sh", "-c",
          terminal_size_command(STDIN_FILENO) +
              "export PS1='guest:\\w# '; command -v bash >/dev/null && exec bash --norc -i; exec "
              "sh -i"};
}

ExitCode run_shell(const RunOptions& options) {
  ignore_closed_pipes();
  if (vm_runs(options.session.name)) {
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
      return fail("vm", Error(Errc::io_error, "socketpair"));
    }
    Result<boost::json::object> reply = Error(Errc::io_error);
    const boost::json::object request = exec_request(shell_arguments(), true);
    std::thread asking([&] {
      reply = ask_vm(options.session.name, request, {pair[1], pair[1]}, Duration::zero());
      ::close(pair[1]);
    });
    {
      const RawTerminal raw(STDIN_FILENO);
      pump_terminal(STDIN_FILENO, STDOUT_FILENO, pair[0]);
    }
    ::shutdown(pair[0], SHUT_RDWR);
    asking.join();
    ::close(pair[0]);
    return reply ? exit_status(*reply) : vm_failed(reply.error());
  }
  const Result<Prepared> prepared = prepare(options);
  if (!prepared) {
    return fail("vm", prepared.error());
  }
  const auto session = VmSession::start(prepared->plan, prepared->session);
  if (!session) {
    return vm_failed(session.error());
  }
  const Result<int> status = [&] {
    const RawTerminal raw(STDIN_FILENO);
    return (*session)->machine().run(
        {.arguments = shell_arguments(), .folder = working_folder(), .on_terminal = true},
        {STDIN_FILENO, STDOUT_FILENO, -1}, Duration::zero());
  }();
  (*session)->power_off();
  return status ? static_cast<ExitCode>(*status) : vm_failed(status.error());
}

ExitCode stop_vm(const NameOptions& options) {
  const auto reply = ask_vm(options.name, {{"do", "stop"}}, {}, seconds(options.limit_s));
  if (!reply) {
    return fail("vm stop", reply.error());
  }
  const TimePoint end = SteadyClock().now() + seconds(options.limit_s);
  while (vm_runs(options.name)) {
    if (SteadyClock().now() >= end) {
      return fail("vm stop",
                  Error(Errc::deadline_exceeded, fmt::format("\"{}\" still runs after {} s",
                                                             options.name, options.limit_s)));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return ExitCode::ok;
}

ExitCode exec_in_vm(const NameOptions& options) {
  const auto reply = ask_vm(options.name, exec_request(options.command, false),
                            {STDOUT_FILENO, STDERR_FILENO}, Duration::zero());
  return reply ? exit_status(*reply) : vm_failed(reply.error());
}

void print_channels(const boost::json::array& channels) {
  Table table({{"serial"},
               {"access"},
               {"link"},
               {"media"},
               {"delay ns", Table::Align::right},
               {"bytes read", Table::Align::right},
               {"bytes written", Table::Align::right}});
  for (const boost::json::value& one : channels) {
    const boost::json::object& channel = one.as_object();
    const auto number = [&](const char* name) {
      return channel.at(name).to_number<std::uint64_t>();
    };
    const auto word = [&](const char* name) { return std::string(channel.at(name).as_string()); };
    table.add({fmt::format("{:#x}", number("serial")), word("access"), word("link"), word("media"),
               std::to_string(number("delay_ns")), std::to_string(number("bytes_read")),
               std::to_string(number("bytes_written"))});
  }
  fmt::print("{}\nbytes: emulated; of accesses that were counted, none that QEMU serves as RAM\n",
             table.render());
}

// attach, detach, poison, channel, status: a request and its reply, for people or as JSON.
ExitCode tell(const NameOptions& options, const boost::json::object& request) {
  const auto reply = ask_vm(options.name, request, {}, seconds(options.limit_s));
  if (!reply) {
    return fail("vm", reply.error());
  }
  if (options.json) {
    print_json(stdout, *reply, true);
    return ExitCode::ok;
  }
  if (const boost::json::value* const channels = reply->if_contains("channels");
      channels != nullptr && channels->is_array()) {
    print_channels(channels->get_array());
    return ExitCode::ok;
  }
  for (const auto& [key, value] : *reply) {
    const bool is_serial = key == "serial";
    fmt::print("{}: {}\n", std::string_view(key),
               is_serial ? fmt::format("{:#x}", value.to_number<std::uint64_t>())
                         : boost::json::serialize(value));
  }
  return ExitCode::ok;
}

void add_run_options(CLI::App& command, RunOptions& options) {
  add_vm_options(command, options.vm);
  command.add_option("--name", options.session.name, "The VM's name for stop, exec, attach ...");
  command.add_option("--up", options.bring_up,
                     "Bring all channels up first: dax or numa (godbox cxl up); none");
  command
      .add_option(
          "--pool", options.pool,
          "Show the memory of the box at this control socket (none: the default one), which "
          "godbox serve --map-memory cxl runs")
      ->expected(0, 1);
  command.add_option("--accelerator", options.session.accelerator,
                     "auto: KVM where a probe boot proves that it works, else TCG; tcg; kvm");
  command.add_option("--boot-timeout", options.boot_limit_s, "Seconds until the guest is ready")
      ->check(CLI::Range(0.001, kSecondsMax));
  command.add_option("--timeout", options.limit_s, "Seconds for the command; 0: no limit")
      ->check(CLI::Range(0.0, kSecondsMax));
  command.add_option("--qemu", options.session.qemu_program,
                     "QEMU's program (default: that of qemu-patches/build, else Debian's)");
  command.add_option("--guest-image", options.session.image_folder,
                     "Folder made by scripts/guest-image");
  command.add_flag("--no-network", options.no_network, "No network in the guest");
  command.add_flag("--console", options.session.shows_console,
                   "Show the guest's kernel messages on standard error");
}

Result<boost::json::object> request_of(const std::string& verb, const NameOptions& options) {
  boost::json::object request{{"do", verb}};
  if (options.force) {
    request["force"] = true;
  }
  if (options.clear) {
    request["clear"] = true;
  }
  for (const auto& [name, word] :
       {std::pair{"link", &options.link}, std::pair{"media", &options.media},
        std::pair{"access", &options.access}}) {
    if (!word->empty()) {
      request[name] = *word;
    }
  }
  if (options.delay_ns) {
    request["delay_ns"] = *options.delay_ns;
  }
  const std::array<std::pair<const char*, const std::string*>, 2> numbers = {
      {{"serial", &options.serial}, {"dpa", &options.dpa}}};
  for (const auto& [name, text] : numbers) {
    if (!text->empty()) {
      const Result<std::uint64_t> number = parse_number(fmt::format("--{}", name), *text);
      if (!number) {
        return number.error();
      }
      request[name] = *number;
    }
  }
  if (!options.length.empty()) {
    const Result<SizeBytes> length = emulator::parse_size(options.length);
    if (!length) {
      return Error(Errc::config_invalid, "--length: " + length.error().detail);
    }
    request["length_bytes"] = length->count();
  }
  return request;
}

CLI::App* add_named(CLI::App& vm, const std::string& name, const std::string& about,
                    NameOptions& options) {
  CLI::App* const command = vm.add_subcommand(name, about);
  command->add_option("--name", options.name, "The VM's name");
  return command;
}

void add_tell(CLI::App& vm, Action& chosen, const std::string& verb, const std::string& about) {
  auto options = std::make_shared<NameOptions>();
  const bool is_look = verb == "status" || verb == "channel";
  options->limit_s =
      is_look ? 120 : std::chrono::duration<double>(vm_change_limit(SizeBytes())).count();
  CLI::App* const command = add_named(vm, verb, about, *options);
  command->add_flag("--json", options->json, "One line of JSON (docs/vm.md)");
  command->add_option("--timeout", options->limit_s, "Seconds to wait")
      ->check(CLI::Range(0.001, kSecondsMax));
  if (verb == "poison") {
    command->add_option("--serial", options->serial, "Of the channel")->required();
    command->add_option("--dpa", options->dpa, "Device address of the first byte")->required();
    command->add_option("--length", options->length, "Size, a multiple of 64 (default: 64)");
    command->add_flag("--clear", options->clear,
                      "Clear it instead, in the guest; the bytes are zeros then");
  } else if (verb == "channel") {
    command->add_option("--serial", options->serial, "Of the channel; without it all are shown");
    command
        ->add_option("--access", options->access,
                     "direct: as RAM, where the region allows; counted: each access by itself")
        ->check(CLI::IsMember({"direct", "counted"}));
    command->add_option("--delay-ns", options->delay_ns, "Of each access, which is counted then")
        ->check(CLI::Range(0, 1'000'000));
    command->add_option("--link", options->link, "The CXL link: up; down: all reads give ones")
        ->check(CLI::IsMember({"up", "down"}));
    command->add_option("--media", options->media, "The DRAM: ok; dead: the device says so")
        ->check(CLI::IsMember({"ok", "dead"}));
  } else if (verb == "detach") {
    command->add_option("--serial", options->serial, "Of the channel; without it the first one");
    command->add_flag(
        "--force", options->force,
        "Also if it is in use: where the guest cannot take it off line, it is asked to let "
        "go of it all the same");
  }
  command->callback([options, verb, &chosen] {
    chosen = [options, verb] {
      const Result<boost::json::object> request = request_of(verb, *options);
      return request ? tell(*options, *request) : fail("vm", request.error());
    };
  });
}

}  // namespace

void add_vm_run_commands(CLI::App& vm, Action& chosen) {
  auto run = std::make_shared<RunOptions>();
  CLI::App* const run_it = vm.add_subcommand("run", "Boot a VM and run a command in it");
  add_run_options(*run_it, *run);
  run_it->add_option("command", run->command, "What to run in the guest, after --");
  run_it->footer(std::string(kRunFooter));
  run_it->callback([run, &chosen] { chosen = [run] { return run_command(*run); }; });

  auto shell = std::make_shared<RunOptions>();
  CLI::App* const shell_it =
      vm.add_subcommand("shell", "A shell in the VM of that name, or in one that is booted for it");
  add_run_options(*shell_it, *shell);
  shell_it->callback([shell, &chosen] { chosen = [shell] { return run_shell(*shell); }; });

  auto stop = std::make_shared<NameOptions>();
  CLI::App* const stop_it = add_named(vm, "stop", "End a running VM", *stop);
  stop_it->add_option("--timeout", stop->limit_s, "Seconds to wait")
      ->check(CLI::Range(0.001, kSecondsMax));
  stop_it->callback([stop, &chosen] { chosen = [stop] { return stop_vm(*stop); }; });

  auto exec = std::make_shared<NameOptions>();
  CLI::App* const exec_it = add_named(vm, "exec", "Run a command in a running VM", *exec);
  exec_it->add_option("command", exec->command, "What to run, after --")->required();
  exec_it->callback([exec, &chosen] { chosen = [exec] { return exec_in_vm(*exec); }; });

  add_tell(vm, chosen, "status", "What a running VM is");
  add_tell(vm, chosen, "attach", "Plug one more bound DRAM channel into a running VM");
  add_tell(vm, chosen, "detach", "Take a channel that was attached out of a running VM");
  add_tell(vm, chosen, "poison", "Mark bytes of a channel as lost, as a failing DRAM chip would");
  add_tell(vm, chosen, "channel", "Faults and byte counts of channels: show or set them");
}

}  // namespace godbox::app
