// SPDX-License-Identifier: Apache-2.0
#include "model/device/embedded_devices.h"
#include <godbox/emulator/model/device_file.h>
#include <godbox/emulator/model/rack_spec.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <variant>

namespace godbox::emulator::model {
namespace {

// What the keys of a file set; JEDEC's tables and units are applied to it at the end.
struct Values {
  DimmLabel dimm;
  double interleave_bytes = 256;
  double path_gbit_per_s = 0;
  double message_bytes = 65536;
  std::uint32_t read_queue = DramController{}.read_queue;
  std::uint32_t write_queue = DramController{}.write_queue;
  RowPolicy row_policy = RowPolicy::open;
  BoxModel model;
  RackSpec rack;
};

// A word of a list; `set` gets its index.
struct Words {
  std::vector<std::string_view> names;
  void (*set)(Values&, std::size_t);
};
struct Key {
  std::string_view path;
  std::variant<std::uint32_t*, double*, bool*, std::string*, Words> target;
  double low = std::numeric_limits<double>::lowest();
  double high = std::numeric_limits<double>::max();
  std::string_view listed{};  // what is allowed, where that is no range
};

template <std::size_t N>
std::vector<std::string_view> list(const std::array<std::string_view, N>& names) {
  return {names.begin(), names.end()};
}

// What must be right together is checked by validate(), as is any number with a fraction; the ends
// of whole numbers stand here, so that one outside of its type is answered with them too.
std::vector<Key> box_keys_of(Values& values) {
  constexpr double kCyclesMax = 1000;
  constexpr double kTypeMax = std::numeric_limits<std::uint32_t>::max();
  Type3Spec& device = values.model.device;
  CxlLinkSpec& link = device.link;
  EthernetSpec& ethernet = values.model.ethernet;
  HostPcieSpec& pcie = values.model.host_pcie;
  return {
      {"name", &device.name},
      {"dram.standard",
       Words{list(kDramStandardNames),
             [](Values& v, std::size_t i) { v.dimm.standard = static_cast<DramStandard>(i); }}},
      {"dram.rate_mt_per_s", &values.dimm.megatransfers_per_s, 0, kTypeMax,
       "2400, 2666, 2933, 3200 of DDR4, 4800, 5600, 6400 of DDR5"},
      {"dram.density_gbit", &values.dimm.density_gbit, 0, kTypeMax,
       "2, 4, 8, 16 of DDR4, 8, 16, 24, 32 of DDR5"},
      {"dram.device_bits", &values.dimm.device_bits, 0, kTypeMax, "4, 8, 16"},
      {"dram.ranks_per_dimm", &values.dimm.ranks_per_dimm, 1, kRanksMax},
      {"dram.dimms_per_channel", &values.dimm.dimms_per_channel, 1, kDimmsPerChannelMax},
      {"dram.cl", &values.dimm.cl, 0, kCyclesMax},
      {"dram.rcd", &values.dimm.rcd, 0, kCyclesMax},
      {"dram.rp", &values.dimm.rp, 0, kCyclesMax},
      {"dram.channels", &device.dram_channels, 1, 16},
      {"dram.interleave_bytes", &values.interleave_bytes, 64, 16384},
      {"dram.read_queue", &values.read_queue, 1, kQueueEntriesMax},
      {"dram.write_queue", &values.write_queue, 1, kQueueEntriesMax},
      {"dram.row_policy",
       Words{list(kRowPolicyNames),
             [](Values& v, std::size_t i) { v.row_policy = static_cast<RowPolicy>(i); }}},
      {"link.generation", Words{list(kPcieGenerationNames),
                                [](Values& v, std::size_t i) {
                                  v.model.device.link.generation = static_cast<PcieGeneration>(i);
                                }}},
      {"link.lanes", &link.lanes, 0, kTypeMax, "4, 8, 16"},
      {"link.flit_bytes", &link.flit_bytes, 0, kTypeMax, "68, 256"},
      {"link.shares_data_headers", &link.shares_data_headers},
      {"link.crossing_ns", &link.crossing_ns},
      {"link.request_credits", &link.request_credits, 1, kLinkCreditsMax},
      {"link.write_credits", &link.write_credits, 1, kLinkCreditsMax},
      {"link.data_credits", &link.data_credits, 1, kLinkCreditsMax},
      {"link.completion_credits", &link.completion_credits, 1, kLinkCreditsMax},
      {"controller.round_trip_ns", &device.controller_ns},
      {"super_nic.path_gbit_per_s", &values.path_gbit_per_s},
      {"super_nic.latency_ns", &values.model.super_nic.latency_ns},
      {"ethernet.protocol", Words{list(kWireProtocolNames),
                                  [](Values& v, std::size_t i) {
                                    v.model.ethernet.protocol = static_cast<WireProtocol>(i);
                                  }}},
      {"ethernet.mtu_bytes", &ethernet.mtu_bytes, 0, kTypeMax,
       "with roce 256, 512, 1024, 2048, 4096, with tcp 576 to 9216"},
      {"ethernet.message_bytes", &values.message_bytes, 1, 2147483648.0},
      {"ethernet.propagation_ns", &ethernet.propagation_ns},
      {"ethernet.switch_hops", &ethernet.switch_hops, 0, 16},
      {"ethernet.switch_hop_ns", &ethernet.switch_hop_ns},
      {"host.round_trip_ns", &device.host_ns},
      {"host.pcie_generation", Words{list(kPcieGenerationNames),
                                     [](Values& v, std::size_t i) {
                                       v.model.host_pcie.generation =
                                           static_cast<PcieGeneration>(i);
                                     }}},
      {"host.pcie_lanes", &pcie.lanes, 0, kTypeMax, "4, 8, 16"},
      {"host.pcie_max_payload_bytes", &pcie.max_payload_bytes, 0, kTypeMax,
       "powers of two, 128 to 4096"},
      {"host.pcie_latency_ns", &pcie.latency_ns},
  };
}

std::vector<Key> keys_of(Values& values) {
  constexpr double kCountMax = 1 << 20;
  RackSpec& rack = values.rack;
  std::vector<Key> keys = box_keys_of(values);
  for (const Key& key : std::vector<Key>{
           {"rack.boxes", &rack.boxes, 0, kCountMax},
           {"rack.hosts", &rack.hosts, 0, kCountMax},
           {"network.box_leaves", &rack.box_leaves, 0, kCountMax},
           {"network.leaves_per_box", &rack.leaves_per_box, 0, kCountMax},
           {"network.host_leaves", &rack.host_leaves, 0, kCountMax},
           {"network.leaves_per_host", &rack.leaves_per_host, 0, kCountMax},
           {"network.spines", &rack.spines, 0, kCountMax},
           {"network.oversubscription", &rack.oversubscription},
           {"network.switch_tbit_per_s", &rack.switch_tbit_per_s},
           {"network.notice_ms", &rack.notice_ms},
       }) {
    keys.push_back(key);
  }
  return keys;
}

Error invalid(std::string text) { return {Errc::config_invalid, std::move(text)}; }

// Sets one field, or says what would have been allowed.
struct Setter {
  const toml::node& node;
  const Key& key;
  Values& values;

