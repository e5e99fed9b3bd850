// SPDX-License-Identifier: Apache-2.0
//
// The options of `godbox serve` that describe a box, and the configuration that they make:
// preset, then configuration file, then options; checked as one.
#pragma once

#include "cli/cli11_fwd.h"
#include <godbox/emulator/box_config.h>

#include <optional>
#include <string>
#include <vector>

namespace godbox::app {

struct BoxOptions {
  std::string preset = "emfasys18";
  std::string config_file;
  std::optional<std::uint32_t> super_nics;
  std::optional<std::uint32_t> dram_channels;
  std::optional<std::uint32_t> eth_ports;
  std::optional<std::uint32_t> eth_ports_per_super_nic;
  std::optional<std::string> dram_channel_size;
  std::optional<std::uint32_t> tcp_port_base;
  std::optional<std::string> control_socket;
  std::optional<std::string> backing_limit;
  std::vector<std::string> tenant_quotas;  // "64GiB" or "NAME=64GiB"
  std::vector<std::string> vm_quotas;      // likewise
  std::optional<std::string> eviction;
  std::optional<std::string> form;
  std::optional<std::string> granularity;
  std::optional<std::string> map_memory;
  std::optional<std::string> send_by_reference;
  std::optional<std::string> busy_poll;
  std::optional<std::string> mode;
  std::optional<double> time_scale;
  std::optional<std::string> device;
  std::vector<std::string> device_settings;
  std::optional<std::string> port_rate;
  std::optional<std::uint32_t> server_threads;
  std::vector<std::string> port_faults;
  std::vector<std::string> channel_faults;
};

void add_box_options(CLI::App& command, BoxOptions& options);
// --form and --granularity, which a box is made with.
void add_form_options(CLI::App& command, BoxOptions& options);
// Errors: config_invalid naming option, value and what is allowed; io_error for the file.
[[nodiscard]] Result<emulator::BoxConfig> build_config(const BoxOptions& options);

// --mode, --set and --port-rate: shared with `bench`. Errors: config_invalid.
[[nodiscard]] Result<void> apply_port_rate(const std::optional<std::string>& text,
                                           emulator::BoxConfig& config);
[[nodiscard]] Result<emulator::TimingMode> parse_mode(const std::string& text);

}  // namespace godbox::app
