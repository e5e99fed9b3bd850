// SPDX-License-Identifier: Apache-2.0
//
// model time-table, explain, curve, device: what a real box would do with a striped transfer, by
// the timing model (docs/model.md). Every figure is modelled.
#include "cli/format.h"
#include "cli/lists.h"
#include "cli/table.h"
#include "commands/commands.h"
#include "commands/model_output.h"
#include "twin/transfer.h"
#include <godbox/emulator/box_config.h>
#include <godbox/emulator/model/device_timing.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace godbox::app {
namespace {

namespace model = emulator::model;

constexpr std::string_view kCurveSchema = "godbox-latency-curve-1";

struct ModelOptions {
  TransferChoice transfer;  // of curve its device alone
  ModelOutput output;
  std::vector<std::string> presets;
  std::string preset = "emfasys18";
  std::string counts = "1,2,9,18,28";
  std::string size = "100000000000";
  std::uint32_t channels = 0;  // explain; 0: all
  double read_share = 1;       // curve
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
  godbox model time-table --device mine.toml --ports 4 --hosts 2
  godbox model time-table --port-gbit 400 --set link.lanes=16 --report table.html)";
constexpr std::string_view kCurveFooter = R"(Examples:
  godbox model curve --device vistara --read-share 0.67
  godbox model curve --device mine.toml --detailed --json
Lines come at random, in pieces of 256 bytes, from one host.)";
constexpr std::string_view kExplainFooter = R"(Examples:
  godbox model explain --channels 18 --size 20MiB
  godbox model explain --preset acf1 --ports 8 --write --json
  godbox model explain --size 1MiB --set ethernet.switch_hops=3 --report where.html)";

Result<TransferChoice> prepare(const ModelOptions& options) {
  const Result<SizeBytes> size = parse_one_size("--size", options.size);
  if (!size) {
    return size.error();
  }
  TransferChoice choice = options.transfer;
  choice.size = *size;
  const Result<void> prepared = prepare_box(options.output, choice.device);
  return prepared ? Result<TransferChoice>(std::move(choice)) : prepared.error();
}

Result<TransferResult> model_table(const ModelOptions& options) {
  const auto counts = parse_counts("--channels", options.counts, {1, 64});
  const auto choice = prepare(options);
  if (!counts || !choice) {
    return counts ? choice.error() : counts.error();
  }
  std::vector<std::string> presets = options.presets;
  if (presets.empty()) {
    for (const std::string_view name : emulator::preset_names()) {
      presets.emplace_back(name);
    }
  }
  return time_table(*choice, presets, *counts);
}

ExitCode run_time_table(const ModelOptions& options) {
  const Result<TransferResult> result = model_table(options);
  if (!result) {
    return fail("model time-table", result.error());
  }
  return show("model time-table", options.output, *result, print_time_table);
}

ExitCode run_explain(const ModelOptions& options) {
  const auto choice = prepare(options);
  const Result<TransferResult> result =
      choice ? explain_transfer(*choice, options.preset, options.channels) : choice.error();
  if (!result) {
    return fail("model explain", result.error());
  }
  return show("model explain", options.output, *result, print_explained);
}

struct CurvePoint {
  double load;  // of what the device delivers at most
  double gb_per_s;
  double read_mean_ns;
};

void print_curve(const ModelOptions& options, const model::BoxModel& device,
                 model::Fidelity fidelity, Rate most, const std::vector<CurvePoint>& points) {
  if (options.output.json) {
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
  const auto device = read_device(options.transfer.device);
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

void add_device_option(CLI::App& command, DeviceChoice& device) {
  command
      .add_option("--device", device.device, "A device that comes with godbox, or a parameter file")
      ->capture_default_str();
}

void add_common(CLI::App& command, ModelOptions& options) {
  static const std::map<std::string, model::WireProtocol> protocols{
      {"roce", model::WireProtocol::roce}, {"tcp", model::WireProtocol::tcp}};
  TransferChoice& choice = options.transfer;
  add_device_option(command, choice.device);
  command.add_option("--size", options.size, "Bytes of the transfer, such as 20MiB; 100 GB")
      ->capture_default_str();
  command.add_option("--ports", choice.ports, "Ethernet ports, of the SuperNICs in use");
  command.add_option("--port-gbit", choice.port_gbit_per_s,
                     "Gb/s of a port and of a host's NIC, instead of the preset's");
  command.add_option("--hosts", choice.hosts,
                     "Hosts, with one port of the same speed each; without it, one for each port");
  command.add_option("--protocol", choice.device.protocol, "roce or tcp, instead of the file's")
      ->transform(CLI::CheckedTransformer(protocols));
  command.add_option("--mtu", choice.device.mtu_bytes, "Bytes: RoCE's path MTU, TCP's IP packets");
  command.add_flag("--write", choice.is_write, "Hosts write to the box; without it they read");
  add_model_output(command, options.output);
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
  add_device_option(*curve, options->transfer.device);
  curve->add_flag("--json", options->output.json, "Print JSON; docs/model.md has the fields");
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