  using Refusal = std::string;  // empty: done
  Refusal operator()(std::uint32_t* field) const {
    const auto* written = node.as_integer();
    if (written == nullptr || static_cast<double>(written->get()) < key.low ||
        static_cast<double>(written->get()) > key.high) {
      return key.listed.empty()
                 ? fmt::format("a whole number from {:.0f} to {:.0f}", key.low, key.high)
                 : std::string(key.listed);
    }
    *field = static_cast<std::uint32_t>(written->get());
    return {};
  }
  Refusal operator()(double* field) const {
    const std::optional<double> written = node.is_number() ? node.value<double>() : std::nullopt;
    if (!written || !(*written >= key.low && *written <= key.high)) {
      return key.low == Key{}.low
                 ? "a number"
                 : fmt::format("a number from {:.0f} to {:.0f}", key.low, key.high);
    }
    *field = *written;
    return {};
  }
  Refusal operator()(bool* field) const {
    if (!node.is_boolean()) {
      return "true or false";
    }
    *field = node.as_boolean()->get();
    return {};
  }
  Refusal operator()(std::string* field) const {
    if (!node.is_string()) {
      return "a text in quotes";
    }
    *field = node.as_string()->get();
    return {};
  }
  Refusal operator()(const Words& words) const {
    for (std::size_t i = 0; i < words.names.size(); ++i) {
      if (node.is_string() && node.as_string()->get() == words.names[i]) {
        words.set(values, i);
        return {};
      }
    }
    return fmt::format("\"{}\"", fmt::join(words.names, "\", \""));
  }
};

Result<void> read_table(const toml::table& table, const std::string& parent,
                        const std::vector<Key>& keys, Values& values, std::string_view where) {
  for (const auto& [name, node] : table) {
    const std::string path =
        parent.empty() ? std::string(name.str()) : fmt::format("{}.{}", parent, name.str());
    if (node.is_table() && parent.empty()) {
      Result<void> inner = read_table(*node.as_table(), path, keys, values, where);
      if (!inner) {
        return inner;
      }
      continue;
    }
    std::ostringstream written;
    node.visit([&written](const auto& typed) { written << typed; });
    const std::string said =
        fmt::format("{}:{}: {} = {}", where, node.source().begin.line, path, written.str());
    const auto key = std::find_if(keys.begin(), keys.end(),
                                  [&path](const Key& known) { return known.path == path; });
    if (key == keys.end()) {
      std::vector<std::string_view> names;
      names.reserve(keys.size());
      for (const Key& known : keys) {
        names.push_back(known.path);
      }
      return invalid(fmt::format("{}: unknown key; allowed are {}", said, fmt::join(names, ", ")));
    }
    const std::string refusal = std::visit(Setter{node, *key, values}, key->target);
    if (!refusal.empty()) {
      return invalid(fmt::format("{}: allowed is {}", said, refusal));
    }
  }
  return {};
}

Result<void> read_text(std::string_view text, std::string_view where, Values& values) {
  toml::table document;
  try {
    document = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return invalid(
        fmt::format("{}:{}: not TOML: {}", where, error.source().begin.line, error.description()));
  }
  return read_table(document, "", keys_of(values), values, where);
}

// The file, and then each setting.
Result<Values> read_all(std::string_view text, std::string_view where,
                        std::span<const DeviceSetting> settings) {
  Values values;
  if (const Result<void> read = read_text(text, where, values); !read) {
    return read.error();
  }
  for (const DeviceSetting& setting : settings) {
    const std::string line = fmt::format("{} = {}", setting.key, setting.value);
    if (const Result<void> read = read_text(line, "set", values); !read) {
      return Error(read.error().code,
                   fmt::format("--set {}={}: {} (words stand in quotes: --set 'dram.standard="
                               "\"DDR4\"')",
                               setting.key, setting.value, read.error().detail));
    }
  }
  return values;
}

Result<BoxModel> complete(Values values) {
  Result<DramSpec> dram = jedec_dram(values.dimm);
  if (!dram) {
    return Error(dram.error().code, "dram." + dram.error().detail);
  }
  dram->controller.read_queue = values.read_queue;
  dram->controller.write_queue = values.write_queue;
  dram->controller.row_policy = values.row_policy;
  BoxModel& model = values.model;
  model.device.dram = std::move(*dram);
  model.device.interleave = SizeBytes(static_cast<std::uint64_t>(values.interleave_bytes));
  model.super_nic.path = Rate(values.path_gbit_per_s * 1e9 / 8);
  model.ethernet.message = SizeBytes(static_cast<std::uint64_t>(values.message_bytes));
  if (const Result<void> valid = validate(model); !valid) {
    return valid.error();
  }
  return std::move(model);
}

}  // namespace

Result<BoxModel> parse_device(std::string_view text, std::string_view where,
                              std::span<const DeviceSetting> settings) {
  Result<Values> values = read_all(text, where, settings);
  if (!values) {
    return values.error();
  }
  Result<BoxModel> model = complete(std::move(*values));
  if (!model) {
    return Error(model.error().code, fmt::format("{}: {}", where, model.error().detail));
  }
  return model;
}

Result<RackSpec> parse_rack(std::string_view text, std::string_view where,
                            std::span<const DeviceSetting> settings) {
  const Result<Values> values = read_all(text, where, settings);
  if (!values) {
    return values.error();
  }
  return values->rack;
}

Result<DeviceSetting> parse_setting(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || text.find('.') > equals) {
    return invalid(
        fmt::format("--set \"{}\": allowed is KEY=VALUE with a key of a parameter file, "
                    "such as link.lanes=16",
                    text));
  }
  return DeviceSetting{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

std::vector<std::string_view> device_names() {
  std::vector<std::string_view> names;
  for (const EmbeddedDevice& device : kEmbeddedDevices) {
    names.push_back(device.name);
  }
  return names;
}

Result<std::string_view> device_text(std::string_view name) {
  for (const EmbeddedDevice& device : kEmbeddedDevices) {
    if (device.name == name) {
      return device.text;
    }
  }
  return invalid(fmt::format("device = \"{}\": there is none of that name; allowed: {}", name,
                             fmt::join(device_names(), ", ")));
}

Result<std::string> read_device_text(const std::string& name_or_file) {
  const Result<std::string_view> known = device_text(name_or_file);
  if (known) {
    return std::string(*known);
  }
  std::ifstream file(name_or_file, std::ios::binary);
  if (!file) {
    return invalid(
        fmt::format("--{}, and there is no file of that name to read", known.error().detail));
  }
  std::string text(kDeviceFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (file.bad()) {  // a directory, for one
    return invalid(fmt::format("--device: cannot read \"{}\"", name_or_file));
  }
  if (text.size() > kDeviceFileBytesMax) {
    return invalid(
        fmt::format("--device: \"{}\" has more than {} bytes, so it is no parameter file",
                    name_or_file, kDeviceFileBytesMax));
  }
  return text;
}

}  // namespace godbox::emulator::model
