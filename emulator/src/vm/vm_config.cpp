// SPDX-License-Identifier: Apache-2.0
#include "config/nearest_name.h"
#include <godbox/emulator/vm/vm_config.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace godbox::emulator::vm {

Result<ChannelForm> parse_channel_form(std::string_view text) {
  for (std::size_t i = 0; i < kChannelFormNames.size(); ++i) {
    if (kChannelFormNames.at(i) == text) {
      return static_cast<ChannelForm>(i);
    }
  }
  return Error(Errc::config_invalid, fmt::format("form \"{}\" is not allowed{}; allowed: {}", text,
                                                 suggestion(text, kChannelFormNames),
                                                 fmt::join(kChannelFormNames, ", ")));
}

}  // namespace godbox::emulator::vm
