// SPDX-License-Identifier: Apache-2.0
#include "twin/load_output.h"

#include "cli/format.h"
#include "cli/json.h"
#include "cli/table.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace godbox::app {
namespace {

namespace model = emulator::model;

constexpr std::string_view kSchema = "godbox-model-replay-1";

boost::json::array numbers(const std::vector<std::uint64_t>& values) {
  boost::json::array list;
  for (const std::uint64_t value : values) {
    list.push_back(value);
  }
  return list;
}

boost::json::array published_json(const std::vector<PublishedRow>& rows) {
  boost::json::array list;
  for (const PublishedRow& row : rows) {
    list.push_back(boost::json::object{{"who", row.who},
                                       {"what", row.what},
                                       {"published_change", figure(row.published)},
                                       {"assumes", row.assumes},
                                       {"source", row.source},
                                       {"modelled_change", figure(row.modelled)},
                                       {"modelled_for", row.modelled_for}});
  }
  return list;
}

std::string change_text(double change) {
  return change > 3 ? fmt::format("{:.3g} times", change + 1)
                    : fmt::format("{:+.1f} %", change * 100);
}

struct Times {
  std::string_view name;
  const std::vector<double>* values;
};

void print_times(const LoadFigures& figures) {
  Table table({{"", Table::Align::left},
               {"requests", Table::Align::right},
               {"p50", Table::Align::right},
               {"p99", Table::Align::right},
               {"p999", Table::Align::right}});
  for (const Times& row : {Times{"first token, with the pool", &figures.first_token_s},
                           Times{"first token, all computed", &figures.recomputed_s},
                           Times{"read of what is found", &figures.load_s},
                           Times{"put of what is computed", &figures.put_s}}) {
    const auto place = [&row](double percent) {
      return row.values->empty() ? "-" : format_duration(percentile(*row.values, percent));
    };
    table.add({std::string(row.name), format_count(row.values->size()), place(50), place(99),
               place(99.9)});
  }
  fmt::print("{}\n", table.render("  "));
}

void print_bottlenecks(const LoadFigures& figures) {
  Table table({{"bound by", Table::Align::left},
               {"requests", Table::Align::right},
               {"p50", Table::Align::right},
               {"p99", Table::Align::right},
               {"p999", Table::Align::right}});
  for (const Bottleneck& one : bottlenecks(figures)) {
    const auto place = [&one](double percent) {
      return format_duration(percentile(one.times_s, percent));
    };
    table.add({fmt::format("{}: {}", one.of, one.name), format_count(one.times_s.size()), place(50),
               place(99), place(99.9)});
  }
  fmt::print("{}\n", table.render("  "));
}

boost::json::array bottlenecks_json(const LoadFigures& figures) {
  boost::json::array list;
  for (const Bottleneck& one : bottlenecks(figures)) {
    list.push_back(boost::json::object{{"of", one.of},
                                       {"name", one.name},
                                       {"requests", one.times_s.size()},
                                       {"p50_s", figure(percentile(one.times_s, 50))},
                                       {"p99_s", figure(percentile(one.times_s, 99))},
                                       {"p999_s", figure(percentile(one.times_s, 99.9))}});
  }
  return list;
}

// "most 1.02 times the mean"
std::string balance_text(const std::vector<std::uint64_t>& bytes) {
  const double sum =
      static_cast<double>(std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0}));
  return fmt::format("{:.3g} GB each, most {:.3f} times the mean",
                     sum / static_cast<double>(bytes.size()) / 1e9, imbalance(bytes));
}

void print_published(const std::vector<PublishedRow>& rows) {
  Table table({{"published by", Table::Align::left},
               {"of", Table::Align::left},
               {"published", Table::Align::right},
               {"modelled", Table::Align::right},
               {"modelled for", Table::Align::left}});
  for (const PublishedRow& row : rows) {
    table.add({std::string(row.who), std::string(row.what), change_text(row.published),
               change_text(row.modelled), std::string(row.modelled_for)});
  }
  fmt::print("{}", table.render("  "));
  fmt::print("  What each assumes, and its source: --json, docs/model.md.\n");
}

}  // namespace

