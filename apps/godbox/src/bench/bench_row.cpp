// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_row.h"

#include "bench/suite.h"
#include "cli/format.h"
#include "cli/json.h"
#include "measure/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace godbox::app {
namespace {

constexpr double kCurvePercents[] = {1,  5,  10, 20, 30, 40,   50,   60,    70,
                                     80, 90, 95, 98, 99, 99.5, 99.9, 99.99, 100};
constexpr std::size_t kCurveLatenciesMin = 20;

boost::json::value or_null(const std::optional<double>& value) {
  return value ? figure(*value) : boost::json::value(nullptr);
}

boost::json::value or_null(bool present, double value) {
  return present ? figure(value) : boost::json::value(nullptr);
}

// For what is no figure: a count, a text, a flag.
template <class Value>
boost::json::value plain_or_null(bool present, Value value) {
  return present ? boost::json::value(value) : boost::json::value(nullptr);
}

boost::json::value figures_or_null(const std::vector<double>& values) {
  if (values.empty()) {
    return nullptr;
  }
  boost::json::array list;
  for (const double value : values) {
    list.push_back(figure(value));
  }
  return list;
}

boost::json::value texts_or_null(const std::vector<std::string>& texts) {
  if (texts.empty()) {
    return nullptr;
  }
  boost::json::array list;
  for (const std::string& text : texts) {
    list.emplace_back(json_text(text));
  }
  return list;
}

// [per cent, us] pairs: the distribution as a reader of a plot needs it.
boost::json::value latency_curve(const std::vector<double>& latencies_us) {
  if (latencies_us.size() < kCurveLatenciesMin) {
    return nullptr;
  }
  boost::json::array curve;
  for (const double percent : kCurvePercents) {
    // A percentile that no operation lies beyond says nothing.
    if ((1 - percent / 100) * static_cast<double>(latencies_us.size()) >= 1 || percent >= 100) {
      curve.push_back(boost::json::array{percent, figure(percentile(latencies_us, percent), 4)});
    }
  }
  return curve;
}

std::string_view kind_of(const BenchRow& row) {
  if (row.is_modelled) {
    return "modelled";
  }
  return row.is_emulated() ? "emulated" : "real";
}

std::string_view temperature(bool is_cold) { return is_cold ? "cold" : "hot"; }

void add_subject(const BenchRow& row, boost::json::object& object) {
  const bool moves = !row.is_lookup();
  object["workload"] = to_string(row.subject.workload);
  object["id"] = suite_id(to_string(row.subject.workload));
  object["kind"] = kind_of(row);
  object["transport"] = to_string(row.subject.transport);
  object["mode"] = row.is_emulated() ? "paced" : "free";
  object["op"] = to_string(row.op);
  object["size_bytes"] = plain_or_null(moves, row.subject.size.count());
  object["channels"] = row.subject.dram_channels;
  object["ports"] = plain_or_null(!row.is_local(), row.subject.eth_ports);
  object["lanes"] = plain_or_null(!row.is_local() && moves, row.subject.lanes_per_eth_port);
  object["crc"] = plain_or_null(moves, row.subject.crc);
  object["working_set_bytes"] = plain_or_null(moves, row.working_set.count());
  object["temperature"] =
      plain_or_null(moves && row.is_cold.has_value(), temperature(row.is_cold.value_or(false)));
  object["depth"] = plain_or_null(moves, row.depth);
  object["batch"] = plain_or_null(moves, row.batch);
  object["copy_threads"] = plain_or_null(row.is_local(), row.copy_threads);
  object["server_threads"] = row.server_threads;
  object["time_scale"] = figure(row.time_scale);
  object["seed"] = row.seed;
  object["device_settings"] = texts_or_null(row.device_settings);
  object["port_rate_gbit_per_s"] =
      or_null(row.port_rate.has_value(), row.port_rate.value_or(Rate()).bytes_per_second() * 8e-9);
}

void add_rates(const BenchRow& row, boost::json::object& object) {
  const Summary rate = summarise(row.gb_per_s);
  const Summary ceiling = summarise(row.ceiling_gb_per_s);
  const bool has_rate = rate.count > 0;
  object["repeats"] = plain_or_null(has_rate, rate.count);
  object["gb_per_s_median"] = or_null(has_rate, rate.median);
  object["gb_per_s_min"] = or_null(has_rate, rate.min);
  object["gb_per_s_max"] = or_null(has_rate, rate.max);
  object["gb_per_s_mad"] = or_null(has_rate, rate.mad);
  object["gb_per_s_repeats"] = figures_or_null(row.gb_per_s);
  object["ceiling"] = plain_or_null(!row.ceiling_kind.empty(), row.ceiling_kind);
  object["ceiling_variant"] = plain_or_null(!row.ceiling_variant.empty(), row.ceiling_variant);
  object["ceiling_gb_per_s"] = or_null(ceiling.count > 0, ceiling.median);
  object["ceiling_gb_per_s_min"] = or_null(ceiling.count > 0, ceiling.min);
  object["ceiling_gb_per_s_max"] = or_null(ceiling.count > 0, ceiling.max);
  object["sendfile_ceiling_gb_per_s"] = or_null(row.sendfile_gb_per_s);
  object["streaming_ceiling_gb_per_s"] = or_null(row.streaming_gb_per_s);
  object["efficiency"] = or_null(efficiency(row));
  object["unscaled_gb_per_s"] =
      or_null(row.is_emulated() && has_rate, rate.median * row.time_scale);
}

void add_costs(const BenchRow& row, boost::json::object& object) {
  const double gb = static_cast<double>(row.bytes_moved) / 1e9;
  object["cpu_seconds_per_gb"] = or_null(gb > 0, gb > 0 ? row.cpu_seconds / gb : 0);
  object["ceiling_cpu_seconds_per_gb"] =
      or_null(gb > 0 && row.ceiling_cpu_seconds > 0, gb > 0 ? row.ceiling_cpu_seconds / gb : 0);
  object["cpu_efficiency"] = or_null(cpu_efficiency(row));
  object["operations"] = row.latencies_us.size();
  object["p50_us"] = or_null(!row.latencies_us.empty(), percentile(row.latencies_us, 50));
  object["p99_us"] = or_null(!row.latencies_us.empty(), percentile(row.latencies_us, 99));
  object["latency_us_at_percent"] = latency_curve(row.latencies_us);
  object["channel_imbalance"] = or_null(row.dram_imbalance);
  object["block_imbalance_max"] = or_null(row.block_imbalance_max);
  object["bytes_checked"] = row.verification.bytes_checked;
  object["wrong_bytes"] = row.verification.wrong_bytes;
  object["result_hash"] = plain_or_null(row.verification.bytes_checked > 0,
                                        fmt::format("{:08x}", row.verification.crc32c));
}

std::string crc_text(const BenchRow& row) {
  if (row.is_lookup()) {
    return "-";
  }
  return row.subject.crc ? "on" : "off";
}

std::string or_dash(const std::optional<double>& value, const char* format) {
  return value ? fmt::format(fmt::runtime(format), *value) : "-";
}

}  // namespace

