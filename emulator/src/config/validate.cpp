// SPDX-License-Identifier: Apache-2.0
#include <godbox/emulator/box_config.h>
#include <godbox/emulator/channel_fault.h>
#include <godbox/emulator/channel_groups.h>
#include <godbox/emulator/model/box_model.h>
#include <godbox/emulator/port_fault.h>
#include <godbox/emulator/roce_port_config.h>
#include <godbox/striping/slab_layout.h>
#include <godbox/wire.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace godbox::emulator {
namespace {

constexpr std::uint32_t kEthPortsMax = 1024;
constexpr std::uint32_t kServerThreadsMax = 256;
constexpr std::size_t kBoxNameCharsMax = 64;
constexpr SizeBytes kDramChannelSizeMax{std::uint64_t{16} << 40U};
constexpr Duration kTimeLimitMin = std::chrono::milliseconds(10);
constexpr Duration kTimeLimitMax = std::chrono::hours(24);  // they travel as 32-bit milliseconds
constexpr Duration kSessionGraceMax = std::chrono::seconds(60);  // travels as 16 bits
constexpr double kTimeScaleMax = 1e9;

template <class Value>
Error wrong(std::string_view key, const Value& value, std::string_view allowed) {
  return {Errc::config_invalid, fmt::format("{} = {}: allowed is {}", key, value, allowed)};
}

Result<void> check_shape(const BoxConfig& config, SizeBytes granularity) {
  const std::uint64_t dram_channels =
      std::uint64_t{config.super_nics} * config.dram_channels_per_super_nic;
  if (dram_channels < 1 || dram_channels > striping::kSlabMembersMax) {
    return wrong("super_nics x dram_channels_per_super_nic", dram_channels,
                 fmt::format("1 to {} DRAM channels", striping::kSlabMembersMax));
  }
  const std::uint64_t eth_ports = std::uint64_t{config.super_nics} * config.eth_ports_per_super_nic;
  if (eth_ports < 1 || eth_ports > kEthPortsMax) {
    return wrong("super_nics x eth_ports_per_super_nic", eth_ports,
                 fmt::format("1 to {} Ethernet ports", kEthPortsMax));
  }
  const SizeBytes size = config.dram_channel_size;
  if (size.is_zero() || !(size % granularity).is_zero() || size > kDramChannelSizeMax) {
    return wrong("dram_channel_size", size.count(),
                 fmt::format("a multiple of {} bytes, at most {}", granularity.count(),
                             kDramChannelSizeMax.count()));
  }
  // It becomes a part of file names.
  if (config.name.empty() || config.name.size() > kBoxNameCharsMax ||
      config.name.find_first_of(std::string_view("/\0", 2)) != std::string::npos) {
    return wrong("name", fmt::format("\"{}\"", config.name),
                 fmt::format("1 to {} characters, none of them '/' or NUL", kBoxNameCharsMax));
  }
  if (config.server_threads > kServerThreadsMax) {
    return wrong("server_threads", config.server_threads,
                 fmt::format("0 to {}", kServerThreadsMax));
  }
  return {};
}

Result<void> check_network(const BoxConfig& config) {
  const StreamAddress address{StreamAddress::Kind::tcp, config.listen_host, 0};
  if (!address.is_loopback()) {
    return Error(Errc::address_not_loopback,
                 fmt::format("listen_host = \"{}\": allowed are loopback addresses only "
                             "(127.0.0.0/8, ::1), because peers are not authenticated yet",
                             config.listen_host));
  }
  const std::uint32_t last = config.tcp_port_base + config.eth_ports() - 1;
  if (config.tcp_port_base != 0 && last > UINT16_MAX) {
    return wrong("tcp_port_base", config.tcp_port_base,
                 fmt::format("0, or at most {}, so that {} Ethernet ports fit below 65536",
                             UINT16_MAX - config.eth_ports() + 1, config.eth_ports()));
  }
  return {};
}

// Of memory = "device": a path with the index in it, or a list.
Result<void> check_devices(const BoxConfig& config) {
  const std::vector<std::string>& devices = config.memory_devices;
  if (devices.empty()) {
    const bool has_index = config.memory_path.find("{}") != std::string::npos;
    if (config.dram_channels() > 1 && !has_index) {
      return wrong("memory_path", fmt::format("\"{}\"", config.memory_path),
                   "a path with {} in the place of the DRAM channel's index");
    }
    return {};
  }
  if (!config.memory_path.empty()) {
    return wrong("memory_path", fmt::format("\"{}\"", config.memory_path),
                 "none beside memory_devices");
  }
  if (devices.size() != config.dram_channels()) {
    return wrong("memory_devices", fmt::format("{} paths", devices.size()),
                 fmt::format("one for each of the {} DRAM channels", config.dram_channels()));
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].empty() || std::find(devices.begin(), devices.begin() + static_cast<long>(i),
                                        devices[i]) != devices.begin() + static_cast<long>(i)) {
      return wrong("memory_devices", fmt::format("\"{}\"", devices[i]),
                   "paths, none of them empty or twice");
    }
  }
  return {};
}

