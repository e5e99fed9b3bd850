// SPDX-License-Identifier: Apache-2.0
//
// The status of a running box (docs/status.md), and its fields. A field that a box of another
// version does not have is 0, empty, or an empty list. Thread-safety: the client's thread.
// Units: as docs/status.md says. Errors: those of the call; protocol_error (no JSON object).
#pragma once

#include <godbox/striping/client.h>

#include <boost/json.hpp>

#include <string>
#include <string_view>

namespace godbox::app {

[[nodiscard]] Result<boost::json::object> read_status(striping::Client& client);

[[nodiscard]] std::uint64_t status_number(const boost::json::object& from, std::string_view key);
[[nodiscard]] std::string status_text(const boost::json::object& from, std::string_view key);
[[nodiscard]] const boost::json::array& status_list(const boost::json::object& from,
                                                    std::string_view key);

}  // namespace godbox::app
