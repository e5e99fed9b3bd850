// SPDX-License-Identifier: Apache-2.0
#include <godbox/markup.h>

#include <catch2/catch_test_macros.hpp>

using godbox::escaped_markup;

TEST_CASE("markup in a text is named, and what XML has no place for is a space", "[unit]") {
  CHECK(escaped_markup("").empty());
  CHECK(escaped_markup("18 channels, 4 KiB") == "18 channels, 4 KiB");
  CHECK(escaped_markup("<a href=\"x\">'&amp;'</a>") ==
        "&lt;a href=&quot;x&quot;&gt;&#39;&amp;amp;&#39;&lt;/a&gt;");
  CHECK(escaped_markup(std::string_view("a\0b\x1f\nc", 6)) == "a b  c");
  CHECK(escaped_markup("Grüße") == "Grüße");
}