Result<void> check_numa_nodes(const BoxConfig& config) {
  const auto nodes = parse_numa_nodes(config.numa_nodes);
  if (!nodes) {
    return nodes.error();
  }
  if (nodes->size() != config.dram_channels()) {
    return wrong("numa_nodes", fmt::format("\"{}\"", config.numa_nodes),
                 fmt::format("one node for each of the {} DRAM channels", config.dram_channels()));
  }
  return {};
}

// Keys that belong to another kind of memory than the one chosen.
Result<void> check_stray_memory_keys(const BoxConfig& config) {
  const bool is_device = config.memory == MemoryKind::device;
  const bool needs_path = config.memory == MemoryKind::tmpfs ||
                          config.memory == MemoryKind::hugetlbfs ||
                          (is_device && config.memory_devices.empty());
  if (needs_path && config.memory_path.empty()) {
    return wrong("memory_path", "\"\"",
                 "a directory for tmpfs and hugetlbfs, a path with {} for device");
  }
  if (!needs_path && !is_device && !config.memory_path.empty()) {
    return wrong("memory_path", fmt::format("\"{}\"", config.memory_path),
                 "none when memory is memfd or numa");
  }
  if (!is_device && !config.memory_devices.empty()) {
    return wrong("memory_devices", fmt::format("{} paths", config.memory_devices.size()),
                 "none unless memory is device");
  }
  // A VM writes by itself, so its memory must be coherent with the box's, and a file to open.
  if (config.map_memory == MapMemory::cxl && config.memory != MemoryKind::memfd &&
      config.memory != MemoryKind::tmpfs) {
    return wrong("map_memory", "\"cxl\"", "\"trusted\" or \"off\" unless memory is memfd or tmpfs");
  }
  if (!is_device && config.memory_coherence != Coherence::coherent) {
    return wrong("memory_coherence", "\"software\"", "\"coherent\" unless memory is device");
  }
  if (config.memory != MemoryKind::numa && !config.numa_nodes.empty()) {
    return wrong("numa_nodes", fmt::format("\"{}\"", config.numa_nodes),
                 "none unless memory is numa");
  }
  return {};
}

// A device is a channel, and is where it is.
Result<void> check_form(const BoxConfig& config) {
  if (config.form == ChannelForm::slots) {
    return wrong("form", "\"slots\"", "channels, super-nics or widest; slots is of VMs");
  }
  const bool is_own_order = config.form == ChannelForm::channels;
  const bool may_share = config.memory == MemoryKind::memfd || config.memory == MemoryKind::tmpfs;
  if (!is_own_order && !may_share) {
    return wrong("form", fmt::format("\"{}\"", to_string(config.form)),
                 "\"channels\" unless memory is memfd or tmpfs");
  }
  if (is_own_order && config.interleave_granularity) {
    return wrong("interleave_granularity", config.interleave_granularity->count(),
                 "none with form = \"channels\", where nothing is interleaved");
  }
  const Result<std::vector<ChannelGroup>> groups = channel_groups(config);
  return groups ? Result<void>() : Result<void>(groups.error());
}

Result<void> check_memory(const BoxConfig& config) {
  if (config.backing_limit && config.backing_limit->is_zero()) {
    return wrong("backing_limit", 0, "more than 0 bytes");
  }
  if (Result<void> checked = check_stray_memory_keys(config); !checked) {
    return checked;
  }
  if (Result<void> checked = check_form(config); !checked) {
    return checked;
  }
  if (config.memory == MemoryKind::device) {
    return check_devices(config);
  }
  return config.memory == MemoryKind::numa ? check_numa_nodes(config) : Result<void>();
}

