// SPDX-License-Identifier: Apache-2.0
//
// cxl status, up, down: the DRAM channels that this machine sees as CXL memory (docs/cxl.md).
#include "cli/format.h"
#include "cli/json.h"
#include "cli/lists.h"
#include "cli/log.h"
#include "cli/table.h"
#include "commands/commands.h"
#include <godbox/driver/cxl_mailbox.h>
#include <godbox/driver/cxl_regions.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godbox::app {
namespace {

using driver::CxlChannel;
using driver::CxlMode;
using driver::CxlUse;

constexpr std::string_view kSchema = "godbox-cxl-1";
const std::map<std::string, CxlUse> kUses{{"dax", CxlUse::dax}, {"numa", CxlUse::numa}};
const std::map<std::string, cxl::ChannelOwner> kOwners{{"pool", cxl::ChannelOwner::pool},
                                                       {"bound", cxl::ChannelOwner::bound},
                                                       {"shared", cxl::ChannelOwner::shared}};

struct CxlOptions {
  std::string sysfs_root = "/";
  std::vector<std::string> serials;
  std::vector<std::string> regions;
  bool all_devices = false;
  std::optional<cxl::ChannelOwner> owner;
  CxlUse use = CxlUse::dax;
  bool health = false;
  bool json = false;
};

constexpr std::string_view kFooter = R"(Examples:
  godbox cxl status                  the channels, what they are and where
  godbox cxl up --as dax             a device file /dev/daxN.0 for each channel
  godbox cxl up --as numa --json     movable memory of a NUMA node (never the pool's channels)
  godbox cxl down                    back to bare CXL devices)";
constexpr std::string_view kStatusFooter = R"(Examples:
  godbox cxl status
  godbox cxl status --health         with each device's own word on its health (root)
  godbox cxl status --json | jq .channels)";
constexpr std::string_view kUpFooter = R"(Examples:
  godbox cxl up --as dax                              every channel of a godbox
  godbox cxl up --as numa --owner bound               those that are this machine's own
  godbox cxl up --as dax --serial 0x6762020000010003  one of them
  godbox cxl up --as dax --region decoder0.0:256:0x1,0x2
All or nothing: when a step fails, what was done is undone and the step is named.)";
constexpr std::string_view kDownFooter = R"(Examples:
  godbox cxl down
  godbox cxl down --all-devices --json
Memory in use stays up, and so does a dax device that a process has open.)";

std::atomic<bool> interrupted{false};  // set by a signal's handler

// The machine's files. A signal does not end the program in the midst of a change: the next write,
// or the one that it interrupts, fails, so that all is undone. Nor does a kernel that runs out of
// memory while some is taken off line, where the program may ask for that.
class InterruptibleTree final : public driver::SysfsTree {
 public:
  explicit InterruptibleTree(std::string root) : SysfsTree(std::move(root)) {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = true; };  // without SA_RESTART
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
      sigaction(signal, &action, nullptr);
    }
    (void)SysfsTree::write("/proc/self/oom_score_adj", "-1000");
  }
  [[nodiscard]] int write(const std::string& path, const std::string& text) override {
    // Once: what undoes the change is not stopped by the same signal, nor by the next one.
    if (interrupted && !is_told_) {
      is_told_ = true;
      return EINTR;
    }
    const int error_number = SysfsTree::write(path, text);
    is_told_ = is_told_ || error_number == EINTR;
    return error_number;
  }

 private:
  bool is_told_ = false;
};

Result<std::vector<std::uint64_t>> parse_serials(const std::vector<std::string>& texts) {
  std::vector<std::uint64_t> serials;
  for (const std::string& text : texts) {
    const auto serial = parse_number("--serial", text);
    if (!serial) {
      return serial.error();
    }
    serials.push_back(*serial);
  }
  return serials;
}

// "decoder0.0:256:0x1,0x2"
Result<driver::CxlRegionPlan> parse_plan(const std::string& text) {
  const std::size_t first = text.find(':');
  const std::size_t second = text.find(':', first == std::string::npos ? first : first + 1);
  if (second == std::string::npos) {
    return Error(Errc::invalid_argument,
                 fmt::format("--region: \"{}\" is not WINDOW:GRANULARITY:SERIAL,SERIAL,...", text));
  }
  const auto granularity = parse_number("--region", text.substr(first + 1, second - first - 1));
  if (!granularity) {
    return Error(
        Errc::invalid_argument,
        fmt::format("--region: \"{}\" has no granularity in bytes (0: the window's)", text));
  }
  driver::CxlRegionPlan plan{text.substr(0, first), SizeBytes(*granularity), {}};
  for (std::size_t at = second + 1; at <= text.size();) {
    const std::size_t stop = std::min(text.find(',', at), text.size());
    const auto serial = parse_number("--region", std::string_view(text).substr(at, stop - at));
    if (!serial) {
      return serial.error();
    }
    plan.serials.push_back(*serial);
    at = stop + 1;
  }
  return plan;
}

