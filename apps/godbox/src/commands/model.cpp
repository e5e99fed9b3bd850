// SPDX-License-Identifier: Apache-2.0
//
// model time-table, explain, curve, device: what a real box would do with a striped transfer, by
// the timing model (docs/model.md). Every figure is modelled.
#include "cli/format.h"
#include "cli/json.h"
#include "cli/lists.h"
#include "cli/log.h"
#include "cli/table.h"
#include "commands/commands.h"
#include "twin/box_choice.h"
#include <godbox/emulator/box_config.h>
#include <godbox/emulator/model/device_file.h>
#include <godbox/emulator/model/device_timing.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace godbox::app {
namespace {

namespace model = emulator::model;

constexpr std::string_view kSchema = "godbox-time-table-1";
constexpr std::string_view kCurveSchema = "godbox-latency-curve-1";
constexpr SizeBytes kStrip{65536};  // what large objects are cut into

struct ModelOptions {
  std::vector<std::string> presets;
  std::string preset = "emfasys18";
  DeviceChoice device;
  std::string counts = "1,2,9,18,28";
  std::string size = "100000000000";
  std::uint32_t channels = 0;  // explain; 0: all
  std::uint32_t ports = 0;     // 0: time-table: the sets; explain: all
  std::uint32_t hosts = 0;
  bool is_write = false;
  bool json = false;
  double read_share = 1;  // curve
  bool is_detailed = false;
};

constexpr std::string_view kFooter = R"(Examples:
  godbox model time-table                       100 GB from each preset, 1 to 28 DRAM channels
  godbox model explain --preset acf1            one transfer, stage by stage
  godbox model curve --device vistara           latency under load of one device
  godbox model replay --generate conversation   hosts that play a trace: load, times, what bounds it
  godbox model rack --lose box:5                boxes behind a network, and what a loss costs
  godbox model device emfasys > mine.toml       a parameter file to start from
Figures are modelled: docs/model.md says from what, and where the model is known to be wrong.)";
constexpr std::string_view kTableFooter = R"(Examples:
  godbox model time-table --preset acf1 --channels 9,18
  godbox model time-table --write --protocol tcp --mtu 9000 --json
  godbox model time-table --device mine.toml --ports 4 --hosts 2)";
constexpr std::string_view kCurveFooter = R"(Examples:
  godbox model curve --device vistara --read-share 0.67
  godbox model curve --device mine.toml --detailed --json
Lines come at random, in pieces of 256 bytes, from one host.)";
constexpr std::string_view kExplainFooter = R"(Examples:
  godbox model explain --channels 18 --size 20MiB
  godbox model explain --preset acf1 --ports 8 --write --json)";

std::uint32_t super_nics_of(const model::BoxShape& shape, std::uint32_t channels) {
  return (channels + shape.dram_channels_per_super_nic - 1) / shape.dram_channels_per_super_nic;
}

struct Row {
  std::string preset;
  model::Transfer transfer;
  model::TransferFigures figures;
};

// One Ethernet port, one of each SuperNIC, all of them.
std::vector<std::uint32_t> port_sets(const model::BoxShape& shape, std::uint32_t channels) {
  const std::uint32_t super_nics = super_nics_of(shape, channels);
  std::vector<std::uint32_t> sets{1, super_nics, super_nics * shape.eth_ports_per_super_nic};
  sets.erase(std::unique(sets.begin(), sets.end()), sets.end());
  return sets;
}

boost::json::object row_json(const Row& row) {
  const model::TransferFigures& figures = row.figures;
  boost::json::array stages;
  for (const model::StageFigures& stage : figures.stages) {
    stages.push_back(
        boost::json::object{{"name", stage.name},
                            {"count", stage.count},
                            {"raw_bytes_per_s", figure(stage.raw.bytes_per_second())},
                            {"limited_bytes_per_s", figure(stage.limited.bytes_per_second())},
                            {"utilisation", figure(stage.utilisation)},
                            {"latency_ns", figure(stage.latency_ns)},
                            {"why", stage.why}});
  }
  return {{"preset", row.preset},
          {"dram_channels", row.transfer.dram_channels},
          {"eth_ports", row.transfer.eth_ports},
          {"bytes", row.transfer.size.count()},
          {"seconds", figure(figures.seconds)},
          {"bytes_per_s", figure(static_cast<double>(row.transfer.size.count()) / figures.seconds)},
          {"bottleneck", figures.stages[figures.bottleneck].name},
          {"raw_seconds", figure(figures.raw_seconds)},
          {"raw_bottleneck", figures.stages[figures.raw_bottleneck].name},
          {"first_byte_ns", figure(figures.first_byte_ns)},
          {"stages", std::move(stages)}};
}

