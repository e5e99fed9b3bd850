// SPDX-License-Identifier: Apache-2.0
#include <godbox_test/dram_vectors.h>

#include <boost/json.hpp>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace godbox::test {
namespace {

using boost::json::object;
using boost::json::value;

std::uint64_t number(const object& from, const char* key) {
  return from.at(key).to_number<std::uint64_t>();
}

std::uint64_t number_or(const object& from, const char* key, std::uint64_t otherwise) {
  const value* found = from.if_contains(key);
  return found != nullptr ? found->to_number<std::uint64_t>() : otherwise;
}

std::string text(const object& from, const char* key) {
  return std::string(from.at(key).as_string());
}

template <class Number>
std::map<std::string, Number> numbers(const object& from, const char* key) {
  std::map<std::string, Number> all;
  for (const auto& [name, one] : from.at(key).as_object()) {
    all[std::string(name)] = one.template to_number<Number>();
  }
  return all;
}

DramVectorDevice read_device(const std::string& name, const object& from) {
  return {.name = name,
          .standard = text(from, "standard"),
          .rate_mt_per_s = number(from, "rate_mt_per_s"),
          .tck_ps = number(from, "tCK_ps"),
          .density_mbit = number(from, "density_mbit"),
          .device_width_bits = number(from, "device_width_bits"),
          .bus_width_bits = number(from, "bus_width_bits"),
          .bank_groups = number(from, "bank_groups"),
          .banks_per_group = number(from, "banks_per_group"),
          .rows = number(from, "rows"),
          .lines_per_row = number(from, "lines_per_row"),
          .timing_clocks = numbers<std::int64_t>(from, "timing_clocks"),
          .command_clocks = numbers<std::int64_t>(from, "command_clocks")};
}

std::vector<DramMappingPiece> read_mapping(const value& from) {
  std::vector<DramMappingPiece> mapping;
  for (const value& piece : from.as_array()) {
    const std::string name(piece.at(0).as_string());
    const auto* const known = std::find(kDramFieldNames.begin(), kDramFieldNames.end(), name);
    if (known == kDramFieldNames.end()) {
      throw std::runtime_error("mapping: '" + name + "' is no field of a DRAM address");
    }
    mapping.push_back({.field = static_cast<DramField>(known - kDramFieldNames.begin()),
                       .bits = piece.at(1).to_number<unsigned>()});
  }
  return mapping;
}

DramStreamSpec::Order read_order(const std::string& name) {
  using Order = DramStreamSpec::Order;
  static const std::map<std::string, Order> orders = {{"sequential", Order::sequential},
                                                      {"random", Order::random},
                                                      {"cycle", Order::cycle},
                                                      {"hot", Order::hot}};
  return orders.at(name);
}

DramStreamSpec read_stream(const object& from) {
  DramStreamSpec spec;
  spec.order = read_order(text(from, "order"));
  spec.seed = number_or(from, "seed", spec.seed);
  spec.lines = number(from, "lines");
  spec.span_bytes = number_or(from, "span_bytes", spec.span_bytes);
  spec.step_bytes = number_or(from, "step_bytes", spec.step_bytes);
  spec.align_bytes = number_or(from, "align_bytes", spec.align_bytes);
  spec.hot_bytes = number_or(from, "hot_bytes", spec.hot_bytes);
  spec.hot_percent = number_or(from, "hot_percent", spec.hot_percent);
  spec.run_lines = number_or(from, "run_lines", spec.run_lines);
  spec.operations = text(from, "operations");
  if (const value* cycle = from.if_contains("cycle_bytes")) {
    for (const value& address : cycle->as_array()) {
      spec.cycle_bytes.push_back(address.to_number<std::uint64_t>());
    }
  }
  return spec;
}

DramInjection read_injection(const object& from) {
  return {.reads_in_flight = number_or(from, "reads_in_flight", 0),
          .writes_in_flight = number_or(from, "writes_in_flight", 0),
          .lines_in_flight = number_or(from, "lines_in_flight", 0),
          .interval_clocks = number_or(from, "interval_clocks", 0),
          .burst_lines = number_or(from, "burst_lines", 1)};
}

std::optional<DramLatency> read_latency(const value& from) {
  if (from.is_null()) {
    return std::nullopt;
  }
  const auto clocks = [&](const char* key) { return from.at(key).to_number<std::int64_t>(); };
  return DramLatency{.lines = number(from.as_object(), "lines"),
                     .mean = from.at("mean").to_number<double>(),
                     .min = clocks("min"),
                     .p50 = clocks("p50"),
                     .p99 = clocks("p99"),
                     .max = clocks("max")};
}

DramVectorLoaded read_loaded(const object& from) {
  return {.end_clock = from.at("end_clock").to_number<std::int64_t>(),
          .read_clocks = read_latency(from.at("read_clocks")),
          .write_clocks = read_latency(from.at("write_clocks")),
          .row_hits = number(from, "row_hits"),
          .row_misses = number(from, "row_misses"),
          .row_conflicts = number(from, "row_conflicts"),
          .commands = numbers<std::uint64_t>(from, "commands"),
          .bytes_per_s = number(from, "bytes_per_s")};
}

DramPattern read_pattern(const object& from, const object& devices) {
  const std::string device = text(from, "device");
  const object& queues = from.at("queues").as_object();
  const object& idle = from.at("idle").as_object();
  return {.name = text(from, "name"),
          .device = read_device(device, devices.at(device).as_object()),
          .ranks = number(from, "ranks"),
          .sub_channels = number(from, "sub_channels"),
          .mapping = read_mapping(from.at("mapping")),
          .closes_rows = from.at("row_policy").at("kind").as_string() == "closed",
          .staggers_refresh = from.at("refresh").at("stagger").as_bool(),
          .read_queue = number(queues, "reads"),
          .write_queue = number(queues, "writes"),
          .drain_above = queues.at("drain_above").to_number<double>(),
          .drain_below = queues.at("drain_below").to_number<double>(),
          .stream = read_stream(from.at("stream").as_object()),
          .injection = read_injection(from.at("injection").as_object()),
          .fingerprint = text(from, "fingerprint"),
          .loaded = read_loaded(from.at("loaded").as_object()),
          .idle = {.read_clocks = read_latency(idle.at("read_clocks")),
                   .write_clocks = read_latency(idle.at("write_clocks"))}};
}

}  // namespace

std::vector<DramPattern> read_dram_vectors(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    throw std::runtime_error("cannot read " + path);
  }
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  const value all = boost::json::parse(content);
  std::vector<DramPattern> patterns;
  for (const value& pattern : all.at("patterns").as_array()) {
    patterns.push_back(read_pattern(pattern.as_object(), all.at("devices").as_object()));
  }
  return patterns;
}

}  // namespace godbox::test