boost::json::array stages_json(std::span<const model::StageLoad> stages, double seconds) {
  boost::json::array list;
  for (const model::StageLoad& stage : stages) {
    const double all_s = seconds * stage.count;
    list.push_back(
        boost::json::object{{"name", stage.name},
                            {"flow", model::to_string(stage.flow)},
                            {"count", stage.count},
                            {"limited_bytes_per_s", figure(stage.limited.bytes_per_second())},
                            {"busy_share", figure(all_s > 0 ? stage.busy_s / all_s : 0)},
                            {"busy_share_max", figure(all_s > 0 ? stage.busy_s_max / seconds : 0)},
                            {"wait_mean_s", figure(stage.wait_mean_s)}});
  }
  return list;
}

std::string stage_table(std::span<const model::StageLoad> stages, double seconds) {
  Table table({{"stage", Table::Align::left},
               {"flow", Table::Align::left},
               {"of them", Table::Align::right},
               {"limit", Table::Align::right},
               {"busy", Table::Align::right},
               {"busiest", Table::Align::right},
               {"a strip waits", Table::Align::right}});
  for (const model::StageLoad& stage : stages) {
    table.add(
        {std::string(stage.name), std::string(model::to_string(stage.flow)),
         fmt::format("{}", stage.count),
         stage.limited > Rate() ? format_rate(stage.limited.bytes_per_second() / 1e9) : "none",
         format_percent(stage.busy_s / stage.count / seconds),
         format_percent(stage.busy_s_max / seconds), format_duration(stage.wait_mean_s)});
  }
  return table.render("  ");
}

std::string box_text(const model::BoxShape& shape) {
  return fmt::format("{} SuperNICs, {} DRAM channels, {} ports of {:.0f} Gb/s", shape.super_nics,
                     shape.super_nics * shape.dram_channels_per_super_nic,
                     shape.super_nics * shape.eth_ports_per_super_nic,
                     shape.eth_port.bytes_per_second() * 8e-9);
}

std::string_view fidelity(const LoadSpec& spec) {
  return spec.box.in_step ? "in step" : "per strip";
}

boost::json::value value_json(const NamedFigure& named) {
  return named.value ? figure(*named.value) : boost::json::value();
}

boost::json::object box_json(const LoadChoice& choice, const LoadSpec& spec) {
  const model::BoxShape& shape = spec.box.shape;
  return {{"preset", json_text(choice.preset)},
          {"device", json_text(spec.box.model.device.name)},
          {"super_nics", shape.super_nics},
          {"dram_channels", shape.super_nics * shape.dram_channels_per_super_nic},
          {"eth_ports", shape.super_nics * shape.eth_ports_per_super_nic},
          {"eth_port_bytes_per_s", figure(shape.eth_port.bytes_per_second())},
          {"pool_blocks", spec.pool_blocks},
          {"strip_bytes", spec.box.rates.strip.count()}};
}

