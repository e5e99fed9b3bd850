// SPDX-License-Identifier: Apache-2.0
//
// The golden frames of tests/vectors/wire, made by make_wire_vectors.py from the protocol's
// document. Thread-safety: pure functions. Errors: a file that is missing or malformed fails the
// test case.
#pragma once

#include <godbox/wire.h>
#include <godbox_test/hex_file.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>
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

inline GoldenFrame read_golden_frame(const std::filesystem::path& path) {
  GoldenFrame frame{.name = path.stem().string(), .bytes = read_hex_file(path)};
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