void print_document(const ModelOptions& options, const model::BoxModel& device,
                    const std::vector<Row>& rows) {
  boost::json::array array;
  for (const Row& row : rows) {
    array.push_back(row_json(row));
  }
  print_json(stdout,
             boost::json::object{{"schema", kSchema},
                                 {"kind", "modelled"},
                                 {"device", device.device.name},
                                 {"operation", options.is_write ? "write" : "read"},
                                 {"protocol", model::to_string(device.ethernet.protocol)},
                                 {"mtu_bytes", device.ethernet.mtu_bytes},
                                 {"rows", std::move(array)}},
             false);
}

void print_title(const ModelOptions& options, const model::BoxModel& device, SizeBytes size) {
  fmt::print("modelled: {} {} over {} with MTU {}; {}\n\n", options.is_write ? "write" : "read",
             format_size(size), model::to_string(device.ethernet.protocol),
             device.ethernet.mtu_bytes, device.device.name);
}

void print_table(const ModelOptions& options, const model::BoxModel& device,
                 const std::vector<Row>& rows) {
  print_title(options, device, rows.front().transfer.size);
  Table table({{"preset", Table::Align::left},
               {"DRAM channels", Table::Align::right},
               {"ports", Table::Align::right},
               {"time", Table::Align::right},
               {"rate", Table::Align::right},
               {"bound by", Table::Align::left},
               {"raw bound", Table::Align::right},
               {"by", Table::Align::left},
               {"busy, % (as in explain)", Table::Align::left}});
  for (const Row& row : rows) {
    const model::TransferFigures& figures = row.figures;
    const double rate = static_cast<double>(row.transfer.size.count()) / figures.seconds;
    std::string busy;
    for (const model::StageFigures& stage : figures.stages) {
      busy += fmt::format("{}{:.0f}", busy.empty() ? "" : " ", stage.utilisation * 100);
    }
    table.add({row.preset, fmt::format("{}", row.transfer.dram_channels),
               fmt::format("{}", row.transfer.eth_ports), format_duration(figures.seconds),
               format_rate(rate / 1e9), std::string(figures.stages[figures.bottleneck].name),
               format_duration(figures.raw_seconds),
               std::string(figures.stages[figures.raw_bottleneck].name), busy});
  }
  fmt::print("{}", table.render("  "));
}

void print_stages(const ModelOptions& options, const model::BoxModel& device, const Row& row) {
  print_title(options, device, row.transfer.size);
  const model::TransferFigures& figures = row.figures;
  Table table({{"stage", Table::Align::left},
               {"of them", Table::Align::right},
               {"raw", Table::Align::right},
               {"protocol-limited", Table::Align::right},
               {"busy", Table::Align::right},
               {"first byte", Table::Align::right},
               {"", Table::Align::left}});
  for (const model::StageFigures& stage : figures.stages) {
    table.add({std::string(stage.name), fmt::format("{}", stage.count),
               format_rate(stage.raw.bytes_per_second() / 1e9),
               format_rate(stage.limited.bytes_per_second() / 1e9),
               format_percent(stage.utilisation), fmt::format("{:.0f} ns", stage.latency_ns),
               stage.why});
  }
  fmt::print("{}", table.render("  "));
  fmt::print("\n  {}: {}, bound by {}; raw bound {} by {}; first byte after {:.0f} ns\n",
             row.preset, format_duration(figures.seconds), figures.stages[figures.bottleneck].name,
             format_duration(figures.raw_seconds), figures.stages[figures.raw_bottleneck].name,
             figures.first_byte_ns);
}

// What time-table and explain have in common.
struct Prepared {
  model::BoxModel device;
  model::ChannelRates rates;
  SizeBytes size;
};
Result<Prepared> prepare(const ModelOptions& options) {
  const auto sizes = parse_sizes("--size", options.size);
  if (!sizes) {
    return sizes.error();
  }
  if (sizes->size() != 1) {
    return Error(Errc::invalid_argument,
                 fmt::format("--size: \"{}\" is not one size", options.size));
  }
  const auto device = read_device(options.device);
  if (!device) {
    return device.error();
  }
  const auto rates = model::channel_rates(*device, options.is_write, kStrip);
  if (!rates) {
    return rates.error();
  }
  return Prepared{*device, *rates, sizes->front()};
}

