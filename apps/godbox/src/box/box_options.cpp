// SPDX-License-Identifier: Apache-2.0
#include "box/box_options.h"

#include "box/shape.h"
#include "cli/byte_files.h"
#include <godbox/emulator/modelled_rates.h>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

namespace godbox::app {
namespace {

constexpr std::uint32_t kTcpPortMax = 65535;

Error not_allowed(std::string_view option, std::string_view value, std::string_view allowed) {
  return {Errc::config_invalid,
          fmt::format("{}: \"{}\" is not allowed; allowed: {}", option, value, allowed)};
}

Result<emulator::BoxConfig> base_config(const BoxOptions& options) {
  Result<emulator::BoxConfig> config = emulator::preset(options.preset);
  if (!config) {
    return not_allowed("--preset", options.preset,
                       fmt::format("{}", fmt::join(emulator::preset_names(), ", ")));
  }
  if (options.config_file.empty()) {
    return config;
  }
  const Result<std::string> text = read_text_file(options.config_file);
  if (!text) {
    return Error(Errc::config_invalid, "--config: " + text.error().detail);
  }
  return emulator::apply_toml(*config, *text, options.config_file);
}

Result<void> apply_size(std::string_view option, const std::optional<std::string>& text,
                        SizeBytes& size) {
  if (!text) {
    return {};
  }
  const Result<SizeBytes> parsed = emulator::parse_size(*text);
  if (!parsed) {
    return not_allowed(option, *text, "a size like 256MiB, 16GiB or 1TiB");
  }
  size = *parsed;
  return {};
}

Result<void> apply_counts(const BoxOptions& options, emulator::BoxConfig& config) {
  if (options.eth_ports && options.eth_ports_per_super_nic) {
    return Error(Errc::config_invalid,
                 "--ports and --ports-per-super-nic say the same in two ways; give one of them");
  }
  if (auto shaped =
          apply_shape({options.super_nics, options.dram_channels, options.eth_ports}, config);
      !shaped) {
    return shaped;
  }
  if (options.eth_ports_per_super_nic) {
    config.eth_ports_per_super_nic = *options.eth_ports_per_super_nic;
  }
  if (options.tcp_port_base) {
    if (*options.tcp_port_base > kTcpPortMax) {
      return not_allowed("--tcp-port-base", std::to_string(*options.tcp_port_base),
                         "0 (any free ports) to 65535");
    }
    config.tcp_port_base = static_cast<std::uint16_t>(*options.tcp_port_base);
  }
  config.server_threads = options.server_threads.value_or(config.server_threads);
  return {};
}

// SIZE for all, NAME=SIZE for one; a name may hold "=" itself. Those of the configuration file stay
// for names that are not given here. `name`: which member of a quota says whose it is.
template <class Quota>
Result<void> apply_quotas(std::string_view option, const std::vector<std::string>& texts,
                          std::optional<SizeBytes>& of_all, std::vector<Quota>& of_some,
                          std::string Quota::*name) {
  for (const std::string& text : texts) {
    const std::size_t at = text.rfind('=');
    const Result<SizeBytes> quota =
        emulator::parse_size(at == std::string::npos ? text : text.substr(at + 1));
    if (!quota || at == 0) {
      return not_allowed(option, text, "a size like 64GiB, or NAME=SIZE");
    }
    if (at == std::string::npos) {
      of_all = *quota;
      continue;
    }
    const std::string of = text.substr(0, at);
    std::erase_if(of_some, [&](const Quota& each) { return each.*name == of; });
    of_some.push_back({of, *quota});
  }
  return {};
}

// `names` are those of `value`'s type, in its order.
template <class Value, std::size_t kCount>
Result<void> apply_choice(std::string_view option, const std::optional<std::string>& text,
                          const std::array<std::string_view, kCount>& names, Value& value) {
  if (!text) {
    return {};
  }
  const auto* const known = std::find(names.data(), names.data() + kCount, *text);
  if (known == names.data() + kCount) {
    return not_allowed(option, *text, fmt::format("{}", fmt::join(names, ", ")));
  }
  value = static_cast<Value>(known - names.data());
  return {};
}

Result<void> apply_policies(const BoxOptions& options, emulator::BoxConfig& config) {
  if (options.eviction == "none") {
    config.eviction = emulator::EvictionPolicy::none;
  } else if (options.eviction == "lru") {
    config.eviction = emulator::EvictionPolicy::lru;
  } else if (options.eviction) {
    return not_allowed("--eviction", *options.eviction, "lru, none");
  }
  if (Result<void> quotas =
          apply_quotas("--tenant-quota", options.tenant_quotas, config.tenant_quota,
                       config.tenant_quotas, &emulator::TenantQuota::tenant);
      !quotas) {
    return quotas;
  }
  if (Result<void> quotas = apply_quotas("--vm-quota", options.vm_quotas, config.vm_quota,
                                         config.vm_quotas, &emulator::VmQuota::vm);
      !quotas) {
    return quotas;
  }
  if (Result<void> applied =
          apply_choice("--form", options.form, emulator::kBoxFormNames, config.form);
      !applied) {
    return applied;
  }
  if (Result<void> applied = apply_choice("--map-memory", options.map_memory,
                                          emulator::kMapMemoryNames, config.map_memory);
      !applied) {
    return applied;
  }
  if (Result<void> applied =
          apply_choice("--send-by-reference", options.send_by_reference,
                       emulator::kSendByReferenceNames, config.send_by_reference);
      !applied) {
    return applied;
  }
  if (Result<void> applied = apply_choice("--busy-poll", options.busy_poll,
                                          emulator::kBusyPollNames, config.busy_poll);
      !applied) {
    return applied;
  }
  if (options.mode) {
    const Result<emulator::TimingMode> mode = parse_mode(*options.mode);
    if (!mode) {
      return mode.error();
    }
    config.mode = *mode;
  }
  config.time_scale = options.time_scale.value_or(config.time_scale);
  config.control_socket = options.control_socket.value_or(config.control_socket);
  config.port_faults.insert(config.port_faults.end(), options.port_faults.begin(),
                            options.port_faults.end());
  config.channel_faults.insert(config.channel_faults.end(), options.channel_faults.begin(),
                               options.channel_faults.end());
  return {};
}

// A box of any mode has a device that can be read: its VMs are told of it.
Result<void> apply_device(const BoxOptions& options, emulator::BoxConfig& config) {
  config.device = options.device.value_or(config.device);
  config.device_settings.insert(config.device_settings.end(), options.device_settings.begin(),
                                options.device_settings.end());
  if (const auto device = emulator::device_of(config); !device) {
    return device.error();
  }
  return apply_port_rate(options.port_rate, config);
}

void add_speed_options(CLI::App& command, BoxOptions& options) {
  command.add_option("--mode", options.mode,
                     "free: as fast as this machine's memory; paced: held to the timing model "
                     "(docs/model.md)");
  command.add_option("--time-scale", options.time_scale,
                     "paced: rates are divided by it and delays multiplied, so that a large box "
                     "fits a small machine");
  command.add_option("--device", options.device,
                     "What DRAM channels, links and SuperNICs are: a device that comes with "
                     "godbox, or a parameter file (godbox model device)");
  command
      .add_option("--set", options.device_settings,
                  "A key of the parameter file, like link.lanes=16; repeatable")
      ->allow_extra_args(false);
  command.add_option("--port-rate", options.port_rate,
                     "Of an Ethernet port's wire, each direction, like 100Gbit/s");
  command
      .add_option("--port-fault", options.port_faults,
                  "What is wrong with an Ethernet port, like 3=slow:10%, 3=dead, 3=silent, "
                  "3=flap:1s or 3=flap-silent:1s; repeatable")
      ->allow_extra_args(false);
  command
      .add_option("--channel-fault", options.channel_faults,
                  "paced: a DRAM channel moves a share of its rate, like 3=slow:10%; repeatable")
      ->allow_extra_args(false);
}

}  // namespace

Result<emulator::TimingMode> parse_mode(const std::string& text) {
  if (text == "free") {
    return emulator::TimingMode::free;
  }
  if (text == "paced") {
    return emulator::TimingMode::paced;
  }
  return not_allowed("--mode", text, "free, paced");
}

Result<void> apply_port_rate(const std::optional<std::string>& text, emulator::BoxConfig& config) {
  if (!text) {
    return {};
  }
  const Result<Rate> rate = emulator::parse_rate(*text);
  if (!rate) {
    return not_allowed("--port-rate", *text, "a rate like 100Gbit/s or 12.5GB/s");
  }
  config.eth_port_rate = *rate;
  return {};
}

void add_form_options(CLI::App& command, BoxOptions& options) {
  command.add_option("--form", options.form,
                     "As which CXL regions the memory lies. channels (default): one each; "
                     "super-nics: one per SuperNIC; widest: as few as are legal");
  command.add_option("--granularity", options.granularity,
                     "Of the interleave, 256 to 16KiB (default: 4KiB, or the largest legal one)");
}

void add_box_options(CLI::App& command, BoxOptions& options) {
  command
      .add_option(
          "--preset", options.preset,
          fmt::format("The box to start from: {}", fmt::join(emulator::preset_names(), ", ")))
      ->capture_default_str();
  command.add_option("--config", options.config_file, "TOML file, applied over the preset");
  command.add_option("--super-nics", options.super_nics, "SuperNICs in the box");
  command.add_option("--channels", options.dram_channels, "DRAM channels of the whole box");
  command.add_option("--channel-size", options.dram_channel_size,
                     "Capacity of one DRAM channel, in multiples of 256MiB");
  command.add_option("--ports", options.eth_ports, "Ethernet ports of the whole box");
  command.add_option("--ports-per-super-nic", options.eth_ports_per_super_nic,
                     "Ethernet ports of each SuperNIC");
  command.add_option("--tcp-port-base", options.tcp_port_base,
                     "Ethernet port i listens on TCP port base + i; 0 takes free ones");
  command.add_option("--control-socket", options.control_socket,
                     "Path of the local control socket");
  command.add_option("--backing-limit", options.backing_limit,
                     "Memory that the box may really use (default: half of this machine's; of "
                     "devices all)");
  command.add_option("--eviction", options.eviction, "What a full pool does: lru, none");
  command
      .add_option("--tenant-quota", options.tenant_quotas,
                  "What each tenant may have, like 64GiB, or one of them, like alice=1TiB; may "
                  "be given several times")
      ->allow_extra_args(false);
  command
      .add_option("--vm-quota", options.vm_quotas,
                  "What each VM may be given (godbox pool bind), like 4GiB, or "
                  "one of them, like NAME=1TiB; may be given several times")
      ->allow_extra_args(false);
  command.add_option("--map-memory", options.map_memory,
                     "Who may map the memory: trusted: the control socket's owner; cxl: VMs too; "
                     "off: nobody");
  command.add_option("--send-by-reference", options.send_by_reference,
                     "Whether clients on this machine get the pool's pages instead of copies: "
                     "auto: where it is safe and faster; off: never");
  command.add_option("--threads", options.server_threads, "Server threads; 0 chooses");
  command.add_option("--busy-poll", options.busy_poll,
                     "Whether they look for the next small request for 50 us before they sleep: "
                     "auto: as long as that pays; off: never");
  add_speed_options(command, options);
}

Result<emulator::BoxConfig> build_config(const BoxOptions& options) {
  Result<emulator::BoxConfig> config = base_config(options);
  if (!config) {
    return config;
  }
  SizeBytes backing_limit = config->backing_limit.value_or(SizeBytes());
  for (const Result<void>& applied :
       {apply_counts(options, *config), apply_policies(options, *config),
        apply_device(options, *config),
        apply_size("--channel-size", options.dram_channel_size, config->dram_channel_size),
        apply_size("--backing-limit", options.backing_limit, backing_limit)}) {
    if (!applied) {
      return applied.error();
    }
  }
  if (options.backing_limit) {
    config->backing_limit = backing_limit;
  }
  if (options.granularity) {
    const Result<SizeBytes> size = emulator::parse_size(*options.granularity);
    if (!size) {
      return not_allowed("--granularity", *options.granularity, "a size like 256, 4KiB or 16KiB");
    }
    config->interleave_granularity = *size;
  }
  if (const Result<void> valid = emulator::validate(*config); !valid) {
    return valid.error();
  }
  return config;
}

}  // namespace godbox::app
