// SPDX-License-Identifier: Apache-2.0
#include "status.h"

#include "doors/native/reply_budget.h"
#include <godbox/emulator/channel_fault.h>

#include <boost/json.hpp>
#include <fmt/format.h>

#include <atomic>

namespace godbox::emulator {
namespace {

std::uint64_t value_of(const std::atomic<std::uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

void add_pool(boost::json::object& to, const PoolUsage& usage) {
  to["capacity_bytes"] = usage.capacity.count();
  to["reserved_bytes"] = usage.reserved.count();
  to["backed_bytes"] = usage.backed.count();
  to["backing_limit_bytes"] = usage.backing_limit.count();
  to["index_bytes"] = usage.index_memory.count();
  to["objects"] = usage.objects;
  to["reservations"] = usage.reservations;
  to["regions"] = usage.regions;
  to["leases"] = usage.leases;
  to["sessions"] = usage.sessions;
  to["slabs"] = usage.slabs;
  to["held_bytes"] = usage.held.count();
  to["evictions"] = usage.evictions;
  to["expiries"] = usage.expiries;
  to["quarantined"] = usage.quarantined;
  to["lost_objects"] = usage.lost_objects;
  to["retired_bytes"] = usage.retired.count();
  to["logical_devices"] = usage.logical_devices;
  to["bound_bytes"] = usage.bound.count();
  to["bound_slab_bytes"] = usage.bound_slabs.count();
}

// Names are any bytes, JSON is not.
std::string printable(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c >= ' ' && c <= '~') {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

// The largest; the rest is in the pool's sums.
constexpr std::size_t kTenantsMax = 100;

boost::json::array tenants(const BoxStatus& status) {
  boost::json::array list;
  for (const TenantUsage& tenant : status.service.tenant_usages(kTenantsMax)) {
    list.push_back(boost::json::object{
        {"name", printable(tenant.name)},
        {"quota_bytes", tenant.usage.quota.count()},
        {"reserved_bytes", tenant.usage.reserved.count()},
        {"held_bytes", tenant.usage.held.count()},
        {"objects", tenant.usage.objects},
        {"evictions", tenant.usage.evictions},
        {"names_found", tenant.usage.names_found},
        {"names_missed", tenant.usage.names_missed},
    });
  }
  return list;
}

boost::json::array dram_channels(const BoxStatus& status) {
  boost::json::array channels;
  for (std::uint32_t i = 0; i < status.config.dram_channels(); ++i) {
    const DramChannelId id(static_cast<std::uint16_t>(i));
    const DramChannelUsage usage = status.service.dram_channel_usage(id);
    channels.push_back(boost::json::object{
        {"id", i},
        {"super_nic", status.config.super_nic_of(id).value()},
        {"size_bytes", status.config.dram_channel_size.count()},
        {"fault", channel_fault_text(status.channel_rate_shares[i])},
        {"bytes_read", usage.bytes_read},
        {"bytes_written", usage.bytes_written},
        {"requests", usage.requests},
        {"bound_bytes", usage.bound.count()},
    });
  }
  return channels;
}

void add_counters(boost::json::object& to, const NativeDoor& door) {
  const EthPortCounters& counters = door.counters();
  to["bytes_received"] = value_of(counters.bytes_received);
  to["bytes_sent"] = value_of(counters.bytes_sent);
  to["bytes_referred"] = value_of(counters.bytes_referred);
  to["requests"] = value_of(counters.requests);
  to["connections_open"] = value_of(counters.connections_open);
  to["connections_accepted"] = value_of(counters.connections_accepted);
  to["connections_lingering"] = value_of(counters.connections_lingering);
  to["frames_rejected"] = value_of(counters.frames_rejected);
}

boost::json::array eth_ports(const BoxStatus& status) {
  boost::json::array ports;
  for (std::uint32_t i = 0; i < status.eth_ports.size(); ++i) {
    const EthPortStatus& eth_port = status.eth_ports[i];
    const EthPortId id(static_cast<std::uint16_t>(i));
    boost::json::object port{
        {"id", i},
        {"super_nic", status.config.super_nic_of(id).value()},
        {"address", eth_port.address},
        {"down", eth_port.door.is_down() || eth_port.fault_now == PortFaultKind::dead},
        {"fault", to_string(eth_port.fault)},
    };
    add_counters(port, eth_port.door);
    ports.push_back(std::move(port));
  }
  return ports;
}

boost::json::array roce_ports(const BoxStatus& status) {
  boost::json::array ports;
  for (const RocePortEntry& entry : status.roce_ports) {
    boost::json::array addresses;
    for (const RoceAddress& address : entry.addresses) {
      addresses.push_back(boost::json::string(to_string(address)));
    }
    boost::json::object port{
        {"eth_port", entry.eth_port.value()}, {"name", printable(entry.name)},
        {"wire", printable(entry.wire)},      {"mac", to_string(entry.mac)},
        {"mtu_bytes", entry.mtu_bytes},       {"queues", entry.queues},
        {"addresses", std::move(addresses)},
    };
    for (const auto& [name, value] : entry.counters()) {
      port[name] = value;
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

}  // namespace

std::string to_json(const BoxStatus& status) {
  boost::json::object root;
  root["name"] = status.config.name;
  root["mode"] = status.mode;
  root["time_scale"] = status.config.time_scale;
  root["form"] = to_string(status.config.form);
  root["map_memory"] = to_string(status.config.map_memory);
  root["send_by_reference"] = to_string(status.config.send_by_reference);
  root["busy_poll"] = to_string(status.config.busy_poll);
  // As text: JSON readers that keep numbers as doubles would round 64 random bits.
  root["epoch"] = fmt::format("{:016x}", status.service.epoch().value());
  root["uptime_ms"] = std::chrono::duration_cast<std::chrono::milliseconds>(status.uptime).count();
  add_pool(root, status.service.usage());
  root["reply_bytes"] = status.replies.bytes();
  root["reply_bytes_max"] = status.replies.bytes_max();
  root["tenants"] = tenants(status);
  root["dram_channels"] = dram_channels(status);
  root["eth_ports"] = eth_ports(status);
  root["roce_ports"] = roce_ports(status);
  boost::json::object control;
  add_counters(control, status.control_door);
  root["control_socket"] = std::move(control);
  return boost::json::serialize(root);
}

}  // namespace godbox::emulator
