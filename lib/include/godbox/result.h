// SPDX-License-Identifier: Apache-2.0
//
// Errors of Godbox. `Errc` is grouped by what has to be rebuilt after it: nothing but the request,
// the lane, a DRAM channel, the session with the pool, the configuration, or a device. The numbers
// travel in the native wire protocol (docs/wire-protocol.md), so they never change meaning.
// `Result<T>` is a value or an `Error`; `Error` adds a sentence that names the offending input.
// Thread-safety: plain values. Data paths pass `Errc` alone, which never allocates.
#pragma once

#include <boost/system/result.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace godbox {

enum class Errc : std::uint16_t {
  ok = 0,

  // Request: repeat it or give it up; lane, session and pool stand.
  not_found = 100,
  already_exists = 101,
  invalid_argument = 102,
  out_of_range = 103,
  too_large = 104,
  deadline_exceeded = 105,
  cancelled = 106,
  crc_mismatch = 107,
  present_unleased = 108,
  lease_expired = 109,
  reservation_expired = 110,
  key_revoked = 111,
  access_denied = 112,
  not_backed = 113,
  write_in_flight = 114,
  queue_full = 115,
  unsupported = 116,

  // Lane: close it and open a new one; work in flight on it is re-sent elsewhere.
  lane_closed = 200,
  lane_fenced = 201,
  lane_timeout = 202,
  connect_failed = 203,
  protocol_error = 204,
  bad_magic = 205,
  bad_header_crc = 206,
  bad_body_crc = 207,
  bad_version = 208,
  frame_too_large = 209,

  // DRAM channel: the bytes on it are gone; other channels stand.
  poison = 300,
  dram_channel_offline = 301,

  // Pool and session: open a new session; old keys and addresses are refused.
  wrong_epoch = 400,
  session_lost = 401,
  pool_full = 402,
  backing_full = 403,
  quota_exceeded = 404,
  limit_exceeded = 405,

  // Start-up: the configuration or the machine has to change.
  config_invalid = 500,
  address_in_use = 501,
  address_not_loopback = 502,
  permission_denied = 503,
  device_missing = 504,
  io_error = 505,

  // Device (a GPU): never from the wire. Its queues and its memory are gone, or there is too
  // little.
  device_lost = 600,
  device_memory_full = 601,
};

// The blast radius of an error: what has to be rebuilt before work can go on.
enum class ErrcScope : std::uint8_t { none, request, lane, dram_channel, pool, start_up, device };

[[nodiscard]] ErrcScope scope_of(Errc code) noexcept;
// The enumerator's own name ("backing_full"); "unknown" for a number that is not one.
[[nodiscard]] std::string_view to_string(Errc code) noexcept;
// The code that a number from the wire stands for; unknown numbers give Errc::protocol_error.
[[nodiscard]] Errc errc_from_number(std::uint16_t number) noexcept;

struct [[nodiscard]] Error {
  Errc code = Errc::ok;
  std::string detail;  // one sentence for a person; may be empty

  Error() = default;                            // boost::system::result wants one; means "no error"
  Error(Errc error_code) : code(error_code) {}  // NOLINT(google-explicit-constructor)
  Error(Errc error_code, std::string text) : code(error_code), detail(std::move(text)) {}
  // "backing_full: the box has 12884901888 of 12884901888 bytes in use"
  [[nodiscard]] std::string message() const;
};

// Called by Result::value() when there is none: a programming mistake, not an operating error.
[[noreturn]] inline void throw_exception_from_error(const Error& error,
                                                    const boost::source_location&) {
  throw std::logic_error(error.message());
}

template <class T>
using Result = boost::system::result<T, Error>;

}  // namespace godbox
