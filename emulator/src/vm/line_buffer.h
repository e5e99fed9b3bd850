// SPDX-License-Identifier: Apache-2.0
//
// Bytes that come in pieces, cut into lines. A line longer than kLineMax is given in parts.
// Thread-safety: one thread per object.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace godbox::emulator::vm {

class LineBuffer {
 public:
  static constexpr std::size_t kLineMax = 1U << 20U;

  // Calls on_line(std::string_view) for each line that `bytes` completes, without its line end.
  template <class OnLine>
  void add(std::string_view bytes, OnLine&& on_line) {
    while (!bytes.empty()) {
      const std::size_t end = bytes.find('\n');
      const std::size_t taken = std::min(end, bytes.size());
      pending_ += bytes.substr(0, taken);
      if (end == std::string_view::npos && pending_.size() < kLineMax) {
        return;
      }
      bytes.remove_prefix(end == std::string_view::npos ? taken : taken + 1);
      if (!pending_.empty() && pending_.back() == '\r') {
        pending_.pop_back();
      }
      std::string line;
      line.swap(pending_);
      on_line(std::string_view(line));
    }
  }
  // What came after the last line end.
  [[nodiscard]] const std::string& pending() const { return pending_; }

 private:
  std::string pending_;
};

}  // namespace godbox::emulator::vm
