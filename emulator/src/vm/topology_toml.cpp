// SPDX-License-Identifier: Apache-2.0
//
// A topology in TOML, as docs/vm.md has it. Elements refer to each other by name.
#include "config/nearest_name.h"
#include "config/quantity_text.h"
#include <godbox/emulator/vm/vm_plan.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <map>
#include <sstream>

namespace godbox::emulator::vm {
namespace {

constexpr std::int64_t kPortNumberMax = 255;
constexpr std::size_t kElementsMax = 4096;  // of one kind
constexpr std::array<std::string_view, 5> kKinds = {"host_bridge", "switch", "device", "window",
                                                    "region"};

std::string written_value(const toml::node& node) {
  std::ostringstream out;
  node.visit([&out](const auto& typed) { out << typed; });
  return out.str();
}

struct Document {
  std::string_view where;
  std::optional<Error> error = std::nullopt;  // the first one

  void refuse(const toml::node& at, const std::string& text) {
    if (!error) {
      error = Error(Errc::config_invalid,
                    fmt::format("{}:{}: {}", where, at.source().begin.line, text));
    }
  }
};

// One element's keys. Each reader takes a key out; what is left at the end is unknown.
class Fields {
 public:
  Fields(Document& document, const toml::table& table, std::string_view kind, std::size_t index)
      : document_(document), table_(table), label_(fmt::format("{} {}", kind, index)) {}

  [[nodiscard]] const toml::table& table() const { return table_; }
  [[nodiscard]] bool has(std::string_view key) const { return table_.contains(key); }

  const toml::node* take(std::string_view key, bool is_needed) {
    known_.push_back(key);
    const toml::node* const node = table_.get(key);
    if (node == nullptr && is_needed) {
      document_.refuse(table_, fmt::format("{}: {} is missing", label_, key));
    }
    return node;
  }
  std::string text(std::string_view key, bool is_needed = true) {
    const toml::node* const node = take(key, is_needed);
    if (node == nullptr) {
      return {};
    }
    if (!node->is_string() || node->as_string()->get().empty()) {
      refuse(key, *node, "a text in quotes");
      return {};
    }
    return node->as_string()->get();
  }
  std::optional<std::int64_t> integer(std::string_view key, std::int64_t most,
                                      bool is_needed = false) {
    const toml::node* const node = take(key, is_needed);
    return node == nullptr ? std::nullopt : whole_number(key, *node, most);
  }
  std::optional<SizeBytes> size(std::string_view key) {
    const toml::node* const node = take(key, false);
    if (node == nullptr) {
      return std::nullopt;
    }
    const Result<SizeBytes> parsed = node->is_string() ? parse_size(node->as_string()->get())
                                                       : Result<SizeBytes>(Errc::config_invalid);
    if (!parsed) {
      refuse(key, *node, kSizeForm);
      return std::nullopt;
    }
    return *parsed;
  }
  std::vector<unsigned> numbers(std::string_view key) {
    std::vector<unsigned> all;
    for_each(key, "a list of port numbers, 0 to 255, like [0, 1]", [&](const toml::node& item) {
      all.push_back(static_cast<unsigned>(whole_number(key, item, kPortNumberMax).value_or(0)));
    });
    return all;
  }
  // The index of the element that a name means.
  std::uint16_t reference(std::string_view key, std::string_view kind,
                          const std::map<std::string, std::uint16_t>& names) {
    const toml::node* const node = take(key, true);
    return node == nullptr ? std::uint16_t{0} : named(key, *node, kind, names);
  }
  std::vector<std::uint16_t> references(std::string_view key, std::string_view kind,
                                        const std::map<std::string, std::uint16_t>& names) {
    std::vector<std::uint16_t> all;
    for_each(key, fmt::format("a list of {} names", kind),
             [&](const toml::node& item) { all.push_back(named(key, item, kind, names)); });
    return all;
  }
  void finish() {
    for (const auto& [key, node] : table_) {
      if (std::find(known_.begin(), known_.end(), key.str()) == known_.end()) {
        document_.refuse(node,
                         fmt::format("{}: {}: unknown key{}; allowed are {}", label_, key.str(),
                                     suggestion(key.str(), known_), fmt::join(known_, ", ")));
      }
    }
  }

