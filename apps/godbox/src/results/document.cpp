// SPDX-License-Identifier: Apache-2.0
#include "results/document.h"

#include "cli/byte_files.h"
#include "cli/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace godbox::app {
namespace {

// A full suite has a few MB.
constexpr SizeBytes kResultBytesMax{std::uint64_t{64} << 20U};

Error wrong(std::string_view name, std::string_view what) {
  return {Errc::invalid_argument, fmt::format("{}: {}", name, what)};
}

}  // namespace

std::optional<double> ResultRow::number(std::string_view field) const {
  const boost::json::value* const value = fields_->if_contains(field);
  if (value == nullptr || !value->is_number()) {
    return std::nullopt;
  }
  return value->to_number<double>();
}

std::string ResultRow::text(std::string_view field) const {
  const boost::json::value* const value = fields_->if_contains(field);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

bool ResultRow::has(std::string_view field) const {
  const boost::json::value* const value = fields_->if_contains(field);
  return value != nullptr && !value->is_null();
}

std::vector<double> ResultRow::numbers(std::string_view field) const {
  std::vector<double> numbers;
  const boost::json::value* const value = fields_->if_contains(field);
  if (value == nullptr || !value->is_array()) {
    return numbers;
  }
  for (const boost::json::value& item : value->get_array()) {
    if (item.is_number()) {
      numbers.push_back(item.to_number<double>());
    }
  }
  return numbers;
}

Result<ResultDocument> ResultDocument::parse(std::string_view json, std::string_view name) {
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(json, error);
  if (error) {
    return wrong(name, fmt::format("no JSON: {}", error.message()));
  }
  if (!value.is_object()) {
    return wrong(name, "no document of results: it is no JSON object");
  }
  ResultDocument document;
  document.name_ = name;
  document.root_ = std::move(value.get_object());
  if (document.text("schema") != kBenchSchema) {
    return wrong(name, fmt::format("its schema is \"{}\"; allowed: {}", document.text("schema"),
                                   kBenchSchema));
  }
  const boost::json::value* const rows = document.root_.if_contains("rows");
  if (rows == nullptr || !rows->is_array() ||
      !std::all_of(rows->get_array().begin(), rows->get_array().end(),
                   [](const boost::json::value& row) { return row.is_object(); })) {
    return wrong(name, "\"rows\" is no array of objects");
  }
  return document;
}

Result<ResultDocument> ResultDocument::read(const std::string& path) {
  std::error_code reason;
  if (path != "-" && !std::filesystem::exists(path, reason) && !reason) {
    return Error(Errc::device_missing, fmt::format("{}: there is no such file", path));
  }
  const Result<std::vector<std::byte>> bytes = read_file(path, kResultBytesMax);
  if (!bytes) {
    const Errc code = bytes.error().code;
    return Error(code == Errc::too_large ? Errc::invalid_argument : code, bytes.error().detail);
  }
  return parse({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, path);
}

std::vector<ResultRow> ResultDocument::rows() const {
  std::vector<ResultRow> rows;
  for (const boost::json::value& row : root_.at("rows").get_array()) {
    rows.emplace_back(row.get_object());
  }
  return rows;
}

std::string ResultDocument::text(std::string_view field) const {
  return ResultRow(root_).text(field);
}

std::string plain_size(double bytes) {
  constexpr double kBytesMax = 9223372036854775808.0;  // 2^63
  const bool is_number = bytes > 0;                    // and no NaN
  return format_size(
      SizeBytes(is_number ? static_cast<std::uint64_t>(std::min(bytes, kBytesMax)) : 0));
}

std::string plain_text(const boost::json::value& value) {
  if (value.is_null()) {
    return "-";
  }
  if (value.is_string()) {
    return std::string(value.get_string());
  }
  if (value.is_double()) {
    return fmt::format("{:.6g}", value.get_double());
  }
  return boost::json::serialize(value);
}

}  // namespace godbox::app
