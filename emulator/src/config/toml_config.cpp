// SPDX-License-Identifier: Apache-2.0
//
// The TOML form of BoxConfig. Key paths are the names of its fields, so that code, file and error
// say the same word.
#include "config/nearest_name.h"
#include "config/quantity_text.h"
#include <godbox/emulator/box_config.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <functional>
#include <sstream>

namespace godbox::emulator {
namespace {

// Sets one field, or says what would have been allowed.
using Setter = std::function<Result<void>(BoxConfig&, const toml::node&)>;
struct Key {
  std::string_view path;
  Setter set;
};

Error not_allowed(std::string allowed) { return {Errc::config_invalid, std::move(allowed)}; }

Setter text(std::string BoxConfig::*field) {
  return [field](BoxConfig& config, const toml::node& node) -> Result<void> {
    if (!node.is_string()) {
      return not_allowed("a text in quotes");
    }
    config.*field = node.as_string()->get();
    return {};
  };
}

Setter texts(std::vector<std::string> BoxConfig::*field) {
  return [field](BoxConfig& config, const toml::node& node) -> Result<void> {
    const toml::array* const list = node.as_array();
    std::vector<std::string> read;
    for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
      if (const auto* const one = list->get(i)->as_string()) {
        read.push_back(one->get());
      }
    }
    if (list == nullptr || read.size() != list->size()) {
      return not_allowed("a list of texts in quotes");
    }
    config.*field = std::move(read);
    return {};
  };
}

Setter truth(bool BoxConfig::*field) {
  return [field](BoxConfig& config, const toml::node& node) -> Result<void> {
    if (!node.is_boolean()) {
      return not_allowed("true or false");
    }
    config.*field = node.as_boolean()->get();
    return {};
  };
}

template <class Integer>
Setter integer(Integer BoxConfig::*field, std::int64_t least, std::int64_t most) {
  return [=](BoxConfig& config, const toml::node& node) -> Result<void> {
    if (!node.is_integer() || node.as_integer()->get() < least || node.as_integer()->get() > most) {
      return not_allowed(fmt::format("a whole number from {} to {}", least, most));
    }
    config.*field = static_cast<Integer>(node.as_integer()->get());
    return {};
  };
}

Setter real(double BoxConfig::*field, std::string_view allowed) {
  return [=](BoxConfig& config, const toml::node& node) -> Result<void> {
    if (!node.is_number()) {
      return not_allowed(std::string(allowed));
    }
    config.*field = *node.value<double>();
    return {};
  };
}

// A quantity in quotes, read by `parse`.
template <class Field, class Value>
Setter quantity(Field BoxConfig::*field, Result<Value> (*parse)(std::string_view),
                std::string_view form) {
  return [=](BoxConfig& config, const toml::node& node) -> Result<void> {
    const auto* written = node.as_string();
    const Result<Value> value =
        written != nullptr ? parse(written->get()) : Result<Value>(Errc::config_invalid);
    if (!value) {
      return not_allowed(std::string(form));
    }
    config.*field = *value;
    return {};
  };
}

template <class Enum>
struct Word {
  std::string_view name;
  Enum value;
};

template <class Enum>
Setter one_of(Enum BoxConfig::*field, std::vector<Word<Enum>> words) {
  return
      [field, words = std::move(words)](BoxConfig& config, const toml::node& node) -> Result<void> {
        std::vector<std::string_view> names;
        for (const Word<Enum>& word : words) {
          if (node.is_string() && node.as_string()->get() == word.name) {
            config.*field = word.value;
            return {};
          }
          names.push_back(word.name);
        }
        return not_allowed(fmt::format("\"{}\"", fmt::join(names, "\", \"")));
      };
}

std::vector<Key> make_keys() {
  using C = BoxConfig;
  std::vector<Key> keys;
  keys.push_back({"name", text(&C::name)});
  keys.push_back({"super_nics", integer(&C::super_nics, 1, 64)});
  keys.push_back({"dram_channels_per_super_nic", integer(&C::dram_channels_per_super_nic, 1, 64)});
  keys.push_back({"eth_ports_per_super_nic", integer(&C::eth_ports_per_super_nic, 1, 64)});
  keys.push_back({"dram_channel_size", quantity(&C::dram_channel_size, parse_size, kSizeForm)});
  keys.push_back({"listen_host", text(&C::listen_host)});
  keys.push_back({"tcp_port_base", integer(&C::tcp_port_base, 0, 65535)});
  keys.push_back({"control_socket", text(&C::control_socket)});
  keys.push_back({"memory", one_of<MemoryKind>(&C::memory, {{"memfd", MemoryKind::memfd},
                                                            {"tmpfs", MemoryKind::tmpfs},
                                                            {"hugetlbfs", MemoryKind::hugetlbfs},
                                                            {"device", MemoryKind::device},
                                                            {"numa", MemoryKind::numa}})});
  keys.push_back({"memory_path", text(&C::memory_path)});
  keys.push_back({"memory_devices", texts(&C::memory_devices)});
  keys.push_back({"memory_coherence",
                  one_of<Coherence>(&C::memory_coherence, {{"coherent", Coherence::coherent},
                                                           {"software", Coherence::software}})});
  keys.push_back({"numa_nodes", text(&C::numa_nodes)});
  keys.push_back({"form", one_of<ChannelForm>(&C::form, {{"channels", ChannelForm::channels},
                                                         {"super-nics", ChannelForm::super_nics},
                                                         {"widest", ChannelForm::widest}})});
  keys.push_back(
      {"interleave_granularity", quantity(&C::interleave_granularity, parse_size, kSizeForm)});
  keys.push_back({"map_memory", one_of<MapMemory>(&C::map_memory, {{"trusted", MapMemory::trusted},
                                                                   {"off", MapMemory::off},
                                                                   {"cxl", MapMemory::cxl}})});
  keys.push_back(
      {"send_by_reference",
       one_of<SendByReference>(&C::send_by_reference, {{"auto", SendByReference::automatic},
                                                       {"off", SendByReference::off}})});
  keys.push_back({"busy_poll", one_of<BusyPoll>(&C::busy_poll, {{"auto", BusyPoll::automatic},
                                                                {"off", BusyPoll::off}})});
  keys.push_back({"backing_limit", quantity(&C::backing_limit, parse_size, kSizeForm)});
  keys.push_back(
      {"eviction", one_of<EvictionPolicy>(&C::eviction, {{"none", EvictionPolicy::none},
                                                         {"lru", EvictionPolicy::lru}})});
  keys.push_back({"high_watermark", real(&C::high_watermark, "a number above 0, at most 1")});
  keys.push_back({"low_watermark", real(&C::low_watermark, "a number above 0, at most 1")});
  keys.push_back({"tenant_quota", quantity(&C::tenant_quota, parse_size, kSizeForm)});
  keys.push_back({"vm_quota", quantity(&C::vm_quota, parse_size, kSizeForm)});
  keys.push_back({"lease_max", quantity(&C::lease_max, parse_duration, kDurationForm)});
  keys.push_back({"reservation_max", quantity(&C::reservation_max, parse_duration, kDurationForm)});
  keys.push_back({"session_timeout", quantity(&C::session_timeout, parse_duration, kDurationForm)});
  keys.push_back({"session_grace", quantity(&C::session_grace, parse_duration, kDurationForm)});
  keys.push_back({"mode", one_of<TimingMode>(&C::mode, {{"free", TimingMode::free},
                                                        {"paced", TimingMode::paced}})});
  keys.push_back({"device", text(&C::device)});
  keys.push_back({"device_settings", texts(&C::device_settings)});
  keys.push_back({"eth_port_rate", quantity(&C::eth_port_rate, parse_rate, kRateForm)});
  keys.push_back({"time_scale", real(&C::time_scale, "a number above 0")});
  keys.push_back({"port_faults", texts(&C::port_faults)});
  keys.push_back({"channel_faults", texts(&C::channel_faults)});
  keys.push_back({"roce_ports", texts(&C::roce_ports)});
  keys.push_back({"dpdk_huge_pages", truth(&C::dpdk_huge_pages)});
  keys.push_back({"server_threads", integer(&C::server_threads, 0, 256)});
  return keys;
}

std::string written_value(const toml::node& node) {
  std::ostringstream out;
  node.visit([&out](const auto& typed) { out << typed; });
  return out.str();
}

class Reader {
 public:
  Reader(BoxConfig& config, std::string_view where)
      : config_(config), where_(where), keys_(make_keys()) {}

