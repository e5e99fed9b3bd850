// SPDX-License-Identifier: Apache-2.0
#include "box/box_options.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/log.h"
#include "cli/table.h"
#include "commands/commands.h"
#include <godbox/app/box_server.h>
#include <godbox/driver/descriptor_limit.h>
#include <godbox/emulator/roce_port_config.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace godbox::app {
namespace {

struct ServeOptions {
  BoxOptions box;
  std::vector<std::string> roce_ports;
  bool dpdk_huge_pages = false;
  bool json = false;
};

constexpr std::string_view kFooter = R"(Examples:
  godbox serve                                   18 TiB: 9 SuperNICs, 18 DRAM channels, 36 ports
  godbox serve --preset laptop                   18 x 256 MiB, 9 ports
  godbox serve --channels 28 --ports 14          totals of the box
  godbox serve --mode paced --time-scale 1000    held to the timing model at 1/1000 speed
  godbox serve --preset laptop --port-fault 3=dead --port-fault 4=flap:1s   with faulty ports
  godbox serve --roce 10.0.2.2/24@dgram:/run/user/1000/box,/run/user/1000/guest   RDMA for a VM
  godbox serve --config box.toml --tcp-port-base 0
Capacity is sparse: memory is taken as objects come, up to --backing-limit. Over TCP the box serves
loopback addresses only, until Ctrl-C or SIGTERM. A second server on the same port or socket ends
with exit code 7.)";

