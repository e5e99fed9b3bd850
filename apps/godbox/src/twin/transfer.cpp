// SPDX-License-Identifier: Apache-2.0
#include "twin/transfer.h"

#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace godbox::app {
namespace {

namespace model = emulator::model;

constexpr std::string_view kSchema = "godbox-time-table-1";
constexpr SizeBytes kStrip{65536};  // what large objects are cut into
constexpr std::size_t kPictureColumns = 50;

// One Ethernet port, one of each SuperNIC, all of them.
std::vector<std::uint32_t> port_sets(const model::BoxShape& shape, std::uint32_t channels) {
  const std::uint32_t super_nics = shape.super_nics_of(channels);
  std::vector<std::uint32_t> sets{1, super_nics, super_nics * shape.eth_ports_per_super_nic};
  sets.erase(std::unique(sets.begin(), sets.end()), sets.end());
  return sets;
}

// What all rows have in common.
struct Prepared {
  model::BoxModel device;
  model::ChannelRates rates;
};
Result<Prepared> prepare(const TransferChoice& choice) {
  const double gbit = choice.port_gbit_per_s.value_or(kPortGbitMin);
  if (!(gbit >= kPortGbitMin && gbit <= kPortGbitMax)) {
    return Error(Errc::config_invalid, fmt::format("--port-gbit {}: allowed is {} to {}", gbit,
                                                   kPortGbitMin, kPortGbitMax));
  }
  const auto device = read_device(choice.device);
  if (!device) {
    return device.error();
  }
  const auto rates = model::channel_rates(*device, choice.is_write, kStrip);
  return rates ? Result<Prepared>(Prepared{*device, *rates}) : rates.error();
}

Result<model::BoxShape> shape_for(const TransferChoice& choice, const std::string& preset) {
  Result<model::BoxShape> shape = shape_of(preset);
  if (shape && choice.port_gbit_per_s) {
    shape->eth_port = Rate(*choice.port_gbit_per_s * 1e9 / 8);
  }
  return shape;
}

Result<TransferRow> row_of(const Prepared& prepared, const std::string& preset,
                           const model::BoxShape& shape, const model::Transfer& transfer) {
  auto figures = model::time_transfer(prepared.device, shape, transfer, prepared.rates);
  if (!figures) {
    return Error(figures.error().code, fmt::format("{}: {}", preset, figures.error().detail));
  }
  return TransferRow{preset, shape, transfer, std::move(*figures)};
}

struct PresetRows {
  std::vector<TransferRow> rows;
  std::uint32_t too_few_ports = 0;
  Error too_few;  // of the first that has too few
};
Result<PresetRows> rows_of_preset(const TransferChoice& choice, const Prepared& prepared,
                                  const std::string& preset,
                                  const std::vector<std::uint32_t>& counts) {
  const auto shape = shape_for(choice, preset);
  if (!shape) {
    return shape.error();
  }
  PresetRows result;
  for (const std::uint32_t channels : counts) {
    if (channels > shape->super_nics * shape->dram_channels_per_super_nic) {
      continue;  // a smaller box than that
    }
    const auto sets = choice.ports != 0 ? std::vector{choice.ports} : port_sets(*shape, channels);
    for (const std::uint32_t ports : sets) {
      auto row = row_of(prepared, preset, *shape, {choice.size, channels, ports, choice.hosts});
      if (row) {
        result.rows.push_back(std::move(*row));
      } else if (ports > shape->super_nics_of(channels) * shape->eth_ports_per_super_nic) {
        result.too_few = result.too_few_ports == 0 ? row.error() : result.too_few;
        ++result.too_few_ports;
      } else {
        return row.error();
      }
    }
  }
  return result;
}

boost::json::object row_json(const TransferRow& row) {
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

// '#' from one share of the picture's width to another; what is not nothing is at least one.
std::string drawn(double begin, double end) {
  const auto column = [](double share) {
    const double at = std::round(std::clamp(share, 0.0, 1.0) * kPictureColumns);
    return static_cast<std::size_t>(at);
  };
  if (!(end > begin)) {
    return {};
  }
  const std::size_t first = std::min(column(begin), kPictureColumns - 1);
  const std::size_t last = std::max(column(end), first + 1);
  return std::string(first, ' ') + std::string(last - first, '#');
}

void print_pictures(const TransferRow& row) {
  const model::TransferFigures& figures = row.figures;
  Table way({{"the first byte, stage by stage", Table::Align::left},
             {"", Table::Align::right},
             {fmt::format("0 to {:.0f} ns", figures.first_byte_ns), Table::Align::left}});
  Table busy({{"busy, of all the time", Table::Align::left},
              {"", Table::Align::right},
              {"0 to 100 %", Table::Align::left}});
  double begin_ns = 0;
  for (const model::StageFigures& stage : figures.stages) {
    const double end_ns = begin_ns + stage.latency_ns;
    way.add({std::string(stage.name), fmt::format("{:.0f} ns", stage.latency_ns),
             drawn(begin_ns / figures.first_byte_ns, end_ns / figures.first_byte_ns)});
    busy.add(
        {std::string(stage.name), format_percent(stage.utilisation), drawn(0, stage.utilisation)});
    begin_ns = end_ns;
  }
  fmt::print("\n{}\n{}", way.render("  "), busy.render("  "));
}

}  // namespace

Result<TransferResult> time_table(const TransferChoice& choice,
                                  const std::vector<std::string>& presets,
                                  const std::vector<std::uint32_t>& channels) {
  const auto prepared = prepare(choice);
  if (!prepared) {
    return prepared.error();
  }
  TransferResult result{choice, prepared->device, {}, 0, false};
  Error too_few;
  for (const std::string& preset : presets) {
    auto more = rows_of_preset(choice, *prepared, preset, channels);
    if (!more) {
      return more.error();
    }
    std::move(more->rows.begin(), more->rows.end(), std::back_inserter(result.rows));
    too_few = result.too_few_ports == 0 ? more->too_few : too_few;
    result.too_few_ports += more->too_few_ports;
  }
  if (result.rows.empty()) {
    return result.too_few_ports != 0
               ? too_few
               : Error(Errc::config_invalid, "--channels: no preset of these has so many");
  }
  return result;
}

Result<TransferResult> explain_transfer(const TransferChoice& choice, const std::string& preset,
                                        std::uint32_t channels) {
  const auto prepared = prepare(choice);
  const auto shape = shape_for(choice, preset);
  if (!prepared || !shape) {
    return prepared ? shape.error() : prepared.error();
  }
  model::Transfer transfer{choice.size, channels, choice.ports, choice.hosts};
  if (transfer.dram_channels == 0) {
    transfer.dram_channels = shape->super_nics * shape->dram_channels_per_super_nic;
  }
  if (transfer.eth_ports == 0) {
    transfer.eth_ports =
        shape->super_nics_of(transfer.dram_channels) * shape->eth_ports_per_super_nic;
  }
  auto row = row_of(*prepared, preset, *shape, transfer);
  if (!row) {
    return row.error();
  }
  TransferResult result{choice, prepared->device, {}, 0, true};
  result.rows.push_back(std::move(*row));
  return result;
}

bool is_of(const TransferRow& row, PortSet set) {
  const std::uint32_t super_nics = row.shape.super_nics_of(row.transfer.dram_channels);
  switch (set) {
    case PortSet::one:
      return row.transfer.eth_ports == 1;
    case PortSet::one_for_each_super_nic:
      return row.transfer.eth_ports == super_nics;
    case PortSet::all:
      break;
  }
  return row.transfer.eth_ports == super_nics * row.shape.eth_ports_per_super_nic;
}

boost::json::object to_json(const TransferResult& result) {
  boost::json::array rows;
  for (const TransferRow& row : result.rows) {
    rows.push_back(row_json(row));
  }
  return {{"schema", kSchema},
          {"kind", "modelled"},
          {"device", json_text(result.device.device.name)},
          {"operation", result.choice.is_write ? "write" : "read"},
          {"protocol", model::to_string(result.device.ethernet.protocol)},
          {"mtu_bytes", result.device.ethernet.mtu_bytes},
          {"left_out", result.too_few_ports},
          {"rows", std::move(rows)}};
}

std::string transfer_text(const TransferResult& result) {
  return fmt::format("{} {} over {} with MTU {}; {}", result.choice.is_write ? "write" : "read",
                     format_size(result.choice.size),
                     model::to_string(result.device.ethernet.protocol),
                     result.device.ethernet.mtu_bytes, result.device.device.name);
}

std::string left_out_text(const TransferResult& result) {
  return fmt::format("{} boxes whose SuperNICs in use have fewer than {} ports",
                     result.too_few_ports, result.choice.ports);
}

void print_time_table(const TransferResult& result) {
  fmt::print("modelled: {}\n\n", transfer_text(result));
  Table table({{"preset", Table::Align::left},
               {"DRAM channels", Table::Align::right},
               {"ports", Table::Align::right},
               {"time", Table::Align::right},
               {"rate", Table::Align::right},
               {"bound by", Table::Align::left},
               {"raw bound", Table::Align::right},
               {"by", Table::Align::left},
               {"busy, % (as in explain)", Table::Align::left}});
  for (const TransferRow& row : result.rows) {
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
  if (result.too_few_ports != 0) {
    fmt::print("\n  left out: {}\n", left_out_text(result));
  }
}

void print_explained(const TransferResult& result) {
  fmt::print("modelled: {}\n\n", transfer_text(result));
  const TransferRow& row = result.rows.front();
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
  print_pictures(row);
  fmt::print("\n  {}: {}, bound by {}; raw bound {} by {}; first byte after {:.0f} ns\n",
             row.preset, format_duration(figures.seconds), figures.stages[figures.bottleneck].name,
             format_duration(figures.raw_seconds), figures.stages[figures.raw_bottleneck].name,
             figures.first_byte_ns);
}

}  // namespace godbox::app
