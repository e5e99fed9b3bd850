// SPDX-License-Identifier: Apache-2.0
#include "api.h"

namespace godbox::c {

namespace {

std::string& last_error() {
  thread_local std::string text;
  return text;
}

static_assert(GODBOX_NOT_FOUND == static_cast<int>(Errc::not_found));
static_assert(GODBOX_ALREADY_EXISTS == static_cast<int>(Errc::already_exists));
static_assert(GODBOX_INVALID_ARGUMENT == static_cast<int>(Errc::invalid_argument));
static_assert(GODBOX_OUT_OF_RANGE == static_cast<int>(Errc::out_of_range));
static_assert(GODBOX_TOO_LARGE == static_cast<int>(Errc::too_large));
static_assert(GODBOX_DEADLINE_EXCEEDED == static_cast<int>(Errc::deadline_exceeded));
static_assert(GODBOX_CANCELLED == static_cast<int>(Errc::cancelled));
static_assert(GODBOX_CRC_MISMATCH == static_cast<int>(Errc::crc_mismatch));
static_assert(GODBOX_LEASE_EXPIRED == static_cast<int>(Errc::lease_expired));
static_assert(GODBOX_KEY_REVOKED == static_cast<int>(Errc::key_revoked));
static_assert(GODBOX_QUEUE_FULL == static_cast<int>(Errc::queue_full));
static_assert(GODBOX_UNSUPPORTED == static_cast<int>(Errc::unsupported));
static_assert(GODBOX_CONNECT_FAILED == static_cast<int>(Errc::connect_failed));
static_assert(GODBOX_SESSION_LOST == static_cast<int>(Errc::session_lost));
static_assert(GODBOX_POOL_FULL == static_cast<int>(Errc::pool_full));
static_assert(GODBOX_BACKING_FULL == static_cast<int>(Errc::backing_full));
static_assert(GODBOX_QUOTA_EXCEEDED == static_cast<int>(Errc::quota_exceeded));
static_assert(GODBOX_LIMIT_EXCEEDED == static_cast<int>(Errc::limit_exceeded));
static_assert(GODBOX_DEVICE_MISSING == static_cast<int>(Errc::device_missing));
static_assert(GODBOX_DEVICE_LOST == static_cast<int>(Errc::device_lost));
static_assert(GODBOX_DEVICE_MEMORY_FULL == static_cast<int>(Errc::device_memory_full));

}  // namespace

godbox_status failed(const Error& error) {
  try {
    last_error() = error.message();
  } catch (...) {
    last_error().clear();
  }
  return number_of(error.code);
}

godbox_status number_of(Errc code) { return static_cast<godbox_status>(code); }

Error refused(std::string what) { return {Errc::invalid_argument, std::move(what)}; }
Error closed() { return {Errc::session_lost, "the pool or the KV cache was closed"}; }

Result<std::vector<std::string_view>> names_of(const godbox_names* names) {
  if (names == nullptr || (names->count > 0 && names->data == nullptr)) {
    return refused("names: NULL");
  }
  std::vector<std::string_view> views;
  views.reserve(names->count);
  for (std::size_t i = 0; i < names->count; ++i) {
    if (names->data[i] == nullptr) {
      return refused("name " + std::to_string(i) + ": NULL");
    }
    views.push_back(names->sizes == nullptr ? std::string_view(names->data[i])
                                            : std::string_view(names->data[i], names->sizes[i]));
  }
  return views;
}

void write_statuses(std::span<const Errc> from, godbox_status* to) {
  for (std::size_t i = 0; to != nullptr && i < from.size(); ++i) {
    to[i] = number_of(from[i]);
  }
}

}  // namespace godbox::c

extern "C" {

const char* godbox_version(void) { return GODBOX_VERSION; }

const char* godbox_status_name(godbox_status status) {
  const bool fits = status >= 0 && status <= UINT16_MAX;
  // Views of literals, which end with NUL.
  return fits ? godbox::to_string(static_cast<godbox::Errc>(status)).data() : "unknown";
}

const char* godbox_last_error(void) { return godbox::c::last_error().c_str(); }

}  // extern "C"
