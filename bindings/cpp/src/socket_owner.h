// SPDX-License-Identifier: Apache-2.0
//
// Whose socket waits at the default path. Its name can be guessed, so on a machine with several
// users another one may have put a box of his own there first, to be given what we store.
// Thread-safety: any thread.
#pragma once

#include <godbox/result.h>

#include <string>

namespace godbox {

// Ok when only this user or root can have put the socket there. Errors: permission_denied naming
// the path and its owner, connect_failed (nothing is there).
[[nodiscard]] Result<void> check_socket_owner(const std::string& path);

}  // namespace godbox