 private:
  void refuse(std::string_view key, const toml::node& at, std::string_view allowed) {
    document_.refuse(
        at, fmt::format("{}: {} = {}: allowed is {}", label_, key, written_value(at), allowed));
  }
  std::optional<std::int64_t> whole_number(std::string_view key, const toml::node& node,
                                           std::int64_t most) {
    if (!node.is_integer() || node.as_integer()->get() < 0 || node.as_integer()->get() > most) {
      refuse(key, node, fmt::format("a whole number from 0 to {}", most));
      return std::nullopt;
    }
    return node.as_integer()->get();
  }
  template <class Each>
  void for_each(std::string_view key, std::string_view allowed, const Each& each) {
    const toml::node* const node = take(key, true);
    if (node == nullptr) {
      return;
    }
    if (!node->is_array()) {
      refuse(key, *node, allowed);
      return;
    }
    for (const toml::node& item : *node->as_array()) {
      each(item);
    }
  }
  std::uint16_t named(std::string_view key, const toml::node& node, std::string_view kind,
                      const std::map<std::string, std::uint16_t>& names) {
    const auto* const name = node.as_string();
    const auto found = name != nullptr ? names.find(name->get()) : names.end();
    if (found != names.end()) {
      return found->second;
    }
    std::vector<std::string_view> all;
    all.reserve(names.size());
    for (const auto& [known, index] : names) {
      all.push_back(known);
    }
    document_.refuse(
        node, fmt::format("{}: {} = {}: {} (godbox): there is no {} of that name{}", label_, key,
                          written_value(node), cxl::rule::kReference, kind,
                          name != nullptr ? suggestion(name->get(), all) : std::string()));
    return 0;
  }

  Document& document_;
  const toml::table& table_;
  std::string label_;
  std::vector<std::string_view> known_;
};

using Names = std::map<std::string, std::uint16_t>;

class TopologyReader {
 public:
  TopologyReader(const VmConfig& config, std::string_view where)
      : config_(config), document_{.where = where} {}

  Result<WrittenTopology> read(const toml::table& table) {
    check_kinds(table);
    each(table, "host_bridge", bridges_, [this](Fields& f, auto n) { read_bridge(f, n); });
    each(table, "switch", switches_, [this](Fields& f, auto n) { read_switch(f, n); });
    each(table, "device", devices_, [this](Fields& f, auto n) { read_device(f, n); });
    each(table, "window", windows_, [this](Fields& f, auto n) { read_window(f, n); });
    each(table, "region", regions_, [this](Fields& f, auto n) { read_region(f, n); });
    if (document_.error) {
      return *document_.error;
    }
    for (const std::size_t window : windows_to_size_) {
      size_window(window);
    }
    written_.origin = document_.where;
    return std::move(written_);
  }

 private:
  cxl::Topology& topology() { return written_.topology; }

  void check_kinds(const toml::table& table) {
    for (const auto& [key, node] : table) {
      if (std::find(kKinds.begin(), kKinds.end(), key.str()) == kKinds.end()) {
        document_.refuse(node,
                         fmt::format("{}: unknown key{}; allowed are [[{}]]", key.str(),
                                     suggestion(key.str(), kKinds), fmt::join(kKinds, "]], [[")));
      }
    }
    if (!table.contains("device")) {
      document_.refuse(table, "a topology needs at least one [[device]]");
    }
  }

  template <class Read>
  void each(const toml::table& table, std::string_view kind, Names& names, const Read& read) {
    const toml::node* const list = table.get(kind);
    if (list == nullptr) {
      return;
    }
    const toml::array* const items = list->as_array();
    if (items == nullptr || !items->is_array_of_tables() || items->size() > kElementsMax) {
      document_.refuse(*list, fmt::format("{}: allowed are tables, [[{}]], at most {}", kind, kind,
                                          kElementsMax));
      return;
    }
    for (std::size_t i = 0; i < items->size(); ++i) {
      Fields fields(document_, *(*items)[i].as_table(), kind, i);
      const std::string name = fields.text("name");
      if (!names.emplace(name, static_cast<std::uint16_t>(i)).second) {
        document_.refuse(fields.table(),
                         fmt::format("{} {}: the name \"{}\" is taken", kind, i, name));
      }
      read(fields, name);
      fields.finish();
    }
  }

  void read_bridge(Fields& fields, const std::string& name) {
    constexpr std::int64_t kBusNumberMax = 255;
    const auto index = static_cast<std::int64_t>(topology().host_bridges.size());
    const std::int64_t bus = fields.integer("bus_number", kBusNumberMax).value_or(16 + 8 * index);
    topology().host_bridges.push_back({.name = name,
                                       .bus_number = static_cast<unsigned>(bus),
                                       .root_ports = fields.numbers("root_ports")});
  }