boost::json::object to_json(const LoadResult& result) {
  const LoadFigures& figures = result.figures;
  const LoadChoice& choice = result.choice;
  boost::json::object named;
  for (const NamedFigure& one : named_figures(figures)) {
    named[one.name] = value_json(one);
  }
  boost::json::array busy;
  for (const Busy& part : busy_parts(figures)) {
    busy.push_back(boost::json::object{{"name", part.name}, {"share", figure(part.share)}});
  }
  return {{"schema", kSchema},
          {"kind", "modelled"},
          {"fidelity", fidelity(result.spec)},
          {"trace",
           json_text(choice.trace.generate.empty() ? choice.trace.path : choice.trace.generate)},
          {"generated", !choice.trace.generate.empty()},
          {"seed", choice.trace.seed},
          {"speed", figure(choice.speed)},
          {"model", json_text(choice.model)},
          {"dtype", json_text(choice.dtype)},
          {"block_bytes", result.spec.block.count()},
          {"box", box_json(choice, result.spec)},
          {"hosts", figures.hosts},
          {"nics_per_host", result.spec.box.nics_per_host},
          {"host_operations_per_s", figure(result.spec.host_operations_per_s)},
          {"requests", figures.requests},
          {"block_references", figures.block_references},
          {"prefix_hits", figures.prefix_hits},
          {"puts", figures.puts},
          {"evictions", figures.evictions},
          {"bytes_read", figures.box.bytes_read},
          {"bytes_written", figures.box.bytes_written},
          {"strips", figures.box.strips},
          {"bound_by", busy_parts(figures).front().name},
          {"figures", std::move(named)},
          {"busy", std::move(busy)},
          {"bottlenecks", bottlenecks_json(figures)},
          {"stages", stages_json(figures.box.stages, figures.seconds)},
          {"published", published_json(result.published)},
          {"channel_bytes", numbers(figures.box.channel_bytes)},
          {"port_bytes_read", numbers(figures.box.port_bytes_read)},
          {"port_bytes_written", numbers(figures.box.port_bytes_written)},
          {"second_bytes_read", numbers(figures.box.second_bytes_read)},
          {"second_bytes_written", numbers(figures.box.second_bytes_written)}};
}

void print_load(const LoadResult& result) {
  const LoadFigures& figures = result.figures;
  const LoadChoice& choice = result.choice;
  const auto value = [&figures](std::string_view name) {
    for (const NamedFigure& one : named_figures(figures)) {
      if (one.name == name) {
        return one.value.value_or(0);
      }
    }
    return 0.0;
  };
  fmt::print("modelled, {}: {} requests with {} in {}, {} for 512 tokens\n",
             result.spec.box.in_step ? "stripes in step" : "strip by strip",
             format_count(figures.requests), choice.model, choice.dtype,
             format_size(result.spec.block));
  fmt::print("{}, {} blocks; {}\n", box_text(result.spec.box.shape),
             format_count(result.spec.pool_blocks), result.spec.box.model.device.name);
  fmt::print("{} hosts of {:.0f} GPUs with {:.0f} teraflop/s each and {} NICs\n\n", figures.hosts,
             choice.gpus, choice.gpu_teraflops, result.spec.box.nics_per_host);
  fmt::print("  read {} ({} in the fullest second), written {} ({})\n",
             format_rate(value("read_bytes_per_s") / 1e9),
             format_rate(value("read_bytes_per_s_peak") / 1e9),
             format_rate(value("write_bytes_per_s") / 1e9),
             format_rate(value("write_bytes_per_s_peak") / 1e9));
  fmt::print("  {} of {} blocks found ({}), {} put, {} evicted; {} of the trace\n",
             format_count(figures.prefix_hits), format_count(figures.block_references),
             format_percent(figures.hit_share()), format_count(figures.puts),
             format_count(figures.evictions), format_duration(figures.seconds));
  fmt::print(
      "  first token {} sooner in the mean; {:.2f} times as many prompts by the same hosts\n",
      format_percent(figures.first_token_saved_share()), figures.throughput_factor());
  const std::vector<Busy> busy = busy_parts(figures);
  fmt::print("  bound by {} ({} busy), then {} ({})\n\n", busy[0].name,
             format_percent(busy[0].share), busy[1].name, format_percent(busy[1].share));
  print_times(figures);
  print_bottlenecks(figures);
  fmt::print("{}\n", stage_table(figures.box.stages, figures.seconds));
  fmt::print("  DRAM channels: {}\n", balance_text(figures.box.channel_bytes));
  fmt::print("  ports, read: {}\n", balance_text(figures.box.port_bytes_read));
  fmt::print("  ports, written: {}\n\n", balance_text(figures.box.port_bytes_written));
  print_published(result.published);
}

}  // namespace godbox::app