Result<void> check_time(std::string_view key, Duration value) {
  if (value < kTimeLimitMin || value > kTimeLimitMax) {
    return wrong(key, fmt::format("{}ms", value.count() / 1'000'000), "10ms to 24h");
  }
  return {};
}

Result<void> check_tenant_name(std::string_view key, const std::string& name) {
  if (name.size() > wire::kNameBytesMax) {
    return wrong(key, fmt::format("a name of {} bytes", name.size()),
                 fmt::format("names of at most {} bytes", wire::kNameBytesMax));
  }
  return {};
}

Result<void> check_vm_name(std::string_view key, const std::string& name) {
  if (!wire::is_vm_name(name)) {
    return wrong(
        key, fmt::format("\"{}\"", name),
        fmt::format("names of 1 to {} letters, digits, '-', '_' and '.'", wire::kVmNameBytesMax));
  }
  return {};
}

// `name`: which member of a quota says whose it is.
template <class Quota>
Result<void> check_named_quotas(std::string_view key, const std::vector<Quota>& quotas,
                                std::string Quota::*name,
                                Result<void> (*check_name)(std::string_view, const std::string&)) {
  for (std::size_t i = 0; i < quotas.size(); ++i) {
    const std::string& of = quotas[i].*name;
    if (Result<void> checked = check_name(key, of); !checked) {
      return checked;
    }
    const bool is_twice =
        std::any_of(quotas.begin(), quotas.begin() + static_cast<std::ptrdiff_t>(i),
                    [&](const Quota& other) { return other.*name == of; });
    if (is_twice) {
      return wrong(fmt::format("{}.{}", key, of), quotas[i].quota.count(), "one quota for each");
    }
  }
  return {};
}

// A tenant's is above 0; a VM's may be 0, and it has no memory of its own then.
Result<void> check_quotas(const BoxConfig& config) {
  if (config.tenant_quota && config.tenant_quota->is_zero()) {
    return wrong("tenant_quota", 0, "more than 0 bytes, or the key left out for no limit");
  }
  for (const auto& [tenant, quota] : config.tenant_quotas) {
    if (quota.is_zero()) {
      return wrong(fmt::format("tenant_quotas.{}", tenant), 0, "more than 0 bytes");
    }
  }
  if (Result<void> checked = check_named_quotas("tenant_quotas", config.tenant_quotas,
                                                &TenantQuota::tenant, check_tenant_name);
      !checked) {
    return checked;
  }
  return check_named_quotas("vm_quotas", config.vm_quotas, &VmQuota::vm, check_vm_name);
}

Result<void> check_policy(const BoxConfig& config) {
  // Written so that a NaN fails.
  if (!(config.high_watermark > 0 && config.high_watermark <= 1)) {
    return wrong("high_watermark", config.high_watermark, "a number above 0, at most 1");
  }
  if (!(config.low_watermark > 0 && config.low_watermark <= config.high_watermark)) {
    return wrong(
        "low_watermark", config.low_watermark,
        fmt::format("a number above 0, at most high_watermark ({})", config.high_watermark));
  }
  for (const auto& [key, value] : {std::pair{"lease_max", config.lease_max},
                                   std::pair{"reservation_max", config.reservation_max},
                                   std::pair{"session_timeout", config.session_timeout}}) {
    if (Result<void> checked = check_time(key, value); !checked) {
      return checked;
    }
  }
  if (config.session_grace < Duration::zero() || config.session_grace > kSessionGraceMax) {
    return wrong("session_grace", fmt::format("{}ms", config.session_grace.count() / 1'000'000),
                 "0ms to 60s");
  }
  return check_quotas(config);
}

Result<void> check_timing(const BoxConfig& config) {
  if (!(config.time_scale > 0 && config.time_scale <= kTimeScaleMax)) {
    return wrong("time_scale", config.time_scale,
                 fmt::format("a number above 0, at most {}", kTimeScaleMax));
  }
  const double eth_port_rate = config.eth_port_rate.bytes_per_second();
  if (!(eth_port_rate > 0 && eth_port_rate <= model::kEthPortRateMax.bytes_per_second())) {
    return wrong("eth_port_rate", eth_port_rate,
                 fmt::format("more than 0 bytes per second, at most {} (1.6 Tb/s)",
                             model::kEthPortRateMax.bytes_per_second()));
  }
  if (!std::isfinite(eth_port_rate / config.time_scale)) {
    return wrong("time_scale", config.time_scale,
                 fmt::format("a number above 0, at most {}, by which eth_port_rate = {} bytes per "
                             "second can be divided",
                             kTimeScaleMax, eth_port_rate));
  }
  return {};
}

