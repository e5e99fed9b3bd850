// SPDX-License-Identifier: Apache-2.0
//
// The place of a Unix socket's file, before somebody binds a socket there. Thread-safety: any
// thread; two at once for one path may both find it free. Units: bytes. Errors: named at each call.
// Source: unix(7).
#pragma once

#include <godbox/result.h>

#include <string>

#include <sys/un.h>

namespace godbox::driver {

// As the kernel takes it. Errors: invalid_argument (empty, or longer than a socket's path is).
[[nodiscard]] Result<sockaddr_un> socket_address(const std::string& path);

// Takes away what a process that is gone has left: a socket of `type` (SOCK_DGRAM, SOCK_STREAM)
// that refuses to be connected to. Errors: those of socket_address(), already_exists (something
// else, or a living socket), io_error.
[[nodiscard]] Result<void> clear_socket_path(const std::string& path, int type);

}  // namespace godbox::driver
