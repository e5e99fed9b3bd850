// SPDX-License-Identifier: Apache-2.0
//
// A document of results as `godbox bench --json` prints it (docs/bench.md), read back: what reports
// and comparisons are made from. Fields that are not known are kept, so that a newer godbox's
// document can be read. Thread-safety: values. Ownership: a Row points into its document. Units: as
// the fields' names say. Errors: device_missing (no such file), io_error, invalid_argument naming
// the file and what is wrong with it, or that it has more than 64 MiB.
#pragma once

#include <godbox/result.h>

#include <boost/json.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace godbox::app {

inline constexpr std::string_view kBenchSchema = "godbox-bench-1";

// One row. A field that is null or not there is empty.
class ResultRow {
 public:
  explicit ResultRow(const boost::json::object& fields) : fields_(&fields) {}
  [[nodiscard]] std::optional<double> number(std::string_view field) const;
  // Empty for what is no text.
  [[nodiscard]] std::string text(std::string_view field) const;
  [[nodiscard]] bool has(std::string_view field) const;
  [[nodiscard]] const boost::json::object& fields() const { return *fields_; }
  // The numbers of an array; those that are none are left out.
  [[nodiscard]] std::vector<double> numbers(std::string_view field) const;

 private:
  const boost::json::object* fields_;
};

class ResultDocument {
 public:
  [[nodiscard]] static Result<ResultDocument> parse(std::string_view json, std::string_view name);
  // "-": standard input.
  [[nodiscard]] static Result<ResultDocument> read(const std::string& path);

  // The file's, or what else it was parsed as.
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::vector<ResultRow> rows() const;
  [[nodiscard]] std::string text(std::string_view field) const;
  [[nodiscard]] const boost::json::object& root() const { return root_; }

 private:
  std::string name_;
  boost::json::object root_;
};

// A value as a table shows it: texts without quotes, numbers without exponents where they fit.
[[nodiscard]] std::string plain_text(const boost::json::value& value);
// A number of bytes likewise ("20 MiB"), whatever it is: below 0 it is "0 B", and 2^63 at most.
[[nodiscard]] std::string plain_size(double bytes);

}  // namespace godbox::app