  // host_bridge = NAME or switch = NAME, and port = NUMBER.
  cxl::CxlPort read_port(Fields& fields) {
    cxl::CxlPort port;
    if (fields.has("switch")) {
      port.component = cxl::CxlSwitchId(fields.reference("switch", "switch", switches_));
    } else {
      port.component = cxl::HostBridgeId(fields.reference("host_bridge", "host bridge", bridges_));
    }
    port.port_number =
        static_cast<unsigned>(fields.integer("port", kPortNumberMax, true).value_or(0));
    return port;
  }

  void read_switch(Fields& fields, const std::string& name) {
    const cxl::CxlPort upstream = read_port(fields);
    topology().switches.push_back({.name = name,
                                   .upstream = upstream,
                                   .downstream_ports = fields.numbers("downstream_ports")});
  }

  void read_device(Fields& fields, const std::string& name) {
    const auto index = static_cast<std::int64_t>(topology().devices.size());
    const cxl::CxlPort port = read_port(fields);
    const auto channel = static_cast<std::uint16_t>(
        fields.integer("channel", std::numeric_limits<std::uint16_t>::max()).value_or(index));
    const cxl::ChannelSerial serial{
        .owner = config_.owner, .box = config_.box_id, .dram_channel = DramChannelId(channel)};
    const auto own = fields.integer("serial_number", std::numeric_limits<std::int64_t>::max());
    topology().devices.push_back(
        {.name = name,
         .attached_to = port,
         .serial_number = own ? static_cast<std::uint64_t>(*own) : serial.value(),
         .capacity = fields.size("capacity").value_or(config_.box.dram_channel_size)});
    written_.channel_of_device.emplace_back(channel);
  }

  void read_window(Fields& fields, const std::string& name) {
    cxl::FixedMemoryWindow window{
        .name = name,
        .targets = {},
        .granularity = fields.size("granularity").value_or(SizeBytes(4096)),
        .size = {},
        .base = std::nullopt};
    for (const std::uint16_t target : fields.references("host_bridges", "host bridge", bridges_)) {
      window.targets.emplace_back(target);
    }
    if (const auto size = fields.size("size")) {
      window.size = *size;
    } else {
      windows_to_size_.push_back(topology().windows.size());
    }
    if (const auto base = fields.integer("base", std::numeric_limits<std::int64_t>::max())) {
      window.base = cxl::Hpa(static_cast<std::uint64_t>(*base));
    }
    topology().windows.push_back(std::move(window));
  }

  void read_region(Fields& fields, const std::string& name) {
    const std::uint16_t window = fields.reference("window", "window", windows_);
    cxl::CxlRegion region{.name = name,
                          .window = cxl::FixedMemoryWindowId(window),
                          .ways = 1,
                          .granularity = SizeBytes(4096),
                          .devices = {},
                          .device_share = config_.box.dram_channel_size};
    for (const std::uint16_t device : fields.references("devices", "device", devices_)) {
      region.devices.emplace_back(device);
    }
    region.ways =
        static_cast<unsigned>(fields.integer("ways", kPortNumberMax)
                                  .value_or(static_cast<std::int64_t>(region.devices.size())));
    if (window < topology().windows.size()) {
      region.granularity = topology().windows[window].granularity;
    }
    region.granularity = fields.size("granularity").value_or(region.granularity);
    if (!region.devices.empty() && region.devices[0].value() < topology().devices.size()) {
      region.device_share = topology().devices[region.devices[0].value()].capacity;
    }
    region.device_share = fields.size("device_share").value_or(region.device_share);
    topology().regions.push_back(std::move(region));
  }

  void size_window(std::size_t index) {
    for (const cxl::CxlRegion& region : topology().regions) {
      if (region.window.value() == index) {
        topology().windows[index].size += region.device_share * region.devices.size();
      }
    }
  }

  const VmConfig& config_;
  Document document_;
  WrittenTopology written_;
  Names bridges_;
  Names switches_;
  Names devices_;
  Names windows_;
  Names regions_;
  std::vector<std::size_t> windows_to_size_;
};

}  // namespace

Result<WrittenTopology> read_topology(const VmConfig& config, std::string_view text,
                                      std::string_view where) {
  toml::table document;
  try {
    document = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return Error(Errc::config_invalid, fmt::format("{}:{}: not TOML: {}", where,
                                                   error.source().begin.line, error.description()));
  }
  return TopologyReader(config, where).read(document);
}

}  // namespace godbox::emulator::vm
