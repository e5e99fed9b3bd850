// SPDX-License-Identifier: Apache-2.0
//
// The golden frames of tests/vectors/wire, made by make_wire_vectors.py from the protocol's
// document. Thread-safety: pure functions. Errors: a file that is missing or malformed fails the
// test case.
#pragma once

#include <godbox/wire.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace godbox::test {

struct GoldenFrame {
  std::string name;
  wire::Body bytes;

  [[nodiscard]] std::span<const std::byte, wire::kHeaderBytes> header_bytes() const {
    return ConstSpan(bytes).first<wire::kHeaderBytes>();
  }
  [[nodiscard]] wire::Header header() const {
    const auto decoded = wire::decode_header(header_bytes());
    CAPTURE(name);
    REQUIRE(decoded.has_value());
    REQUIRE(bytes.size() ==
            wire::kHeaderBytes + std::size_t{decoded->body_bytes} + decoded->payload_bytes);
    return *decoded;
  }
  [[nodiscard]] ConstSpan body() const {
    return ConstSpan(bytes).subspan(wire::kHeaderBytes, header().body_bytes);
  }
  [[nodiscard]] ConstSpan payload() const { return ConstSpan(bytes).last(header().payload_bytes); }
};

// Two-digit hexadecimal numbers; "#" begins a comment.
inline GoldenFrame read_golden_frame(const std::filesystem::path& path) {
  GoldenFrame frame;
  frame.name = path.stem().string();
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
      frame.bytes.push_back(static_cast<std::byte>(value));
    }
  }
  REQUIRE(frame.bytes.size() >= wire::kHeaderBytes);
  return frame;
}

inline GoldenFrame golden_frame(const std::string& name) {
  return read_golden_frame(std::filesystem::path(GODBOX_VECTORS_DIR) / "wire" / (name + ".hex"));
}

inline std::vector<GoldenFrame> all_golden_frames() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(GODBOX_VECTORS_DIR) / "wire")) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<GoldenFrame> frames;
  for (const auto& path : paths) {
    frames.push_back(read_golden_frame(path));
  }
  return frames;
}

}  // namespace godbox::test
