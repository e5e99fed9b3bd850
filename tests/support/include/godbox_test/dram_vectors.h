// SPDX-License-Identifier: Apache-2.0
//
// tests/vectors/ramulator2/vectors.json as values: access patterns of a DRAM channel, each with its
// configuration and with what Ramulator 2 says of it. The README.md there says what every value
// means; the names here are the same.
// Thread-safety: plain values; reading is a pure function of the file. Units: in the names; clocks
// are the device's, of tck_ps. Errors: read_dram_vectors() throws std::exception for a file that is
// not there or has another shape.
#pragma once

#include <godbox_test/dram_stream.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace godbox::test {

struct DramVectorDevice {
  std::string name;
  std::string standard;  // DDR4, DDR5
  std::uint64_t rate_mt_per_s = 0;
  std::uint64_t tck_ps = 0;
  std::uint64_t density_mbit = 0;
  std::uint64_t device_width_bits = 0;
  std::uint64_t bus_width_bits = 0;  // of a sub-channel
  std::uint64_t bank_groups = 0;
  std::uint64_t banks_per_group = 0;
  std::uint64_t rows = 0;
  std::uint64_t lines_per_row = 0;
  std::map<std::string, std::int64_t> timing_clocks;   // "nRCD"
  std::map<std::string, std::int64_t> command_clocks;  // "ACT"; of the command bus
};

// 0: no limit, none.
struct DramInjection {
  std::uint64_t reads_in_flight = 0;  // of a sub-channel
  std::uint64_t writes_in_flight = 0;
  std::uint64_t lines_in_flight = 0;  // of all sub-channels
  std::uint64_t interval_clocks = 0;  // open loop
  std::uint64_t burst_lines = 1;
};

struct DramLatency {
  std::uint64_t lines = 0;
  double mean = 0;
  std::int64_t min = 0;
  std::int64_t p50 = 0;
  std::int64_t p99 = 0;
  std::int64_t max = 0;
};

struct DramVectorLoaded {
  std::int64_t end_clock = 0;
  std::optional<DramLatency> read_clocks;
  std::optional<DramLatency> write_clocks;
  std::uint64_t row_hits = 0;
  std::uint64_t row_misses = 0;
  std::uint64_t row_conflicts = 0;
  std::map<std::string, std::uint64_t> commands;
  std::uint64_t bytes_per_s = 0;
};

struct DramVectorIdle {
  std::optional<DramLatency> read_clocks;
  std::optional<DramLatency> write_clocks;
};

struct DramPattern {
  std::string name;
  DramVectorDevice device;
  std::uint64_t ranks = 1;
  std::uint64_t sub_channels = 1;
  std::vector<DramMappingPiece> mapping;
  bool closes_rows = false;  // after one access
  bool staggers_refresh = false;
  std::uint64_t read_queue = 0;
  std::uint64_t write_queue = 0;
  double drain_above = 0;
  double drain_below = 0;
  DramStreamSpec stream;
  DramInjection injection;
  std::string fingerprint;
  DramVectorLoaded loaded;
  DramVectorIdle idle;
};

// How the idle figures were made: so many lines of the stream at most, one at a time, each so many
// clocks after the last data of the one before, without refresh.
inline constexpr std::uint64_t kDramIdleLines = 2000;
inline constexpr std::int64_t kDramIdleGapClocks = 512;

[[nodiscard]] std::vector<DramPattern> read_dram_vectors(const std::string& path);

}  // namespace godbox::test