Result<std::vector<Row>> rows_of_preset(const ModelOptions& options, const Prepared& prepared,
                                        const std::string& preset,
                                        const std::vector<std::uint32_t>& counts) {
  const auto shape = shape_of(preset);
  if (!shape) {
    return shape.error();
  }
  std::vector<Row> rows;
  for (const std::uint32_t channels : counts) {
    if (channels > shape->super_nics * shape->dram_channels_per_super_nic) {
      continue;  // a smaller box than that
    }
    const auto sets = options.ports != 0 ? std::vector{options.ports} : port_sets(*shape, channels);
    for (const std::uint32_t ports : sets) {
      const model::Transfer transfer{prepared.size, channels, ports, options.hosts};
      auto figures = model::time_transfer(prepared.device, *shape, transfer, prepared.rates);
      if (!figures) {
        return Error(figures.error().code, fmt::format("{}: {}", preset, figures.error().detail));
      }
      rows.push_back({preset, transfer, std::move(*figures)});
    }
  }
  return rows;
}

ExitCode run_time_table(const ModelOptions& options) {
  const auto counts = parse_counts("--channels", options.counts, {1, 64});
  if (!counts) {
    return fail("model time-table", counts.error());
  }
  const auto prepared = prepare(options);
  if (!prepared) {
    return fail("model time-table", prepared.error());
  }
  std::vector<std::string> presets = options.presets;
  if (presets.empty()) {
    for (const std::string_view name : emulator::preset_names()) {
      presets.emplace_back(name);
    }
  }
  std::vector<Row> rows;
  for (const std::string& preset : presets) {
    auto more = rows_of_preset(options, *prepared, preset, *counts);
    if (!more) {
      return fail("model time-table", more.error());
    }
    std::move(more->begin(), more->end(), std::back_inserter(rows));
  }
  if (rows.empty()) {
    return fail(
        "model time-table",
        Error(Errc::config_invalid,
              fmt::format("--channels {}: no preset of these has so many", options.counts)));
  }
  if (options.json) {
    print_document(options, prepared->device, rows);
  } else {
    print_table(options, prepared->device, rows);
  }
  return ExitCode::ok;
}

ExitCode run_explain(const ModelOptions& options) {
  const auto prepared = prepare(options);
  if (!prepared) {
    return fail("model explain", prepared.error());
  }
  const auto shape = shape_of(options.preset);
  if (!shape) {
    return fail("model explain", shape.error());
  }
  model::Transfer transfer{prepared->size, options.channels, options.ports, options.hosts};
  if (transfer.dram_channels == 0) {
    transfer.dram_channels = shape->super_nics * shape->dram_channels_per_super_nic;
  }
  if (transfer.eth_ports == 0) {
    transfer.eth_ports =
        super_nics_of(*shape, transfer.dram_channels) * shape->eth_ports_per_super_nic;
  }
  auto figures = model::time_transfer(prepared->device, *shape, transfer, prepared->rates);
  if (!figures) {
    return fail("model explain", figures.error());
  }
  const Row row{options.preset, transfer, std::move(*figures)};
  if (options.json) {
    print_document(options, prepared->device, {row});
  } else {
    print_stages(options, prepared->device, row);
  }
  return ExitCode::ok;
}

struct CurvePoint {
  double load;  // of what the device delivers at most
  double gb_per_s;
  double read_mean_ns;
};

void print_curve(const ModelOptions& options, const model::BoxModel& device,
                 model::Fidelity fidelity, Rate most, const std::vector<CurvePoint>& points) {
  if (options.json) {
    boost::json::array array;
    for (const CurvePoint& point : points) {
      array.push_back(boost::json::object{{"load", figure(point.load)},
                                          {"bytes_per_s", figure(point.gb_per_s * 1e9)},
                                          {"read_mean_ns", figure(point.read_mean_ns)}});
    }
    print_json(stdout,
               boost::json::object{{"schema", kCurveSchema},
                                   {"kind", "modelled"},
                                   {"device", device.device.name},
                                   {"fidelity", model::to_string(fidelity)},
                                   {"read_share", figure(options.read_share)},
                                   {"bytes_per_s_max", figure(most.bytes_per_second())},
                                   {"points", std::move(array)}},
               false);
    return;
  }
  fmt::print("modelled, {}: {}; {} of lines read; at most {}\n\n", model::to_string(fidelity),
             device.device.name, format_percent(options.read_share),
             format_rate(most.bytes_per_second() / 1e9));
  Table table({{"load", Table::Align::right},
               {"rate", Table::Align::right},
               {"mean read latency", Table::Align::right}});
  for (const CurvePoint& point : points) {
    table.add({format_percent(point.load), format_rate(point.gb_per_s),
               fmt::format("{:.0f} ns", point.read_mean_ns)});
  }
  fmt::print("{}", table.render("  "));
}

