// SPDX-License-Identifier: Apache-2.0
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace godbox::app {
namespace {

constexpr int kKernelColour = 0;
constexpr int kCopyColour = 1;
constexpr int kLayerColour = 2;
constexpr int kLanesColour = 3;

bool is_device_row(const ResultRow& row) { return row.text("workload").starts_with("device-"); }

std::string way_of(const ResultRow& row) {
  const bool writes = row.text("op") == "write";
  if (row.text("workload") == "device-kernel") {
    return writes ? "pack" : "unpack";
  }
  return writes ? "device to pool" : "pool to device";
}

std::string bar_name(const ResultRow& row) {
  const boost::json::value* const crc = row.fields().if_contains("crc");
  const bool has_crc = crc != nullptr && crc->is_bool() && crc->get_bool();
  std::string name = fmt::format("{} {}", row.text("model"), way_of(row));
  if (row.has("path")) {
    name += fmt::format(", {}", row.text("path").substr(0, row.text("path").find(':')));
  }
  return name + (has_crc ? ", CRC" : "");
}

std::string bars_of(ResultRows rows, std::string_view workload, std::string_view title,
                    std::string_view text, double bar) {
  svg::BarPlot plot{std::string(title),
                    "measured over its ceiling, median of the repeats",
                    bar,
                    fmt::format("the bar, {:g}", bar),
                    {}};
  page::HtmlTable table{{"what", "GB/s", "ceiling", "ratio", "layer 0's share", "CRC, %"}, {}};
  std::vector<ResultRow> shown;
  const auto or_dash = [](const ResultRow& row, std::string_view field) {
    const auto value = row.number(field);
    return value ? fmt::format("{:.3g}", *value) : "-";
  };
  for (const ResultRow& row : rows) {
    const auto ratio = row.number("efficiency");
    if (!ratio || row.text("workload") != workload) {
      continue;
    }
    shown.push_back(row);
    plot.bars.push_back({bar_name(row), *ratio, fmt::format("{:.2f}", *ratio),
                         row.text("op") == "read" ? kKernelColour : kCopyColour});
    table.rows.push_back({bar_name(row), or_dash(row, "gb_per_s_median"),
                          or_dash(row, "ceiling_gb_per_s"), fmt::format("{:.3f}", *ratio),
                          or_dash(row, "layer_0_share"), or_dash(row, "crc_cost_percent")});
  }
  if (shown.empty()) {
    return "";
  }
  return page::figure(
      {std::string(workload), std::string(title),
       fmt::format("{} On {}. {}.", text, shown.front().text("device"), conditions_of(shown)),
       svg::render(plot), std::move(table)});
}

const boost::json::object* timeline_of(const ResultRow& row) {
  const boost::json::value* const found = row.fields().if_contains("device_timeline");
  return found != nullptr && found->is_object() ? &found->get_object() : nullptr;
}

double number_at(const boost::json::array& list, std::size_t index) {
  return index < list.size() && list[index].is_number() ? list[index].to_number<double>() : 0;
}

std::vector<double> numbers_of(const boost::json::object& fields, std::string_view name) {
  std::vector<double> numbers;
  const boost::json::value* const list = fields.if_contains(name);
  for (std::size_t i = 0; list != nullptr && list->is_array() && i < list->get_array().size();
       ++i) {
    numbers.push_back(number_at(list->get_array(), i));
  }
  return numbers;
}

// The times in which the box's Ethernet ports moved bytes: what the lanes did.
void add_ports(const boost::json::object& timeline, svg::SpanPlot& plot) {
  const boost::json::value* const found = timeline.if_contains("ports");
  const boost::json::value* const ports =
      found != nullptr && found->is_object() ? found->get_object().if_contains("bytes") : nullptr;
  if (ports == nullptr || !ports->is_array()) {
    return;
  }
  const std::vector<double> at_ms = numbers_of(found->get_object(), "t_ms");
  std::vector<double> bytes(at_ms.size());
  for (const boost::json::value& port : ports->get_array()) {
    for (std::size_t i = 0; port.is_array() && i < bytes.size(); ++i) {
      bytes[i] += number_at(port.get_array(), i);
    }
  }
  for (std::size_t i = 1; i < bytes.size(); ++i) {
    if (bytes[i] > bytes[i - 1]) {
      plot.spans.push_back({plot.rows.size(), at_ms[i - 1], at_ms[i], kLanesColour,
                            fmt::format("lanes: {:g} bytes, {:.3f} to {:.3f} ms",
                                        bytes[i] - bytes[i - 1], at_ms[i - 1], at_ms[i])});
    }
  }
  plot.rows.emplace_back("lanes");
}

// A row for the kernels and one for the copies of each of the device's queues, one for the lanes
// and one for the layers.
svg::SpanPlot spans_of(const boost::json::object& timeline) {
  svg::SpanPlot plot;
  plot.x_title = "ms since the transfer began";
  std::map<std::pair<double, std::string>, std::size_t> rows;
  const boost::json::value* const spans = timeline.if_contains("spans");
  for (const boost::json::value& one :
       spans != nullptr && spans->is_array() ? spans->get_array() : boost::json::array()) {
    if (!one.is_array() || one.get_array().empty() || !one.get_array()[0].is_string()) {
      continue;
    }
    const boost::json::array& span = one.get_array();
    const std::string kind(span[0].get_string());
    const auto [row, is_new] = rows.emplace(std::pair(number_at(span, 1), kind), rows.size());
    if (is_new) {
      plot.rows.push_back(fmt::format("queue {:g}, {}", number_at(span, 1), kind));
    }
    plot.spans.push_back({row->second, number_at(span, 2), number_at(span, 3),
                          kind == "kernel" ? kKernelColour : kCopyColour,
                          fmt::format("{}: {:g} bytes, {:.3f} to {:.3f} ms", kind,
                                      number_at(span, 4), number_at(span, 2), number_at(span, 3))});
  }
  add_ports(timeline, plot);
  const boost::json::value* const layers = timeline.if_contains("layers_ms");
  if (layers != nullptr && layers->is_array() && !layers->get_array().empty()) {
    const boost::json::array& list = layers->get_array();
    for (std::size_t i = 0; i < list.size(); ++i) {
      const double at = number_at(list, i);
      plot.spans.push_back({plot.rows.size(), at, at, kLayerColour,
                            fmt::format("layer {} in place at {:.3f} ms", i, at)});
    }
    plot.rows.emplace_back("layers in place");
  }
  return plot;
}

std::string timelines_of(ResultRows rows) {
  std::string body;
  std::size_t number = 0;
  for (const ResultRow& row : rows) {
    const boost::json::object* const timeline = timeline_of(row);
    if (timeline == nullptr) {
      continue;
    }
    svg::SpanPlot plot = spans_of(*timeline);
    plot.label = fmt::format("Kernels and copies over time: {}", bar_name(row));
    page::HtmlTable table{{"track", "spans", "busy ms"}, {}};
    for (std::size_t i = 0; i < plot.rows.size(); ++i) {
      double busy = 0;
      std::size_t count = 0;
      for (const svg::Span& span : plot.spans) {
        busy += span.row == i ? span.end - span.begin : 0;
        count += span.row == i ? 1 : 0;
      }
      table.rows.push_back({plot.rows[i], fmt::format("{}", count), fmt::format("{:.3f}", busy)});
    }
    const std::string title = plot.label;
    body += page::figure(
        {fmt::format("device-timeline-{}", number++), title,
         fmt::format("One pass of its own, with events behind each kernel and copy; ends are seen "
                     "when the thread looks. On {}. {}.",
                     row.text("device"), conditions_of({&row, 1})),
         svg::render(plot), std::move(table)});
  }
  return body;
}

}  // namespace

std::string device_section(ResultRows rows) {
  std::vector<ResultRow> of_device;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(of_device), is_device_row);
  const std::string body =
      bars_of(of_device, "device-kernel", "Packing and unpacking kernels",
              "Gather and scatter of random pages within the device, beside one copy of as many "
              "bytes there.",
              0.8) +
      bars_of(of_device, "device-pages", "Pages between the device and the pool",
              "All layers of random blocks, beside large copies between the device and pinned "
              "memory.",
              0.9) +
      timelines_of(of_device);
  return page::section("Pages of a device",
                       "A paged KV cache in a device's memory. Where the device is named \"host "
                       "memory\", no GPU was measured.",
                       body);
}

}  // namespace godbox::app
