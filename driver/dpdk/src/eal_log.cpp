// SPDX-License-Identifier: Apache-2.0
#include "eal_log.h"

#include <godbox/assert.h>

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <mutex>

#include <rte_errno.h>
#include <rte_log.h>

namespace godbox::driver {
namespace {

struct Sink {
  std::mutex mutex;
  DpdkLog hook;
};
Sink& sink() {
  static Sink* const only = new Sink;  // DPDK's threads outlive static objects
  return *only;
}

thread_local LogCapture* thread_capture = nullptr;
thread_local std::string thread_line;  // DPDK writes some lines in pieces

DpdkLogLevel level_of(int rte_level) {
  switch (rte_level) {
    case RTE_LOG_EMERG:
    case RTE_LOG_ALERT:
    case RTE_LOG_CRIT:
    case RTE_LOG_ERR:
      return DpdkLogLevel::error;
    case RTE_LOG_WARNING:
      return DpdkLogLevel::warning;
    case RTE_LOG_NOTICE:
      return DpdkLogLevel::notice;
    case RTE_LOG_INFO:
      return DpdkLogLevel::info;
    default:
      return DpdkLogLevel::debug;
  }
}

void emit(std::string_view line) {
  if (line.empty()) {
    return;
  }
  const DpdkLogLevel level = level_of(rte_log_cur_msg_loglevel());
  if (thread_capture != nullptr) {
    thread_capture->add(level, line);
    if (thread_capture->swallows()) {
      return;
    }
  }
  const std::scoped_lock lock(sink().mutex);
  if (sink().hook) {
    sink().hook(level, line);
  }
}

ssize_t write_log(void* /*cookie*/, const char* bytes, std::size_t size) {
  for (const char c : std::string_view(bytes, size)) {
    if (c == '\n') {
      emit(thread_line);
      thread_line.clear();
    } else {
      thread_line.push_back(c);
    }
  }
  return static_cast<ssize_t>(size);
}

}  // namespace

void set_dpdk_log(DpdkLog log) {
  {
    const std::scoped_lock lock(sink().mutex);
    sink().hook = std::move(log);
  }
  static FILE* const log_stream = [] {
    cookie_io_functions_t functions{};
    functions.write = write_log;
    FILE* const stream = fopencookie(nullptr, "w", functions);
    GODBOX_ASSERT(stream != nullptr);
    (void)std::setvbuf(stream, nullptr, _IONBF, 0);  // lines of several threads do not mix
    return stream;
  }();
  rte_openlog_stream(log_stream);
}

LogCapture::LogCapture(Also also) : also_(also), outer_(thread_capture) { thread_capture = this; }

LogCapture::~LogCapture() { thread_capture = outer_; }

void LogCapture::add(DpdkLogLevel level, std::string_view line) {
  if (level != DpdkLogLevel::error) {
    return;
  }
  if (lines_.size() == kLinesMax) {
    lines_.erase(lines_.begin());
  }
  lines_.emplace_back(line);
}

std::string LogCapture::explain(std::string_view what, int error_number) const {
  std::string text(what);
  const char* separator = ": ";
  for (const std::string& line : lines_) {
    text += separator + line;
    separator = "; ";
  }
  if (error_number != 0) {
    text += fmt::format(" ({})", rte_strerror(error_number));
  }
  return text;
}

Errc dpdk_errc(int error_number) {
  switch (error_number) {
    case EALREADY:
    case EEXIST:
      return Errc::already_exists;
    case EINVAL:
    case EFAULT:  // how a device's name that no bus knows ends
      return Errc::config_invalid;
    case ENODEV:
    case ENOENT:
      return Errc::device_missing;
    case EACCES:
    case EPERM:
      return Errc::permission_denied;
    case ENOMEM:
    case ENOSPC:
      return Errc::limit_exceeded;
    default:
      return Errc::io_error;
  }
}

}  // namespace godbox::driver