ExitCode run_curve(const ModelOptions& options) {
  const auto device = read_device(options.device);
  if (!device) {
    return fail("model curve", device.error());
  }
  const auto fidelity = options.is_detailed ? model::Fidelity::detailed : model::Fidelity::fast;
  const auto timing = model::make_device_timing(
      device->device, {.read_share = options.read_share, .run = SizeBytes(256)}, fidelity);
  if (!timing) {
    return fail("model curve", timing.error());
  }
  const Rate most = (*timing)->most();
  std::vector<CurvePoint> points;
  for (const double load : {0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}) {
    const Rate offered(load * most.bytes_per_second());
    const auto latency = (*timing)->read_mean_ns(offered);
    if (!latency) {
      return fail("model curve", latency.error());
    }
    points.push_back({load, offered.bytes_per_second() / 1e9, *latency});
  }
  print_curve(options, *device, fidelity, most, points);
  return ExitCode::ok;
}

ExitCode run_device(const std::string& name) {
  const auto text = model::device_text(name);
  if (!text) {
    return fail("model device", text.error());
  }
  fmt::print("{}", *text);
  return ExitCode::ok;
}

void add_device_option(CLI::App& command, ModelOptions& options) {
  command
      .add_option("--device", options.device,
                  "A device that comes with godbox, or a parameter file")
      ->capture_default_str();
  command.add_flag("--json", options.json, "Print JSON; docs/model.md has the fields");
}

void add_common(CLI::App& command, ModelOptions& options) {
  static const std::map<std::string, model::WireProtocol> kProtocols{
      {"roce", model::WireProtocol::roce}, {"tcp", model::WireProtocol::tcp}};
  add_device_option(command, options);
  command.add_option("--size", options.size, "Bytes of the transfer, such as 20MiB; 100 GB")
      ->capture_default_str();
  command.add_option("--ports", options.ports, "Ethernet ports, of the SuperNICs in use");
  command.add_option("--hosts", options.hosts,
                     "Hosts, with one port of the same speed each; without it, one for each port");
  command.add_option("--protocol", options.device.protocol, "roce or tcp, instead of the file's")
      ->transform(CLI::CheckedTransformer(kProtocols));
  command.add_option("--mtu", options.device.mtu_bytes, "Bytes: RoCE's path MTU, TCP's IP packets");
  command.add_flag("--write", options.is_write, "Hosts write to the box; without it they read");
}

}  // namespace

void add_model(CLI::App& program, Action& chosen) {
  auto options = std::make_shared<ModelOptions>();
  CLI::App* const group = program.add_subcommand(
      "model",
      "What a real box would do, by the timing model: time-table, explain, curve, replay, sweep, "
      "rack, device");
  group->require_subcommand(1);
  group->footer(std::string(kFooter));

  CLI::App* const table = group->add_subcommand(
      "time-table", "The time of one striped transfer by DRAM channels, preset and ports");
  table->add_option("--preset", options->presets, "Presets; all of them without it")
      ->delimiter(',')
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  table->add_option("--channels", options->counts, "DRAM channels, such as 1,9,18 or 1..18")
      ->capture_default_str();
  add_common(*table, *options);
  table->footer(std::string(kTableFooter));
  table->callback([options, &chosen] { chosen = [options] { return run_time_table(*options); }; });

  CLI::App* const explain =
      group->add_subcommand("explain", "One transfer, stage by stage, and what bounds each");
  explain->add_option("--preset", options->preset, "The box")->capture_default_str();
  explain->add_option("--channels", options->channels, "DRAM channels; all without it");
  add_common(*explain, *options);
  explain->footer(std::string(kExplainFooter));
  explain->callback([options, &chosen] { chosen = [options] { return run_explain(*options); }; });

  CLI::App* const curve = group->add_subcommand(
      "curve", "The latency of reads of one CXL device, by how much it is asked for");
  add_device_option(*curve, *options);
  curve->add_option("--read-share", options->read_share, "Of the lines, above 0 to 1")
      ->capture_default_str();
  curve->add_flag("--detailed", options->is_detailed,
                  "Each point by itself, event by event, instead of the fast model's curve");
  curve->footer(std::string(kCurveFooter));
  curve->callback([options, &chosen] { chosen = [options] { return run_curve(*options); }; });

  CLI::App* const device =
      group->add_subcommand("device", "Print the parameter file of a device that is known");
  auto name = std::make_shared<std::string>("emfasys");
  std::string names;
  for (const std::string_view known : model::device_names()) {
    names += names.empty() ? "" : ", ";
    names += known;
  }
  device->add_option("name", *name, "One of " + names)->capture_default_str();
  device->callback([name, &chosen] { chosen = [name] { return run_device(*name); }; });
  add_model_load(*group, chosen);
}

}  // namespace godbox::app