// SIGINT, SIGTERM and SIGHUP are taken by sigwait() in the main thread; the server's threads
// inherit the mask.
class Signals {
 public:
  Signals() {
    ::sigemptyset(&set_);
    ::sigaddset(&set_, SIGINT);
    ::sigaddset(&set_, SIGTERM);
    ::sigaddset(&set_, SIGHUP);
    ::pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  [[nodiscard]] int wait() const {
    int received = 0;
    ::sigwait(&set_, &received);
    return received;
  }

 private:
  sigset_t set_{};
};

std::string_view mode_name(const emulator::BoxConfig& config) {
  return config.mode == emulator::TimingMode::paced ? "paced" : "free";
}

boost::json::array roce_ports(BoxServer& server) {
  boost::json::array ports;
  for (const emulator::RocePortEntry& port : server.box().roce_ports()) {
    boost::json::array addresses;
    for (const emulator::RoceAddress& address : port.addresses) {
      addresses.push_back(boost::json::string(emulator::to_string(address)));
    }
    ports.push_back(boost::json::object{{"eth_port", port.eth_port.value()},
                                        {"name", json_text(port.name)},
                                        {"wire", json_text(port.wire)},
                                        {"mac", emulator::to_string(port.mac)},
                                        {"mtu_bytes", port.mtu_bytes},
                                        {"queues", port.queues},
                                        {"addresses", std::move(addresses)}});
  }
  return ports;
}

void print_ready_line(BoxServer& server) {
  const emulator::BoxConfig& config = server.box().config();
  boost::json::array ports;
  for (const StreamAddress& address : server.eth_port_addresses()) {
    ports.push_back(boost::json::string(address.to_string()));
  }
  print_json(stdout,
             boost::json::object{{"ready", true},
                                 {"name", config.name},
                                 {"mode", mode_name(config)},
                                 {"time_scale", config.time_scale},
                                 {"super_nics", config.super_nics},
                                 {"dram_channels", config.dram_channels()},
                                 {"eth_ports", std::move(ports)},
                                 {"roce_ports", roce_ports(server)},
                                 {"control_socket", json_text(server.control_address().host)},
                                 {"capacity_bytes", config.capacity().count()},
                                 {"backing_limit_bytes", server.backing_limit().count()},
                                 {"pid", ::getpid()}},
             true);
}

void print_ready_table(BoxServer& server) {
  const emulator::BoxConfig& config = server.box().config();
  const auto& ports = server.eth_port_addresses();
  Table table({{config.name, Table::Align::left}, {"", Table::Align::left}});
  table.add({"capacity",
             fmt::format("{}, of which {} real memory at most", format_size(config.capacity()),
                         format_size(server.backing_limit()))});
  table.add({"SuperNICs", std::to_string(config.super_nics)});
  table.add({"DRAM channels", fmt::format("{} x {}", config.dram_channels(),
                                          format_size(config.dram_channel_size))});
  table.add(
      {"Ethernet ports", fmt::format("{}: {}{}", ports.size(), ports.front().to_string(),
                                     ports.size() > 1 ? " to " + ports.back().to_string() : "")});
  for (const emulator::RocePortEntry& port : server.box().roce_ports()) {
    table.add({"RoCE",
               fmt::format("{}: Ethernet port {}, {}", emulator::to_string(port.addresses.front()),
                           port.eth_port.value(), port.name)});
  }
  table.add({"control socket", server.control_address().host});
  table.add({"timing", config.mode == emulator::TimingMode::paced
                           ? fmt::format("paced at 1/{:g} speed (emulated)", config.time_scale)
                           : "free: as fast as this machine"});
  table.add({"server threads", std::to_string(server.thread_count())});
  fmt::print("{}Serving until Ctrl-C.\n", table.render());
}

void reload_channel_faults(const emulator::BoxConfig& config, emulator::Box& box) {
  std::vector<double> rate_shares(box.config().dram_channels(), 1);
  for (const std::string& text : config.channel_faults) {
    const auto fault = emulator::parse_channel_fault(text);
    if (fault && fault->dram_channel.value() < rate_shares.size()) {
      rate_shares[fault->dram_channel.value()] = fault->rate_share;
    }
  }
  for (std::size_t i = 0; i < rate_shares.size(); ++i) {
    const DramChannelId id(static_cast<DramChannelId::rep>(i));
    if (const Result<void> set = box.set_channel_fault({id, rate_shares[i]}); !set) {
      spdlog::error("serve: DRAM channel {}: {}", i, set.error().detail);
    }
  }
}

void reload_port_faults(const emulator::BoxConfig& config, emulator::Box& box) {
  std::vector<emulator::PortFault> faults(box.config().eth_ports());
  for (const std::string& text : config.port_faults) {
    const auto fault = emulator::parse_numbered_port_fault(text);
    if (fault && fault->eth_port.value() < faults.size()) {
      faults[fault->eth_port.value()] = fault->fault;
    }
  }
  for (std::size_t i = 0; i < faults.size(); ++i) {
    const EthPortId id(static_cast<EthPortId::rep>(i));
    if (box.port_fault(id) == faults[i]) {
      continue;  // a flapping one goes on as it did
    }
    if (const Result<void> set = box.set_port_fault(id, faults[i]); !set) {
      spdlog::error("serve: Ethernet port {}: {}", i, set.error().detail);
    } else {
      spdlog::info("Ethernet port {} is {}", i, to_string(faults[i]));
    }
  }
}

// SIGHUP: the faults of ports and channels, as configuration file and options say now, hold from
// now on. What else has changed in the file is for the next start.
void reload_faults(const BoxOptions& options, emulator::Box& box) {
  const Result<emulator::BoxConfig> config = build_config(options);
  if (!config) {
    spdlog::error("serve: the faults stay as they are: {}", config.error().detail);
    return;
  }
  reload_channel_faults(*config, box);
  reload_port_faults(*config, box);
}

ExitCode run_serve(const ServeOptions& options) {
  Result<emulator::BoxConfig> config = build_config(options.box);
  if (!config) {
    return fail("serve", config.error());
  }
  config->roce_ports.insert(config->roce_ports.end(), options.roce_ports.begin(),
                            options.roce_ports.end());
  config->dpdk_huge_pages = config->dpdk_huge_pages || options.dpdk_huge_pages;
  if (const Result<std::uint64_t> limit = driver::raise_descriptor_limit(); !limit) {
    spdlog::warn("serve: {}", limit.error().detail);  // fewer connections, each refusal named
  }
  const Signals signals;
  const Result<std::unique_ptr<BoxServer>> server = BoxServer::start(std::move(*config));
  if (!server) {
    return fail("serve", server.error());
  }
  options.json ? print_ready_line(**server) : print_ready_table(**server);
  if (std::fflush(stdout) != 0) {
    const std::error_code reason(errno, std::generic_category());
    return fail("serve", Error(Errc::io_error, "standard output: " + reason.message()));
  }
  while (signals.wait() == SIGHUP) {
    reload_faults(options.box, (*server)->box());
  }
  spdlog::debug("stopping");
  (*server)->stop();
  return ExitCode::ok;
}

}  // namespace

void add_serve(CLI::App& program, Action& chosen) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* const command = program.add_subcommand("serve", "Run a box until it is told to stop");
  add_box_options(*command, options->box);
  add_form_options(*command, options->box);
  command
      ->add_option("--roce", options->roce_ports,
                   "An Ethernet port answers RDMA too: ADDRESS/BITS@dgram:SOCKET,PEER, "
                   "@packet:IF, @tap:IF, @dpdk:DEVICE or @verbs:DEVICE; repeatable")
      ->allow_extra_args(false);
  command->add_flag("--dpdk-huge-pages", options->dpdk_huge_pages,
                    "Frames of --roce ...@dpdk: lie in huge pages, as NICs need it");
  command->add_flag("--json", options->json, "When ready, print one line of JSON (docs/cli.md)");
  command->footer(std::string(kFooter));
  command->callback([options, &chosen] { chosen = [options] { return run_serve(*options); }; });
}

}  // namespace godbox::app
