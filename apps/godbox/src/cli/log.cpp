// SPDX-License-Identifier: Apache-2.0
#include "cli/log.h"

#include "cli/terminal.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include <unistd.h>

namespace godbox::app {

void set_up_log(bool verbose) {
  auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  // By its own rule spdlog would colour a dumb terminal, and does not know NO_COLOR.
  if (!Terminal::of(STDERR_FILENO).colours) {
    sink->set_color_mode(spdlog::color_mode::never);
  }
  auto logger = std::make_shared<spdlog::logger>("godbox", std::move(sink));
  logger->set_level(verbose ? spdlog::level::debug : spdlog::level::info);
  logger->set_pattern(verbose ? "%H:%M:%S.%e godbox: %^%l%$: %v" : "godbox: %^%l%$: %v");
  spdlog::set_default_logger(std::move(logger));
}

ExitCode fail(std::string_view what, const Error& error) {
  spdlog::error("{}: {}", what, error.message());
  return exit_code_for(error.code);
}

}  // namespace godbox::app
