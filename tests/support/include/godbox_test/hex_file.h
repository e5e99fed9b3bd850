// SPDX-License-Identifier: Apache-2.0
//
// Bytes of a golden vector: a file of two-digit hexadecimal numbers, in which "#" begins a comment.
// Thread-safety: pure functions. Errors: a file that is missing or malformed fails the test case.
#pragma once

#include <catch2/catch_test_macros.hpp>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace godbox::test {

inline std::vector<std::byte> read_hex_file(const std::filesystem::path& path) {
  std::vector<std::byte> bytes;
  std::ifstream file(path);
  CAPTURE(path.string());
  REQUIRE(file.is_open());
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    for (std::string word; words >> word;) {
      unsigned value = 0;
      const char* const end = word.data() + word.size();
      REQUIRE(word.size() == 2);
      REQUIRE(std::from_chars(word.data(), end, value, 16).ptr == end);
      bytes.push_back(static_cast<std::byte>(value));
    }
  }
  return bytes;
}

}  // namespace godbox::test