Result<driver::CxlSelection> selection_of(const CxlOptions& options) {
  auto serials = parse_serials(options.serials);
  if (!serials) {
    return serials.error();
  }
  return driver::CxlSelection{
      .serials = std::move(*serials), .all_devices = options.all_devices, .owner = options.owner};
}

std::string serial_text(std::uint64_t serial) { return fmt::format("0x{:016x}", serial); }

boost::json::value text_or_null(const std::string& text) {
  return text.empty() ? boost::json::value(nullptr) : boost::json::value(text);
}

boost::json::object channel_json(const CxlChannel& channel) {
  boost::json::object object{{"serial", serial_text(channel.serial)}};
  const auto& identity = channel.identity;
  const std::optional<LdId> device = identity ? identity->logical_device() : std::nullopt;
  object["dram_channel"] =
      identity && !device ? boost::json::value(identity->dram_channel.value()) : nullptr;
  object["logical_device"] = device ? boost::json::value(device->value()) : nullptr;
  object["box"] = identity ? boost::json::value(identity->box) : nullptr;
  object["owner"] = identity ? boost::json::value(cxl::to_string(identity->owner)) : nullptr;
  object["memdev"] = channel.memdev;
  object["pci_address"] = text_or_null(channel.pci_address);
  object["size_bytes"] = channel.size.count();
  object["mode"] = driver::to_string(channel.mode);
  object["region"] = text_or_null(channel.region);
  object["region_ways"] = channel.region_ways;
  object["region_position"] = channel.region_position;
  object["region_granularity_bytes"] = channel.region_granularity.count();
  object["region_size_bytes"] = channel.region_size.count();
  object["dax_device"] = text_or_null(channel.dax_device);
  object["numa_node"] = channel.numa_node ? boost::json::value(*channel.numa_node) : nullptr;
  object["online"] = channel.is_online;
  boost::json::array windows;
  for (const std::string& window : channel.windows) {
    windows.emplace_back(window);
  }
  object["windows"] = std::move(windows);
  return object;
}

boost::json::array channels_json(const std::vector<CxlChannel>& channels) {
  boost::json::array array;
  for (const CxlChannel& channel : channels) {
    array.push_back(channel_json(channel));
  }
  return array;
}

std::string place_of(const CxlChannel& channel) {
  if (channel.mode == CxlMode::devdax) {
    return channel.dax_device;
  }
  if (channel.mode == CxlMode::numa) {
    return fmt::format("node {}{}", channel.numa_node ? fmt::format("{}", *channel.numa_node) : "?",
                       channel.is_online ? "" : " (off line)");
  }
  return channel.windows.empty() ? "no window" : "";
}

// "17", "LD 3" for a logical device, "-" for a device of somebody else.
std::string number_of(const CxlChannel& channel) {
  if (!channel.identity) {
    return "-";
  }
  const std::optional<LdId> device = channel.identity->logical_device();
  return device ? fmt::format("LD {}", device->value())
                : fmt::format("{}", channel.identity->dram_channel.value());
}

void print_channels(const std::vector<CxlChannel>& channels) {
  Table table({{"DRAM channel", Table::Align::right},
               {"owner", Table::Align::left},
               {"serial", Table::Align::left},
               {"device", Table::Align::left},
               {"size", Table::Align::right},
               {"mode", Table::Align::left},
               {"where", Table::Align::left},
               {"region", Table::Align::left}});
  for (const CxlChannel& channel : channels) {
    const auto& identity = channel.identity;
    const std::string region = channel.region_ways > 1
                                   ? fmt::format("{} ({} of {})", channel.region,
                                                 channel.region_position + 1, channel.region_ways)
                                   : channel.region;
    table.add({number_of(channel), identity ? std::string(cxl::to_string(identity->owner)) : "-",
               serial_text(channel.serial), channel.memdev, format_size(channel.size),
               std::string(driver::to_string(channel.mode)), place_of(channel), region});
  }
  fmt::print("{}", table.render("  "));
}

