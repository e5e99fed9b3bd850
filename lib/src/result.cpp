// SPDX-License-Identifier: Apache-2.0
#include <godbox/result.h>

#include <algorithm>
#include <array>

namespace godbox {
namespace {

struct ErrcName {
  Errc code;
  std::string_view name;
};

constexpr std::array kErrcNames = {
    ErrcName{Errc::ok, "ok"},
    ErrcName{Errc::not_found, "not_found"},
    ErrcName{Errc::already_exists, "already_exists"},
    ErrcName{Errc::invalid_argument, "invalid_argument"},
    ErrcName{Errc::out_of_range, "out_of_range"},
    ErrcName{Errc::too_large, "too_large"},
    ErrcName{Errc::deadline_exceeded, "deadline_exceeded"},
    ErrcName{Errc::cancelled, "cancelled"},
    ErrcName{Errc::crc_mismatch, "crc_mismatch"},
    ErrcName{Errc::present_unleased, "present_unleased"},
    ErrcName{Errc::lease_expired, "lease_expired"},
    ErrcName{Errc::reservation_expired, "reservation_expired"},
    ErrcName{Errc::key_revoked, "key_revoked"},
    ErrcName{Errc::access_denied, "access_denied"},
    ErrcName{Errc::not_backed, "not_backed"},
    ErrcName{Errc::write_in_flight, "write_in_flight"},
    ErrcName{Errc::queue_full, "queue_full"},
    ErrcName{Errc::unsupported, "unsupported"},
    ErrcName{Errc::lane_closed, "lane_closed"},
    ErrcName{Errc::lane_fenced, "lane_fenced"},
    ErrcName{Errc::lane_timeout, "lane_timeout"},
    ErrcName{Errc::connect_failed, "connect_failed"},
    ErrcName{Errc::protocol_error, "protocol_error"},
    ErrcName{Errc::bad_magic, "bad_magic"},
    ErrcName{Errc::bad_header_crc, "bad_header_crc"},
    ErrcName{Errc::bad_body_crc, "bad_body_crc"},
    ErrcName{Errc::bad_version, "bad_version"},
    ErrcName{Errc::frame_too_large, "frame_too_large"},
    ErrcName{Errc::poison, "poison"},
    ErrcName{Errc::dram_channel_offline, "dram_channel_offline"},
    ErrcName{Errc::wrong_epoch, "wrong_epoch"},
    ErrcName{Errc::session_lost, "session_lost"},
    ErrcName{Errc::pool_full, "pool_full"},
    ErrcName{Errc::backing_full, "backing_full"},
    ErrcName{Errc::quota_exceeded, "quota_exceeded"},
    ErrcName{Errc::limit_exceeded, "limit_exceeded"},
    ErrcName{Errc::config_invalid, "config_invalid"},
    ErrcName{Errc::address_in_use, "address_in_use"},
    ErrcName{Errc::address_not_loopback, "address_not_loopback"},
    ErrcName{Errc::permission_denied, "permission_denied"},
    ErrcName{Errc::device_missing, "device_missing"},
    ErrcName{Errc::io_error, "io_error"},
    ErrcName{Errc::device_lost, "device_lost"},
    ErrcName{Errc::device_memory_full, "device_memory_full"},
};

static_assert(std::ranges::is_sorted(kErrcNames, {}, &ErrcName::code));

// The entry of `number`, or nullptr.
const ErrcName* find_entry(std::uint16_t number) noexcept {
  const auto code = static_cast<Errc>(number);
  const auto* const entry = std::ranges::lower_bound(kErrcNames, code, {}, &ErrcName::code);
  return entry != kErrcNames.end() && entry->code == code ? entry : nullptr;
}

}  // namespace

ErrcScope scope_of(Errc code) noexcept {
  switch (static_cast<std::uint16_t>(code) / 100U) {
    case 0:
      return ErrcScope::none;
    case 1:
      return ErrcScope::request;
    case 3:
      return ErrcScope::dram_channel;
    case 4:
      return ErrcScope::pool;
    case 5:
      return ErrcScope::start_up;
    case 6:
      return ErrcScope::device;
    default:
      // A number that is no code can only come from a broken peer: what has to go is its lane.
      return ErrcScope::lane;
  }
}

std::string_view to_string(Errc code) noexcept {
  const ErrcName* const entry = find_entry(static_cast<std::uint16_t>(code));
  return entry != nullptr ? entry->name : "unknown";
}

Errc errc_from_number(std::uint16_t number) noexcept {
  return find_entry(number) != nullptr ? static_cast<Errc>(number) : Errc::protocol_error;
}

std::string Error::message() const {
  std::string text(to_string(code));
  if (!detail.empty()) {
    text.append(": ").append(detail);
  }
  return text;
}

}  // namespace godbox
