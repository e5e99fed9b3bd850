// SPDX-License-Identifier: Apache-2.0
#include "demo/story.h"

#include "demo/scenes.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <array>
#include <cstdio>
#include <memory>
#include <string>

using namespace godbox;
using namespace godbox::app;
using Catch::Matchers::ContainsSubstring;

namespace {

// A story told into a file.
class Told {
 public:
  explicit Told(bool json) : file_(std::tmpfile(), std::fclose), story(json, file_.get()) {
    story.count({1000, 0, 0});
  }
  std::string text() {
    std::string all;
    std::array<char, 4096> part{};
    std::rewind(file_.get());
    for (std::size_t got = 1; got > 0; all.append(part.data(), got)) {
      got = std::fread(part.data(), 1, part.size(), file_.get());
    }
    return all;
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;

 public:
  Story story;
};

Finding finding(bool holds) {
  return {"speed", holds ? "9.0x" : "5.0x", "8.1x to 9.9x", true, holds, {{"ratio", 9}}};
}

}  // namespace

TEST_CASE("a story whose findings all hold ends with 0, and with 1 when one does not", "[unit]") {
  for (const bool json : {false, true}) {
    for (const bool holds : {true, false}) {
      Told told(json);
      told.story.add(finding(true));
      told.story.add(finding(holds));
      CHECK(told.story.finish() == (holds ? ExitCode::ok : ExitCode::failure));
    }
  }
}

TEST_CASE("a wrong byte, or none compared, ends a story with 1", "[unit]") {
  Told wrong(true);
  wrong.story.add(finding(true));
  wrong.story.count({1000, 1, 0});
  CHECK(wrong.story.finish() == ExitCode::failure);
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), std::fclose);
  Story nothing(true, file.get());
  nothing.add(finding(true));
  CHECK(nothing.finish() == ExitCode::failure);
}

TEST_CASE("a story in JSON is one document with its findings and nothing else", "[unit]") {
  Told told(true);
  told.story.heading("title", "explanation");
  told.story.bar("bar", 1, 2, "text");
  told.story.note("figure", 2.5);
  told.story.add(finding(false));
  CHECK(told.story.finish() == ExitCode::failure);
  const boost::json::object document = boost::json::parse(told.text()).as_object();
  CHECK(document.at("schema") == "godbox-demo-1");
  CHECK(document.at("all_hold") == false);
  CHECK(document.at("figure") == 2.5);
  const boost::json::object& first = document.at("findings").as_array().at(0).as_object();
  CHECK(first.at("expected") == "8.1x to 9.9x");
  CHECK(first.at("holds") == false);
  CHECK(first.at("ratio") == 9);
}

TEST_CASE("a scene that misses is shown once more, which is said, and then counts", "[unit]") {
  Told told(false);
  int shown = 0;
  const auto scene = [&](bool again) -> Result<void> {
    CHECK(again == (shown == 1));
    ++shown;
    told.story.add(finding(again));
    return {};
  };
  REQUIRE(told.story.play(scene).has_value());
  CHECK(shown == 2);
  CHECK(told.story.finish() == ExitCode::ok);
  const std::string text = told.text();
  CHECK_THAT(text, ContainsSubstring("Missed: speed: 5.0x, expected 8.1x to 9.9x"));
  CHECK_THAT(text, ContainsSubstring("1 of 1 findings hold (1 scenes shown twice)"));
}

TEST_CASE("a scene that misses twice is missed, and one that holds is shown once", "[unit]") {
  Told told(false);
  int shown = 0;
  REQUIRE(told.story
              .play([&](bool) -> Result<void> {
                ++shown;
                told.story.add(finding(true));
                return {};
              })
              .has_value());
  CHECK(shown == 1);
  REQUIRE(told.story
              .play([&](bool) -> Result<void> {
                ++shown;
                told.story.add(finding(false));
                return {};
              })
              .has_value());
  CHECK(shown == 3);
  CHECK(told.story.finish() == ExitCode::failure);
  CHECK_THAT(told.text(), ContainsSubstring("1 of 2 findings hold"));
}

TEST_CASE("a scene that fails is not repeated", "[unit]") {
  Told told(false);
  int shown = 0;
  const auto played = told.story.play([&](bool) -> Result<void> {
    ++shown;
    return Error(Errc::io_error, "no");
  });
  CHECK_FALSE(played.has_value());
  CHECK(shown == 1);
}

TEST_CASE("a ratio far above the ideal is as wrong as one far below", "[unit]") {
  const Bounds bounds = Bounds::around(9);
  CHECK(bounds.hold(8.11));
  CHECK(bounds.hold(9.89));
  CHECK_FALSE(bounds.hold(8.01));
  CHECK_FALSE(bounds.hold(10));
}
