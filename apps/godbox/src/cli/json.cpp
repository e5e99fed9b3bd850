// SPDX-License-Identifier: Apache-2.0
#include "cli/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace godbox::app {
namespace {

constexpr std::size_t kIndent = 2;
// An object or array that is not longer than this stays on one line.
constexpr std::size_t kInlineColumns = 96;

// Bytes of the UTF-8 sequence that `text` begins with (RFC 3629, section 4); 0: it is none.
std::size_t sequence_length(std::string_view text) {
  struct Form {
    unsigned char first_min, first_max, second_min, second_max;
    std::size_t length;
  };
  constexpr std::array<Form, 9> kForms{{{0x00, 0x7F, 0, 0, 1},
                                        {0xC2, 0xDF, 0x80, 0xBF, 2},
                                        {0xE0, 0xE0, 0xA0, 0xBF, 3},
                                        {0xE1, 0xEC, 0x80, 0xBF, 3},
                                        {0xED, 0xED, 0x80, 0x9F, 3},
                                        {0xEE, 0xEF, 0x80, 0xBF, 3},
                                        {0xF0, 0xF0, 0x90, 0xBF, 4},
                                        {0xF1, 0xF3, 0x80, 0xBF, 4},
                                        {0xF4, 0xF4, 0x80, 0x8F, 4}}};
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  for (const Form& form : kForms) {
    if (byte(0) < form.first_min || byte(0) > form.first_max) {
      continue;
    }
    if (text.size() < form.length ||
        (form.length > 1 && (byte(1) < form.second_min || byte(1) > form.second_max))) {
      return 0;
    }
    for (std::size_t at = 2; at < form.length; ++at) {
      if ((byte(at) & 0xC0U) != 0x80U) {
        return 0;
      }
    }
    return form.length;
  }
  return 0;
}

void append(std::string& out, const boost::json::value& value, std::size_t depth);

template <class Container, class AppendItem>
void append_items(std::string& out, std::string_view brackets, const Container& items,
                  std::size_t depth, AppendItem append_item) {
  out += brackets[0];
  bool first = true;
  for (const auto& item : items) {
    out += first ? "\n" : ",\n";
    out.append((depth + 1) * kIndent, ' ');
    append_item(item);
    first = false;
  }
  out += '\n';
  out.append(depth * kIndent, ' ');
  out += brackets[1];
}

void append(std::string& out, const boost::json::value& value, std::size_t depth) {
  const std::string compact = boost::json::serialize(value);
  if (compact.size() <= kInlineColumns || value.is_primitive()) {
    out += compact;
  } else if (value.is_array()) {
    append_items(out, "[]", value.get_array(), depth,
                 [&](const boost::json::value& item) { append(out, item, depth + 1); });
  } else {
    append_items(out, "{}", value.get_object(), depth, [&](const auto& item) {
      out += boost::json::serialize(item.key()) + ": ";
      append(out, item.value(), depth + 1);
    });
  }
}

}  // namespace

double rounded(double value, int digits) {
  if (value == 0 || !std::isfinite(value)) {
    return 0;
  }
  const double magnitude = std::pow(10.0, digits - 1 - std::floor(std::log10(std::fabs(value))));
  return std::round(value * magnitude) / magnitude;
}

boost::json::value figure(double value, int digits) {
  return std::isfinite(value) ? boost::json::value(rounded(value, digits))
                              : boost::json::value(nullptr);
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t length = sequence_length(bytes);
    if (length == 0) {
      return false;
    }
    bytes.remove_prefix(length);
  }
  return true;
}

std::string json_text(std::string_view bytes) {
  if (is_utf8(bytes)) {
    return std::string(bytes);
  }
  std::string text;
  while (!bytes.empty()) {
    const std::size_t length = sequence_length(bytes);
    if (length == 0) {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes.front()));
    } else if (bytes.front() == '\\') {
      text += "\\\\";
    } else {
      text += bytes.substr(0, length);
    }
    bytes.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return text;
}

boost::json::object named(std::string_view name) {
  boost::json::object object{{"name", json_text(name)}};
  if (!is_utf8(name)) {
    std::string hex;
    for (const char byte : name) {
      hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    }
    object["name_hex"] = hex;
  }
  return object;
}

std::string pretty(const boost::json::value& value) {
  std::string out;
  append(out, value, 0);
  return out;
}

void print_json(std::FILE* to, const boost::json::value& value, bool compact) {
  fmt::print(to, "{}\n", compact ? boost::json::serialize(value) : pretty(value));
}

}  // namespace godbox::app
