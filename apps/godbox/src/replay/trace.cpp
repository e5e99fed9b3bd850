// SPDX-License-Identifier: Apache-2.0
#include "replay/trace.h"

#include <boost/json.hpp>
#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <limits>
#include <system_error>
#include <unordered_set>
#include <vector>

namespace godbox::app {
namespace {

constexpr std::uint64_t kMillisecondsMax = std::uint64_t{1} << 42U;  // 139 years

Error wrong(std::string_view field, std::string_view why) {
  return {Errc::invalid_argument, fmt::format("{}: {}", field, why)};
}

// A number that is whole, and not above `most`.
Result<std::uint64_t> whole_number(const boost::json::value& value, std::string_view field,
                                   std::uint64_t most) {
  boost::system::error_code failed;
  const auto number = value.is_number() ? value.to_number<std::uint64_t>(failed) : 0;
  if (!value.is_number() || failed || number > most) {
    return wrong(field, fmt::format("{} is no whole number from 0 to {}",
                                    boost::json::serialize(value).substr(0, 40), most));
  }
  return number;
}

Result<std::uint64_t> field_of(const boost::json::object& fields, std::string_view name,
                               std::uint64_t most) {
  const boost::json::value* const value = fields.if_contains(name);
  return value != nullptr ? whole_number(*value, name, most) : wrong(name, "missing");
}

Error in_line(const std::string& path, std::uint64_t line, const Error& error) {
  return {error.code, fmt::format("{}, line {}: {}", path, line, error.detail)};
}

}  // namespace

Result<TraceRequest> parse_trace_line(std::string_view line) {
  boost::system::error_code failed;
  const boost::json::value parsed = boost::json::parse(line, failed);
  if (failed || !parsed.is_object()) {
    return Error(Errc::invalid_argument,
                 failed ? "no JSON: " + failed.message() : std::string("no JSON object"));
  }
  constexpr std::uint64_t kTokensMax = std::numeric_limits<std::uint32_t>::max();
  const boost::json::object& fields = parsed.get_object();
  const auto timestamp = field_of(fields, "timestamp", kMillisecondsMax);
  const auto input = field_of(fields, "input_length", kTokensMax);
  const auto output = field_of(fields, "output_length", kTokensMax);
  for (const auto* const one : {&timestamp, &input, &output}) {
    if (!*one) {
      return one->error();
    }
  }
  const boost::json::value* const ids = fields.if_contains("hash_ids");
  if (ids == nullptr || !ids->is_array()) {
    return wrong("hash_ids", ids == nullptr ? "missing" : "no list");
  }
  if (ids->get_array().size() > kTraceBlocksMax) {
    return wrong("hash_ids",
                 fmt::format("{} blocks, more than {}", ids->get_array().size(), kTraceBlocksMax));
  }
  TraceRequest request{.at = std::chrono::milliseconds(*timestamp),
                       .input_tokens = static_cast<std::uint32_t>(*input),
                       .output_tokens = static_cast<std::uint32_t>(*output),
                       .blocks = {},
                       .line = 0};
  request.blocks.reserve(ids->get_array().size());
  for (const boost::json::value& id : ids->get_array()) {
    const auto number = whole_number(id, "hash_ids", std::numeric_limits<std::uint64_t>::max());
    if (!number) {
      return number.error();
    }
    request.blocks.push_back(*number);
  }
  return request;
}

Result<Trace> read_trace(const std::string& path, std::uint64_t requests_max) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return Error(Errc::device_missing,
                 fmt::format("cannot read \"{}\": {}", path,
                             std::error_code(errno, std::generic_category()).message()));
  }
  Trace trace;
  std::uint64_t number = 0;
  // Its size bounds what is read of a line: a file may be one line without an end.
  std::vector<char> buffer(kTraceLineBytesMax + 1);
  while ((requests_max == 0 || trace.size() < requests_max) &&
         file.getline(buffer.data(), static_cast<std::streamsize>(buffer.size()))) {
    ++number;
    // The end of the line is counted, but that of a file's last one.
    const auto taken = static_cast<std::size_t>(file.gcount());
    const std::string_view line(buffer.data(), file.eof() ? taken : taken - 1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) {
      continue;
    }
    Result<TraceRequest> request = parse_trace_line(line);
    if (!request) {
      return in_line(path, number, request.error());
    }
    if (!trace.empty() && request->at < trace.back().at) {
      return in_line(path, number,
                     wrong("timestamp", fmt::format("{} is before the {} of the request above",
                                                    request->at.count(), trace.back().at.count())));
    }
    request->line = number;
    trace.push_back(std::move(*request));
  }
  if (file.bad()) {
    return Error(Errc::io_error, fmt::format("reading \"{}\" failed", path));
  }
  if (file.fail() && !file.eof()) {
    return in_line(path, number + 1,
                   wrong("the line", fmt::format("longer than {} bytes", kTraceLineBytesMax)));
  }
  if (trace.empty()) {
    return Error(Errc::invalid_argument, fmt::format("\"{}\" has no request", path));
  }
  return trace;
}

std::uint64_t unique_blocks(const Trace& trace) {
  std::unordered_set<std::uint64_t> seen;
  for (const TraceRequest& request : trace) {
    seen.insert(request.blocks.begin(), request.blocks.end());
  }
  return seen.size();
}

}  // namespace godbox::app
