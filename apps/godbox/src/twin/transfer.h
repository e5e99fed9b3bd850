// SPDX-License-Identifier: Apache-2.0
//
// One striped transfer between a modelled box and its hosts, for `model time-table` and `model
// explain`: which boxes, the figures of each, as JSON and for people. Thread-safety: pure but for
// the parameter file and stdout. Units: in the names. Errors: config_invalid or invalid_argument,
// naming what is allowed.
#pragma once

#include "twin/box_choice.h"
#include <godbox/emulator/model/box_model.h>

#include <boost/json.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace godbox::app {

struct TransferChoice {
  DeviceChoice device;
  SizeBytes size{100'000'000'000};
  std::uint32_t ports = 0;  // 0: time_table: one, one for each SuperNIC, all; explain: all
  std::uint32_t hosts = 0;  // 0: one for each port
  bool is_write = false;
  std::optional<double> port_gbit_per_s;  // instead of the preset's
};

struct TransferRow {
  std::string preset;
  emulator::model::BoxShape shape;
  emulator::model::Transfer transfer;
  emulator::model::TransferFigures figures;
};

struct TransferResult {
  TransferChoice choice;
  emulator::model::BoxModel device;
  std::vector<TransferRow> rows;    // one or more
  std::uint32_t too_few_ports = 0;  // boxes that were left out because they have fewer than asked
  bool is_explained = false;        // one row, stage by stage
};

// A row for every one of these presets and DRAM channels that there is: a preset with fewer
// channels is left out, as is one whose SuperNICs in use have fewer than `choice.ports` ports.
[[nodiscard]] Result<TransferResult> time_table(const TransferChoice& choice,
                                                const std::vector<std::string>& presets,
                                                const std::vector<std::uint32_t>& channels);
// One row. Channels 0: all.
[[nodiscard]] Result<TransferResult> explain_transfer(const TransferChoice& choice,
                                                      const std::string& preset,
                                                      std::uint32_t channels);

// Which ports of the SuperNICs in use a row takes, where time_table() chose them.
enum class PortSet : std::uint8_t { one, one_for_each_super_nic, all };
inline constexpr std::array<PortSet, 3> kPortSets{PortSet::one, PortSet::one_for_each_super_nic,
                                                  PortSet::all};
// A row may be several at once: of a box with one port, all three.
[[nodiscard]] bool is_of(const TransferRow& row, PortSet set);

[[nodiscard]] boost::json::object to_json(const TransferResult& result);
// "3 boxes whose SuperNICs in use have fewer than 8 ports"
[[nodiscard]] std::string left_out_text(const TransferResult& result);
// Rows of figures.
void print_time_table(const TransferResult& result);
// Stages of the one row, and pictures of where the time goes.
void print_explained(const TransferResult& result);
// "read 93.1 GiB over roce with MTU 4096; emfasys"
[[nodiscard]] std::string transfer_text(const TransferResult& result);

}  // namespace godbox::app
