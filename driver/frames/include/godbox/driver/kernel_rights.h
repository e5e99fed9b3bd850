// SPDX-License-Identifier: Apache-2.0
//
// Rights over the kernel's network that ports of its interfaces need, and how whoever lacks one
// comes by it. Thread-safety: any thread; asked is the calling one, whose rights are the process's
// where nobody has changed them. Ownership: none. Errors: none of its own.
// Source: capabilities(7), capget(2).
#pragma once

#include <godbox/result.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace godbox::driver {

enum class KernelRight : std::uint8_t { bpf, net_admin, net_raw };

// Those that are not effective now.
[[nodiscard]] std::vector<KernelRight> missing_rights(std::span<const KernelRight> needed);

// permission_denied: "<what> needs CAP_NET_RAW, which this process has not: ...", with what can be
// done about it.
[[nodiscard]] Error lacks_rights(std::string_view what, std::span<const KernelRight> missing);

}  // namespace godbox::driver
