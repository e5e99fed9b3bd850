// SPDX-License-Identifier: Apache-2.0
#include "replay/trace.h"

#include <catch2/catch_test_macros.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include <unistd.h>

namespace godbox::app {
namespace {

// A file that is gone with the test.
class TraceFile {
 public:
  explicit TraceFile(const std::string& text)
      : path_((std::filesystem::temp_directory_path() / fmt::format("godbox-trace-{}", ::getpid()))
                  .string()) {
    std::ofstream(path_) << text;
  }
  ~TraceFile() { std::remove(path_.c_str()); }
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

constexpr std::string_view kFirst =
    R"({"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]})";

bool holds(const std::string& text, const std::string& word) {
  return text.find(word) != std::string::npos;
}

}  // namespace

TEST_CASE("a line of a Mooncake trace is read", "[unit]") {
  const auto request = parse_trace_line(kFirst);
  REQUIRE(request.has_value());
  CHECK(request->at == std::chrono::milliseconds(0));
  CHECK(request->input_tokens == 6758);
  CHECK(request->output_tokens == 500);
  CHECK(request->blocks == std::vector<std::uint64_t>{0, 1, 2});
}

TEST_CASE("what is wrong with a line is named by its field", "[unit]") {
  struct Case {
    std::string line;
    std::string words;
  };
  const Case cases[] = {
      {"", "no JSON"},
      {"{", "no JSON"},
      {"[]", "no JSON object"},
      {R"({"input_length": 1, "output_length": 1, "hash_ids": []})", "timestamp: missing"},
      {R"({"timestamp": -1, "input_length": 1, "output_length": 1, "hash_ids": []})",
       "timestamp: -1"},
      {R"({"timestamp": "0", "input_length": 1, "output_length": 1, "hash_ids": []})",
       "timestamp: \"0\""},
      {R"({"timestamp": 1e300, "input_length": 1, "output_length": 1, "hash_ids": []})",
       "timestamp: 1E300"},
      {R"({"timestamp": 0, "input_length": 4294967296, "output_length": 1, "hash_ids": []})",
       "input_length: 4294967296"},
      {R"({"timestamp": 0, "input_length": 1, "output_length": 1.5, "hash_ids": []})",
       "output_length: 1.5"},
      {R"({"timestamp": 0, "input_length": 1, "output_length": 1})", "hash_ids: missing"},
      {R"({"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": 7})",
       "hash_ids: no list"},
      {R"({"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [1, null]})",
       "hash_ids: null"},
  };
  for (const Case& one : cases) {
    const auto request = parse_trace_line(one.line);
    INFO(one.line);
    REQUIRE_FALSE(request.has_value());
    CHECK(request.error().code == Errc::invalid_argument);
    INFO(request.error().detail);
    CHECK(holds(request.error().detail, one.words));
  }
}

TEST_CASE("a trace ends where it was told to, and its mistakes have line numbers", "[unit]") {
  const std::string line(kFirst);
  const TraceFile good(line + "\n\n" + line + "\r\n" + line);
  CHECK(read_trace(good.path(), 0)->size() == 3);
  CHECK(read_trace(good.path(), 2)->size() == 2);
  CHECK(unique_blocks(*read_trace(good.path(), 0)) == 3);

  const TraceFile bad(line + "\n\n" + R"({"timestamp": 1})" + "\n");
  auto trace = read_trace(bad.path(), 0);
  REQUIRE_FALSE(trace.has_value());
  CHECK(holds(trace.error().detail, "line 3: input_length: missing"));
  CHECK(read_trace(bad.path(), 1)->size() == 1);

  const TraceFile back(R"({"timestamp": 9, "input_length": 1, "output_length": 1, "hash_ids": []})"
                       "\n" +
                       line);
  trace = read_trace(back.path(), 0);
  REQUIRE_FALSE(trace.has_value());
  CHECK(holds(trace.error().detail, "line 2: timestamp: 0 is before the 9"));

  const std::string longest = line + std::string(kTraceLineBytesMax - line.size(), ' ');
  CHECK(read_trace(TraceFile(longest + "\n" + longest).path(), 0)->size() == 2);
  const std::string too_long = line + "\n" + longest + " ";
  for (const char* end : {"", "\n"}) {
    trace = read_trace(TraceFile(too_long + end).path(), 0);
    REQUIRE_FALSE(trace.has_value());
    CHECK(holds(trace.error().detail, "line 2: the line: longer than"));
  }
  // Neither is it read to its end.
  CHECK(holds(read_trace("/dev/zero", 0).error().detail, "line 1: the line: longer than"));

  const TraceFile empty("\n");
  CHECK(holds(read_trace(empty.path(), 0).error().detail, "has no request"));
  CHECK(read_trace("/nowhere/trace", 0).error().code == Errc::device_missing);
  CHECK_FALSE(read_trace("/tmp", 0).has_value());
}

}  // namespace godbox::app
