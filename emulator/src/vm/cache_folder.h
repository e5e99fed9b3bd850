// SPDX-License-Identifier: Apache-2.0
//
// Where what a VM needs is kept between runs. Thread-safety: reads the environment.
#pragma once

#include <string>

namespace godbox::emulator::vm {

// The value of the environment's variable, or ${XDG_CACHE_HOME:-~/.cache}/godbox/<name>.
[[nodiscard]] std::string cache_folder(const char* variable, const char* name);

}  // namespace godbox::emulator::vm
