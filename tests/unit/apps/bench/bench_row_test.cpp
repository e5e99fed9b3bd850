// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_row.h"

#include "bench/workloads.h"
#include "measure/statistics.h"

#include <catch2/catch_test_macros.hpp>

#include <array>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <vector>

using namespace godbox;
using namespace godbox::app;

namespace {

BenchRow measured_row() {
  BenchRow row;
  row.subject.size = 4_MiB;
  row.working_set = 1_GiB;
  row.is_cold = true;
  row.gb_per_s = {1.0, 3.0, 2.0};
  row.ceiling_gb_per_s = {2.0, 4.0, 2.0};
  row.ceiling_kind = "sockets";
  row.latencies_us = {10, 20, 30, 40};
  row.cpu_seconds = 6;
  row.ceiling_cpu_seconds = 4.5;
  row.bytes_moved = 3'000'000'000;
  row.dram_imbalance = 1.02;
  row.verification = {1000, 0, 0xE3069283};
  return row;
}

// The names in backquotes in the first cells of the table under "## Fields"; `_min` stands for the
// name before it with another end.
std::set<std::string> documented_fields() {
  std::ifstream file(GODBOX_DOCS_DIR "/bench.md");
  std::set<std::string> fields;
  bool is_in_section = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ")) {
      is_in_section = line == "## Fields";
    }
    if (!is_in_section || !line.starts_with("| `")) {
      continue;
    }
    const std::string cell = line.substr(0, line.find('|', 1));
    std::string stem;
    for (std::size_t at = cell.find('`'); at != std::string::npos; at = cell.find('`', at)) {
      const std::size_t end = cell.find('`', at + 1);
      const std::string name = cell.substr(at + 1, end - at - 1);
      const bool is_suffix = name.starts_with('_');
      fields.insert(is_suffix ? stem + name : name);
      if (!is_suffix) {
        const std::size_t median = name.rfind("_median");
        stem = name.substr(0, median);
      }
      at = end + 1;
    }
  }
  return fields;
}

}  // namespace

TEST_CASE("efficiency is the median of the ratios, repeat by repeat", "[unit]") {
  CHECK(efficiency(measured_row()) == 0.75);  // 0.5, 0.75, 1.0
  BenchRow no_ceiling = measured_row();
  no_ceiling.ceiling_gb_per_s.clear();
  CHECK_FALSE(efficiency(no_ceiling).has_value());
}

TEST_CASE("efficiency by processor time compares the time per byte", "[unit]") {
  CHECK(cpu_efficiency(measured_row()) == 0.75);
  CHECK_FALSE(cpu_efficiency(BenchRow{}).has_value());
}

TEST_CASE("a row in JSON has the fields that docs/bench.md has, and no others", "[unit]") {
  const boost::json::object row = to_json(measured_row());
  std::set<std::string> fields;
  for (const auto& item : row) {
    fields.emplace(item.key());
  }
  CHECK(fields == documented_fields());
}

TEST_CASE("a row in JSON tells what was measured", "[unit]") {
  const boost::json::object row = to_json(measured_row());
  CHECK(row.at("kind") == "real");
  CHECK(row.at("gb_per_s_median").as_double() == 2.0);
  CHECK(row.at("efficiency").as_double() == 0.75);
  CHECK(row.at("cpu_seconds_per_gb").as_double() == 2.0);
  CHECK(row.at("p50_us").as_double() == 20);
  CHECK(row.at("p99_us").as_double() == 40);
  CHECK(row.at("result_hash") == "e3069283");
  CHECK(row.at("unscaled_gb_per_s").is_null());
}

TEST_CASE("an emulated row says so and gives the box's own speed", "[unit]") {
  BenchRow row = measured_row();
  row.mode = emulator::TimingMode::paced;
  row.time_scale = 400;
  const boost::json::object json = to_json(row);
  CHECK(json.at("kind") == "emulated");
  CHECK(json.at("mode") == "paced");
  CHECK(json.at("unscaled_gb_per_s").as_double() == 800);
}

