// SPDX-License-Identifier: Apache-2.0
#include "box/open_box.h"
#include "box/status_document.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/log.h"
#include "cli/table.h"
#include "commands/commands.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>
#include <string>

namespace godbox::app {
namespace {

struct StatusOptions {
  BoxChoice box;
  bool json = false;
};

constexpr std::string_view kFooter = R"(Examples:
  godbox status                                  the box of the default control socket
  godbox status --json | jq .dram_channels       every counter; docs/status.md has the fields
  godbox status --connect unix:/tmp/a.sock)";

std::string size_text(const boost::json::object& from, std::string_view key) {
  return format_size(SizeBytes(status_number(from, key)));
}

void print_summary(const boost::json::object& status) {
  fmt::print("{} ({} mode), up {}\n", status_text(status, "name"), status_text(status, "mode"),
             format_duration(static_cast<double>(status_number(status, "uptime_ms")) / 1e3));
  Table table({{"pool", Table::Align::left}, {"", Table::Align::right}});
  table.add({"capacity", size_text(status, "capacity_bytes")});
  table.add({"given out", size_text(status, "reserved_bytes")});
  table.add({"real memory", size_text(status, "backed_bytes") + " of " +
                                size_text(status, "backing_limit_bytes")});
  for (const std::string_view key :
       {"objects", "regions", "leases", "sessions", "evictions", "quarantined"}) {
    table.add({std::string(key), format_count(status_number(status, key))});
  }
  fmt::print("{}", table.render("  "));
}

void print_channels(const boost::json::object& status) {
  Table table({{"DRAM channel", Table::Align::right},
               {"SuperNIC", Table::Align::right},
               {"size", Table::Align::right},
               {"read", Table::Align::right},
               {"written", Table::Align::right}});
  for (const boost::json::value& item : status_list(status, "dram_channels")) {
    const boost::json::object& channel = item.as_object();
    table.add({std::to_string(status_number(channel, "id")),
               std::to_string(status_number(channel, "super_nic")),
               size_text(channel, "size_bytes"), size_text(channel, "bytes_read"),
               size_text(channel, "bytes_written")});
  }
  fmt::print("\n{}", table.render("  "));
}

void print_ports(const boost::json::object& status) {
  Table table({{"Ethernet port", Table::Align::right},
               {"SuperNIC", Table::Align::right},
               {"address", Table::Align::left},
               {"lanes", Table::Align::right},
               {"received", Table::Align::right},
               {"sent", Table::Align::right}});
  for (const boost::json::value& item : status_list(status, "eth_ports")) {
    const boost::json::object& port = item.as_object();
    table.add({std::to_string(status_number(port, "id")),
               std::to_string(status_number(port, "super_nic")), status_text(port, "address"),
               std::to_string(status_number(port, "connections_open")),
               size_text(port, "bytes_received"), size_text(port, "bytes_sent")});
  }
  fmt::print("\n{}", table.render("  "));
}

void print_roce_ports(const boost::json::object& status) {
  if (status_list(status, "roce_ports").empty()) {
    return;
  }
  Table table({{"RoCE", Table::Align::left},
               {"Ethernet port", Table::Align::right},
               {"address", Table::Align::left},
               {"lanes", Table::Align::right},
               {"received", Table::Align::right},
               {"sent", Table::Align::right},
               {"frames dropped", Table::Align::right}});
  for (const boost::json::value& item : status_list(status, "roce_ports")) {
    const boost::json::object& port = item.as_object();
    std::uint64_t dropped =
        status_number(port, "wire_receive_drops") + status_number(port, "wire_send_drops");
    for (const auto& [key, value] : port) {
      dropped += key.starts_with("dropped_") ? status_number(port, key) : 0;
    }
    const boost::json::array& addresses = status_list(port, "addresses");
    const bool has_address = !addresses.empty() && addresses.front().is_string();
    table.add({status_text(port, "name"), std::to_string(status_number(port, "eth_port")),
               has_address ? std::string(addresses.front().get_string()) : "",
               std::to_string(status_number(port, "queue_pairs_open")),
               size_text(port, "bytes_received"), size_text(port, "bytes_sent"),
               format_count(dropped)});
  }
  fmt::print("\n{}", table.render("  "));
}

ExitCode run_status(const StatusOptions& options) {
  const auto session = open_box(options.box);
  if (!session) {
    return fail("status", session.error());
  }
  const Result<boost::json::object> status = read_status((*session)->client());
  if (!status) {
    return fail("status", call_error(**session, options.box, status.error()));
  }
  if (options.json) {
    print_json(stdout, *status, false);
    return ExitCode::ok;
  }
  print_summary(*status);
  print_channels(*status);
  print_ports(*status);
  print_roce_ports(*status);
  return ExitCode::ok;
}

}  // namespace

void add_status(CLI::App& program, Action& chosen) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* const command =
      program.add_subcommand("status", "Show what a running box holds and what it has moved");
  add_connect_options(*command, options->box);
  command->add_flag("--json", options->json, "Print the box's whole status as JSON");
  command->footer(std::string(kFooter));
  command->callback([options, &chosen] { chosen = [options] { return run_status(*options); }; });
}

}  // namespace godbox::app
