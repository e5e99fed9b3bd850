// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/model/device_file.h>
#include <godbox/emulator/modelled_rates.h>

#include <cmath>
#include <map>
#include <mutex>

namespace godbox::emulator {
namespace {

// What a device delivers takes a DRAM's run of 200,000 lines, and is asked for again and again with
// the presets' device: these answers are kept. A file may be another one next time.
Result<model::BoxRates> rates_of_channel(const BoxConfig& config, const model::BoxModel& device) {
  static std::mutex mutex;
  static std::map<std::string, model::BoxRates, std::less<>> known;
  if (!config.device_settings.empty() || !model::device_text(config.device)) {
    return model::box_rates(device, kTimedStrip);
  }
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(config.device); found != known.end()) {
    return found->second;
  }
  Result<model::BoxRates> rates = model::box_rates(device, kTimedStrip);
  if (rates) {
    known.emplace(config.device, *rates);
  }
  return rates;
}

Duration rounded(double ns) { return Duration(std::llround(ns)); }

Result<StageRates> stage_rates(const model::BoxModel& device, const model::BoxShape& shape,
                               const model::ChannelRates& rates) {
  // So large that it takes every port.
  const model::Transfer all{.size = SizeBytes(std::uint64_t{1} << 50U),
                            .dram_channels = shape.super_nics * shape.dram_channels_per_super_nic,
                            .eth_ports = shape.super_nics * shape.eth_ports_per_super_nic,
                            .hosts = 0};
  const auto figures = model::time_transfer(device, shape, all, rates);
  if (!figures) {
    return figures.error();
  }
  StageRates one;
  double channel_ns = 0;
  double network_ns = 0;
  for (const model::StageFigures& stage : figures->stages) {
    const Rate rate(stage.limited.bytes_per_second() / stage.count);
    if (stage.name == "DRAM channel") {
      one.dram_channel = rate;
      channel_ns += stage.latency_ns;
    } else if (stage.name == "CXL link") {
      one.cxl_link = rate;
      channel_ns += stage.latency_ns;
    } else if (stage.name == "SuperNIC path") {
      one.super_nic_path = rate;
      network_ns += stage.latency_ns;
    } else if (stage.name == "Ethernet port") {
      one.eth_port = rate;
      network_ns += stage.latency_ns;
    }
  }
  one.channel_delay = rounded(channel_ns);
  one.network_delay = rounded(network_ns);
  return one;
}

}  // namespace

Result<model::BoxModel> device_of(const BoxConfig& config) {
  std::vector<model::DeviceSetting> settings;
  for (const std::string& text : config.device_settings) {
    Result<model::DeviceSetting> setting = model::parse_setting(text);
    if (!setting) {
      return setting.error();
    }
    settings.push_back(std::move(*setting));
  }
  const Result<std::string> text = model::read_device_text(config.device);
  return text ? model::parse_device(*text, config.device, settings) : text.error();
}

model::BoxShape shape_of(const BoxConfig& config) {
  return {.super_nics = config.super_nics,
          .dram_channels_per_super_nic = config.dram_channels_per_super_nic,
          .eth_ports_per_super_nic = config.eth_ports_per_super_nic,
          .eth_port = config.eth_port_rate};
}

Result<PacedRates> modelled_rates(const BoxConfig& config) {
  const Result<model::BoxModel> device = device_of(config);
  if (!device) {
    return device.error();
  }
  const Result<model::BoxRates> channel = rates_of_channel(config, *device);
  if (!channel) {
    return channel.error();
  }
  const model::BoxShape shape = shape_of(config);
  const Result<StageRates> read = stage_rates(*device, shape, channel->read);
  const Result<StageRates> write = stage_rates(*device, shape, channel->write);
  if (!read || !write) {
    return read ? write.error() : read.error();
  }
  return PacedRates{*read, *write};
}

Result<void> settle_rates(BoxConfig& config) {
  if (!config.rates) {
    const Result<PacedRates> rates = modelled_rates(config);
    if (!rates) {
      return rates.error();
    }
    config.rates = *rates;
  }
  return {};
}

}  // namespace godbox::emulator
