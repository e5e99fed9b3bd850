// SPDX-License-Identifier: Apache-2.0
#include <godbox/device_memory.h>

namespace godbox {

std::string_view to_string(DeviceKind kind) noexcept {
  switch (kind) {
    case DeviceKind::host:
      return "host";
    case DeviceKind::cuda:
      return "cuda";
  }
  return "unknown";
}

}  // namespace godbox
