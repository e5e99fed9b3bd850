// SPDX-License-Identifier: Apache-2.0
//
// A column per port that carries a DRAM channel or waits for one; above it what owns it, below it
// what the guest makes of it. Bars span the columns of what they hold; bars that would overlap go
// into a row of their own.
#include <godbox/emulator/vm/plan_svg.h>
#include <godbox/markup.h>

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace godbox::emulator::vm {
namespace {

constexpr unsigned kColumn = 84;
constexpr unsigned kRow = 46;
constexpr unsigned kGap = 14;
constexpr unsigned kLeft = 112;  // the rows' names
constexpr unsigned kTop = 64;    // the title

std::string size_text(SizeBytes size) {
  struct Unit {
    unsigned shift;
    std::string_view name;
  };
  for (const Unit& unit : {Unit{40, "TiB"}, Unit{30, "GiB"}, Unit{20, "MiB"}, Unit{10, "KiB"}}) {
    if ((size.count() >> unit.shift) != 0 &&
        (size % SizeBytes(std::uint64_t{1} << unit.shift)).is_zero()) {
      return fmt::format("{} {}", size.count() >> unit.shift, unit.name);
    }
  }
  return fmt::format("{} B", size.count());
}

// Columns first..last.
struct Span {
  unsigned first = ~0U;
  unsigned last = 0;
  void add(unsigned column) {
    first = std::min(first, column);
    last = std::max(last, column);
  }
  [[nodiscard]] bool is_empty() const { return first > last; }
};

struct Bar {
  Span span;
  std::string title;
  std::string detail;
};

class Picture {
 public:
  explicit Picture(const VmPlan& plan) : plan_(plan) { number_columns(); }

  std::string draw() {
    add_row("SuperNIC", "nic", super_nics());
    add_row("host bridge", "bridge", bridges());
    add_row("switch", "switch", switches());
    add_row("DRAM channel", "dram", devices());
    add_row("region", "region", regions());
    add_row("window, node", "window", windows());
    const unsigned width = kLeft + std::max(1U, columns_) * kColumn + kGap;
    return header(width, y_ + kGap) + body_ + "</svg>\n";
  }

 private:
  using PortKey = std::pair<std::size_t, unsigned>;  // host bridges, then switches
  [[nodiscard]] PortKey key_of(const cxl::CxlPort& port) const {
    if (const auto* const bridge = std::get_if<cxl::HostBridgeId>(&port.component)) {
      return {bridge->value(), port.port_number};
    }
    return {plan_.topology.host_bridges.size() + std::get<cxl::CxlSwitchId>(port.component).value(),
            port.port_number};
  }

  void number_columns() {
    for (std::size_t b = 0; b < plan_.topology.host_bridges.size(); ++b) {
      const auto id = cxl::HostBridgeId(static_cast<std::uint16_t>(b));
      for (const unsigned number : plan_.topology.host_bridges[b].root_ports) {
        number_port({.component = id, .port_number = number}, b);
      }
    }
  }
  void number_port(const cxl::CxlPort& port, std::size_t bridge) {
    for (std::size_t s = 0; s < plan_.topology.switches.size(); ++s) {
      const cxl::CxlSwitch& one = plan_.topology.switches[s];
      if (one.upstream == port) {
        const auto id = cxl::CxlSwitchId(static_cast<std::uint16_t>(s));
        for (const unsigned number : one.downstream_ports) {
          switch_spans_[s].add(columns_);
          bridge_spans_[bridge].add(columns_);
          column_of_[key_of({.component = id, .port_number = number})] = columns_++;
        }
        return;
      }
    }
    bridge_spans_[bridge].add(columns_);
    column_of_[key_of(port)] = columns_++;
  }
  [[nodiscard]] unsigned column(const cxl::CxlPort& port) const {
    const auto found = column_of_.find(key_of(port));
    return found == column_of_.end() ? 0 : found->second;
  }
  [[nodiscard]] unsigned column(cxl::Type3DeviceId device) const {
    return column(plan_.topology.devices[device.value()].attached_to);
  }

  [[nodiscard]] std::vector<Bar> super_nics() const {
    std::map<SuperNicId, Span> spans;
    for (std::size_t d = 0; d < plan_.channel_of_device.size(); ++d) {
      spans[plan_.config.box.super_nic_of(plan_.channel_of_device[d])].add(
          column(cxl::Type3DeviceId(static_cast<std::uint16_t>(d))));
    }
    std::vector<Bar> bars;
    bars.reserve(spans.size());
    for (const auto& [id, span] : spans) {
      bars.push_back({span, fmt::format("SuperNIC {}", id.value()), {}});
    }
    return bars;
  }
  [[nodiscard]] std::vector<Bar> bridges() const {
    std::vector<Bar> bars;
    for (const auto& [index, span] : bridge_spans_) {
      const cxl::HostBridge& bridge = plan_.topology.host_bridges[index];
      bars.push_back({span, bridge.name, fmt::format("bus {}", bridge.bus_number)});
    }
    return bars;
  }
  [[nodiscard]] std::vector<Bar> switches() const {
    std::vector<Bar> bars;
    for (const auto& [index, span] : switch_spans_) {
      bars.push_back({span, plan_.topology.switches[index].name, "switch"});
    }
    return bars;
  }
  [[nodiscard]] std::vector<Bar> devices() const {
    std::vector<Bar> bars;
    for (std::size_t d = 0; d < plan_.topology.devices.size(); ++d) {
      Span span;
      span.add(column(cxl::Type3DeviceId(static_cast<std::uint16_t>(d))));
      bars.push_back({span, fmt::format("DRAM {}", plan_.channel_of_device[d].value()),
                      size_text(plan_.topology.devices[d].capacity)});
    }
    for (const HotPlugSlot& slot : plan_.hot_plug_slots) {
      Span span;
      span.add(column(slot.port));
      bars.push_back({span, "empty", "hot plug"});
    }
    return bars;
  }
  [[nodiscard]] Span span_of(const PlannedRegion& region) const {
    Span span;
    for (const PlannedMember& member : region.members) {
      span.add(column(member.device));
    }
    return span;
  }
  [[nodiscard]] std::vector<Bar> regions() const {
    std::vector<Bar> bars;
    for (const PlannedRegion& region : plan_.regions) {
      const std::string how =
          region.ways == 1 ? fmt::format("x1, {}", size_text(region.size))
                           : fmt::format("x{} at {}, {}", region.ways,
                                         size_text(region.granularity), size_text(region.size));
      bars.push_back({span_of(region), region.name, how});
    }
    return bars;
  }
  [[nodiscard]] std::vector<Bar> windows() const {
    std::vector<Bar> bars;
    for (std::size_t w = 0; w < plan_.windows.size(); ++w) {
      const PlannedWindow& window = plan_.windows[w];
      Span span;
      for (const cxl::CxlRegionId region : window.regions) {
        const Span part = span_of(plan_.regions[region.value()]);
        span.add(part.first);
        span.add(part.last);
      }
      for (const HotPlugSlot& slot : plan_.hot_plug_slots) {
        if (slot.window.value() == w) {
          span.add(column(slot.port));
        }
      }
      for (const cxl::HostBridgeId target : plan_.topology.windows[w].targets) {
        const auto found = bridge_spans_.find(target.value());
        if (span.is_empty() && found != bridge_spans_.end()) {
          span = found->second;
        }
      }
      bars.push_back({span, fmt::format("node {}", window.numa_node), window.name});
    }
    return bars;
  }

  // Rows without bars are left out.
  void add_row(std::string_view name, std::string_view style, const std::vector<Bar>& bars) {
    std::vector<std::vector<Span>> lanes;
    for (const Bar& bar : bars) {
      if (bar.span.is_empty()) {
        continue;
      }
      std::size_t lane = 0;
      while (lane < lanes.size() &&
             std::any_of(lanes[lane].begin(), lanes[lane].end(), [&](const Span& there) {
               return bar.span.first <= there.last && there.first <= bar.span.last;
             })) {
        ++lane;
      }
      lanes.resize(std::max(lanes.size(), lane + 1));
      lanes[lane].push_back(bar.span);
      add_bar(bar, style, y_ + static_cast<unsigned>(lane) * kRow);
    }
    if (lanes.empty()) {
      return;
    }
    body_ += fmt::format("<text class=\"name\" x=\"{}\" y=\"{}\">{}</text>\n", kLeft - 12,
                         y_ + kRow / 2, name);
    y_ += static_cast<unsigned>(lanes.size()) * kRow + kGap;
  }

  void add_bar(const Bar& bar, std::string_view style, unsigned y) {
    const unsigned x = kLeft + bar.span.first * kColumn;
    const unsigned width = (bar.span.last - bar.span.first + 1) * kColumn - 6;
    const unsigned middle = x + width / 2;
    body_ +=
        fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"5\"/>\n",
                    style, x, y, width, kRow - 6);
    const bool has_detail = !bar.detail.empty();
    body_ += fmt::format("<text class=\"title\" x=\"{}\" y=\"{}\">{}</text>\n", middle,
                         y + (has_detail ? 17 : 24), escaped_markup(bar.title));
    if (has_detail) {
      body_ += fmt::format("<text class=\"detail\" x=\"{}\" y=\"{}\">{}</text>\n", middle, y + 32,
                           escaped_markup(bar.detail));
    }
  }

  [[nodiscard]] std::string header(unsigned width, unsigned height) const {
    std::string out = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
        "viewBox=\"0 0 {0} {1}\" role=\"img\">\n<title>{2}</title>\n",
        width, height, escaped_markup(plan_.origin));
    out += R"(<style>
text { font-family: system-ui, sans-serif; fill: #1b1f24; text-anchor: middle; }
.head { font-size: 19px; font-weight: 600; text-anchor: start; }
.sub { font-size: 12px; fill: #57606a; text-anchor: start; }
.name { font-size: 12px; fill: #57606a; text-anchor: end; }
.title { font-size: 12px; font-weight: 600; }
.detail { font-size: 10.5px; fill: #3d444d; }
rect { stroke: #57606a; stroke-width: 1; }
.paper { fill: #ffffff; stroke: none; }
.nic { fill: #dbe4f0; } .bridge { fill: #cfe8dc; } .switch { fill: #e7dcf2; }
.dram { fill: #fdf0cf; } .region { fill: #fbdccb; } .window { fill: #d6ecf7; }
</style>
)";
    out += fmt::format("<rect class=\"paper\" width=\"{}\" height=\"{}\"/>\n", width, height);
    out += fmt::format("<text class=\"head\" x=\"16\" y=\"28\">{}</text>\n",
                       escaped_markup(plan_.config.box.name));
    out += fmt::format(
        "<text class=\"sub\" x=\"16\" y=\"47\">{}; {} regions in {} windows; {}</text>\n",
        escaped_markup(plan_.origin), plan_.regions.size(), plan_.windows.size(),
        size_text(total_size()));
    return out;
  }
  [[nodiscard]] SizeBytes total_size() const {
    SizeBytes total;
    for (const PlannedRegion& region : plan_.regions) {
      total += region.size;
    }
    return total;
  }

  const VmPlan& plan_;
  std::map<PortKey, unsigned> column_of_;
  std::map<std::size_t, Span> bridge_spans_;
  std::map<std::size_t, Span> switch_spans_;
  unsigned columns_ = 0;
  unsigned y_ = kTop;
  std::string body_;
};

}  // namespace

std::string plan_svg(const VmPlan& plan) { return Picture(plan).draw(); }

}  // namespace godbox::emulator::vm