  Result<void> read(const toml::table& table) {
    for (const auto& [name, node] : table) {
      const std::string path(name.str());
      if (path == "preset") {
        continue;
      }
      if (path == "tenant_quotas" || path == "vm_quotas") {
        Result<void> quotas = path == "vm_quotas" ? read_quotas(path, node, config_.vm_quotas)
                                                  : read_quotas(path, node, config_.tenant_quotas);
        if (!quotas) {
          return quotas;
        }
        continue;
      }
      if (Result<void> applied = apply(path, node); !applied) {
        return applied;
      }
    }
    return {};
  }

  // "preset", if the document names one, replaces what came before it.
  Result<void> read_preset(const toml::table& table) {
    const toml::node* node = table.get("preset");
    if (node == nullptr) {
      return {};
    }
    Result<BoxConfig> base =
        node->is_string() ? preset(node->as_string()->get()) : preset(written_value(*node));
    if (!base) {
      return Error(Errc::config_invalid, fmt::format("{}: {}", place(*node), base.error().detail));
    }
    config_ = std::move(*base);
    return {};
  }

 private:
  // [tenant_quotas], [vm_quotas]: a name, which is any text, and its quota.
  template <class Quota>
  Result<void> read_quotas(const std::string& path, const toml::node& node,
                           std::vector<Quota>& quotas) {
    if (!node.is_table()) {
      return refused(path, node, fmt::format("a table, [{}]", path));
    }
    quotas.clear();
    for (const auto& [name, quota] : *node.as_table()) {
      const auto* written = quota.as_string();
      const Result<SizeBytes> size =
          written != nullptr ? parse_size(written->get()) : Result<SizeBytes>(Errc::config_invalid);
      if (!size) {
        return refused(fmt::format("{}.{}", path, name.str()), quota, kSizeForm);
      }
      quotas.push_back({std::string(name.str()), *size});
    }
    return {};
  }