TEST_CASE("an emulated row tells how its box differs from the preset", "[unit]") {
  BenchRow row = measured_row();
  for (const char* field : {"device_settings", "port_rate_gbit_per_s"}) {
    CHECK(to_json(row).at(field).is_null());
  }
  row.device_settings = {"link.lanes=16", "dram.standard=\"DDR4\""};
  row.port_rate = Rate(12.5e9);
  const boost::json::object json = to_json(row);
  CHECK(json.at("device_settings") ==
        boost::json::array{"link.lanes=16", "dram.standard=\"DDR4\""});
  CHECK(json.at("port_rate_gbit_per_s").as_double() == 100);
}

TEST_CASE("a row without rates has nulls, not zeros", "[unit]") {
  BenchRow row;
  row.latencies_us = {5};
  const boost::json::object json = to_json(row);
  CHECK(json.at("gb_per_s_median").is_null());
  CHECK(json.at("ceiling_gb_per_s").is_null());
  CHECK(json.at("efficiency").is_null());
  CHECK(json.at("cpu_seconds_per_gb").is_null());
  CHECK(json.at("p50_us").as_double() == 5);
}

TEST_CASE("fields that do not apply to a row are null", "[unit]") {
  BenchRow row = measured_row();
  row.subject.transport = TransportKind::local;
  for (const char* field : {"ports", "lanes"}) {
    CHECK(to_json(row).at(field).is_null());
  }
  CHECK(to_json(row).at("copy_threads") == 1);
  row.subject.transport = TransportKind::tcp;
  CHECK(to_json(row).at("copy_threads").is_null());
  CHECK(to_json(row).at("ports") == 9);
  row.is_cold = std::nullopt;
  CHECK(to_json(row).at("temperature").is_null());

  BenchRow lookup;
  lookup.subject.workload = Workload::lookup;
  const boost::json::object json = to_json(lookup);
  for (const char* field :
       {"ceiling", "ceiling_variant", "result_hash", "working_set_bytes", "temperature", "crc",
        "size_bytes", "lanes", "depth", "batch", "repeats", "gb_per_s_median"}) {
    INFO(field);
    CHECK(json.at(field).is_null());
  }
}

TEST_CASE("what is not finite is null", "[unit]") {
  BenchRow row = measured_row();
  row.mode = emulator::TimingMode::paced;
  const double none = std::numeric_limits<double>::infinity();
  row.ceiling_gb_per_s = {none, none, none};  // a model without limits
  const boost::json::object json = to_json(row);
  CHECK(json.at("ceiling_gb_per_s").is_null());
  CHECK(json.at("efficiency").is_null());
  CHECK(json.at("gb_per_s_median").as_double() == 2.0);
}

TEST_CASE("imbalance is the fullest channel over the mean", "[unit]") {
  CHECK(imbalance(std::array<std::uint64_t, 4>{5, 5, 5, 5}) == 1.0);
  CHECK(imbalance(std::array<std::uint64_t, 4>{8, 0, 0, 0}) == 4.0);
  CHECK(imbalance(std::array<std::uint64_t, 2>{3, 1}) == 1.5);
  CHECK(imbalance(std::array<std::uint64_t, 2>{0, 0}) == 0);
}

TEST_CASE("a scaling row tells how far it is from n times one", "[unit]") {
  std::vector<BenchRow> rows(3);
  for (BenchRow& row : rows) {
    row.subject.workload = Workload::scaling;
    row.subject.sweep = Sweep::dram_channels;
    row.mode = emulator::TimingMode::paced;
  }
  rows[0].subject.dram_channels = 1;
  rows[0].gb_per_s = {0.1};
  rows[0].ceiling_gb_per_s = {0.1};
  rows[1].subject.dram_channels = 9;
  rows[1].gb_per_s = {0.88};
  rows[1].ceiling_gb_per_s = {0.9};
  rows[2].subject.sweep = Sweep::eth_ports;  // another sweep, without a row of one
  rows[2].subject.eth_ports = 4;
  rows[2].gb_per_s = {0.4};
  rows[2].ceiling_gb_per_s = {0.4};
  add_proportionality(rows);
  CHECK(rows[0].extra.at("proportionality_error_percent").as_double() == 0);
  CHECK(rows[1].extra.at("proportionality_error_percent").as_double() == -2.22);
  CHECK(rows[1].extra.at("model_error_percent").as_double() == -2.22);
  CHECK(rows[1].extra.at("sweep") == "channels");
  CHECK(rows[2].extra.empty());
}
