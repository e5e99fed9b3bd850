// SPDX-License-Identifier: Apache-2.0
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/printable.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/terminal.h"

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <limits>
#include <string>

using namespace godbox;
using namespace godbox::app;

TEST_CASE("sizes are exact where a binary unit fits and rounded where not", "[unit]") {
  CHECK(format_size(SizeBytes(0)) == "0 B");
  CHECK(format_size(SizeBytes(1023)) == "1023 B");
  CHECK(format_size(SizeBytes(4096)) == "4 KiB");
  CHECK(format_size(SizeBytes(20971520)) == "20 MiB");
  CHECK(format_size(SizeBytes(19791209299968)) == "18 TiB");
  CHECK(format_size(SizeBytes(1124352)) == "1098 KiB");
  CHECK(format_size(SizeBytes(123456789)) == "117.74 MiB");
}

TEST_CASE("rates, durations, counts and shares have the unit that is read best", "[unit]") {
  CHECK(format_rate(806.4) == "806 GB/s");
  CHECK(format_rate(1.234) == "1.23 GB/s");
  CHECK(format_rate(0.0412) == "41.2 MB/s");
  CHECK(format_duration(2.5) == "2.50 s");
  CHECK(format_duration(0.0123) == "12.3 ms");
  CHECK(format_duration(0.00032) == "320 us");
  CHECK(format_count(0) == "0");
  CHECK(format_count(999) == "999");
  CHECK(format_count(1000) == "1,000");
  CHECK(format_count(10000000) == "10,000,000");
  CHECK(format_percent(8.0 / 9) == "88.9 %");
}

TEST_CASE("what somebody wrote is no command to a terminal", "[unit]") {
  CHECK(printable("a\x1b[31m\n\x7f\xc2\x9b caf\xc3\xa9 \xc2\xa9 \xff\xc2") ==
        "a\\x1b[31m\\x0a\\x7f\\xc2\\x9b caf\xc3\xa9 \xc2\xa9 \xff\xc2");
}

TEST_CASE("a table is as wide as its longest cells and aligns numbers to the right", "[unit]") {
  Table table({{"name", Table::Align::left}, {"GB/s", Table::Align::right}});
  table.add({"a", "1.5"});
  table.add({"longer", "12.25"});
  CHECK(table.row_count() == 2);
  CHECK(table.render("> ") ==
        "> name     GB/s\n"
        "> ------  -----\n"
        "> a         1.5\n"
        "> longer  12.25\n");
}

TEST_CASE("escape sequences and UTF-8 count as the columns that they take", "[unit]") {
  CHECK(display_width("abc") == 3);
  CHECK(display_width("\x1b[32mok\x1b[0m") == 2);
  CHECK(display_width("\u2588\u2588") == 2);
}

TEST_CASE("colours are only used where there are any", "[unit]") {
  Terminal terminal;
  CHECK(terminal.paint("ok", Ink::green) == "ok");
  terminal.colours = true;
  CHECK(terminal.paint("ok", Ink::green) == "\x1b[32mok\x1b[0m");
  CHECK(terminal.paint("ok", Ink::plain) == "ok");
}

TEST_CASE("a progress line shows share and time left and fits the terminal", "[unit]") {
  CHECK(progress_line("reading", 0.5, std::chrono::seconds(10), 80) ==
        "[############------------]  50 %  reading, 10 s left");
  CHECK(progress_line("reading", 0, std::chrono::seconds(3), 80) ==
        "[------------------------]   0 %  reading");
  CHECK(progress_line("reading", 7, std::chrono::seconds(3), 20).size() == 19);
}

TEST_CASE("figures in JSON are rounded to significant digits", "[unit]") {
  CHECK(rounded(0.1 + 0.2) == 0.3);
  CHECK(rounded(1234567.0) == 1234570.0);
  CHECK(rounded(-0.000123456789) == -0.000123457);
  CHECK(rounded(0) == 0);
  CHECK(rounded(std::numeric_limits<double>::infinity()) == 0);
  CHECK(rounded(12.345, 3) == 12.3);
}

TEST_CASE("a figure that is not finite is null", "[unit]") {
  CHECK(figure(0.1 + 0.2) == 0.3);
  CHECK(figure(std::numeric_limits<double>::infinity()).is_null());
  CHECK(figure(std::numeric_limits<double>::quiet_NaN()).is_null());
}

TEST_CASE("UTF-8 is told from other bytes", "[unit]") {
  for (const char* text : {"", "abc", "caf\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                           "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF"}) {
    CHECK(is_utf8(text));
    CHECK(json_text(text) == text);
  }
  // Cut short, a bare second byte, too long a form, a surrogate, beyond U+10FFFF.
  for (const char* text : {"\xC3", "\xE2\x82", "\xA9", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80",
                           "\xF4\x90\x80\x80", "\xFF", "a\xC3z"}) {
    CHECK_FALSE(is_utf8(text));
  }
}

TEST_CASE("a name that is not UTF-8 is escaped in JSON, with its bytes beside it", "[unit]") {
  CHECK(json_text("a\xFF\\\xC3\xA9\xC3") == "a\\xff\\\\\xC3\xA9\\xc3");
  CHECK(boost::json::serialize(named("a/b\\")) == R"({"name":"a/b\\"})");
  CHECK(boost::json::serialize(named("\xFF")) == R"({"name":"\\xff","name_hex":"ff"})");
}

TEST_CASE("long JSON objects are broken into lines, short ones are not", "[unit]") {
  CHECK(pretty(boost::json::object{{"a", 1}}) == R"({"a":1})");
  const std::string text(100, 'x');
  CHECK(pretty(boost::json::object{{"a", text}, {"b", boost::json::array{1, 2}}}) ==
        "{\n  \"a\": \"" + text + "\",\n  \"b\": [1,2]\n}");
}

TEST_CASE("exit codes follow the kind of error", "[unit]") {
  CHECK(exit_code_for(Errc::ok) == ExitCode::ok);
  CHECK(exit_code_for(Errc::io_error) == ExitCode::failure);
  CHECK(exit_code_for(Errc::config_invalid) == ExitCode::usage);
  CHECK(exit_code_for(Errc::not_found) == ExitCode::not_found);
  CHECK(exit_code_for(Errc::connect_failed) == ExitCode::unreachable);
  CHECK(exit_code_for(Errc::session_lost) == ExitCode::unreachable);
  CHECK(exit_code_for(Errc::already_exists) == ExitCode::already_exists);
  CHECK(exit_code_for(Errc::backing_full) == ExitCode::no_room);
  CHECK(exit_code_for(Errc::address_in_use) == ExitCode::in_use);
  CHECK(exit_code_for(Errc::crc_mismatch) == ExitCode::failure);
}

TEST_CASE("the numbers of the exit codes never change", "[unit]") {
  CHECK(static_cast<int>(ExitCode::ok) == 0);
  CHECK(static_cast<int>(ExitCode::failure) == 1);
  CHECK(static_cast<int>(ExitCode::usage) == 2);
  CHECK(static_cast<int>(ExitCode::not_found) == 3);
  CHECK(static_cast<int>(ExitCode::unreachable) == 4);
  CHECK(static_cast<int>(ExitCode::already_exists) == 5);
  CHECK(static_cast<int>(ExitCode::no_room) == 6);
  CHECK(static_cast<int>(ExitCode::in_use) == 7);
}
