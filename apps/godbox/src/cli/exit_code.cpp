// SPDX-License-Identifier: Apache-2.0
#include "cli/exit_code.h"

namespace godbox::app {

ExitCode exit_code_for(Errc code) {
  switch (code) {
    case Errc::ok:
      return ExitCode::ok;
    case Errc::not_found:
      return ExitCode::not_found;
    case Errc::already_exists:
      return ExitCode::already_exists;
    case Errc::pool_full:
    case Errc::backing_full:
    case Errc::quota_exceeded:
    case Errc::limit_exceeded:
    case Errc::too_large:
      return ExitCode::no_room;
    case Errc::address_in_use:
      return ExitCode::in_use;
    case Errc::config_invalid:
    case Errc::invalid_argument:
    case Errc::address_not_loopback:
      return ExitCode::usage;
    case Errc::connect_failed:
    case Errc::session_lost:
    case Errc::wrong_epoch:
    case Errc::lane_closed:
    case Errc::lane_timeout:
    case Errc::deadline_exceeded:
      return ExitCode::unreachable;
    default:
      return ExitCode::failure;
  }
}

}  // namespace godbox::app
