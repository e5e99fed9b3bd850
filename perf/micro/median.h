// SPDX-License-Identifier: Apache-2.0
//
// The middle of what was measured, of an even number the upper one. Pure. Errors: none; there is at
// least one value.
#pragma once

#include <algorithm>
#include <vector>

namespace godbox::perf {

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace godbox::perf