// What a device says of itself; an error of one device is told beside it and stops nothing.
boost::json::object health_json(const std::string& memdev) {
  boost::json::object object;
  const auto health = driver::read_cxl_health(memdev);
  if (health) {
    object["good"] = health->is_good();
    object["media"] = health->media_status;
    object["maintenance_needed"] = health->maintenance_needed;
    object["performance_degraded"] = health->performance_degraded;
    object["replacement_needed"] = health->replacement_needed;
    object["temperature_celsius"] =
        health->temperature_celsius ? boost::json::value(*health->temperature_celsius) : nullptr;
    object["life_used_percent"] =
        health->life_used_percent ? boost::json::value(*health->life_used_percent) : nullptr;
    object["dirty_shutdowns"] = health->dirty_shutdowns;
    object["volatile_errors_corrected"] = health->volatile_errors_corrected;
  } else {
    object["health_error"] = health.error().message();
  }
  if (const auto identity = driver::read_cxl_identity(memdev)) {
    object["firmware"] = json_text(identity->firmware_revision);
    object["total_bytes"] = identity->total_size.count();
  } else {
    object["identify_error"] = identity.error().message();
  }
  if (const auto logs = driver::read_cxl_logs(memdev)) {
    boost::json::array array;
    for (const driver::CxlLog& log : *logs) {
      array.push_back(boost::json::object{{"uuid", log.uuid}, {"size_bytes", log.size.count()}});
    }
    object["logs"] = std::move(array);
  } else {
    object["logs_error"] = logs.error().message();
  }
  if (const auto poison = driver::read_cxl_poison(memdev)) {
    boost::json::array array;
    for (const driver::CxlPoison& entry : *poison) {
      array.push_back(boost::json::object{{"dpa", entry.dpa},
                                          {"length_bytes", entry.length.count()},
                                          {"source", json_text(entry.source)}});
    }
    object["poison"] = std::move(array);
  } else {
    object["poison_error"] = poison.error().message();
  }
  return object;
}

void print_health(const std::vector<CxlChannel>& channels,
                  const std::vector<boost::json::object>& healths) {
  Table table({{"device", Table::Align::left},
               {"health", Table::Align::left},
               {"poison", Table::Align::right},
               {"firmware", Table::Align::left}});
  std::vector<std::string> errors;
  for (std::size_t i = 0; i < channels.size(); ++i) {
    const boost::json::object& health = healths[i];
    const auto* const media = health.if_contains("media");
    const auto* const poison = health.if_contains("poison");
    const auto* const firmware = health.if_contains("firmware");
    table.add({channels[i].memdev, media == nullptr ? "?" : std::string(media->as_string()),
               poison == nullptr ? "?" : fmt::format("{}", poison->as_array().size()),
               firmware == nullptr ? "?" : std::string(firmware->as_string())});
    for (const auto& item : health) {
      if (std::string_view(item.key()).ends_with("_error")) {
        errors.emplace_back(item.value().as_string());
      }
    }
  }
  fmt::print("\n{}", table.render("  "));
  for (const std::string& error : errors) {
    spdlog::warn("cxl status: {}", error);
  }
}

ExitCode run_status(const CxlOptions& options) {
  const driver::SysfsTree tree(options.sysfs_root);
  const auto channels = driver::find_cxl_channels(tree);
  if (!channels) {
    return fail("cxl status", channels.error());
  }
  if (options.health && !tree.root().empty()) {
    return fail("cxl status", Error(Errc::invalid_argument,
                                    "--health: devices below --sysfs-root cannot be asked"));
  }
  std::vector<boost::json::object> healths;
  for (const CxlChannel& channel : *channels) {
    healths.push_back(options.health ? health_json(channel.memdev) : boost::json::object());
  }
  if (options.json) {
    boost::json::array array = channels_json(*channels);
    for (std::size_t i = 0; options.health && i < array.size(); ++i) {
      array[i].as_object()["health"] = std::move(healths[i]);
    }
    print_json(stdout, boost::json::object{{"schema", kSchema}, {"channels", std::move(array)}},
               false);
    return ExitCode::ok;
  }
  if (channels->empty()) {
    fmt::print("this machine has a CXL bus but no CXL memory device on it\n");
    return ExitCode::ok;
  }
  print_channels(*channels);
  if (options.health) {
    print_health(*channels, healths);
  }
  return ExitCode::ok;
}

boost::json::array serials_json(const std::vector<std::uint64_t>& serials) {
  boost::json::array array;
  for (const std::uint64_t serial : serials) {
    array.emplace_back(serial_text(serial));
  }
  return array;
}

boost::json::array names_json(const std::vector<std::string>& names) {
  return boost::json::array(names.begin(), names.end());
}