std::optional<double> efficiency(const BenchRow& row) {
  if (row.gb_per_s.empty() || row.gb_per_s.size() != row.ceiling_gb_per_s.size()) {
    return std::nullopt;
  }
  // Nothing is measured against a model without limits.
  if (!std::all_of(row.ceiling_gb_per_s.begin(), row.ceiling_gb_per_s.end(),
                   [](double rate) { return std::isfinite(rate) && rate > 0; })) {
    return std::nullopt;
  }
  std::vector<double> ratios;
  for (std::size_t i = 0; i < row.gb_per_s.size(); ++i) {
    ratios.push_back(row.gb_per_s[i] / row.ceiling_gb_per_s[i]);
  }
  return summarise(ratios).median;
}

std::optional<double> cpu_efficiency(const BenchRow& row) {
  if (row.ceiling_cpu_seconds <= 0 || row.cpu_seconds <= 0) {
    return std::nullopt;
  }
  return row.ceiling_cpu_seconds / row.cpu_seconds;
}

boost::json::object to_json(const BenchRow& row) {
  boost::json::object object;
  add_subject(row, object);
  add_rates(row, object);
  add_costs(row, object);
  for (const auto& item : row.extra) {
    object[item.key()] = item.value();
  }
  return object;
}

Table make_bench_table() {
  using enum Table::Align;
  return Table({{"workload", left},
                {"transport", left},
                {"op", left},
                {"size", right},
                {"channels", right},
                {"ports", right},
                {"crc", left},
                {"median", right},
                {"ceiling", right},
                {"efficiency", right},
                {"by CPU", right},
                {"p50", right},
                {"p99", right},
                {"imbalance", right},
                {"cpu s/GB", right},
                {"kind", left}});
}

void add_row(Table& table, const BenchRow& row) {
  const Summary rate = summarise(row.gb_per_s);
  const Summary ceiling = summarise(row.ceiling_gb_per_s);
  const auto ratio = efficiency(row);
  const double gb = static_cast<double>(row.bytes_moved) / 1e9;
  const auto imbalance = row.dram_imbalance ? row.dram_imbalance : row.block_imbalance_max;
  table.add({std::string(to_string(row.subject.workload)),
             std::string(to_string(row.subject.transport)), std::string(to_string(row.op)),
             row.subject.size.is_zero() ? "-" : format_size(row.subject.size),
             std::to_string(row.subject.dram_channels),
             row.is_local() ? "-" : std::to_string(row.subject.eth_ports), crc_text(row),
             rate.count > 0 ? format_rate(rate.median) : "-",
             std::isfinite(ceiling.median) && ceiling.count > 0 ? format_rate(ceiling.median) : "-",
             or_dash(ratio, "{:.2f}"), or_dash(cpu_efficiency(row), "{:.2f}"),
             format_duration(percentile(row.latencies_us, 50) * 1e-6),
             format_duration(percentile(row.latencies_us, 99) * 1e-6), or_dash(imbalance, "{:.3f}"),
             gb > 0 ? fmt::format("{:.2f}", row.cpu_seconds / gb) : "-",
             std::string(kind_of(row))});
}

}  // namespace godbox::app
