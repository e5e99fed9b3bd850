// SPDX-License-Identifier: Apache-2.0
//
// Fields of a request to a running VM (vm_control.h). Thread-safety: pure functions.
// Errors: invalid_argument naming the field.
#pragma once

#include <godbox/result.h>

#include <boost/json.hpp>
#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace godbox::app {

// CXL r3.1 8.2.9.9.4.2 (Inject Poison): poison comes in lines of so many bytes.
inline constexpr std::uint64_t kPoisonUnitBytes = 64;

// In one request: clearing is a command of the guest's for each unit, and nothing else is served
// meanwhile.
inline constexpr std::uint64_t kPoisonBytesMax = std::uint64_t{1} << 20U;

// Whether that many bytes of a DRAM channel can be marked.
[[nodiscard]] inline Result<void> check_poison(std::uint64_t channel, std::uint64_t address,
                                               std::uint64_t length) {
  if (address % kPoisonUnitBytes != 0 || length % kPoisonUnitBytes != 0 || length == 0 ||
      length > kPoisonBytesMax || address > UINT64_MAX - length || channel > UINT16_MAX) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} bytes from {:#x} of DRAM channel {}: poison comes in units of {} "
                             "bytes, at most {}",
                             length, address, channel, kPoisonUnitBytes, kPoisonBytesMax));
  }
  return {};
}

[[nodiscard]] inline bool is_set(const boost::json::object& request, std::string_view name) {
  const boost::json::value* const value = request.if_contains(name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

[[nodiscard]] inline Result<std::uint64_t> number_of(const boost::json::object& request,
                                                     std::string_view name, std::uint64_t without) {
  const boost::json::value* const value = request.if_contains(name);
  boost::system::error_code failed;
  const std::uint64_t number = value != nullptr ? value->to_number<std::uint64_t>(failed) : without;
  if (failed) {
    return Error(Errc::invalid_argument, fmt::format("{} is no whole number", name));
  }
  return number;
}

[[nodiscard]] inline Result<std::string> text_of(const boost::json::object& request,
                                                 std::string_view name) {
  const boost::json::value* const value = request.if_contains(name);
  if (value == nullptr) {
    return std::string();
  }
  if (!value->is_string()) {
    return Error(Errc::invalid_argument, fmt::format("{} is no text", name));
  }
  return std::string(value->get_string());
}

}  // namespace godbox::app
