// SPDX-License-Identifier: Apache-2.0
//
// For headers that name CLI11's class alone: each source that includes <CLI/CLI.hpp> is compiled
// three seconds longer, since all of its code is in headers and its validators are objects.
#pragma once

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's
class App;
}
