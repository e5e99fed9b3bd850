// SPDX-License-Identifier: Apache-2.0
#include "report/report.h"

#include "cli/byte_files.h"
#include "cli/format.h"
#include "report/page.h"
#include "report/sections.h"
#include "report/svg.h"
#include <godbox/markup.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <system_error>
#include <vector>

namespace godbox::app {
namespace {

std::string machine_text(const ResultDocument& document) {
  const boost::json::value* const machine = document.root().if_contains("machine");
  if (machine == nullptr || !machine->is_object()) {
    return "unknown";
  }
  const ResultRow fields(machine->get_object());
  return fmt::format("{}, {:g} cores, {} of memory, kernel {}", fields.text("cpu_model"),
                     fields.number("cores").value_or(0),
                     plain_size(fields.number("memory_bytes").value_or(0)), fields.text("kernel"));
}

std::string count_text(ResultRows rows, std::string_view field) {
  std::map<std::string, std::size_t> counts;
  for (const ResultRow& row : rows) {
    if (const std::string value = row.text(field); !value.empty()) {
      ++counts[value];
    }
  }
  std::string text;
  for (const auto& [value, count] : counts) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, value);
  }
  return text.empty() ? "none" : text;
}

double sum_of(ResultRows rows, std::string_view field) {
  double sum = 0;
  for (const ResultRow& row : rows) {
    sum += row.number(field).value_or(0);
  }
  return sum;
}

std::string header(const ResultDocument& document, ResultRows rows) {
  const std::string suite = document.text("suite");
  const double wrong = sum_of(rows, "wrong_bytes");
  const std::string bytes =
      fmt::format("{} compared, {:g} wrong", plain_size(sum_of(rows, "bytes_checked")), wrong);
  std::string out = fmt::format(
      "<header>\n<h1>godbox bench{}</h1>\n<p class=\"soft\">Rates are GB/s of payload, 1e9 bytes "
      "each. <b>real</b>: bytes that this machine moved; <b>emulated</b>: a box held to the "
      "modelled rates; <b>modelled</b>: the model's own answer. <b>hot</b>: a working set that "
      "caches may hold; <b>cold</b>: at least four L3 caches.</p>\n<dl class=\"facts\">\n",
      suite.empty() ? "" : fmt::format(", suite {}", escaped_markup(suite)));
  out += page::fact("commit",
                    fmt::format("{} ({})", document.text("commit"), document.text("build_type")));
  out += page::fact("machine", machine_text(document));
  out += page::fact("measured",
                    fmt::format("{} to {}", document.text("begun"), document.text("ended")));
  out += page::fact("rows", fmt::format("{}: {}", rows.size(), count_text(rows, "kind")));
  out += page::fact("working sets", count_text(rows, "temperature"));
  out += wrong > 0 ? fmt::format("<div><dt>bytes</dt><dd class=\"bad\">{}</dd></div>\n", bytes)
                   : page::fact("bytes", bytes);
  return out + "</dl>\n</header>\n";
}

std::string not_run_section(const ResultDocument& document) {
  const boost::json::value* const list = document.root().if_contains("not_run");
  page::HtmlTable table{{"workload", "what", "why"}, {}};
  if (list != nullptr && list->is_array()) {
    for (const boost::json::value& item : list->get_array()) {
      if (item.is_object()) {
        const ResultRow fields(item.get_object());
        table.rows.push_back({fields.text("id"), fields.text("what"), fields.text("why")});
      }
    }
  }
  return page::section("Not run", "Parts of the suite that this run has no figures of.",
                       page::table(table));
}

Error cannot_write(const std::string& path) {
  const std::error_code reason(errno, std::generic_category());
  return {Errc::io_error, fmt::format("{} cannot be written: {}", path, reason.message())};
}

}  // namespace

std::string render_report(const ResultDocument& document) {
  const std::vector<ResultRow> rows = document.rows();
  const std::string body =
      header(document, rows) + "<main>\n" + scaling_section(rows) + efficiency_section(rows) +
      latency_section(rows) + timeline_section(rows) + device_section(rows) +
      workload_section(rows) + not_run_section(document) + all_rows_section(rows) + "</main>\n" +
      fmt::format(
          "<footer>Made by godbox {} from one document of results; nothing in this page "
          "comes from elsewhere.</footer>",
          escaped_markup(document.text("version")));
  return page::document(fmt::format("godbox bench {}", document.text("commit")), body);
}

Result<void> check_report_path(const std::string& path) {
  if (path == "-") {
    return {};
  }
  std::error_code ignored;
  // A link that leads nowhere is there: what the probe makes is behind it.
  const bool is_there = std::filesystem::exists(std::filesystem::symlink_status(path, ignored));
  if (std::filesystem::is_directory(path, ignored)) {
    return Error(Errc::invalid_argument, fmt::format("{} is a folder; give a file", path));
  }
  errno = 0;
  const std::ofstream probe(path, std::ios::app);
  if (!probe) {
    return cannot_write(path);
  }
  if (!is_there) {
    std::filesystem::remove(path, ignored);
  }
  return {};
}

Result<void> write_report(const std::string& html, const std::string& path) {
  if (Result<void> writable = check_report_path(path); !writable) {
    return writable;
  }
  return write_file(path, std::as_bytes(std::span(html)));
}

}  // namespace godbox::app