ExitCode run_up(const CxlOptions& options) {
  const auto selection = selection_of(options);
  if (!selection) {
    return fail("cxl up", selection.error());
  }
  driver::CxlUpOptions up{.use = options.use, .selection = *selection};
  for (const std::string& text : options.regions) {
    const auto plan = parse_plan(text);
    if (!plan) {
      return fail("cxl up", plan.error());
    }
    up.plans.push_back(*plan);
  }
  InterruptibleTree tree(options.sysfs_root);
  const auto report = driver::cxl_up(tree, up);
  if (!report) {
    return fail("cxl up", report.error());
  }
  if (options.json) {
    print_json(stdout,
               boost::json::object{{"schema", kSchema},
                                   {"as", driver::to_string(options.use)},
                                   {"regions_created", names_json(report->regions_created)},
                                   {"brought_up", serials_json(report->brought_up)},
                                   {"already_up", serials_json(report->already_up)},
                                   {"channels", channels_json(report->channels)}},
               false);
    return ExitCode::ok;
  }
  if (report->brought_up.empty()) {
    fmt::print("nothing to do: all {} channels are up as {} already\n", report->already_up.size(),
               driver::to_string(options.use));
  } else {
    fmt::print("{} channels up as {} in {} new regions, {} were already\n",
               report->brought_up.size(), driver::to_string(options.use),
               report->regions_created.size(), report->already_up.size());
  }
  print_channels(report->channels);
  return ExitCode::ok;
}

ExitCode run_down(const CxlOptions& options) {
  const auto selection = selection_of(options);
  if (!selection) {
    return fail("cxl down", selection.error());
  }
  InterruptibleTree tree(options.sysfs_root);
  const auto report = driver::cxl_down(tree, *selection);
  if (!report) {
    return fail("cxl down", report.error());
  }
  if (options.json) {
    print_json(stdout,
               boost::json::object{{"schema", kSchema},
                                   {"regions_removed", names_json(report->regions_removed)},
                                   {"brought_down", serials_json(report->brought_down)},
                                   {"already_down", serials_json(report->already_down)}},
               false);
  } else if (report->brought_down.empty()) {
    fmt::print("nothing to do: all {} channels are down already\n", report->already_down.size());
  } else {
    fmt::print("{} channels down, {} regions removed\n", report->brought_down.size(),
               report->regions_removed.size());
  }
  return ExitCode::ok;
}

void add_common(CLI::App& command, CxlOptions& options) {
  command.add_option("--sysfs-root", options.sysfs_root,
                     "Take /sys, /proc and /dev below this folder (for tests)");
  command.add_flag("--json", options.json, "Print one JSON document; docs/cxl.md has the fields");
}

void add_selection(CLI::App& command, CxlOptions& options) {
  auto* const serials =
      command
          .add_option("--serial", options.serials,
                      "Only the devices with these serial numbers (repeat it, or comma-separated)")
          ->delimiter(',')
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_flag("--all-devices", options.all_devices,
                "CXL memory devices that are no channel of a godbox too")
      ->excludes(serials);
  command
      .add_option_function<std::string>(
          "--owner", [&options](const std::string& name) { options.owner = kOwners.at(name); },
          "Only channels of this owner: pool, bound or shared")
      ->check(CLI::IsMember(kOwners));
}

}  // namespace

void add_cxl(CLI::App& program, Action& chosen) {
  CLI::App* const cxl = program.add_subcommand(
      "cxl", "Bring this machine's CXL memory up and down: as dax devices or NUMA nodes");
  cxl->require_subcommand(1);
  cxl->footer(std::string(kFooter));
  auto options = std::make_shared<CxlOptions>();

  CLI::App* const status =
      cxl->add_subcommand("status", "Show the DRAM channels that this machine sees");
  add_common(*status, *options);
  status->add_flag("--health", options->health,
                   "Ask each device for its identity, health, logs and poison list");
  status->footer(std::string(kStatusFooter));
  status->callback([options, &chosen] { chosen = [options] { return run_status(*options); }; });

  CLI::App* const up = cxl->add_subcommand("up", "Make regions and give them to a driver");
  add_common(*up, *options);
  add_selection(*up, *options);
  up->add_option_function<std::string>(
        "--as", [options](const std::string& name) { options->use = kUses.at(name); },
        "dax: a device file each; numa: movable memory of a NUMA node")
      ->check(CLI::IsMember(kUses))
      ->required();
  up->add_option(
        "--region", options->regions,
        "A region of your own: WINDOW:GRANULARITY:SERIAL,SERIAL,... by position; repeat it")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  up->footer(std::string(kUpFooter));
  up->callback([options, &chosen] { chosen = [options] { return run_up(*options); }; });

  CLI::App* const down = cxl->add_subcommand("down", "Take memory off line and regions away");
  add_common(*down, *options);
  add_selection(*down, *options);
  down->footer(std::string(kDownFooter));
  down->callback([options, &chosen] { chosen = [options] { return run_down(*options); }; });
}

}  // namespace godbox::app
