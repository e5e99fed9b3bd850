// SPDX-License-Identifier: Apache-2.0
#include "box/status_document.h"

namespace godbox::app {

Result<boost::json::object> read_status(striping::Client& client) {
  const Result<std::string> answer = client.status_json();
  if (!answer) {
    return answer.error();
  }
  boost::system::error_code error;
  boost::json::value status = boost::json::parse(*answer, error);
  if (error || !status.is_object()) {
    return Error(Errc::protocol_error, "the box's answer is no JSON object");
  }
  return std::move(status.get_object());
}

std::uint64_t status_number(const boost::json::object& from, std::string_view key) {
  const boost::json::value* const value = from.if_contains(key);
  return value != nullptr && value->is_number() ? value->to_number<std::uint64_t>() : 0;
}

std::string status_text(const boost::json::object& from, std::string_view key) {
  const boost::json::value* const value = from.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

const boost::json::array& status_list(const boost::json::object& from, std::string_view key) {
  static const boost::json::array none;
  const boost::json::value* const value = from.if_contains(key);
  return value != nullptr && value->is_array() ? value->get_array() : none;
}

}  // namespace godbox::app