Result<void> check_channel_faults(const BoxConfig& config) {
  for (const std::string& text : config.channel_faults) {
    const Result<ChannelFault> fault = parse_channel_fault(text);
    if (!fault) {
      return Error(Errc::config_invalid, "channel_faults: " + fault.error().detail);
    }
    if (fault->dram_channel.value() >= config.dram_channels()) {
      return wrong("channel_faults", fmt::format("\"{}\"", text),
                   fmt::format("DRAM channels 0 to {}", config.dram_channels() - 1));
    }
    if (config.mode != TimingMode::paced && fault->rate_share < 1) {
      return wrong("channel_faults", fmt::format("\"{}\"", text),
                   "only in mode \"paced\": a slow DRAM channel moves a share of its rate");
    }
  }
  return {};
}

Result<void> check_port_faults(const BoxConfig& config) {
  for (const std::string& text : config.port_faults) {
    const Result<NumberedPortFault> fault = parse_numbered_port_fault(text);
    if (!fault) {
      return Error(Errc::config_invalid, "port_faults: " + fault.error().detail);
    }
    if (fault->eth_port.value() >= config.eth_ports()) {
      return wrong("port_faults", fmt::format("\"{}\"", text),
                   fmt::format("Ethernet ports 0 to {}", config.eth_ports() - 1));
    }
    if (const Result<void> possible = check_port_fault(config, fault->eth_port, fault->fault);
        !possible) {
      return Error(Errc::config_invalid,
                   fmt::format("port_faults = \"{}\": {}", text, possible.error().detail));
    }
  }
  return {};
}

// The port's RDMA device, as it is written; empty: it is on none.
std::string verbs_port(const BoxConfig& config, EthPortId id) {
  const auto ports = parse_roce_ports(config.roce_ports, config.eth_ports());
  if (!ports) {
    return {};  // what is wrong with them is said elsewhere
  }
  const auto found = std::ranges::find_if(*ports, [id](const RocePortConfig& port) {
    return port.wire == RoceWire::verbs && port.eth_port == id;
  });
  return found == ports->end() ? std::string() : found->text;
}

}  // namespace

Result<void> check_port_fault(const BoxConfig& config, EthPortId id, const PortFault& fault) {
  const bool has_rate =
      config.mode == TimingMode::paced && (!config.rates || config.rates->read.eth_port > Rate());
  if (fault.kind == PortFaultKind::slow && !has_rate) {
    return Error(Errc::config_invalid,
                 "a port can be slow only in mode \"paced\": it moves a share of its rate");
  }
  const bool is_too_fast = fault.period > Duration() && fault.period < kVerbsFaultPeriodMin;
  const std::string device =
      fault.kind == PortFaultKind::silent || is_too_fast ? verbs_port(config, id) : std::string();
  if (!device.empty() && fault.kind != PortFaultKind::silent) {
    return Error(Errc::config_invalid,
                 fmt::format("Ethernet port {} cannot flap so fast: it is on an RDMA device "
                             "(roce_ports, --roce {}); 100ms or more are possible",
                             id.value(), device));
  }
  if (!device.empty()) {
    return Error(Errc::config_invalid,
                 fmt::format("Ethernet port {} cannot be silent: it is on an RDMA device (roce_"
                             "ports, --roce {}), which answers by itself; it can be dead, flap "
                             "and, in mode \"paced\", be slow",
                             id.value(), device));
  }
  return {};
}

Result<void> validate(const BoxConfig& config, SizeBytes dram_channel_granularity) {
  if (Result<void> shape = check_shape(config, dram_channel_granularity); !shape) {
    return shape;
  }
  if (Result<void> network = check_network(config); !network) {
    return network;
  }
  if (Result<void> memory = check_memory(config); !memory) {
    return memory;
  }
  if (Result<void> policy = check_policy(config); !policy) {
    return policy;
  }
  if (Result<void> timing = check_timing(config); !timing) {
    return timing;
  }
  if (Result<void> faults = check_channel_faults(config); !faults) {
    return faults;
  }
  if (Result<void> faults = check_port_faults(config); !faults) {
    return faults;
  }
  const auto ports = parse_roce_ports(config.roce_ports, config.eth_ports());
  return ports ? Result<void>() : ports.error();
}

}  // namespace godbox::emulator