  Result<void> apply(const std::string& path, const toml::node& node) {
    const auto key = std::find_if(keys_.begin(), keys_.end(),
                                  [&](const Key& known) { return known.path == path; });
    if (key == keys_.end()) {
      return unknown_key(path, node);
    }
    if (const Result<void> set = key->set(config_, node); !set) {
      return refused(path, node, set.error().detail);
    }
    return {};
  }

  Error refused(const std::string& path, const toml::node& node, std::string_view allowed) const {
    return {Errc::config_invalid, fmt::format("{}: {} = {}: allowed is {}", place(node), path,
                                              written_value(node), allowed)};
  }

  Error unknown_key(const std::string& path, const toml::node& node) const {
    std::vector<std::string_view> names{"preset"};
    for (const Key& key : keys_) {
      names.push_back(key.path);
    }
    names.push_back("tenant_quotas");
    names.push_back("vm_quotas");
    const std::string meant = suggestion(path, names);
    return {
        Errc::config_invalid,
        fmt::format("{}: {} = {}: unknown key{}{}", place(node), path, written_value(node), meant,
                    meant.empty() ? fmt::format("; allowed are {}", fmt::join(names, ", "))
                                  : std::string())};
  }

  std::string place(const toml::node& node) const {
    return fmt::format("{}:{}", where_, node.source().begin.line);
  }

  BoxConfig& config_;
  std::string_view where_;
  std::vector<Key> keys_;
};

}  // namespace

Result<BoxConfig> apply_toml(BoxConfig base, std::string_view text, std::string_view where) {
  toml::table document;
  try {
    document = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return Error(Errc::config_invalid, fmt::format("{}:{}: not TOML: {}", where,
                                                   error.source().begin.line, error.description()));
  }
  Reader reader(base, where);
  if (const Result<void> preset_read = reader.read_preset(document); !preset_read) {
    return preset_read.error();
  }
  if (const Result<void> read = reader.read(document); !read) {
    return read.error();
  }
  return base;
}

}  // namespace godbox::emulator
